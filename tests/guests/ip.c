/* What the two families of addresses have in common. */
#include "stack.h"

static uint8_t out[ETHERNET + IP6_HEAD + FRAME_MAX];

uint8_t *ip_payload(void) { return out + ETHERNET + IP6_HEAD; }

void ip_send(int protocol, struct ip from, struct ip to, size_t n)
{
    if (is_ipv4(&to))
        ip4_send(protocol, get32(to.byte + 12), ip_payload(), n);
    else
        ip6_send(protocol, from, to, ip_payload(), n);
}

uint32_t ip_sum(int protocol, const struct ip *from, const struct ip *to, size_t n)
{
    size_t begin = is_ipv4(to) ? 12 : 0;
    uint32_t sum = (uint32_t)protocol + (uint32_t)n;

    return add(add(sum, from->byte + begin, 16 - begin), to->byte + begin, 16 - begin);
}

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

struct ip ip_of(uint32_t ipv4)
{
    struct ip ip;

    memcpy(ip.byte, mapped, 12);
    put32(ip.byte + 12, ipv4);
    return ip;
}

bool is_ipv4(const struct ip *ip) { return memcmp(ip->byte, mapped, 12) == 0; }

bool ip_same(const struct ip *a, const struct ip *b) { return memcmp(a, b, sizeof *a) == 0; }

bool ip_none(const struct ip *ip)
{
    static const struct ip none;
    return ip_same(ip, &none);
}

/* The first of the longest runs of zeros, of two groups at least (RFC 5952); its length. */
static int zeros(const struct ip *ip, int *first)
{
    int most = 1, run = 0;

    for (int i = 0; i < 8; i++) {
        run = get16(ip->byte + 2 * i) == 0 ? run + 1 : 0;
        if (run > most) {
            most = run;
            *first = i - run + 1;
        }
    }
    return most > 1 ? most : 0;
}

char *ip_text(struct ip ip, char text[40])
{
    int first = 8, length = zeros(&ip, &first), n = 0;

    for (int i = 0; i < 8; i++) {
        if (i == first) {
            n += snprintf(text + n, 40 - (size_t)n, "::");
            i += length - 1;
        } else {
            bool after = i == 0 || (length > 0 && i == first + length);
            n += snprintf(text + n, 40 - (size_t)n, after ? "%x" : ":%x", get16(ip.byte + 2 * i));
        }
    }
    return text;
}
