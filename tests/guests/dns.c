/* A name server for one small zone, by UDP and by TCP, in place of the pages. RFC 1035, without
   EDNS; names are compressed to what was asked alone. In the zone, named by --dns:

   ZONE              SOA, NS ns.ZONE
   ns.ZONE, www.ZONE A 192.0.2.80, AAAA 2001:db8::80
   version.ZONE      TXT: the version and the message
   big.ZONE          TXT: more than a datagram holds */
#include "guest.h"

enum { HEAD = 12, NAME = 255, DATAGRAM = 512, MESSAGE = 1400, ANSWERS = 256, TTL = 60 };
enum { A = 1, NS = 2, SOA = 6, TXT = 16, AAAA = 28, EVERYTHING = 255, INTERNET = 1 };
enum { FORMAT_ERROR = 1, NO_SUCH_NAME = 3, NOT_IMPLEMENTED, REFUSED };
enum { AUTHORITY = 0x8400, CUT = 0x0200 }; /* with RESPONSE: of the flags */
enum { POINTER = 0xc000 };

struct message {
    uint8_t *bytes;
    size_t length, most;
    uint32_t flags, answers, authorities;
    size_t zone; /* where the zone's name is, in the question */
};

static uint8_t zone[NAME];
static size_t zone_length; /* 0: pages are served */
static char text[NAME + 1];

