/* IPv6 without extension headers, and ping. */
#include "stack.h"

enum { ECHO = 128, ECHO_REPLY = 129, SOLICITATION = 135, ADVERTISEMENT = 136, ONE_HOP = 255 };

static bool on_link(const struct ip *ip)
{
    int whole = address.prefix6 / 8, rest = address.prefix6 % 8;

    if (memcmp(ip->byte, "\xfe\x80\0\0\0\0\0\0", 8) == 0)
        return true;
    return !ip_none(&address.ip6) && memcmp(ip->byte, address.ip6.byte, (size_t)whole) == 0 &&
        (rest == 0 || (ip->byte[whole] ^ address.ip6.byte[whole]) >> (8 - rest) == 0);
}

void ip6_send(int protocol, struct ip from, struct ip to, uint8_t *payload, size_t n)
{
    uint8_t *ip = payload - IP6_HEAD, group[6] = { 0x33, 0x33 };
    /* without a gateway all is taken to be on the link, as MirageOS does */
    struct ip hop = on_link(&to) || ip_none(&address.gateway6) ? to : address.gateway6;

    put32(ip, 0x60000000);
    put16(ip + 4, (uint32_t)n);
    ip[6] = (uint8_t)protocol;
    ip[7] = protocol == ICMP6 ? ONE_HOP : 64;
    memcpy(ip + 8, from.byte, 16);
    memcpy(ip + 24, to.byte, 16);
    memcpy(group + 2, to.byte + 12, 4);
    const uint8_t *to_mac = to.byte[0] == 0xff ? group : ndp_query(hop);
    if (to_mac == NULL)
        ethernet_hold(hop, IPV6, ip, n + IP6_HEAD);
    else
        ethernet_send(to_mac, IPV6, ip, n + IP6_HEAD);
}

static void ping(struct ip own, struct ip from, const uint8_t *p, size_t n)
{
    uint8_t *reply = ip_payload();

    memcpy(reply, p, n);
    memset(reply, 0, 4);
    reply[0] = ECHO_REPLY;
    put16(reply + 2, fold(add(ip_sum(ICMP6, &own, &from, n), reply, n)));
    ip6_send(ICMP6, own, from, reply, n);
}

void ip6_receive(const uint8_t *p, size_t n)
{
    size_t length = n < IP6_HEAD ? 0 : get16(p + 4);
    struct ip from, to;

    if (n < IP6_HEAD || p[0] >> 4 != 6 || length > n - IP6_HEAD || ip_none(&address.link))
        return;
    memcpy(&from, p + 8, 16);
    memcpy(&to, p + 24, 16);
    const uint8_t *payload = p + IP6_HEAD;
    bool ours = !address.tentative && (ip_same(&to, &address.ip6) || ip_same(&to, &address.link));

    if ((!ours && to.byte[0] != 0xff) || from.byte[0] == 0xff || length < 8)
        return;
    if (p[6] == ICMP6 && p[7] == ONE_HOP &&
        (payload[0] == SOLICITATION || payload[0] == ADVERTISEMENT))
        ndp_receive(from, payload, length);
    if (ours && p[6] == ICMP6 && payload[0] == ECHO)
        ping(to, from, payload, length);
    if (ours && p[6] == UDP && address.port != 0)
        udp_receive(to, from, payload, length);
    if (ours && p[6] == TCP && address.port != 0)
        tcp_receive(to, from, payload, length);
}
