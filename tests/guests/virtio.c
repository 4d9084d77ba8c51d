/* The network device under QEMU: legacy virtio-net on PCI (virtio 1.0, section 4.1.4.8), polled
   at each clock tick. */
#include "guest.h"
#include "pc.h"

enum { FEATURES = 4, QUEUE_PAGE = 8, QUEUE_SIZE = 12, QUEUE_SELECT = 14, NOTIFY = 16, STATUS = 18,
       MAC = 20 };
enum { HAS_MAC = 1 << 5, ANY_LAYOUT = 1 << 27 };
enum { RX, TX, QUEUE = 256, BUFFERS = 64, HEADER = 10, WRITABLE = 2 };

/* as laid out for QUEUE entries */
static struct queue {
    struct { uint64_t address; uint32_t length; uint16_t flags, next; } ring[QUEUE];
    struct { uint16_t flags, index, entries[QUEUE]; } available;
    struct { volatile uint16_t flags, index; struct { uint32_t id, length; } entries[QUEUE]; }
        used __attribute__((aligned(4096)));
    uint16_t seen __attribute__((aligned(4096)));
} queues[2] __attribute__((aligned(4096)));
static uint8_t buffers[2][BUFFERS][HEADER + FRAME_MAX];

uint8_t mac[6];
static uint16_t base;

static uint32_t pci(uint32_t slot, uint32_t at)
{
    out32(0xcf8, 0x80000000 | slot << 11 | at);
    return in32(0xcfc);
}

static bool find(void)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        if (pci(slot, 0) != 0x10001af4)
            continue;
        base = pci(slot, 16) & 0xfffc;
        uint32_t command = pci(slot, 4) | 5; /* its ports, and memory by itself */
        out32(0xcfc, command);
        return true;
    }
    return false;
}

static void publish(int which, uint16_t buffer)
{
    struct queue *q = &queues[which];

    q->available.entries[q->available.index % QUEUE] = buffer;
    asm volatile("" : : : "memory");
    q->available.index++;
    asm volatile("" : : : "memory");
    out16((uint16_t)(base + NOTIFY), (uint16_t)which);
}

static bool set_up(int which)
{
    struct queue *q = &queues[which];

    out16((uint16_t)(base + QUEUE_SELECT), (uint16_t)which);
    if (in16((uint16_t)(base + QUEUE_SIZE)) != QUEUE)
        return false;
    out32((uint16_t)(base + QUEUE_PAGE), (uint32_t)q >> 12);
    q->available.flags = 1; /* no interrupts */
    for (int i = 0; i < BUFFERS; i++) {
        q->ring[i].address = (uint32_t)buffers[which][i];
        q->ring[i].length = HEADER + FRAME_MAX;
        q->ring[i].flags = which == RX ? WRITABLE : 0;
    }
    return true;
}

bool device_open(const struct options *options)
{
    (void)options;
    if (!find()) {
        say("no virtio network\n");
        return false;
    }
    out8((uint16_t)(base + STATUS), 0);
    out8((uint16_t)(base + STATUS), 3); /* seen, driven */
    out32((uint16_t)(base + FEATURES), in32(base) & (HAS_MAC | ANY_LAYOUT));
    if (!set_up(RX) || !set_up(TX)) {
        say("virtio network: not %d entries to a queue\n", QUEUE);
        return false;
    }
    for (int i = 0; i < 6; i++)
        mac[i] = in8((uint16_t)(base + MAC + i));
    out8((uint16_t)(base + STATUS), 7); /* ready */
    for (uint16_t i = 0; i < BUFFERS; i++)
        publish(RX, i);
    return true;
}

size_t device_receive(uint8_t *frame)
{
    struct queue *q = &queues[RX];

    if (q->seen == q->used.index)
        return 0;
    uint32_t id = q->used.entries[q->seen % QUEUE].id, n = q->used.entries[q->seen % QUEUE].length;
    n = n > HEADER ? n - HEADER : 0;
    q->seen++;
    memcpy(frame, buffers[RX][id] + HEADER, n);
    publish(RX, (uint16_t)id);
    return n;
}

void device_send(const uint8_t *frame, size_t length)
{
    struct queue *q = &queues[TX];
    uint16_t buffer = q->available.index % BUFFERS;

    if ((uint16_t)(q->available.index - q->used.index) >= BUFFERS)
        return; /* a full queue loses the frame, as a wire would */
    memcpy(buffers[TX][buffer] + HEADER, frame, length);
    q->ring[buffer].length = HEADER + (uint32_t)length;
    publish(TX, buffer);
}

void device_wait(uint32_t ms)
{
    for (uint32_t start = now(); now() - start < ms && queues[RX].seen == queues[RX].used.index;)
        asm volatile("hlt"); /* until the next tick */
}
