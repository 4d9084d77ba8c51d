/* UDP, for the name server alone. */
#include "stack.h"

enum { UDP_HEAD = 8 };

void udp_receive(struct ip own, struct ip from, const uint8_t *p, size_t n)
{
    uint8_t *out = ip_payload();
    size_t length = n < UDP_HEAD ? 0 : get16(p + 4);

    if (length < UDP_HEAD || length > n || get16(p + 2) != address.port || !dns_serves())
        return;
    length = dns_datagram(p + UDP_HEAD, length - UDP_HEAD, out + UDP_HEAD);
    if (length == 0)
        return;
    length += UDP_HEAD;
    put16(out, (uint32_t)address.port);
    put16(out + 2, get16(p));
    put16(out + 4, (uint32_t)length);
    put16(out + 6, 0);
    uint16_t sum = fold(add(ip_sum(UDP, &own, &from, length), out, length));
    put16(out + 6, sum ? sum : 0xffff);
    ip_send(UDP, own, from, length);
}
