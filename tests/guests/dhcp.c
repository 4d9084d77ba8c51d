/* DHCP (RFC 2131), the client's four messages, broadcast; but of renewals every other one is sent to
   the server alone. */
#include "stack.h"

enum { DISCOVER = 1, OFFER, REQUEST, PACK = 5, NAK };
enum { RETRY_MS = 2000, OPTIONS_AT = 8 + 240 };

static bool using, sent;
static uint32_t offered, server, sent_at, renew_ms, renewals;

static void dhcp_send(int type)
{
    uint8_t *udp = ip_payload(), *dhcp = udp + 8, *option = udp + OPTIONS_AT;

    memset(udp, 0, 300 + 8);
    memcpy(dhcp, "\x01\x01\x06\0", 4);
    memcpy(dhcp + 4, mac + 2, 4); /* the transaction, as good as any */
    put16(dhcp + 10, 0x8000);
    memcpy(dhcp + 28, mac, 6);
    put32(dhcp + 236, 0x63825363);
    memcpy(option, (uint8_t[]){ 53, 1, (uint8_t)type, 55, 2, 1, 3 }, 7);
    option += 7;
    if (type == REQUEST && address.ip == 0) {
        memcpy(option, "\x32\x04", 2);
        put32(option + 2, offered);
        memcpy(option + 6, "\x36\x04", 2);
        put32(option + 8, server);
        option += 12;
    }
    if (address.ip != 0)
        put32(dhcp + 12, address.ip);
    *option = 255;
    put32(udp, 68 << 16 | 67);
    put16(udp + 4, 300 + 8); /* no checksum: UDP over IPv4 may go without */
    ip4_send(UDP, address.ip && renewals++ % 2 == 0 ? server : 0xffffffff, udp, 300 + 8);
    sent = true;
    sent_at = now();
}

void dhcp_tick(void)
{
    using |= address.ip == 0 && ip_none(&address.link);
    uint32_t wait = !sent ? 0 : address.ip ? renew_ms : RETRY_MS;

    if (using && now() - sent_at >= wait)
        dhcp_send(address.ip ? REQUEST : DISCOVER);
}

/* The option's value, or NULL. */
static const uint8_t *find(const uint8_t *udp, size_t n, int wanted, size_t least)
{
    for (size_t i = OPTIONS_AT; i + 1 < n && udp[i] != 255;) {
        if (udp[i] == 0) {
            i++;
            continue;
        }
        if (udp[i] == wanted && udp[i + 1] >= least && i + 2 + udp[i + 1] <= n)
            return udp + i + 2;
        i += 2u + udp[i + 1];
    }
    return NULL;
}

static void lease(const uint8_t *udp, size_t n)
{
    const uint8_t *mask = find(udp, n, 1, 4), *router = find(udp, n, 3, 4),
                  *seconds = find(udp, n, 51, 4);
    uint32_t half = seconds ? get32(seconds) / 2 : 1800;
    bool first = address.ip == 0;

    renew_ms = (half < 86400 ? half : 86400) * 1000;
    address.ip = get32(udp + 8 + 16);
    address.gateway = router ? get32(router) : 0;
    address.prefix = 0;
    for (uint32_t bits = mask ? get32(mask) : 0xffffff00; bits & 0x80000000; bits <<= 1)
        address.prefix++;
    if (first)
        say("Lease obtained! IP: %u.%u.%u.%u\n", address.ip >> 24, address.ip >> 16 & 255,
            address.ip >> 8 & 255, address.ip & 255);
}

void dhcp_receive(const uint8_t *udp, size_t n)
{
    const uint8_t *type;

    if (!using || n < OPTIONS_AT || get16(udp + 2) != 68 || memcmp(udp + 12, mac + 2, 4) != 0 ||
        memcmp(udp + 36, mac, 6) != 0 || (type = find(udp, n, 53, 1)) == NULL)
        return;
    if (*type == OFFER && address.ip == 0 && find(udp, n, 54, 4)) {
        offered = get32(udp + 8 + 16);
        server = get32(find(udp, n, 54, 4));
        dhcp_send(REQUEST);
    }
    if (*type == PACK)
        lease(udp, n);
}
