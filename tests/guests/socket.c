/* unix/socket: the host's sockets in place of a stack of our own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls.h"

enum { CLIENTS = SESSIONS, REQUEST = 2048 };
enum { PLAIN = CLIENTS, SECURE, DATAGRAMS }; /* the listeners, behind them */
enum { WITH_TLS = UNIX_SHAPE == SHAPE_TLS }; /* else its calls are left out, and nothing to link */

static struct client {
    char request[REQUEST];
    size_t length, sent;
    bool ready, tls, closing;
    uint32_t at;
    char room[ROOM];
    struct reply reply;
} clients[CLIENTS];
static struct pollfd polled[CLIENTS + 3];

static int open_at(const struct options *options, int port, int kind, const char *what)
{
    int one = 1, fd = socket(AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(options->ipv4), /* none given: 0, every address */
    };

    /* SO_REUSEADDR only, and for streams only, as MirageOS: two versions cannot share a port */
    if (kind == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        (kind == SOCK_STREAM && listen(fd, 128) < 0)) {
        say("port %d: %s\n", port, strerror(errno));
        return -1;
    }
    say("listening on %d%s\n", port, what);
    return fd;
}

/* All that wait. */
static void answer_datagrams(int fd)
{
    static uint8_t asked[REQUEST], room[REQUEST];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t n;

    while ((n = recvfrom(fd, asked, sizeof asked, 0, (struct sockaddr *)&from, &size)) >= 0) {
        size_t length = dns_datagram(asked, (size_t)n, room);
        if (length > 0)
            (void)!sendto(fd, room, length, 0, (struct sockaddr *)&from, size);
    }
}

static void forget(int i)
{
    close(polled[i].fd);
    polled[i].fd = -1;
}

static void welcome(int listener, bool tls)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (polled[i].fd >= 0)
            continue;
        int fd = accept4(polled[listener].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        clients[i] = (struct client){ .tls = tls };
        polled[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
        if (WITH_TLS && tls)
            tls_begin(i);
    }
}

static void hear(struct client *c, size_t n)
{
    c->length += n;
    c->ready = answer(c->request, c->length, c->tls, c->room, &c->reply);
    c->at = now() + c->reply.after_ms;
}

static bool due(const struct client *c)
{
    return c->ready && (int32_t)(now() - c->at) >= 0;
}

static void receive(int i)
{
    struct client *c = &clients[i];
    ssize_t n = read(polled[i].fd, c->request + c->length, REQUEST - c->length - 1);

    if (n <= 0) {
        forget(i);
        return;
    }
    hear(c, (size_t)n);
    if (c->ready)
        polled[i].events = 0;
}

static void reply(int i)
{
    struct client *c = &clients[i];
    ssize_t n = write(polled[i].fd, c->reply.bytes + c->sent, c->reply.length - c->sent);

    c->sent += n > 0 ? (size_t)n : 0;
    polled[i].events = POLLOUT; /* wanted only when the write fell short */
    if ((n < 0 && errno != EAGAIN) || c->sent == c->reply.length)
        forget(i);
}

/* Whether `done`, of a read or a write, was more than nothing; else what is waited for, if anything
   can be. */
static bool moved(int i, ssize_t done, short awaited)
{
    if (done < 0 && errno == EAGAIN)
        polled[i].events = awaited;
    else if (done <= 0)
        forget(i);
    return done > 0;
}

/* The next thing between TLS and its application. False: there is none. */
static bool speak(int i)
{
    struct client *c = &clients[i];
    size_t n = 0;

    if (!c->ready && (n = tls_read(i, c->request + c->length, REQUEST - c->length - 1)) > 0) {
        hear(c, n);
    } else if (due(c) && c->sent < c->reply.length) {
        n = tls_write(i, c->reply.bytes + c->sent, c->reply.length - c->sent);
        c->sent += n;
    } else if (due(c) && c->reply.keep) {
        c->ready = false;
        c->length = c->sent = 0;
        n = 1;
    } else if (due(c) && !c->closing) {
        c->closing = true;
        tls_close(i);
        n = 1;
    }
    return n > 0;
}

/* All that can be done without waiting. */
static void converse(int i)
{
    size_t n;

    polled[i].events = 0;
    for (bool more = true; more;) {
        const uint8_t *out = tls_outgoing(i, &n);
        uint8_t *in;

        if (out != NULL) {
            ssize_t sent = write(polled[i].fd, out, n);
            more = moved(i, sent, POLLOUT);
            if (more)
                tls_sent(i, (size_t)sent);
        } else if (tls_ended(i) || clients[i].closing) {
            forget(i);
            return;
        } else if (speak(i)) {
            continue;
        } else if (clients[i].ready && !due(&clients[i])) {
            return; /* its time will come */
        } else if ((in = tls_room(i, &n)) == NULL) {
            forget(i); /* a request without an end */
            return;
        } else {
            ssize_t came = read(polled[i].fd, in, n);
            more = moved(i, came, POLLIN);
            if (more)
                tls_came(i, (size_t)came);
        }
    }
}

/* Milliseconds until the next held answer is due; -1: none is held. */
static int patience(const struct options *options)
{
    int32_t least = options->fail == FAIL_FLOOD ? 1 : INT32_MAX;

    for (int i = 0; i < CLIENTS; i++) {
        int32_t left = (int32_t)(clients[i].at - now());
        if (polled[i].fd >= 0 && clients[i].ready && clients[i].sent == 0 && left < least)
            least = left > 0 ? left : 0;
    }
    return least == INT32_MAX ? -1 : least;
}

static void attend(int i)
{
    struct client *c = &clients[i];
    short came = polled[i].revents;

    if (WITH_TLS && c->tls) {
        if (came || (due(c) && c->sent == 0))
            converse(i);
        return;
    }
    if (c->ready ? came & (POLLERR | POLLHUP) : came)
        c->ready ? forget(i) : receive(i);
    if (polled[i].fd >= 0 && due(c))
        reply(i);
}

int serve(const struct options *options)
{
    if (WITH_TLS && !tls_open(options))
        return EXIT_CONFIG;
    say("Dual IPv4 and IPv6 socket stack: connect\n");
    for (uint32_t start = now(); options->fail == FAIL_LATE && now() - start < options->fail_value;)
        poll(NULL, 0, 10);
    for (int i = 0; i <= DATAGRAMS; i++)
        polled[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
    if (dns_serves() &&
        (polled[DATAGRAMS].fd = open_at(options, options->port, SOCK_DGRAM, "/UDP")) < 0)
        return 1;
    if ((polled[PLAIN].fd = open_at(options, options->port, SOCK_STREAM, "/TCP")) < 0)
        return 1;
    if (options->tls_certificate != NULL &&
        (polled[SECURE].fd = open_at(options, options->https_port, SOCK_STREAM,
                                     "/TCP for HTTPS")) < 0)
        return 1;
    while (options->fail == FAIL_HANG)
        pause();
    for (;;) {
        poll(polled, DATAGRAMS + 1, patience(options));
        for (int i = 0; i < CLIENTS; i++)
            if (polled[i].fd >= 0)
                attend(i);
        welcome(PLAIN, false);
        if (polled[SECURE].fd >= 0)
            welcome(SECURE, true);
        if (polled[DATAGRAMS].fd >= 0)
            answer_datagrams(polled[DATAGRAMS].fd);
        flood();
    }
}
