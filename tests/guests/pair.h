#ifndef PAIR_H
#define PAIR_H

#include <bearssl.h>

/* pair.c: the server's certificate chain and key, as the arguments have them. */
struct pair {
    br_x509_certificate chain[8]; /* the server's own first */
    size_t count;
    unsigned issuer; /* BR_KEYTYPE_RSA or BR_KEYTYPE_EC */
    br_skey_decoder_context key;
};

/* NULL, or what is wrong with it. Both are base64, of PEM or of DER. */
const char *pair_read(struct pair *pair, const char *certificate, const char *key);

#endif
