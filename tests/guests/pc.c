/* The platform under QEMU: serial line, a clock tick each millisecond, isa-debug-exit. */
#include "guest.h"
#include "pc.h"

enum { COM1 = 0x3f8, PIT = 0x40, PIC1 = 0x20, PIC2 = 0xa0, DEBUG_EXIT = 0x501, HZ = 1000 };

volatile uint32_t ticks;
static uint32_t memory; /* megabytes */
void tick_interrupt(void);

static struct { uint16_t low, selector, flags, high; } __attribute__((packed)) gates[33];
static uint64_t segments[] = { 0, 0x00cf9a000000ffff, 0x00cf92000000ffff };

static void load_segments(void)
{
    struct { uint16_t limit; const void *base; } __attribute__((packed))
        gdt = { sizeof segments - 1, segments };

    asm volatile("lgdt %0; ljmp $8, $1f; 1: mov %1, %%ds; mov %1, %%es; mov %1, %%ss"
                 : : "m"(gdt), "r"(16) : "memory");
}

static void start_clock(void)
{
    struct { uint16_t limit; const void *base; } __attribute__((packed))
        idt = { sizeof gates - 1, gates };
    uint32_t entry = (uint32_t)tick_interrupt;

    gates[32].low = (uint16_t)entry;
    gates[32].selector = 8;
    gates[32].flags = 0x8e00;
    gates[32].high = (uint16_t)(entry >> 16);
    asm volatile("lidt %0" : : "m"(idt));
    /* both interrupt controllers: from vector 32 on; all masked but the timer */
    static const uint8_t setup[][2] = { { 0x11, 0x11 }, { 32, 40 }, { 4, 2 }, { 1, 1 },
                                        { 0xfe, 0xff } };
    for (int i = 0; i < 5; i++) {
        out8((uint16_t)(PIC1 + (i > 0)), setup[i][0]);
        out8((uint16_t)(PIC2 + (i > 0)), setup[i][1]);
    }
    out8(PIT + 3, 0x34);
    out8(PIT, (1193182 / HZ) & 0xff);
    out8(PIT, (1193182 / HZ) >> 8);
    asm volatile("sti");
}

uint32_t now(void)
{
    return ticks;
}

void console(enum stream stream, const char *text, size_t length)
{
    (void)stream;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            console(stream, "\r", 1);
        while (!(in8(COM1 + 5) & 0x20))
            ;
        out8(COM1, (uint8_t)text[i]);
    }
}

/* QEMU exits with 2 * 41 + 1 = 83, good or bad, as every Solo5 virtio image makes it. */
static void __attribute__((noreturn)) leave(void)
{
    out8(DEBUG_EXIT, 41);
    for (;;)
        asm volatile("cli; hlt");
}

void crash(void)
{
    say("Solo5: ABORT\n");
    leave();
}

void deaf(void) {}
void fatal(void) { crash(); }
void start_threads(uint32_t count) { (void)count; }

/* Counted, not written to: there is nobody else to use it. */
bool take_memory(uint32_t megabytes)
{
    enum { OWN = 4 };
    static uint32_t taken;

    if (taken + megabytes + OWN > memory)
        return false;
    taken += megabytes;
    return true;
}

/* The loader's command line begins with the kernel's path: all up to the first space goes. */
void multiboot_main(const uint32_t *tables)
{
    static char line[LINE_MAX_BYTES];
    const char *whole = tables[0] & 4 ? (const char *)tables[4] : "", *space = strchr(whole, ' ');

    memory = tables[0] & 1 ? tables[2] / 1024 : 0; /* in kilobytes, from 1 MiB on */
    load_segments();
    start_clock();
    snprintf(line, sizeof line, "%s", space ? space + 1 : "");
    guest_main(SHAPE_BARE, line);
    leave();
}
