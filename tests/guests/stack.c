/* Ethernet, ARP and IPv4 without fragments. What a checksum guards is taken as it comes: the
   wire is a memory copy. */
#include "guest.h"
#include "stack.h"

struct address address;
static uint8_t gateway_mac[6];
static bool gateway_known, gateway_asked;
static uint32_t gateway_asked_at;

/* Who was met, as MirageOS remembers it: not whoever a packet comes from now, but who was there
   first, until ARP says otherwise unasked or in a reply. */
static struct { uint32_t ip; uint8_t mac[6]; } met[16];

static uint8_t frame[FRAME_MAX], out[FRAME_MAX];

uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v); }

uint32_t add(uint32_t sum, const uint8_t *p, size_t n)
{
    for (; n > 1; n -= 2, p += 2)
        sum += get16(p);
    return n ? sum + ((uint32_t)*p << 8) : sum;
}

uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static bool local(uint32_t ip)
{
    uint32_t mask = address.prefix ? ~0u << (32 - address.prefix) : 0;
    return ((ip ^ address.ip) & mask) == 0;
}

static uint8_t *neighbour_of(uint32_t ip, const uint8_t *first_mac)
{
    size_t i = 0;

    while (i < sizeof met / sizeof *met - 1 && met[i].ip != ip && met[i].ip != 0)
        i++;
    if (met[i].ip != ip) {
        met[i].ip = ip;
        memcpy(met[i].mac, first_mac, 6);
    }
    return met[i].mac;
}

static void arp_send(int operation, const uint8_t *to_mac, const uint8_t *target, uint32_t to)
{
    memcpy(out, to_mac, 6);
    memcpy(out + 6, mac, 6);
    memcpy(out + 12, "\x08\x06\0\x01\x08\0\x06\x04", 8);
    put16(out + 20, (uint32_t)operation);
    memcpy(out + 22, mac, 6);
    put32(out + 28, address.ip);
    memcpy(out + 32, target, 6);
    put32(out + 38, to);
    device_send(out, 42);
}

static void arp(const uint8_t *p, size_t n)
{
    static const uint8_t request[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

    if (n < 28)
        return;
    if (address.gateway != 0 && get32(p + 14) == address.gateway) {
        memcpy(gateway_mac, p + 8, 6);
        gateway_known = true;
    }
    if (get16(p + 6) == 2 || get32(p + 14) == get32(p + 24))
        memcpy(neighbour_of(get32(p + 14), p + 8), p + 8, 6);
    if (memcmp(p, request, 8) == 0 && get32(p + 24) == address.ip)
        arp_send(2, p + 8, p + 8, get32(p + 14));
}

/* Asked again every minute: the machine behind the gateway's address may change. */
static void ask_gateway(void)
{
    uint32_t wait = !gateway_asked ? 0 : gateway_known ? 60000 : 1000;

    if (address.gateway == 0 || now() - gateway_asked_at < wait)
        return;
    gateway_asked = true;
    gateway_asked_at = now();
    arp_send(1, BROADCAST, (const uint8_t *)"\0\0\0\0\0\0", address.gateway);
}

void ip_send(int protocol, const uint8_t *to_mac, uint32_t to, size_t n)
{
    uint8_t *ip = out + 14;

    memcpy(out, to_mac, 6);
    memcpy(out + 6, mac, 6);
    memcpy(out + 12, "\x08\0\x45\0\0\0\0\0\x40\0\x40\0\0\0", 14);
    put16(ip + 2, (uint32_t)n + 20);
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, address.ip);
    put32(ip + 16, to);
    put16(ip + 10, fold(add(0, ip, 20)));
    device_send(out, n + 34);
}

uint8_t *ip_payload(void) { return out + 34; }

void ip_reply(int protocol, const uint8_t *neighbour, uint32_t to, size_t n)
{
    if (local(to))
        ip_send(protocol, neighbour_of(to, neighbour), to, n);
    else if (gateway_known)
        ip_send(protocol, gateway_mac, to, n);
}

static void ping(const uint8_t *from_mac, uint32_t from, const uint8_t *p, size_t n)
{
    uint8_t *reply = ip_payload();

    if (n < 8 || p[0] != 8)
        return;
    memcpy(reply, p, n);
    memset(reply, 0, 4);
    put16(reply + 2, fold(add(0, reply, n)));
    ip_reply(1, from_mac, from, n);
}

static void ip(const uint8_t *from_mac, const uint8_t *p, size_t n)
{
    size_t head = n < 20 ? 0 : (size_t)(p[0] & 15) * 4, total = n < 20 ? 0 : get16(p + 2);

    if (head < 20 || p[0] >> 4 != 4 || total < head || total > n || get16(p + 6) & 0x3fff)
        return;
    if (p[9] == 17)
        dhcp_receive(p + head, total - head);
    if (address.ip == 0 || get32(p + 16) != address.ip)
        return;
    if (p[9] == 1)
        ping(from_mac, get32(p + 12), p + head, total - head);
    if (p[9] == 6 && address.port != 0)
        tcp_receive(from_mac, get32(p + 12), p + head, total - head);
}

static void run(void)
{
    size_t n;

    while ((n = device_receive(frame)) > 0) {
        if (n >= 14 && get16(frame + 12) == 0x0806 && address.ip != 0)
            arp(frame + 14, n - 14);
        if (n >= 14 && get16(frame + 12) == 0x0800)
            ip(frame + 6, frame + 14, n - 14);
    }
    dhcp_tick();
    ask_gateway();
    bool busy = tcp_tick();
    flood();
    device_wait(busy ? 5 : 50);
}

static void start(const struct options *options)
{
    address = (struct address){ .ip = options->ipv4, .prefix = options->prefix,
                                .gateway = options->ipv4 ? options->gateway : 0 };
    while (address.ip == 0)
        run();
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
    arp_send(1, BROADCAST, BROADCAST, address.ip); /* gratuitous: here I am */
    for (;;)
        run();
}
