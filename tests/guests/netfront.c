/* The network device under Xen: the front half of a vif (xen/include/public/io/netif.h). */
#include "xen.h"

enum { RING = 256, BUFFERS = 64, PAGE = 4096 };
enum { TX_RING_GRANT = 8, RX_RING_GRANT, TX_GRANTS = 16, RX_GRANTS = TX_GRANTS + BUFFERS };
enum { INIT_WAIT = 2, CONNECTED = 4 }; /* states of a device */

struct ring {
    volatile uint32_t request_put, request_event, response_put, response_event;
    uint8_t pad[48];
};
static union {
    struct {
        struct ring ring;
        union {
            struct { uint32_t grant; uint16_t offset, flags, id, size; } request;
            struct { uint16_t id; int16_t status; } response;
        } entries[RING];
    };
    uint8_t page[PAGE];
} tx __attribute__((aligned(PAGE)));
static union {
    struct {
        struct ring ring;
        union {
            struct { uint16_t id, pad; uint32_t grant; } request;
            struct { uint16_t id, offset, flags; int16_t status; } response;
        } entries[RING];
    };
    uint8_t page[PAGE];
} rx __attribute__((aligned(PAGE)));
static uint8_t buffers[2][BUFFERS][PAGE] __attribute__((aligned(PAGE)));

uint8_t mac[6];
static uint32_t port, taken; /* `taken`: responses of `rx` */

static void grant(int reference, uint16_t domain, const void *page)
{
    xen.grants[reference].frame = frame_of(page);
    xen.grants[reference].domain = domain;
    __sync_synchronize();
    xen.grants[reference].flags = 1; /* may be read and written */
}

static void publish(uint16_t id)
{
    uint32_t at = rx.ring.request_put % RING;

    rx.entries[at].request.id = id;
    rx.entries[at].request.grant = RX_GRANTS + id;
    __sync_synchronize();
    rx.ring.request_put++;
}

static uint32_t number(const char *text)
{
    uint32_t n = 0;
    while (*text >= '0' && *text <= '9')
        n = n * 10 + (uint32_t)(*text++ - '0');
    return n;
}

static void write_number(const char *key, uint32_t value)
{
    char path[64], text[16];

    snprintf(path, sizeof path, "device/vif/0/%s", key);
    snprintf(text, sizeof text, "%u", value);
    store_write(path, text);
}

static void await_backend(const char *backend, uint32_t state)
{
    char path[128], text[16] = "";

    snprintf(path, sizeof path, "%s/state", backend);
    while (!store_read(path, text, sizeof text) || number(text) < state)
        wait_for(0, 5);
}

static void share(uint16_t domain)
{
    grant(TX_RING_GRANT, domain, &tx);
    grant(RX_RING_GRANT, domain, &rx);
    for (int i = 0; i < BUFFERS; i++) {
        grant(TX_GRANTS + i, domain, buffers[0][i]);
        grant(RX_GRANTS + i, domain, buffers[1][i]);
        publish((uint16_t)i);
    }
    tx.ring.response_event = rx.ring.response_event = 1;

    struct { uint16_t self, other; uint32_t port; } channel = { DOMID_SELF, domain, 0 };
    must(hypercall(EVENT_CHANNEL, ALLOCATE_UNBOUND, (word)&channel, 0), "event channel");
    port = channel.port;
}

bool device_open(const struct options *options)
{
    char backend[96], text[32];

    (void)options;
    if (!store_read("device/vif/0/backend", backend, sizeof backend)) {
        say("no Xen network: alive without\n");
        for (;;)
            wait_for(0, 1000);
    }
    store_read("device/vif/0/mac", text, sizeof text);
    if (!mac_read(text, mac))
        return false;
    await_backend(backend, INIT_WAIT);
    store_read("device/vif/0/backend-id", text, sizeof text);
    share((uint16_t)number(text));
    write_number("tx-ring-ref", TX_RING_GRANT);
    write_number("rx-ring-ref", RX_RING_GRANT);
    write_number("event-channel", port);
    write_number("request-rx-copy", 1);
    write_number("feature-rx-notify", 1);
    write_number("feature-no-csum-offload", 1); /* every frame comes with its checksums */
    write_number("state", CONNECTED);
    await_backend(backend, CONNECTED);
    return true;
}

size_t device_receive(uint8_t *frame)
{
    while (taken != rx.ring.response_put) {
        __sync_synchronize();
        uint16_t id = rx.entries[taken % RING].response.id;
        uint16_t offset = rx.entries[taken % RING].response.offset;
        int16_t n = rx.entries[taken % RING].response.status; /* its length, or an error */

        taken++;
        if (n > 0 && n <= FRAME_MAX)
            memcpy(frame, buffers[1][id] + offset, (size_t)n);
        rx.ring.response_event = taken + 1;
        publish(id);
        if (rx.ring.request_put - rx.ring.request_event < BUFFERS)
            notify(port); /* the backend had run out of buffers */
        if (n > 0 && n <= FRAME_MAX)
            return (size_t)n;
    }
    return 0;
}

void device_send(const uint8_t *frame, size_t length)
{
    uint32_t put = tx.ring.request_put, buffer = put % BUFFERS;

    if (put - tx.ring.response_put >= BUFFERS)
        return; /* a full queue loses the frame, as a wire would */
    memcpy(buffers[0][buffer], frame, length);
    tx.entries[put % RING].request.grant = TX_GRANTS + buffer;
    tx.entries[put % RING].request.offset = 0;
    tx.entries[put % RING].request.flags = 0;
    tx.entries[put % RING].request.id = (uint16_t)buffer;
    tx.entries[put % RING].request.size = (uint16_t)length;
    __sync_synchronize();
    tx.ring.request_put = put + 1;
    notify(port);
}

void device_wait(uint32_t ms)
{
    if (taken == rx.ring.response_put)
        wait_for(port, ms);
}
