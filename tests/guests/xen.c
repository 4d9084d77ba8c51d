/* The platform under Xen, PVH and PV alike: console ring, clock, end. */
#include "xen.h"

struct xen xen;

long hypercall(enum hypercall call, word a, word b, word c)
{
    long result;
    char *entry = hypercall_page + 32 * call;
#ifdef __i386__
    asm volatile("call *%[entry]" : "=a"(result), "+b"(a), "+c"(b), "+d"(c)
                 : [entry] "r"(entry) : "memory");
#else
    asm volatile("call *%[entry]" : "=a"(result), "+D"(a), "+S"(b), "+d"(c)
                 : [entry] "b"(entry) : "memory", "rcx", "r8", "r9", "r10", "r11");
#endif
    return result;
}

static uint64_t system_time(void)
{
    const __typeof__(xen.shared->vcpu[0]) *clock = &xen.shared->vcpu[0];
    uint32_t version, low, high;
    uint64_t time, delta;

    do {
        version = clock->version;
        asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
        delta = ((uint64_t)high << 32 | low) - clock->tsc;
        delta = clock->tsc_shift < 0 ? delta >> -clock->tsc_shift : delta << clock->tsc_shift;
        time = clock->system_time + ((uint64_t)(uint32_t)delta * clock->tsc_to_system_mul >> 32) +
            (delta >> 32) * clock->tsc_to_system_mul;
    } while (version & 1 || version != clock->version);
    return time;
}

uint32_t now(void)
{
    uint32_t t = (uint32_t)(system_time() >> 20);
    return t + (uint32_t)((uint64_t)t * 208632331 >> 32); /* 2^20 ns are 1.048576 ms */
}

void notify(uint32_t port)
{
    hypercall(EVENT_CHANNEL, SEND, (word)&port, 0);
}

void wait_for(uint32_t port, uint32_t ms)
{
    struct { uint32_t *ports; uint32_t count; uint64_t until; } poll = {
        &port, port != 0, system_time() + ms * (uint64_t)1000000
    };
    hypercall(SCHEDULE, POLL, (word)&poll, 0);
    if (port != 0)
        __sync_fetch_and_and(&xen.shared->pending[port / (8 * sizeof(word))],
                             ~((word)1 << port % (8 * sizeof(word))));
}

void console(enum stream stream, const char *text, size_t length)
{
    struct console_ring *ring = xen.console;

    (void)stream;
    for (size_t i = 0; i < length; i++) {
        while (ring->out_put - ring->out_taken == sizeof ring->out) {
            notify(xen.console_port);
            wait_for(xen.console_port, 10);
        }
        ring->out[ring->out_put % sizeof ring->out] = text[i];
        __sync_synchronize();
        ring->out_put++;
    }
    notify(xen.console_port);
}

static void __attribute__((noreturn)) shut_down(uint32_t reason)
{
    for (;;)
        hypercall(SCHEDULE, SHUTDOWN, (word)&reason, 0);
}

void must(long result, const char *what)
{
    if (result < 0) {
        say("%s: error %d from Xen\n", what, (int)result);
        shut_down(CRASH);
    }
}

/* As MirageOS: 255 is a crash, anything else the power switch. */
void leave(int code)
{
    /* the console's reader forgets what it has not read when the domain is gone */
    for (int i = 0; i < 100 && xen.console->out_put != xen.console->out_taken; i++)
        wait_for(xen.console_port, 10);
    shut_down(code == 255 ? CRASH : POWEROFF);
}

void crash(void)
{
    say("Solo5: ABORT\n");
    leave(255);
}

void deaf(void) {}
void fatal(void) { crash(); }
void start_threads(uint32_t count) { (void)count; }

/* Counted, not written to: there is nobody else to use it. */
bool take_memory(uint32_t megabytes)
{
    enum { PAGES = 256, OWN = 4 }; /* to a megabyte; megabytes of this image */
    static uint32_t taken;
    uint16_t domain = DOMID_SELF;
    long pages = hypercall(MEMORY, CURRENT_RESERVATION, (word)&domain, 0);

    must(pages, "memory");
    if (taken + megabytes + OWN > (uint32_t)pages / PAGES)
        return false;
    taken += megabytes;
    return true;
}
