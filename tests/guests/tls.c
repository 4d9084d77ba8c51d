/* TLS 1.2 by BearSSL, which does no input and no output of its own. */
#include <string.h>
#include <sys/random.h>

#include "pair.h"
#include "tls.h"

static struct pair pair;
static struct session {
    br_ssl_server_context server;
    unsigned char buffer[BR_SSL_BUFSIZE_MONO]; /* one way at a time: a request, then its answer */
} sessions[SESSIONS];

static br_ssl_engine_context *engine(int i)
{
    return &sessions[i].server.eng;
}

static bool is(int i, unsigned flag)
{
    return br_ssl_engine_current_state(engine(i)) & flag;
}

bool tls_open(const struct options *options)
{
    const char *certificate = options->tls_certificate, *key = options->tls_key, *wrong = NULL;

    if ((certificate == NULL) != (key == NULL))
        wrong = "HTTPS wants both a certificate and its key";
    else if (certificate != NULL)
        wrong = pair_read(&pair, certificate, key);
    if (wrong != NULL)
        say("tls: %s\n", wrong);
    return wrong == NULL;
}

void tls_begin(int i)
{
    br_ssl_server_context *server = &sessions[i].server;
    unsigned char seed[32];

    if (br_skey_decoder_key_type(&pair.key) == BR_KEYTYPE_EC)
        br_ssl_server_init_full_ec(server, pair.chain, pair.count, pair.issuer,
                                   br_skey_decoder_get_ec(&pair.key));
    else
        br_ssl_server_init_full_rsa(server, pair.chain, pair.count,
                                    br_skey_decoder_get_rsa(&pair.key));
    br_ssl_engine_set_buffer(engine(i), sessions[i].buffer, sizeof sessions[i].buffer, 0);
    if (getrandom(seed, sizeof seed, 0) == sizeof seed)
        br_ssl_engine_inject_entropy(engine(i), seed, sizeof seed);
    br_ssl_server_reset(server);
}

bool tls_ended(int i)
{
    return is(i, BR_SSL_CLOSED);
}

const uint8_t *tls_outgoing(int i, size_t *n)
{
    return is(i, BR_SSL_SENDREC) ? br_ssl_engine_sendrec_buf(engine(i), n) : NULL;
}

void tls_sent(int i, size_t n)
{
    br_ssl_engine_sendrec_ack(engine(i), n);
}

uint8_t *tls_room(int i, size_t *n)
{
    return is(i, BR_SSL_RECVREC) ? br_ssl_engine_recvrec_buf(engine(i), n) : NULL;
}

void tls_came(int i, size_t n)
{
    br_ssl_engine_recvrec_ack(engine(i), n);
}

size_t tls_read(int i, char *bytes, size_t n)
{
    size_t there = 0;
    unsigned char *from = is(i, BR_SSL_RECVAPP) ? br_ssl_engine_recvapp_buf(engine(i), &there) :
        NULL;

    there = there < n ? there : n;
    if (from == NULL || there == 0)
        return 0;
    memcpy(bytes, from, there);
    br_ssl_engine_recvapp_ack(engine(i), there);
    return there;
}

size_t tls_write(int i, const char *bytes, size_t n)
{
    size_t room = 0;
    unsigned char *to = is(i, BR_SSL_SENDAPP) ? br_ssl_engine_sendapp_buf(engine(i), &room) : NULL;

    room = room < n ? room : n;
    if (to == NULL || room == 0)
        return 0;
    memcpy(to, bytes, room);
    br_ssl_engine_sendapp_ack(engine(i), room);
    br_ssl_engine_flush(engine(i), 0);
    return room;
}

void tls_close(int i)
{
    br_ssl_engine_close(engine(i));
}
