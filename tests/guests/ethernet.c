/* Frames: taken when they are for this hardware address or a group, as MirageOS does, and held
   back while it is being asked where they go. */
#include "stack.h"

enum { HELD = 128 }; /* frames; MirageOS has no limit */

static struct held {
    struct ip hop;
    size_t length; /* 0: none */
    uint8_t frame[FRAME_MAX];
} held[HELD];

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

static void head(uint8_t *frame, const uint8_t *to_mac, int type)
{
    memcpy(frame, to_mac, 6);
    memcpy(frame + 6, mac, 6);
    put16(frame + 12, (uint32_t)type);
}

void ethernet_send(const uint8_t *to_mac, int type, uint8_t *payload, size_t n)
{
    head(payload - ETHERNET, to_mac, type);
    device_send(payload - ETHERNET, n + ETHERNET);
}

void ethernet_receive(const uint8_t *frame, size_t n)
{
    if (n < ETHERNET || (!(frame[0] & 1) && memcmp(frame, mac, 6) != 0))
        return;
    if (get16(frame + 12) == IPV6)
        ip6_receive(frame + ETHERNET, n - ETHERNET);
    if (address.tentative)
        return;
    if (get16(frame + 12) == ARP)
        arp_receive(frame + ETHERNET, n - ETHERNET);
    if (get16(frame + 12) == IPV4)
        ip4_receive(frame + ETHERNET, n - ETHERNET);
}

void ethernet_hold(struct ip hop, int type, const uint8_t *payload, size_t n)
{
    struct held *free = NULL;

    for (struct held *h = held; h < held + HELD; h++) {
        if (h->length == 0)
            free = free ? free : h;
        else if (h->length == n + ETHERNET && memcmp(h->frame + ETHERNET, payload, n) == 0)
            return; /* a segment that was repeated meanwhile */
    }
    if (free == NULL)
        return;
    free->hop = hop;
    free->length = n + ETHERNET;
    head(free->frame, BROADCAST, type);
    memcpy(free->frame + ETHERNET, payload, n);
}

/* NULL: to nobody. */
static void let_go(struct ip hop, const uint8_t *to_mac)
{
    for (struct held *h = held; h < held + HELD; h++) {
        if (h->length == 0 || !ip_same(&h->hop, &hop))
            continue;
        if (to_mac != NULL) {
            memcpy(h->frame, to_mac, 6);
            device_send(h->frame, h->length);
        }
        h->length = 0;
    }
}

void ethernet_release(struct ip hop, const uint8_t *to_mac) { let_go(hop, to_mac); }
void ethernet_drop(struct ip hop) { let_go(hop, NULL); }
