/* The start under Xen PVH (docs/misc/pvh.pandoc). Addresses are physical. */
#include "xen.h"

enum { ADD_TO_PHYSMAP = 7, GET_PARAM = 1 };
enum { SHARED_INFO, GRANTS }; /* spaces of ADD_TO_PHYSMAP */
enum { STORE_FRAME = 1, STORE_PORT = 2, CONSOLE_FRAME = 17, CONSOLE_PORT = 18 };

static uint8_t pages[2][4096] __attribute__((aligned(4096)));

uint32_t frame_of(const void *page)
{
    return (uint32_t)page >> 12;
}

/* Xen fills the page whose address is written to the register that it names. */
static void find_hypercalls(void)
{
    uint32_t leaf = 0x40000002, pages_wanted, msr, c, d;

    asm volatile("cpuid" : "=a"(pages_wanted), "=b"(msr), "=c"(c), "=d"(d) : "0"(leaf), "2"(0));
    asm volatile("wrmsr" : : "c"(msr), "a"(hypercall_page), "d"(0) : "memory");
}

static void *map(uint32_t space, void *page)
{
    struct { uint16_t domain, size; uint32_t space; word index, frame; } request = {
        DOMID_SELF, 0, space, 0, frame_of(page)
    };
    must(hypercall(MEMORY, ADD_TO_PHYSMAP, (word)&request, 0), "mapping a page");
    return page;
}

static uint32_t parameter(uint32_t index)
{
    struct { uint16_t domain; uint32_t index; uint64_t value; } request = { DOMID_SELF, index, 0 };

    must(hypercall(HVM, GET_PARAM, (word)&request, 0), "parameter");
    return (uint32_t)request.value;
}

void pvh_main(const uint32_t *start_info)
{
    static char line[LINE_MAX_BYTES];
    const char *given = (const char *)start_info[6];

    find_hypercalls();
    xen.console = (void *)(parameter(CONSOLE_FRAME) << 12);
    xen.console_port = parameter(CONSOLE_PORT);
    xen.shared = map(SHARED_INFO, pages[0]);
    xen.grants = map(GRANTS, pages[1]);
    xen.store = (void *)(parameter(STORE_FRAME) << 12);
    xen.store_port = parameter(STORE_PORT);
    snprintf(line, sizeof line, "%s", given ? given : "");
    leave(guest_main(SHAPE_BARE, line));
}
