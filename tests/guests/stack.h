#ifndef STACK_H
#define STACK_H

#include "guest.h"

extern struct address {
    uint32_t ip, gateway; /* host byte order; 0: none */
    int prefix, port;     /* port 0: not listening yet */
} address;

#define BROADCAST ((const uint8_t *)"\xff\xff\xff\xff\xff\xff")

uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put16(uint8_t *p, uint32_t v);
void put32(uint8_t *p, uint32_t v);

/* Write the payload at ip_payload(), then send `n` bytes of it. */
uint8_t *ip_payload(void);
void ip_send(int protocol, const uint8_t *to_mac, uint32_t to, size_t n);

/* The same, to the neighbour the frame came from, or else through the gateway. */
void ip_reply(int protocol, const uint8_t *neighbour, uint32_t to, size_t n);
/* The Internet checksum: add up, then fold. */
uint32_t add(uint32_t sum, const uint8_t *p, size_t n);
uint16_t fold(uint32_t sum);

/* tcp.c */
void tcp_receive(const uint8_t *from_mac, uint32_t from, const uint8_t *segment, size_t n);
bool tcp_tick(void); /* whether there is any connection */

/* dhcp.c: both do nothing when the address was given. */
void dhcp_receive(const uint8_t *udp, size_t n);
void dhcp_tick(void);

#endif
