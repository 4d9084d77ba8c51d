/* The web guest: one small web server in the shapes a MirageOS image comes in.

   options.c  the command line: values.c     web.c     the pages
   stack.c    the network: ethernet.c, ip.c, arp.c, ip4.c, dhcp.c, ndp.c, ip6.c
   tcp.c      the server
   acme.c     challenges, the redirect to HTTPS
   dns.c      a name server in its place, by --dns; udp.c, its datagrams
   socket.c   the host's sockets instead of our own stack, with TLS: tls.c, pair.c
   direct.c, virtio.c, netfront.c            one network device each */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Declared here because a freestanding i386 build has no C library's headers. */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
int snprintf(char *to, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int vsnprintf(char *to, size_t room, const char *format, va_list values);

enum { LINE_MAX_BYTES = 8192, ARGS_MAX = 256 };

/* As MirageOS: an exception that nobody takes, `--help`, a bad command line;
   and as the scaffold's image, a certificate that cannot be served with. */
enum { EXIT_EXCEPTION = 2, EXIT_HELP = 63, EXIT_USAGE = 64, EXIT_CONFIG = 78 };

enum shape { SHAPE_SOCKET = 1, SHAPE_DIRECT = 2, SHAPE_BARE = 4, SHAPE_PV = 8, SHAPE_TLS = 16 };

enum fail { FAIL_NOT, FAIL_EXIT, FAIL_CRASH, FAIL_HANG, FAIL_SILENT, FAIL_FLOOD, FAIL_LATE,
            FAIL_DEAF, FAIL_MEMORY };

/* An address of either family: IPv4's as ::ffff:a.b.c.d (RFC 4291). */
struct ip { uint8_t byte[16]; };

struct options {
    uint32_t ipv4, gateway; /* host byte order; 0: none given */
    int prefix;
    struct ip ipv6, ipv6_gateway; /* ::, none given */
    int ipv6_prefix;
    bool ipv4_only, ipv6_only, detect_duplicates;
    int port;
    int status;
    const char *message;
    const char *dns; /* the zone of a name server; NULL: a web server */
    const char *interface;
    const char *mac;
    bool keep; /* what was learned of a neighbour, for ever */
    enum fail fail;
    uint32_t fail_value; /* exit: the code; late: milliseconds */
    uint32_t first_ms;   /* how long the first request waits for its answer */
    uint32_t threads;
    const char *tls_certificate, *tls_key, *acme_thumbprint; /* NULL: none given */
    bool redirect;
    int https_port;
};

/* split.c: Solo5's rules, in place. The number of tokens, or -1: an unterminated quote. */
int split(char *line, char **tokens, int room);

/* options.c: 0, or the code to exit with (what is wrong has been said). */
int options_read(struct options *options, enum shape shape, int count, char **tokens);

/* values.c */
bool mac_read(const char *text, uint8_t *mac);

/* web.c */
int guest_main(enum shape shape, char *line); /* `line`: the arguments, yet to be split */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void flood(void); /* does nothing unless --fail=flood */
struct reply { const char *bytes; size_t length; uint32_t after_ms; bool keep; };
enum { ROOM = 768 };
/* Whether `request` is complete; if so, what to answer and when, which may be in `room`. `tls`:
   whether it came so; then the connection may be kept for another. */
bool answer(const char *request, size_t length, bool tls, char room[ROOM], struct reply *reply);

/* acme.c: before what web.c answers. PLAIN_CHALLENGE has its answer in `text`, PLAIN_REDIRECT the
   new address. */
enum plain { PLAIN_ORDINARY, PLAIN_MISSING, PLAIN_CHALLENGE, PLAIN_REDIRECT };
void acme_open(const struct options *options);
enum plain acme_answer(const char *request, size_t length, char text[ROOM]);

/* dns.c: a name server for zone `name` (false: it is none) whose text is `version` and `message`. */
bool dns_start(const char *name, const char *version, const char *message);
bool dns_serves(void);
/* The answer to a datagram of `n` bytes, in `room` of 512; its length, 0: none is due. */
size_t dns_datagram(const uint8_t *asked, size_t n, uint8_t *room);
bool dns_stream(const char *request, size_t length, struct reply *reply); /* as `answer` */

/* stack.c or socket.c: prints that the stack is up, then serves until the end of the world. */
int serve(const struct options *options);

/* The platform. */
uint32_t now(void); /* milliseconds since the start */
enum stream { OUT = 1, LOG = 2 }; /* on unix stdout and stderr; elsewhere one console */
void console(enum stream stream, const char *text, size_t length);
void crash(void) __attribute__((noreturn));
void deaf(void); /* ignore the request to end, where the platform has one */
bool take_memory(uint32_t megabytes); /* for good; false: there is not so much */
void fatal(void) __attribute__((noreturn)); /* the end after an exception that nobody takes */
void start_threads(uint32_t count); /* idle ones, where the platform has any */

/* The network device. */
enum { FRAME_MAX = 1514 };
extern uint8_t mac[6];
bool device_open(const struct options *options);
size_t device_receive(uint8_t *frame); /* 0: none waits */
void device_send(const uint8_t *frame, size_t length);
void device_wait(uint32_t ms); /* at most `ms`, or until a frame may have come */

#endif