static uint32_t get(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static uint8_t *put(uint8_t *p, uint32_t v)
{
    *p++ = (uint8_t)(v >> 8);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t small(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 32) : c; }

/* Labels with their lengths; false: `name` is none. */
bool dns_start(const char *name, const char *version, const char *message)
{
    size_t label = 0;

    for (zone_length = 1; *name != '\0' && zone_length < NAME - 1; name++) {
        if (*name != '.') {
            zone[zone_length++] = small((uint8_t)*name);
            zone[label]++;
        } else if (zone[label] == 0 || zone[label] > 63) {
            return false;
        } else if (name[1] != '\0') {
            label = zone_length++;
        }
    }
    zone[zone_length++] = 0;
    snprintf(text, sizeof text, "%s %s", version, message);
    return zone[label] > 0 && zone[label] < 64;
}

bool dns_serves(void) { return zone_length > 0; }

static void count(struct message *m, bool authority)
{
    if (authority)
        m->authorities++;
    else
        m->answers++;
}

/* Of the name at `name` in the message. What does not fit is left out, and the message says so. */
static void record(struct message *m, size_t name, bool authority, uint32_t type,
                   const void *data, size_t n)
{
    uint8_t *p = m->bytes + m->length;

    if (m->length + 12 + n > m->most) {
        m->flags |= CUT;
        return;
    }
    p = put(put(put(p, POINTER | (uint32_t)name), type), INTERNET);
    p = put(put(put(p, 0), TTL), (uint32_t)n);
    memcpy(p, data, n);
    m->length += 12 + n;
    count(m, authority);
}

/* `ns` or `admin` in the zone. */
static uint8_t *within(const struct message *m, uint8_t *p, const char *label)
{
    size_t n = strlen(label);

    *p++ = (uint8_t)n;
    memcpy(p, label, n);
    return put(p + n, POINTER | (uint32_t)m->zone);
}

static void start_of_authority(struct message *m, bool authority)
{
    static const uint8_t times[20] = { 0, 0, 0, 1, 0, 0, 0, TTL, 0, 0, 0, TTL, 0, 0, 0, TTL,
                                       0, 0, 0, TTL };
    uint8_t data[64], *p = within(m, within(m, data, "ns"), "admin");

    memcpy(p, times, sizeof times);
    record(m, m->zone, authority, SOA, data, (size_t)(p - data) + sizeof times);
}

static void texts(struct message *m, const char *words, int times)
{
    uint8_t data[MESSAGE];
    size_t n = strlen(words), length = 0;

    for (; times > 0 && length + 1 + n <= sizeof data; times--) {
        data[length++] = (uint8_t)n;
        memcpy(data + length, words, n);
        length += n;
    }
    record(m, HEAD, false, TXT, data, length);
}

static bool wanted(uint32_t asked, uint32_t type) { return asked == type || asked == EVERYTHING; }

/* What the zone has of `label`, NULL being the zone itself; false: nothing, of no type. */
static bool look_up(struct message *m, const char *label, uint32_t type)
{
    static const uint8_t ipv4[4] = { 192, 0, 2, 80 },
                         ipv6[16] = { 0x20, 1, 0x0d, 0xb8, [15] = 0x80 };
    uint8_t server[16];

    if (label == NULL) {
        if (wanted(type, SOA))
            start_of_authority(m, false);
        if (wanted(type, NS))
            record(m, HEAD, false, NS, server, (size_t)(within(m, server, "ns") - server));
        return true;
    }
    if (strcmp(label, "version") == 0 || strcmp(label, "big") == 0) {
        if (wanted(type, TXT))
            texts(m, *label == 'v' ? text : "sixty bytes of text to fill what is to be too long",
                  *label == 'v' ? 1 : 16);
        return true;
    }
    if (strcmp(label, "www") != 0 && strcmp(label, "ns") != 0)
        return false;
    if (wanted(type, A))
        record(m, HEAD, false, A, ipv4, sizeof ipv4);
    if (wanted(type, AAAA))
        record(m, HEAD, false, AAAA, ipv6, sizeof ipv6);
    return true;
}

/* The length of the name at `p`, which is no longer than `n`; 0: it is none. */
static size_t named(const uint8_t *p, size_t n)
{
    size_t at = 0;

    while (at < n && p[at] != 0 && p[at] < 64)
        at += 1u + p[at];
    return at < n && at < NAME && p[at] == 0 ? at + 1 : 0;
}

static void reply(struct message *m, const uint8_t *name, size_t length, uint32_t type)
{
    char label[64] = "";
    size_t before = length - zone_length;

    for (size_t i = 0; i < zone_length; i++)
        if (length < zone_length || small(name[before + i]) != zone[i]) {
            m->flags = (m->flags & ~(uint32_t)0x0400) | REFUSED;
            return;
        }
    m->zone = HEAD + before;
    for (size_t i = 0; i < name[0] && before > 0; i++)
        label[i] = (char)small(name[1 + i]);
    bool deeper = before > 1u + name[0];
    if (deeper || !look_up(m, before > 0 ? label : NULL, type))
        m->flags |= NO_SUCH_NAME;
    if (m->answers == 0 && !(m->flags & CUT))
        start_of_authority(m, true);
}

/* The answer to the `n` bytes of `asked`, at most `most`; its length, 0: none is due. */
static size_t respond(const uint8_t *asked, size_t n, uint8_t *room, size_t most)
{
    struct message m = { .bytes = room, .length = HEAD, .most = most, .flags = AUTHORITY };

    if (n < HEAD || asked[2] & 0x80)
        return 0;
    m.flags |= get(asked + 2) & 0x7900; /* its kind, and whether recursion is desired */
    size_t length = named(asked + HEAD, n - HEAD);
    bool whole = get(asked + 4) == 1 && length > 0 && HEAD + length + 4 <= n;
    if (whole) {
        m.length = HEAD + length + 4;
        memcpy(room, asked, m.length);
    }
    if (asked[2] & 0x78)
        m.flags |= NOT_IMPLEMENTED;
    else if (!whole)
        m.flags |= FORMAT_ERROR;
    else
        reply(&m, asked + HEAD, length, get(asked + HEAD + length));
    put(put(put(put(put(put(room, get(asked)), m.flags), whole), m.answers), m.authorities), 0);
    return m.length;
}

size_t dns_datagram(const uint8_t *asked, size_t n, uint8_t *room)
{
    return respond(asked, n, room, DATAGRAM);
}

/* As many answers are kept as there may be connections. */
bool dns_stream(const char *request, size_t length, struct reply *reply)
{
    static uint8_t answers[ANSWERS][2 + MESSAGE];
    static unsigned next;
    const uint8_t *asked = (const uint8_t *)request;

    if (length < 2 || length - 2 < get(asked))
        return false;
    uint8_t *room = answers[next++ % ANSWERS];
    size_t n = respond(asked + 2, get(asked), room + 2, MESSAGE);
    put(room, (uint32_t)n);
    *reply = (struct reply){ .bytes = (const char *)room, .length = n > 0 ? n + 2 : 0 };
    return true;
}
