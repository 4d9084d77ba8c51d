/* The command line, as strict as MirageOS's: unknown, repeated or malformed is EXIT_USAGE.
   Under Xen PV the names come without dashes. */
#include "options.h"

#ifndef FAIL
#define FAIL FAIL_NOT
#endif

static bool read_ipv4(struct options *o, const char *v)
{
    uint32_t prefix;
    if (!ipv4_read(v, &o->ipv4, &v) || *v != '/' || !whole_number(v + 1, 32, &prefix))
        return false;
    o->prefix = (int)prefix;
    return true;
}

static bool read_gateway(struct options *o, const char *v)
{
    return ipv4_read(v, &o->gateway, &v) && *v == '\0';
}

static bool read_ipv4_only(struct options *o, const char *v)
{
    return truth_read(v, &o->ipv4_only);
}

static bool read_ipv6_only(struct options *o, const char *v)
{
    return truth_read(v, &o->ipv6_only);
}

static bool read_ipv6(struct options *o, const char *v)
{
    uint32_t prefix;
    if (!ipv6_read(v, &o->ipv6, &v) || *v != '/' || !whole_number(v + 1, 128, &prefix))
        return false;
    o->ipv6_prefix = (int)prefix;
    return true;
}

static bool read_ipv6_gateway(struct options *o, const char *v)
{
    return ipv6_read(v, &o->ipv6_gateway, &v) && *v == '\0';
}

static bool read_detect(struct options *o, const char *v)
{
    return truth_read(v, &o->detect_duplicates);
}

static bool read_port(struct options *o, const char *v)
{
    uint32_t port;
    bool good = whole_number(v, 65535, &port) && port > 0;
    o->port = (int)port;
    return good;
}

static bool read_status(struct options *o, const char *v)
{
    uint32_t status;
    bool good = whole_number(v, 599, &status) && status >= 100;
    o->status = (int)status;
    return good;
}

static bool read_message(struct options *o, const char *v)
{
    o->message = v;
    return true;
}

static bool read_dns(struct options *o, const char *v)
{
    o->dns = v;
    return true;
}

static bool read_interface(struct options *o, const char *v)
{
    o->interface = v;
    return strlen(v) > 0 && strlen(v) < 16;
}

static bool read_mac(struct options *o, const char *v)
{
    uint8_t ignored[6];
    o->mac = v;
    return mac_read(v, ignored);
}

static bool read_first(struct options *o, const char *v)
{
    return whole_number(v, 86400000, &o->first_ms);
}

static bool read_threads(struct options *o, const char *v)
{
    return whole_number(v, 10000, &o->threads);
}

static bool read_certificate(struct options *o, const char *v)
{
    o->tls_certificate = v;
    return true;
}

static bool read_key(struct options *o, const char *v)
{
    o->tls_key = v;
    return true;
}

static bool read_https_port(struct options *o, const char *v)
{
    uint32_t port;
    bool good = whole_number(v, 65535, &port) && port > 0;
    o->https_port = (int)port;
    return good;
}

static bool read_thumbprint(struct options *o, const char *v)
{
    o->acme_thumbprint = v;
    return strlen(v) == 43; /* SHA-256 in base64url */
}

static bool read_redirect(struct options *o, const char *v)
{
    return truth_read(v, &o->redirect);
}

static bool read_neighbours(struct options *o, const char *v)
{
    o->keep = strcmp(v, "keep") == 0;
    return o->keep || strcmp(v, "follow") == 0;
}

