/* Of Xen's public interface (xen/include/public), what a guest with a console, a clock and one
   network card needs. `unsigned long` is the guest's own word, as it is there. */
#ifndef XEN_H
#define XEN_H

#include "guest.h"

typedef unsigned long word;

enum { DOMID_SELF = 0x7ff0 };
enum hypercall { MEMORY = 12, UPDATE_VA_MAPPING = 14, GRANT_TABLE = 20, SCHEDULE = 29,
                 EVENT_CHANNEL = 32, HVM = 34 };
enum { CURRENT_RESERVATION = 3 };               /* of MEMORY */
enum { SHUTDOWN = 2, POLL = 3 };                /* of SCHEDULE */
enum { POWEROFF = 0, CRASH = 3 };               /* of SHUTDOWN */
enum { SEND = 4, ALLOCATE_UNBOUND = 6 };        /* of EVENT_CHANNEL */

struct shared_info {
    struct {
        uint8_t upcall[32]; /* upcalls are never taken: all is polled */
        volatile uint32_t version;
        uint32_t pad;
        volatile uint64_t tsc, system_time; /* ns at `tsc` */
        volatile uint32_t tsc_to_system_mul;
        volatile int8_t tsc_shift;
        uint8_t pad2[3];
    } vcpu[32];
    word pending[sizeof(word) * 8];
};

struct console_ring {
    char in[1024], out[2048];
    volatile uint32_t in_taken, in_put, out_taken, out_put;
};

struct store_ring {
    char request[1024], response[1024];
    volatile uint32_t request_taken, request_put, response_taken, response_put;
};

struct grant {
    uint16_t flags, domain;
    uint32_t frame;
};

/* What pvh.c or pv.c found at its start. */
extern struct xen {
    struct shared_info *shared;
    struct console_ring *console;
    struct store_ring *store;
    struct grant *grants;
    uint32_t console_port, store_port;
} xen;
uint32_t frame_of(const void *page); /* as other domains know it */

/* xen.c */
extern char hypercall_page[];
long hypercall(enum hypercall call, word a, word b, word c);
void must(long result, const char *what); /* a negative result ends the domain */
void notify(uint32_t port);
void wait_for(uint32_t port, uint32_t ms); /* port 0: just the time */
void leave(int code) __attribute__((noreturn));

/* xenstore.c; paths are relative to the domain's own. */
bool store_read(const char *path, char *value, size_t room);
void store_write(const char *path, const char *value);

#endif
