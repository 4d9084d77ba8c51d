/* The start under Xen PV. The image is linked at 0, so an address is 4096 times the domain's own
   frame number; Xen's tables turn that into the machine's and back. */
#include "xen.h"

enum { SETUP_TABLE = 2, PRESENT_WRITABLE_USER = 7, FLUSH_ONE = 2 };

struct start_info {
    char magic[32];
    word pages, shared_info;
    uint32_t flags;
    word store_frame;
    uint32_t store_port;
    word console_frame;
    uint32_t console_port;
    word page_tables, page_table_frames, frame_list, module, module_length;
    char command_line[1024];
};

static const word *frame_list;
static const word *const machine_to_own = (const word *)0xffff800000000000;
static uint8_t pages[2][4096] __attribute__((aligned(4096)));

uint32_t frame_of(const void *page)
{
    return (uint32_t)frame_list[(word)page >> 12];
}

static void *own(word machine_frame)
{
    return (void *)(machine_to_own[machine_frame] << 12);
}

static void *map(word machine_frame, void *page)
{
    must(hypercall(UPDATE_VA_MAPPING, (word)page, machine_frame << 12 | PRESENT_WRITABLE_USER,
                   FLUSH_ONE), "mapping a page");
    return page;
}

static word grant_frame(void)
{
    word frame = 0;
    struct { uint16_t domain; uint32_t frames; int16_t status; word *list; } request = {
        DOMID_SELF, 1, 0, &frame
    };
    must(hypercall(GRANT_TABLE, SETUP_TABLE, (word)&request, 1), "grant table");
    must(request.status, "grant table");
    return frame;
}

void pv_main(struct start_info *start)
{
    static char line[sizeof start->command_line];

    frame_list = (const word *)start->frame_list;
    xen.console = own(start->console_frame);
    xen.console_port = start->console_port;
    xen.shared = map(start->shared_info >> 12, pages[0]);
    xen.grants = map(grant_frame(), pages[1]);
    xen.store = own(start->store_frame);
    xen.store_port = start->store_port;
    snprintf(line, sizeof line, "%s", start->command_line);
    say("command line: %s\n", line);
    leave(guest_main(SHAPE_PV, line));
}
