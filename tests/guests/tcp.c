/* A TCP server that reads one request and answers it once: go-back-N, one window outstanding,
   no option but MSS. */
#include "stack.h"

enum { CONNECTIONS = 256, REQUEST = 2048, WINDOW = 2048, MSS = 1460 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { RETRY_MS = 200, RETRIES = 8, IDLE_MS = 60000 };
enum state { FREE, SYN_RECEIVED, READING, WAITING, SENDING };

static struct connection {
    enum state state;
    struct ip own, peer;
    uint16_t peer_port, mss;
    uint32_t first, acked, next; /* our sequence numbers: of the SYN, oldest unacked, next */
    uint32_t expected;           /* the peer's */
    uint32_t window;
    bool peer_closed;
    uint32_t at; /* of the last progress; in WAITING, when to answer */
    int tries;
    char request[REQUEST];
    size_t length;
    char room[ROOM];
    struct reply reply;
} connections[CONNECTIONS];

/* What a segment can hold, towards this peer. */
static uint16_t most(const struct connection *c) { return is_ipv4(&c->peer) ? MSS : MSS - 20; }

static void tcp_send(const struct connection *c, int flags, uint32_t sequence, const char *bytes,
                     size_t n)
{
    uint8_t *p = ip_payload();
    size_t head = flags & SYN ? 24 : 20;

    put16(p, (uint32_t)address.port);
    put16(p + 2, c->peer_port);
    put32(p + 4, sequence);
    put32(p + 8, c->expected);
    put16(p + 12, (uint32_t)(head / 4) << 12 | (uint32_t)flags);
    put16(p + 14, WINDOW);
    put32(p + 16, 0);
    if (flags & SYN)
        put32(p + 20, 0x02040000 | most(c));
    memcpy(p + head, bytes, n);

    put16(p + 16, fold(add(ip_sum(TCP, &c->own, &c->peer, head + n), p, head + n)));
    ip_send(TCP, c->own, c->peer, head + n);
}

static void acknowledge(const struct connection *c) { tcp_send(c, ACK, c->next, "", 0); }

/* What of the answer fits the peer's window, from the first byte not yet sent. */
static void transmit(struct connection *c)
{
    uint32_t end = c->first + 1 + (uint32_t)c->reply.length;

    while (c->next != end + 1) {
        uint32_t left = end - c->next, n = left < c->mss ? left : c->mss;
        if (n > 0 && (int32_t)(c->acked + c->window - c->next) < (int32_t)n)
            return;
        int last = n == left ? FIN : 0;
        tcp_send(c, ACK | PSH | last, c->next, c->reply.bytes + (c->next - c->first - 1), n);
        c->next += n + (last ? 1 : 0);
    }
}

static struct connection *connection(const struct connection *same)
{
    for (struct connection *c = connections; c < connections + CONNECTIONS; c++)
        if (c->state != FREE && c->peer_port == same->peer_port && ip_same(&c->peer, &same->peer) &&
            ip_same(&c->own, &same->own))
            return c;
    return NULL;
}

static uint16_t mss_option(const uint8_t *p, size_t head, uint16_t most)
{
    for (size_t i = 20; i + 1 < head && p[i] != 0; i += p[i] == 1 || p[i + 1] < 2 ? 1 : p[i + 1])
        if (p[i] == 2 && i + 3 < head && get16(p + i + 2) < most)
            return get16(p + i + 2) < 64 ? 64 : get16(p + i + 2);
    return most;
}

/* `c` carries the peer's names and sequence number. Without a free place the SYN is dropped,
   and the peer asks again. */
static void welcome(struct connection c, uint16_t mss)
{
    for (struct connection *place = connections; place < connections + CONNECTIONS; place++) {
        if (place->state != FREE)
            continue;
        c.state = SYN_RECEIVED;
        c.first = c.acked = now() * 250 + c.peer_port * 65539u;
        c.next = c.first + 1;
        c.at = now();
        c.mss = mss;
        *place = c;
        tcp_send(place, SYN | ACK, c.first, "", 0);
        return;
    }
}

static void read_request(struct connection *c, const uint8_t *p, size_t n)
{
    if (c->state == READING) {
        size_t room = REQUEST - c->length;
        memcpy(c->request + c->length, p, n < room ? n : room);
        c->length += n < room ? n : room;
        if (answer(c->request, c->length, false, c->room, &c->reply)) {
            c->state = WAITING;
            c->at = now() + c->reply.after_ms;
        }
    }
    c->expected += (uint32_t)n; /* whatever follows a whole request is taken and dropped */
}

static void acked(struct connection *c, uint32_t number, uint16_t window)
{
    c->window = window;
    if (number - c->acked > c->next - c->acked)
        return;
    if (number != c->acked) {
        c->acked = number;
        c->tries = 0;
        if (c->state != WAITING)
            c->at = now();
    }
    if (c->state == SYN_RECEIVED && number == c->first + 1)
        c->state = READING;
}

void tcp_receive(struct ip own, struct ip from, const uint8_t *p, size_t n)
{
    size_t head = n < 20 ? 0 : (size_t)(p[12] >> 4) * 4;
    if (head < 20 || n < head)
        return;
    int flags = p[13];
    uint32_t sequence = get32(p + 4), number = get32(p + 8);
    struct connection new = { .own = own, .peer = from, .peer_port = get16(p),
                              .window = get16(p + 14) };
    struct connection *c = connection(&new);

    n -= head;
    new.expected = sequence + (uint32_t)n + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    if (get16(p + 2) != address.port || (c == NULL && (flags & (SYN | ACK)) != SYN)) {
        if (!(flags & RST))
            tcp_send(&new, RST | ACK, flags & ACK ? number : 0, "", 0);
        return;
    }
    if (flags & RST || (c != NULL && flags & SYN && sequence + 1 != c->expected)) {
        if (c != NULL && (flags & SYN || sequence == c->expected))
            c->state = FREE;
        if (flags & RST)
            return;
        c = NULL;
    }
    if (c == NULL) {
        welcome(new, mss_option(p, head, most(&new)));
        return;
    }
    if (flags & SYN) { /* the same again: our answer was lost */
        tcp_send(c, SYN | ACK, c->first, "", 0);
        return;
    }
    if (flags & ACK)
        acked(c, number, new.window);
    if (sequence != c->expected) {
        acknowledge(c);
        return;
    }
    read_request(c, p + head, n);
    if (flags & FIN) {
        c->expected++;
        c->peer_closed = true;
        if (c->state == READING) { /* will never be a whole request */
            c->state = SENDING;
            c->reply = (struct reply){ .bytes = "" };
        }
    }
    if (c->state == SENDING)
        transmit(c);
    if (n > 0 || flags & FIN)
        acknowledge(c);
    /* no TIME-WAIT: a repeated FIN is answered by RST, and the peer has had everything by then */
    if (c->state == SENDING && c->peer_closed && c->acked == c->first + c->reply.length + 2)
        c->state = FREE;
}

static void tick(struct connection *c)
{
    uint32_t age = now() - c->at;

    if (c->state == READING || (c->state == SENDING && c->next == c->acked)) {
        if (age > IDLE_MS)
            c->state = FREE;
    } else if (c->state == WAITING) {
        if ((int32_t)age < 0)
            return;
        c->state = SENDING;
        c->at = now();
        transmit(c);
    } else if (age > (uint32_t)RETRY_MS << (c->tries < 4 ? c->tries : 4)) {
        c->at = now();
        if (c->tries++ == RETRIES) {
            c->state = FREE;
        } else if (c->state == SYN_RECEIVED) {
            tcp_send(c, SYN | ACK, c->first, "", 0);
        } else {
            c->next = c->acked;
            transmit(c);
        }
    }
}

bool tcp_tick(void)
{
    bool busy = false;

    for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
        if (c->state != FREE)
            tick(c);
        busy |= c->state != FREE;
    }
    return busy;
}
