/* IPv4 without fragments, and ping. What a checksum guards is taken as it comes: the wire is a
   memory copy. */
#include "stack.h"

enum { HEAD = 20, ICMP = 1, TCP = 6, UDP = 17 };

static uint8_t out[FRAME_MAX];

uint8_t *ip_payload(void) { return out + ETHERNET + HEAD; }

static bool local(uint32_t ip)
{
    uint32_t mask = address.prefix ? ~0u << (32 - address.prefix) : 0;
    return ((ip ^ address.ip) & mask) == 0;
}

void ip_send(int protocol, uint32_t to, size_t n)
{
    uint8_t *ip = out + ETHERNET;
    uint32_t hop = to == 0xffffffff || local(to) ? to : address.gateway;
    const uint8_t *to_mac;

    memcpy(ip, "\x45\0\0\0\0\0\x40\0\x40\0\0\0", 12);
    put16(ip + 2, (uint32_t)n + HEAD);
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, address.ip);
    put32(ip + 16, to);
    put16(ip + 10, fold(add(0, ip, HEAD)));
    if (hop == 0)
        return; /* no way there */
    to_mac = hop == 0xffffffff ? BROADCAST : arp_query(hop);
    if (to_mac == NULL)
        ethernet_hold(ip_of(hop), IPV4, ip, n + HEAD);
    else
        ethernet_send(to_mac, IPV4, ip, n + HEAD);
}

static void ping(uint32_t from, const uint8_t *p, size_t n)
{
    uint8_t *reply = ip_payload();

    if (n < 8 || p[0] != 8)
        return;
    memcpy(reply, p, n);
    memset(reply, 0, 4);
    put16(reply + 2, fold(add(0, reply, n)));
    ip_send(ICMP, from, n);
}

void ip_receive(const uint8_t *p, size_t n)
{
    size_t head = n < HEAD ? 0 : (size_t)(p[0] & 15) * 4, total = n < HEAD ? 0 : get16(p + 2);

    if (head < HEAD || p[0] >> 4 != 4 || total < head || total > n || get16(p + 6) & 0x3fff)
        return;
    if (p[9] == UDP)
        dhcp_receive(p + head, total - head);
    if (address.ip == 0 || get32(p + 16) != address.ip)
        return;
    if (p[9] == ICMP)
        ping(get32(p + 12), p + head, total - head);
    if (p[9] == TCP && address.port != 0)
        tcp_receive(get32(p + 12), p + head, total - head);
}
