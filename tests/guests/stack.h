#ifndef STACK_H
#define STACK_H

#include "guest.h"

extern struct address {
    uint32_t ip, gateway; /* host byte order; 0: none */
    int prefix, port;     /* port 0: not listening yet */
    /* ::, none; with `link`, the link-local one, IPv6 is spoken */
    struct ip ip6, link, gateway6;
    int prefix6;
    bool tentative; /* IPv6's are not ours yet, and nothing else is heard */
} address;

#define BROADCAST ((const uint8_t *)"\xff\xff\xff\xff\xff\xff")

uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put16(uint8_t *p, uint32_t v);
void put32(uint8_t *p, uint32_t v);
/* The Internet checksum: add up, then fold. */
uint32_t add(uint32_t sum, const uint8_t *p, size_t n);
uint16_t fold(uint32_t sum);

/* ethernet.c: sends `n` bytes after the header that this writes in front of them. */
enum { ARP = 0x0806, IPV4 = 0x0800, IPV6 = 0x86dd, ETHERNET = 14 };
void ethernet_send(const uint8_t *to_mac, int type, uint8_t *payload, size_t n);
void ethernet_receive(const uint8_t *frame, size_t n);
/* The same, once it is known who has `hop`: what waits is sent, or dropped. */
void ethernet_hold(struct ip hop, int type, const uint8_t *payload, size_t n);
void ethernet_release(struct ip hop, const uint8_t *to_mac);
void ethernet_drop(struct ip hop);

/* ip.c: write the payload at ip_payload(), then send `n` bytes of it. */
enum { ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58 };
uint8_t *ip_payload(void);
void ip_send(int protocol, struct ip from, struct ip to, size_t n);
/* Of what TCP, UDP and ICMPv6 put under their checksum before themselves. */
uint32_t ip_sum(int protocol, const struct ip *from, const struct ip *to, size_t n);
struct ip ip_of(uint32_t ipv4);
bool is_ipv4(const struct ip *ip);
bool ip_same(const struct ip *a, const struct ip *b);
bool ip_none(const struct ip *ip);
char *ip_text(struct ip ip, char text[40]); /* `text` */

/* ip4.c, ip6.c: `payload` has room for the headers in front of it. */
enum { IP4_HEAD = 20, IP6_HEAD = 40 };
void ip4_send(int protocol, uint32_t to, uint8_t *payload, size_t n);
void ip4_receive(const uint8_t *p, size_t n);
void ip6_send(int protocol, struct ip from, struct ip to, uint8_t *payload, size_t n);
void ip6_receive(const uint8_t *p, size_t n);

/* arp.c, ndp.c: who has the address; NULL when that had to be asked, or was and is not answered
   yet. */
const uint8_t *arp_query(uint32_t ip);
void arp_announce(void);
void arp_receive(const uint8_t *p, size_t n);
void arp_start(bool keep);
void arp_tick(void);
const uint8_t *ndp_query(struct ip ip);
void ndp_receive(struct ip from, const uint8_t *p, size_t n); /* a solicitation or its answer */
void ndp_start(void); /* take the addresses */
bool ndp_taken(void); /* whether another has one of them */
void ndp_tick(void);

/* tcp.c */
void tcp_receive(struct ip own, struct ip from, const uint8_t *segment, size_t n);
bool tcp_tick(void); /* whether there is any connection */

/* udp.c */
void udp_receive(struct ip own, struct ip from, const uint8_t *datagram, size_t n);

/* dhcp.c: both do nothing when the address was given. */
void dhcp_receive(const uint8_t *udp, size_t n);
void dhcp_tick(void);

#endif
