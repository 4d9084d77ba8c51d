/* Who has which IPv4 address, as MirageOS keeps it (its arp library, which all images since 2018
   have). Only replies and announcements teach, and only about whom this image has asked: neither
   a request nor the frame that a packet came in does. While an answer is awaited, what is to be
   sent waits. The clock of all this ticks by itself, so a question is repeated within TICK_MS,
   and then every TICK_MS. An entry lasts for 20 minutes and is asked for anew in the last tick.

   `--neighbours=keep` is mirage-tcpip 2.0.2 to 2.3, of the winter of 2014: one question, and the
   first reply holds for ever. */
#include "stack.h"

enum { TICK_MS = ARP_TICK_MS, LIFE = ARP_LIFE, RETRIES = 5 }; /* the last two in ticks */
enum { REQUEST = 1, REPLY = 2 };
enum state { NONE, ASKED, KNOWN };

static bool keeps;
static struct entry {
    enum state state;
    uint32_t ip, until; /* the tick that ends it */
    uint8_t mac[6];
} entries[64];
static uint32_t epoch, ticked_at;

static struct entry *find(uint32_t ip)
{
    for (struct entry *e = entries; e < entries + sizeof entries / sizeof *entries; e++)
        if (e->state != NONE && e->ip == ip)
            return e;
    return NULL;
}

/* A free one, or else the one that would end first. */
static struct entry *place(void)
{
    struct entry *first = entries;

    for (struct entry *e = entries; e < entries + sizeof entries / sizeof *entries; e++) {
        if (e->state == NONE)
            return e;
        if ((int32_t)(e->until - first->until) < 0)
            first = e;
    }
    ethernet_drop(ip_of(first->ip));
    return first;
}

static void send(int operation, const uint8_t *to_mac, const uint8_t *target, uint32_t to)
{
    static uint8_t frame[ETHERNET + 28];
    uint8_t *p = frame + ETHERNET;

    memcpy(p, "\0\x01\x08\0\x06\x04", 6);
    put16(p + 6, (uint32_t)operation);
    memcpy(p + 8, mac, 6);
    put32(p + 14, address.ip);
    memcpy(p + 18, target, 6);
    put32(p + 24, to);
    ethernet_send(to_mac, ARP, p, 28);
}

void arp_start(bool keep)
{
    keeps = keep;
    ticked_at = now();
}

static void ask(uint32_t ip) { send(REQUEST, BROADCAST, BROADCAST, ip); }

void arp_announce(void)
{
    send(REQUEST, BROADCAST, (const uint8_t *)"\0\0\0\0\0\0", address.ip);
}

const uint8_t *arp_query(uint32_t ip)
{
    struct entry *e = find(ip);

    if (e == NULL) {
        e = place();
        *e = (struct entry){ .state = ASKED, .ip = ip, .until = epoch + RETRIES };
        ask(ip);
    }
    return e->state == KNOWN ? e->mac : NULL;
}

static void learn(uint32_t ip, const uint8_t *from_mac)
{
    struct entry *e = find(ip);

    if (e == NULL || (keeps && e->state == KNOWN))
        return;
    e->state = KNOWN;
    e->until = epoch + LIFE;
    memcpy(e->mac, from_mac, 6);
    ethernet_release(ip_of(ip), e->mac);
}

void arp_receive(const uint8_t *p, size_t n)
{
    if (n < 28 || memcmp(p, "\0\x01\x08\0\x06\x04", 6) != 0 || address.ip == 0)
        return;
    int operation = get16(p + 6);
    uint32_t from = get32(p + 14), about = get32(p + 24);

    if (operation == REPLY || (operation == REQUEST && from == about && !keeps))
        learn(from, p + 8);
    else if (operation == REQUEST && about == address.ip)
        send(REPLY, p + 8, p + 8, from);
}

static void tick(void)
{
    for (struct entry *e = entries; e < entries + sizeof entries / sizeof *entries; e++) {
        if (e->state == NONE)
            continue;
        if (e->until == epoch) {
            ethernet_drop(ip_of(e->ip));
            e->state = NONE;
        } else if (e->state == ASKED || e->until == epoch + 1) {
            ask(e->ip);
        }
    }
    epoch++;
}

void arp_tick(void)
{
    if (keeps || now() - ticked_at < TICK_MS)
        return;
    ticked_at = now(); /* none is made up for when the guest was paused */
    tick();
}
