#ifndef TLS_H
#define TLS_H

#include "guest.h"

/* tls.c: false: the pair is wrong, which has been said. Without a pair there is no TLS. */
bool tls_open(const struct options *options);

/* The sessions, by the number of their connection. What they do next can depend on the network,
   on which the caller waits, or on the application. */
enum { SESSIONS = 256 };
void tls_begin(int i);
bool tls_ended(int i);
/* What is to be sent, or NULL; tell how much was. */
const uint8_t *tls_outgoing(int i, size_t *n);
void tls_sent(int i, size_t n);
/* Where to put what comes, or NULL; tell how much came. */
uint8_t *tls_room(int i, size_t *n);
void tls_came(int i, size_t n);
/* As read() and write() for the application: how much, at most `n`. */
size_t tls_read(int i, char *bytes, size_t n);
size_t tls_write(int i, const char *bytes, size_t n);
void tls_close(int i); /* says so to the peer; what goes out last is tls_outgoing()'s */

#endif
