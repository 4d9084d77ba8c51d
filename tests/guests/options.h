#ifndef OPTIONS_H
#define OPTIONS_H

#include "guest.h"

/* values.c: whether `text`, or what is before `rest`, is such a value. */
bool number_read(const char *text, uint32_t most, uint32_t *number, const char **rest);
bool whole_number(const char *text, uint32_t most, uint32_t *number);
bool truth_read(const char *text, bool *truth);
bool ipv4_read(const char *text, uint32_t *address, const char **rest);
bool ipv6_read(const char *text, struct ip *ip, const char **rest);

#endif
