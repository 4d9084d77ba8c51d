/* The network stack's life: its address, then a server for ever. */
#include "stack.h"

struct address address;
static uint8_t frame[FRAME_MAX];

static void run(void)
{
    size_t n;

    while ((n = device_receive(frame)) > 0)
        ethernet_receive(frame, n);
    dhcp_tick();
    arp_tick();
    bool busy = tcp_tick();
    flood();
    device_wait(busy ? 5 : 50);
}

static void start(const struct options *options)
{
    address = (struct address){ .ip = options->ipv4, .prefix = options->prefix,
                                .gateway = options->ipv4 ? options->gateway : 0 };
    arp_start(options->keep);
    while (address.ip == 0)
        run();
    arp_announce();
    say("Dual TCP/IP stack assembled: mac=%02x:%02x:%02x:%02x:%02x:%02x,ip=%u.%u.%u.%u/%d\n",
        mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], address.ip >> 24, address.ip >> 16 & 255,
        address.ip >> 8 & 255, address.ip & 255, address.prefix);
}

/* What comes meanwhile is taken and dropped, or the wait would be a busy loop. */
static void ignore(uint32_t ms)
{
    for (uint32_t begin = now(); now() - begin < ms; device_wait(10))
        while (device_receive(frame) > 0)
            ;
}

int serve(const struct options *options)
{
    if (!device_open(options))
        return 1;
    if (options->fail == FAIL_LATE)
        ignore(options->fail_value);
    start(options);
    say("listening on %d/TCP\n", options->port);
    while (options->fail == FAIL_HANG)
        ignore(1000);
    address.port = options->port;
    for (;;)
        run();
}
