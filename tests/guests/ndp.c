/* Who has which IPv6 address, as mirage-tcpip keeps it (neighbour unreachability detection of
   RFC 4861, by its own clock of a second). Unlike ARP's, the questions of others teach, too. An
   unasked advertisement of another hardware address is not believed at once: the old one is used
   for DELAY_MS more, then asked itself, and only when it is silent the question goes to all. */
#include "stack.h"

enum { TICK_MS = NDP_TICK_MS, REACHABLE_MS = 30000, DELAY_MS = 5000, RETRIES = 3 };
enum { QUESTION = 135, ANSWER = 136, SIZE = 32, OVERRIDE = 0x20, SOLICITED = 0x40 };
enum { OF_SOURCE = 1, OF_TARGET = 2 }; /* whose hardware address an option holds */
enum state { NONE, ASKED, REACHABLE, STALE, DELAY, PROBE };

static struct entry {
    enum state state;
    struct ip ip;
    uint32_t until;
    int tries;
    uint8_t mac[6];
} entries[64];
static uint32_t ticked_at;
static bool taken;

static struct entry *find(struct ip ip)
{
    for (struct entry *e = entries; e < entries + sizeof entries / sizeof *entries; e++)
        if (e->state != NONE && ip_same(&e->ip, &ip))
            return e;
    return NULL;
}

/* A free one, or else each in its turn. */
static struct entry *place(void)
{
    static size_t turn;

    for (struct entry *e = entries; e < entries + sizeof entries / sizeof *entries; e++)
        if (e->state == NONE)
            return e;
    struct entry *e = &entries[turn++ % (sizeof entries / sizeof *entries)];
    ethernet_drop(e->ip);
    return e;
}

static void set(struct entry *e, enum state state, uint32_t ms)
{
    e->state = state;
    e->until = now() + ms;
    e->tries = 0;
}

static void send(int type, int flags, struct ip from, struct ip to, struct ip target)
{
    /* One for each type: to answer may take a question first. */
    static uint8_t frames[2][ETHERNET + IP6_HEAD + SIZE];
    uint8_t *p = frames[type == ANSWER] + ETHERNET + IP6_HEAD;
    size_t n = ip_none(&from) ? SIZE - 8 : SIZE; /* nobody has no hardware address */

    put32(p, (uint32_t)type << 24);
    put32(p + 4, (uint32_t)flags << 24);
    memcpy(p + 8, target.byte, 16);
    p[24] = type == ANSWER ? OF_TARGET : OF_SOURCE;
    p[25] = 1;
    memcpy(p + 26, mac, 6);
    put16(p + 2, fold(add(ip_sum(ICMP6, &from, &to, n), p, n)));
    ip6_send(ICMP6, from, to, p, n);
}

/* The group of those whose address ends like this one. */
static struct ip solicited(struct ip ip)
{
    struct ip group = { .byte = { 0xff, 2, [11] = 1, [12] = 0xff } };

    memcpy(group.byte + 13, ip.byte + 13, 3);
    return group;
}

static void ask(struct ip ip, struct ip to)
{
    send(QUESTION, 0, ip_none(&address.ip6) ? address.link : address.ip6, to, ip);
}

const uint8_t *ndp_query(struct ip ip)
{
    struct entry *e = find(ip);

    if (e == NULL) {
        e = place();
        e->ip = ip;
        set(e, ASKED, TICK_MS);
        ask(ip, solicited(ip));
    } else if (e->state == STALE) {
        set(e, DELAY, DELAY_MS);
    }
    return e->state == ASKED ? NULL : e->mac;
}

static void learn(struct entry *e, enum state state, const uint8_t *whose)
{
    bool waited = e->state == ASKED;

    set(e, state, REACHABLE_MS);
    memmove(e->mac, whose, 6);
    if (waited)
        ethernet_release(e->ip, e->mac);
}

static void solicitation(struct ip from, struct ip target, const uint8_t *whose)
{
    struct entry *e = find(from);
    bool known = e != NULL && e->state != ASKED;

    if (whose != NULL && !ip_none(&from) && !(known && memcmp(e->mac, whose, 6) == 0)) {
        if (e == NULL) {
            e = place();
            *e = (struct entry){ .ip = from };
        }
        learn(e, STALE, whose);
    }
    if (address.tentative || !(ip_same(&target, &address.ip6) || ip_same(&target, &address.link)))
        return;
    static const struct ip all_nodes = { .byte = { 0xff, 2, [15] = 1 } };
    if (ip_none(&from))
        send(ANSWER, OVERRIDE, target, all_nodes, target);
    else
        send(ANSWER, SOLICITED | OVERRIDE, target, from, target);
}

static void advertisement(struct entry *e, int flags, const uint8_t *whose)
{
    bool asked = flags & SOLICITED, override = flags & OVERRIDE;
    bool same = whose == NULL || memcmp(e->mac, whose, 6) == 0;

    if (whose == NULL && (e->state != PROBE || !asked || override))
        return;
    if (e->state == ASKED)
        learn(e, asked ? REACHABLE : STALE, whose);
    else if (asked && (override || (e->state == PROBE && same)))
        learn(e, REACHABLE, whose ? whose : e->mac);
    else if (!same && (asked ? e->state == REACHABLE : override))
        e->state = STALE; /* but with its old hardware address */
}

/* NULL: there is no such option. */
static const uint8_t *option(const uint8_t *p, size_t n, int kind)
{
    for (size_t i = 24; i + 8 <= n && p[i + 1] != 0; i += (size_t)p[i + 1] * 8)
        if (p[i] == kind && p[i + 1] == 1)
            return p + i + 2;
    return NULL;
}

void ndp_receive(struct ip from, const uint8_t *p, size_t n)
{
    struct ip target;

    if (n < 24)
        return;
    memcpy(&target, p + 8, 16);
    if (p[0] == QUESTION)
        solicitation(from, target, option(p, n, OF_SOURCE));
    else if (ip_same(&target, &address.ip6) || ip_same(&target, &address.link))
        taken = true;
    else if (find(target) != NULL)
        advertisement(find(target), p[4], option(p, n, OF_TARGET));
}

void ndp_start(void)
{
    static const struct ip nobody;

    ticked_at = now();
    send(QUESTION, 0, nobody, solicited(address.link), address.link);
    if (!ip_none(&address.ip6))
        send(QUESTION, 0, nobody, solicited(address.ip6), address.ip6);
}

bool ndp_taken(void) { return taken; }

static void tick(struct entry *e)
{
    if (e->state == NONE || e->state == STALE || (int32_t)(now() - e->until) < 0)
        return;
    if (e->state == REACHABLE) {
        set(e, STALE, 0);
    } else if (e->state == DELAY) {
        set(e, PROBE, TICK_MS);
        ask(e->ip, e->ip);
    } else if (e->tries++ < RETRIES) {
        e->until = now() + TICK_MS;
        ask(e->ip, e->state == PROBE ? e->ip : solicited(e->ip));
    } else {
        ethernet_drop(e->ip);
        e->state = NONE;
    }
}

void ndp_tick(void)
{
    if (ip_none(&address.link) || now() - ticked_at < TICK_MS)
        return;
    ticked_at = now();
    for (struct entry *e = entries; e < entries + sizeof entries / sizeof *entries; e++)
        tick(e);
}