static bool read_fail(struct options *o, const char *v)
{
    static const char *const words[] = { "", "exit:", "crash", "hang", "silent", "flood", "late:",
                                         "deaf", "memory" };
    for (unsigned i = FAIL_EXIT; i <= FAIL_MEMORY; i++) {
        size_t n = strlen(words[i]);
        o->fail = (enum fail)i;
        if (i == FAIL_EXIT || i == FAIL_LATE) {
            if (strncmp(v, words[i], n) == 0)
                return whole_number(v + n, i == FAIL_EXIT ? 255 : 86400000, &o->fail_value);
        } else if (strcmp(v, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum { OWN_STACK = SHAPE_DIRECT | SHAPE_BARE | SHAPE_PV, ON_HOST = SHAPE_SOCKET | SHAPE_TLS,
       ANY = ON_HOST | OWN_STACK };

static const struct {
    const char *name, *value;
    unsigned shapes;
    bool (*read)(struct options *, const char *);
} known[] = {
    { "--ipv4", "CIDR", ANY, read_ipv4 },
    { "--ipv4-gateway", "ADDRESS", OWN_STACK, read_gateway },
    { "--ipv4-only", "BOOL", ANY, read_ipv4_only },
    { "--ipv6", "CIDR", OWN_STACK, read_ipv6 },
    { "--ipv6-gateway", "ADDRESS", OWN_STACK, read_ipv6_gateway },
    { "--ipv6-only", "BOOL", OWN_STACK, read_ipv6_only },
    { "--detect-duplicates", "BOOL", OWN_STACK, read_detect },
    { "--interface", "TAP", SHAPE_DIRECT, read_interface },
    { "--mac", "ADDRESS", SHAPE_DIRECT, read_mac },
    { "--neighbours", "follow|keep", OWN_STACK, read_neighbours },
    { "--port", "N", ANY, read_port },
    { "--message", "TEXT", ANY, read_message },
    { "--dns", "ZONE", ANY, read_dns },
    { "--status", "N", ANY, read_status },
    { "--fail", "exit:N|crash|hang|silent|flood|late:MS|deaf|memory", ANY, read_fail },
    { "--first", "MS", ANY, read_first },
    { "--threads", "N", ON_HOST | SHAPE_DIRECT, read_threads },
    { "--acme-thumbprint", "TEXT", ANY, read_thumbprint },
    { "--tls-certificate", "BASE64", SHAPE_TLS, read_certificate },
    { "--tls-key", "BASE64", SHAPE_TLS, read_key },
    { "--https-port", "N", SHAPE_TLS, read_https_port },
    { "--redirect", "BOOL", SHAPE_TLS, read_redirect },
};
enum { KNOWN = sizeof known / sizeof known[0] };

static int help(enum shape shape)
{
    char line[128];

    for (int i = 0; i < KNOWN; i++)
        if (known[i].shapes & shape)
            console(OUT, line, (size_t)snprintf(line, sizeof line, "       %s=%s\n", known[i].name,
                                                known[i].value));
    return EXIT_HELP;
}

static int find(const char *token, size_t length, enum shape shape)
{
    for (int i = 0; i < KNOWN; i++) {
        const char *name = known[i].name + (shape == SHAPE_PV ? 2 : 0);
        if ((known[i].shapes & shape) && strlen(name) == length && strncmp(token, name, length) == 0)
            return i;
    }
    return -1;
}

int options_read(struct options *options, enum shape shape, int count, char **tokens)
{
    bool seen[KNOWN] = { false };

    *options = (struct options){ .port = 8080, .status = 200, .message = "", .interface = "tap0",
                                 .https_port = 443, .fail = FAIL };
    for (int i = 0; i < count; i++) {
        const char *token = tokens[i], *equals = strchr(token, '=');
        int option = find(token, equals ? (size_t)(equals - token) : strlen(token), shape);

        if (strcmp(token, "--help=plain") == 0)
            return help(shape);
        if (option < 0 && shape == SHAPE_PV)
            continue; /* as MirageOS 3 up to 3.8: dropped in silence */
        if (option < 0) {
            say("unknown option '%s'\n", token);
            return EXIT_USAGE;
        }
        if (seen[option]) {
            say("option '%s' cannot be repeated\n", known[option].name);
            return EXIT_USAGE;
        }
        seen[option] = true;
        /* as cmdliner: the value may also be the next word, but never another option */
        const char *value = equals ? equals + 1 :
            i + 1 < count && tokens[i + 1][0] != '-' ? tokens[++i] : NULL;
        if (value == NULL || !known[option].read(options, value)) {
            say("option '%s': %s\n", known[option].name,
                value == NULL ? "needs an argument" : "invalid value");
            return EXIT_USAGE;
        }
    }
    return 0;
}
