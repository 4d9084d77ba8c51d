/* A certificate chain and its key, from base64 of PEM or of DER (concatenated certificates; a key
   of PKCS8), as the arguments of a MirageOS image hold them. */
#include <string.h>

#include "guest.h"
#include "pair.h"

enum { POOL = LINE_MAX_BYTES };

struct der { /* of one kind: certificates, or keys */
    unsigned char *at[8], *end; /* where the next byte goes */
    size_t length[8], count;
    unsigned char pool[POOL];
    bool wanted, full; /* `wanted`: the object that is being read */
};

static int sextet(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 :
           c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* How many bytes; 0: it is no base64, or longer than the pool. */
static size_t base64(const char *text, unsigned char *bytes)
{
    size_t length = strlen(text), n = 0;
    uint32_t bits = 0;

    while (length > 0 && text[length - 1] == '=')
        length--;
    if (strlen(text) % 4 != 0 || strlen(text) - length > 2 || length > POOL)
        return 0;
    for (size_t i = 0; i < length; i++) {
        if (sextet(text[i]) < 0)
            return 0;
        bits = bits << 6 | (uint32_t)sextet(text[i]);
        if (i % 4 > 0)
            bytes[n++] = (unsigned char)(bits >> (6 - i % 4 * 2));
    }
    return n;
}

static void append(void *to, const void *bytes, size_t n)
{
    struct der *der = to;

    if (!der->wanted || der->full)
        return;
    der->full = der->end + n > der->pool + POOL;
    if (der->full)
        return;
    memcpy(der->end, bytes, n);
    der->end += n;
    der->length[der->count] += n;
}

static bool of_kind(const char *name, const char *kind)
{
    size_t n = strlen(name), k = strlen(kind);
    return n >= k && strcmp(name + n - k, kind) == 0; /* EC PRIVATE KEY too */
}

static void pem(struct der *der, const unsigned char *bytes, size_t n, const char *kind)
{
    static br_pem_decoder_context decoder;

    br_pem_decoder_init(&decoder);
    while (n > 0 && der->count < 8) {
        size_t taken = br_pem_decoder_push(&decoder, bytes, n);
        bytes += taken;
        n -= taken;
        int event = br_pem_decoder_event(&decoder);
        if (event == BR_PEM_BEGIN_OBJ) {
            der->wanted = of_kind(br_pem_decoder_name(&decoder), kind);
            der->at[der->count] = der->end;
            der->length[der->count] = 0;
            br_pem_decoder_setdest(&decoder, append, der);
        } else if (event == BR_PEM_END_OBJ && der->wanted) {
            der->count++;
        } else if (event == BR_PEM_ERROR) {
            return;
        }
    }
}

/* One SEQUENCE after the other. */
static void sequences(struct der *der, const unsigned char *bytes, size_t n)
{
    while (n > 4 && bytes[0] == 0x30 && der->count < 8) {
        size_t more = bytes[1] < 0x80 ? 0 : bytes[1] & 0x7f, whole = more ? 0 : bytes[1];
        for (size_t i = 0; i < more && more <= 2; i++)
            whole = whole << 8 | bytes[2 + i];
        whole += 2 + more;
        if (more > 2 || whole > n)
            return;
        der->at[der->count] = der->end;
        der->length[der->count] = 0;
        der->wanted = true;
        append(der, bytes, whole);
        der->count++;
        bytes += whole;
        n -= whole;
    }
}

static const char *read(struct der *der, const char *text, const char *kind, const char *wrong[2])
{
    static unsigned char bytes[POOL];
    size_t n = base64(text, bytes);

    *der = (struct der){ .end = der->pool };
    if (n == 0)
        return wrong[0];
    if (bytes[0] == 0x30)
        sequences(der, bytes, n);
    else
        pem(der, bytes, n, kind);
    return der->count == 0 || der->full ? wrong[1] : NULL;
}

/* Whether `public` is what belongs to `private`. */
static bool fits(const br_x509_pkey *public, const br_skey_decoder_context *private)
{
    unsigned char own[BR_EC_KBUF_PUB_MAX_SIZE], modulus[1024];

    if (br_skey_decoder_key_type(private) == BR_KEYTYPE_EC) {
        const br_ec_private_key *key = br_skey_decoder_get_ec(private);
        size_t n = br_ec_compute_pub(br_ec_get_default(), NULL, own, key);
        return public->key_type == BR_KEYTYPE_EC && public->key.ec.curve == key->curve && n > 0 &&
               public->key.ec.qlen == n && memcmp(public->key.ec.q, own, n) == 0;
    }
    const br_rsa_private_key *key = br_skey_decoder_get_rsa(private);
    size_t n = key->n_bitlen <= sizeof modulus * 8 ?
        br_rsa_compute_modulus_get_default()(modulus, key) : 0;
    return public->key_type == BR_KEYTYPE_RSA && n > 0 && public->key.rsa.nlen == n &&
           memcmp(public->key.rsa.n, modulus, n) == 0;
}

const char *pair_read(struct pair *pair, const char *certificate, const char *key)
{
    static struct der chain, keys;
    static br_x509_decoder_context leaf;
    const char *wrong = read(&chain, certificate, "CERTIFICATE", (const char *[]){
        "--tls-certificate is no base64", "--tls-certificate has no certificate" });

    if (wrong == NULL)
        wrong = read(&keys, key, "PRIVATE KEY", (const char *[]){
            "--tls-key is no base64", "--tls-key has no key" });
    if (wrong != NULL)
        return wrong;
    for (pair->count = 0; pair->count < chain.count; pair->count++)
        pair->chain[pair->count] = (br_x509_certificate){ chain.at[pair->count],
                                                          chain.length[pair->count] };
    br_x509_decoder_init(&leaf, NULL, NULL);
    br_x509_decoder_push(&leaf, chain.at[0], chain.length[0]);
    br_skey_decoder_init(&pair->key);
    br_skey_decoder_push(&pair->key, keys.at[0], keys.length[0]);
    if (br_x509_decoder_get_pkey(&leaf) == NULL)
        return "the first certificate cannot be read";
    if (br_skey_decoder_last_error(&pair->key) != 0)
        return "the key cannot be read, or has a password";
    if (!fits(br_x509_decoder_get_pkey(&leaf), &pair->key))
        return "the key is not that of the first certificate";
    pair->issuer = (unsigned)br_x509_decoder_get_signer_key_type(&leaf);
    return NULL;
}
