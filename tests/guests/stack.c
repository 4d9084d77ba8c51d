/* The network stack's life: its addresses, then a server for ever. */
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
    ndp_tick();
    bool busy = tcp_tick();
    flood();
    device_wait(busy ? 5 : 50);
}

static struct ip link_local(void)
{
    return (struct ip){ .byte = { 0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe,
                                  mac[3], mac[4], mac[5] } };
}

static void start_ipv4(const struct options *options)
{
    address.ip = options->ipv4;
    address.prefix = options->prefix;
    address.gateway = options->ipv4 ? options->gateway : 0;
    arp_start(options->keep);
    while (address.ip == 0)
        run();
    arp_announce();
}

/* While another may say that it has one of the addresses, MirageOS serves nothing, not even
   IPv4. False: somebody did. */
static bool start_ipv6(const struct options *options)
{
    address.ip6 = options->ipv6;
    address.prefix6 = options->ipv6_prefix;
    address.gateway6 = options->ipv6_gateway;
    address.link = link_local();
    address.tentative = options->detect_duplicates;
    ndp_start();
    for (uint32_t begin = now(); address.tentative && !ndp_taken() && now() - begin < DETECTION_MS;)
        run();
    address.tentative = false;
    return !ndp_taken();
}

static void say_addresses(void)
{
    char text[40], line[128];
    size_t n = 0;

    if (address.ip != 0)
        n += (size_t)snprintf(line, sizeof line, "%u.%u.%u.%u/%d, ", address.ip >> 24,
                              address.ip >> 16 & 255, address.ip >> 8 & 255, address.ip & 255,
                              address.prefix);
    if (!ip_none(&address.ip6))
        n += (size_t)snprintf(line + n, sizeof line - n, "%s/%d, ", ip_text(address.ip6, text),
                              address.prefix6);
    if (!ip_none(&address.link))
        n += (size_t)snprintf(line + n, sizeof line - n, "%s/64, ", ip_text(address.link, text));
    line[n - 2] = '\0';
    say("Dual TCP/IP stack assembled: mac=%02x:%02x:%02x:%02x:%02x:%02x,ip=%s\n",
        mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], line);
}

/* Why there can be no stack; NULL: there is one. */
static const char *start(const struct options *options)
{
    /* where MirageOS would add what is compiled in, or link-local, the guest adds nothing */
    bool ipv6 = options->ipv6_only || !ip_none(&options->ipv6);

    if (options->ipv4_only && options->ipv6_only)
        return "cannot configure stack with both IPv4 only and IPv6 only";
    if (!options->ipv6_only && (options->ipv4 != 0 || options->ipv4_only || !ipv6))
        start_ipv4(options);
    if (ipv6 && !options->ipv4_only && !start_ipv6(options))
        return "IP6 not started, couldn't assign IP addresses";
    say_addresses();
    return NULL;
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
    const char *wrong = start(options);
    if (wrong != NULL) {
        say("Fatal error: exception Failure(\"%s\")\n", wrong);
        fatal();
    }
    say("listening on %d/%s\n", options->port, dns_serves() ? "UDP and TCP" : "TCP");
    while (options->fail == FAIL_HANG)
        ignore(1000);
    address.port = options->port;
    for (;;)
        run();
}
