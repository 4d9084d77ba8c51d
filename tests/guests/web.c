/* The application: its pages, its console lines, its misbehaviours. */
#include "guest.h"

#ifndef VERSION
#define VERSION "1"
#endif

static enum fail failure;
static uint32_t first_ms;
static struct reply page, args, missing;

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

static struct reply http(char *room, size_t size, int status, const char *body)
{
    int n = snprintf(room, size,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %u\r\n"
                     "Connection: close\r\n\r\n%s",
                     status, status == 200 ? "OK" : "Other", (unsigned)strlen(body), body);
    return (struct reply){ .bytes = room, .length = (size_t)n };
}

static void compose(const struct options *options, int count, char **tokens)
{
    static char body[LINE_MAX_BYTES + 256], rooms[3][LINE_MAX_BYTES + 512];
    size_t n = 0;

    snprintf(body, sizeof body, "%s %s\n", VERSION, options->message);
    page = http(rooms[0], sizeof rooms[0], options->status, body);
    body[0] = '\0';
    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(body + n, sizeof body - n, "%s\n", tokens[i]);
    args = http(rooms[1], sizeof rooms[1], 200, body);
    missing = http(rooms[2], sizeof rooms[2], 404, "not found\n");
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

bool answer(const char *request, size_t length, struct reply *reply)
{
    uint32_t value;

    if (dns_serves())
        return dns_stream(request, length, reply);
    if (!ended(request, length))
        return false;
    *reply = missing;
    if (strncmp(request, "GET / ", 6) == 0) {
        *reply = page;
    } else if (strncmp(request, "GET /args ", 10) == 0) {
        *reply = args;
    } else if (strncmp(request, "GET /crash ", 11) == 0) {
        crash();
    } else if (asks(request, "GET /slow?ms=", &value)) {
        *reply = page;
        reply->after_ms = value;
    } else if (asks(request, "GET /eat?mb=", &value)) {
        eat(value);
        *reply = page;
    }
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
    compose(&options, count, tokens);
    return serve(&options);
}
