/* IPv4 without fragments, and ping. What a checksum guards is taken as it comes: the wire is a
   memory copy. */
#include "stack.h"

static bool local(uint32_t ip)
{
    uint32_t mask = address.prefix ? ~0u << (32 - address.prefix) : 0;
    return ((ip ^ address.ip) & mask) == 0;
}

void ip4_send(int protocol, uint32_t to, uint8_t *payload, size_t n)
{
    uint8_t *ip = payload - IP4_HEAD;
    uint32_t hop = to == 0xffffffff || local(to) ? to : address.gateway;

    memcpy(ip, "\x45\0\0\0\0\0\x40\0\x40\0\0\0", 12);
    put16(ip + 2, (uint32_t)n + IP4_HEAD);
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, address.ip);
    put32(ip + 16, to);
    put16(ip + 10, fold(add(0, ip, IP4_HEAD)));
    if (hop == 0)
        return; /* no way there */
    const uint8_t *to_mac = hop == 0xffffffff ? BROADCAST : arp_query(hop);
    if (to_mac == NULL)
        ethernet_hold(ip_of(hop), IPV4, ip, n + IP4_HEAD);
    else
        ethernet_send(to_mac, IPV4, ip, n + IP4_HEAD);
}

static void ping(uint32_t from, const uint8_t *p, size_t n)
{
    uint8_t *reply = ip_payload();

    if (n < 8 || p[0] != 8)
        return;
    memcpy(reply, p, n);
    memset(reply, 0, 4);
    put16(reply + 2, fold(add(0, reply, n)));
    ip4_send(ICMP, from, reply, n);
}

void ip4_receive(const uint8_t *p, size_t n)
{
    size_t head = n < IP4_HEAD ? 0 : (size_t)(p[0] & 15) * 4;
    size_t total = n < IP4_HEAD ? 0 : get16(p + 2);

    if (head < IP4_HEAD || p[0] >> 4 != 4 || total < head || total > n || get16(p + 6) & 0x3fff)
        return;
    if (p[9] == UDP)
        dhcp_receive(p + head, total - head);
    if (address.ip == 0 || get32(p + 16) != address.ip)
        return;
    if (p[9] == ICMP)
        ping(get32(p + 12), p + head, total - head);
    if (p[9] == UDP && address.port != 0)
        udp_receive(ip_of(address.ip), ip_of(get32(p + 12)), p + head, total - head);
    if (p[9] == TCP && address.port != 0)
        tcp_receive(ip_of(address.ip), ip_of(get32(p + 12)), p + head, total - head);
}
