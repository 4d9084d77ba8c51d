/* unix/socket: the host's sockets in place of a stack of our own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"

enum { CLIENTS = 256, REQUEST = 2048 };

static struct client {
    char request[REQUEST];
    size_t length, sent;
    bool ready;
    uint32_t at;
    struct reply reply;
} clients[CLIENTS];
static struct pollfd polled[CLIENTS + 2]; /* the last are the listener, and a name server's datagrams */

static int open_at(const struct options *options, int kind)
{
    int one = 1, fd = socket(AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)options->port),
        .sin_addr.s_addr = htonl(options->ipv4), /* none given: 0, every address */
    };

    /* SO_REUSEADDR only, and for streams only, as MirageOS: two versions cannot share a port */
    if (kind == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        (kind == SOCK_STREAM && listen(fd, 128) < 0)) {
        say("port %d: %s\n", options->port, strerror(errno));
        return -1;
    }
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

static void welcome(int listener)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (polled[i].fd >= 0)
            continue;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        clients[i] = (struct client){ .ready = false };
        polled[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
}

static void receive(int i)
{
    struct client *c = &clients[i];
    ssize_t n = read(polled[i].fd, c->request + c->length, REQUEST - c->length - 1);

    if (n <= 0) {
        forget(i);
        return;
    }
    c->length += (size_t)n;
    c->ready = answer(c->request, c->length, &c->reply);
    if (c->ready)
        polled[i].events = 0;
    c->at = now() + c->reply.after_ms;
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

int serve(const struct options *options)
{
    say("Dual IPv4 and IPv6 socket stack: connect\n");
    for (uint32_t start = now(); options->fail == FAIL_LATE && now() - start < options->fail_value;)
        poll(NULL, 0, 10);
    int datagrams = dns_serves() ? open_at(options, SOCK_DGRAM) : -1;
    int listener = open_at(options, SOCK_STREAM);
    if (listener < 0 || (dns_serves() && datagrams < 0))
        return 1;
    say("listening on %d/%s\n", options->port, dns_serves() ? "UDP and TCP" : "TCP");
    while (options->fail == FAIL_HANG)
        pause();
    for (int i = 0; i < CLIENTS; i++)
        polled[i].fd = -1;
    polled[CLIENTS] = (struct pollfd){ .fd = listener, .events = POLLIN };
    polled[CLIENTS + 1] = (struct pollfd){ .fd = datagrams, .events = POLLIN };
    for (;;) {
        poll(polled, CLIENTS + 2, patience(options));
        for (int i = 0; i < CLIENTS; i++) {
            if (polled[i].fd < 0)
                continue;
            if (clients[i].ready ? polled[i].revents & (POLLERR | POLLHUP) : polled[i].revents)
                clients[i].ready ? forget(i) : receive(i);
            if (polled[i].fd >= 0 && clients[i].ready && (int32_t)(now() - clients[i].at) >= 0)
                reply(i);
        }
        welcome(listener);
        if (datagrams >= 0)
            answer_datagrams(datagrams);
        flood();
    }
}
