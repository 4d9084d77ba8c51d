/* What plain HTTP answers where certificates are: the challenges of an ACME server, without their
   account's key (RFC 8555, 8.1 and 8.3), and the way to HTTPS. */
#include "guest.h"

enum { HEAD = 160 }; /* of an answer, at most, without its address */

static const char *thumbprint; /* NULL: none given */
static int https_port;         /* 0: no redirect */

void acme_open(const struct options *options)
{
    thumbprint = options->acme_thumbprint;
    https_port = options->redirect && options->tls_certificate != NULL ? options->https_port : 0;
}

static bool in_token(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

static bool in_host(char c)
{
    return c != '_' && (in_token(c) || c == '.');
}

static bool in_path(char c)
{
    return c > ' ' && c < 127;
}

/* How much of `text`, at most `most`, is such characters. */
static size_t span(const char *text, size_t most, bool (*in)(char))
{
    size_t n = 0;
    while (n < most && in(text[n]))
        n++;
    return n;
}

/* The host that is asked, without its port; of a length of 0: none that can be repeated. */
static const char *host(const char *request, const char *end, size_t *n)
{
    static const char name[] = "\r\nhost:";

    for (const char *line = request; line + sizeof name < end; line++) {
        size_t same = 0;
        while (same < sizeof name - 1 &&
               (line[same] | (name[same] >= 'a' ? 0x20 : 0)) == name[same])
            same++;
        if (same == sizeof name - 1) {
            line += same + (line[same] == ' ');
            *n = span(line, (size_t)(end - line), in_host);
            return line;
        }
    }
    *n = 0;
    return end;
}

static bool redirect(const char *request, const char *end, char text[ROOM])
{
    const char *path = request + span(request, (size_t)(end - request), in_path) + 1;
    size_t n, length = path < end ? span(path, (size_t)(end - path), in_path) : 0;
    const char *name = host(request, end, &n);
    char port[8] = "";

    if (n == 0 || length == 0 || n + length + HEAD > ROOM)
        return false;
    if (https_port != 443)
        snprintf(port, sizeof port, ":%d", https_port);
    memcpy(text, "https://", 8);
    memcpy(text + 8, name, n);
    n += 8 + (size_t)snprintf(text + 8 + n, sizeof port, "%s", port);
    memcpy(text + n, path, length);
    text[n + length] = '\0';
    return true;
}

enum plain acme_answer(const char *request, size_t length, char text[ROOM])
{
    static const char challenge[] = "GET /.well-known/acme-challenge/";
    size_t start = sizeof challenge - 1, n;

    if (thumbprint != NULL && length > start && memcmp(request, challenge, start) == 0) {
        n = span(request + start, length - start, in_token);
        if (n == 0 || n > 128 || request[start + n] != ' ')
            return PLAIN_MISSING;
        memcpy(text, request + start, n);
        snprintf(text + n, ROOM - n, ".%s", thumbprint);
        return PLAIN_CHALLENGE;
    }
    if (https_port == 0)
        return PLAIN_ORDINARY;
    return redirect(request, request + length, text) ? PLAIN_REDIRECT : PLAIN_MISSING;
}
