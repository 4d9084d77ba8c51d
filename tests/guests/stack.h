#ifndef STACK_H
#define STACK_H

#include "guest.h"

extern struct address {
    uint32_t ip, gateway; /* host byte order; 0: none */
    int prefix, port;     /* port 0: not listening yet */
} address;

#define BROADCAST ((const uint8_t *)"\xff\xff\xff\xff\xff\xff")

/* An address of either family: IPv4's as ::ffff:a.b.c.d (RFC 4291). */
struct ip { uint8_t byte[16]; };
struct ip ip_of(uint32_t ipv4);

uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put16(uint8_t *p, uint32_t v);
void put32(uint8_t *p, uint32_t v);
/* The Internet checksum: add up, then fold. */
uint32_t add(uint32_t sum, const uint8_t *p, size_t n);
uint16_t fold(uint32_t sum);

/* ethernet.c: sends `n` bytes after the header that this writes in front of them. */
enum { ARP = 0x0806, IPV4 = 0x0800, ETHERNET = 14 };
void ethernet_send(const uint8_t *to_mac, int type, uint8_t *payload, size_t n);
void ethernet_receive(const uint8_t *frame, size_t n);
/* The same, once it is known who has `hop`: what waits is sent, or dropped. */
void ethernet_hold(struct ip hop, int type, const uint8_t *payload, size_t n);
void ethernet_release(struct ip hop, const uint8_t *to_mac);
void ethernet_drop(struct ip hop);

/* arp.c: who has `ip`; NULL when that had to be asked, or was and is not answered yet. */
const uint8_t *arp_query(uint32_t ip);
void arp_announce(void);
void arp_receive(const uint8_t *p, size_t n);
void arp_start(bool keep);
void arp_tick(void);

/* ip4.c: write the payload at ip_payload(), then send `n` bytes of it. */
uint8_t *ip_payload(void);
void ip_send(int protocol, uint32_t to, size_t n);
void ip_receive(const uint8_t *p, size_t n);

/* tcp.c */
void tcp_receive(uint32_t from, const uint8_t *segment, size_t n);
bool tcp_tick(void); /* whether there is any connection */

/* dhcp.c: both do nothing when the address was given. */
void dhcp_receive(const uint8_t *udp, size_t n);
void dhcp_tick(void);

#endif
