/* The application: its pages, its console lines, its misbehaviours. */
#include "guest.h"

#ifndef VERSION
#define VERSION "1"
#endif
#define CLOSE "Connection: close\r\n"

static enum fail failure;
static uint32_t first_ms;
static struct reply page[2], args[2], missing[2]; /* the second keeps the connection */

void say(const char *format, ...)
{
    static char line[LINE_MAX_BYTES + 256];
    va_list values;

    va_start(values, format);
    int n = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (failure != FAIL_SILENT)
        console(LOG, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void flood(void)
{
    static const char line[] = "flood flood flood flood flood flood flood flood flood flood\n";
    for (int i = 0; failure == FAIL_FLOOD && i < 64; i++)
        console(LOG, line, sizeof line - 1);
}

static struct reply http(char *room, size_t size, int status, const char *more, const char *body)
{
    int n = snprintf(room, size,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %u\r\n"
                     "%s\r\n%s",
                     status, status == 200 ? "OK" : "Other", (unsigned)strlen(body), more, body);
    return (struct reply){ .bytes = room, .length = (size_t)n };
}

static void both(struct reply reply[2], int status, const char *body)
{
    static char rooms[6][LINE_MAX_BYTES + 512];
    static int used;

    reply[0] = http(rooms[used++], sizeof rooms[0], status, CLOSE, body);
    reply[1] = http(rooms[used++], sizeof rooms[0], status, "", body);
    reply[1].keep = true;
}

static void compose(const struct options *options, int count, char **tokens)
{
    static char body[LINE_MAX_BYTES + 256];
    size_t n = 0;

    snprintf(body, sizeof body, "%s %s\n", VERSION, options->message);
    both(page, options->status, body);
    body[0] = '\0';
    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(body + n, sizeof body - n, "%s\n", tokens[i]);
    both(args, 200, body);
    both(missing, 404, "not found\n");
}

static bool ended(const char *request, size_t length)
{
    for (size_t i = 3; i < length; i++)
        if (memcmp(request + i - 3, "\r\n\r\n", 4) == 0)
            return true;
    return false;
}

static void eat(uint32_t megabytes)
{
    for (; megabytes > 0; megabytes--)
        if (!take_memory(1)) {
            say("Fatal error: exception Out of memory\n");
            fatal();
        }
}

/* The number after `path`, where the request is for that. */
static bool asks(const char *request, const char *path, uint32_t *value)
{
    size_t n = strlen(path);

    if (strncmp(request, path, n) != 0)
        return false;
    *value = 0;
    for (const char *c = request + n; *c >= '0' && *c <= '9'; c++)
        *value = *value * 10 + (uint32_t)(*c - '0');
    return true;
}

static struct reply pages(const char *request, bool keep)
{
    struct reply reply = missing[keep];
    uint32_t value;

    if (strncmp(request, "GET / ", 6) == 0) {
        reply = page[keep];
    } else if (strncmp(request, "GET /args ", 10) == 0) {
        reply = args[keep];
    } else if (strncmp(request, "GET /crash ", 11) == 0) {
        crash();
    } else if (asks(request, "GET /slow?ms=", &value)) {
        reply = page[keep];
        reply.after_ms = value;
    } else if (asks(request, "GET /eat?mb=", &value)) {
        eat(value);
        reply = page[keep];
    }
    return reply;
}

static struct reply plainly(const char *request, size_t length, char room[ROOM])
{
    static char text[ROOM], location[ROOM + 64];

    switch (acme_answer(request, length, text)) {
    case PLAIN_MISSING:
        return missing[false];
    case PLAIN_CHALLENGE:
        return http(room, ROOM, 200, CLOSE, text);
    case PLAIN_REDIRECT:
        snprintf(location, sizeof location, "Location: %s\r\n" CLOSE, text);
        return http(room, ROOM, 308, location, "");
    default:
        return pages(request, false);
    }
}

static bool closes(const char *request, size_t length)
{
    static const char line[] = "\r\nConnection: close\r\n";

    for (size_t i = 0; i + sizeof line <= length; i++)
        if (memcmp(request + i, line, sizeof line - 1) == 0)
            return true;
    return false;
}

bool answer(const char *request, size_t length, bool tls, char room[ROOM], struct reply *reply)
{
    if (dns_serves())
        return dns_stream(request, length, reply);
    if (!ended(request, length))
        return false;
    *reply = tls ? pages(request, !closes(request, length)) : plainly(request, length, room);
    reply->after_ms += first_ms;
    first_ms = 0;
    return true;
}

int guest_main(enum shape shape, char *line)
{
    static char *tokens[ARGS_MAX];
    struct options options;
    int count = split(line, tokens, ARGS_MAX);

    if (count < 0) {
        say("command line: unterminated quote\n");
        return EXIT_USAGE;
    }
    int code = options_read(&options, shape, count, tokens);
    if (code != 0)
        return code;
    if (options.fail == FAIL_EXIT)
        return (int)options.fail_value;
    if (options.fail == FAIL_CRASH)
        crash();
    if (options.fail == FAIL_DEAF)
        deaf();
    if (options.fail == FAIL_MEMORY)
        eat(UINT32_MAX);
    failure = options.fail;
    first_ms = options.first_ms;
    if (options.dns != NULL && !dns_start(options.dns, VERSION, options.message)) {
        say("option '--dns': invalid value\n");
        return EXIT_USAGE;
    }
    start_threads(options.threads);
    acme_open(&options);
    compose(&options, count, tokens);
    return serve(&options);
}
