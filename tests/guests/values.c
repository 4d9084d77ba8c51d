/* The values of options, from text. */
#include "options.h"

bool number_read(const char *text, uint32_t most, uint32_t *number, const char **rest)
{
    const char *c = text;

    for (*number = 0; *c >= '0' && *c <= '9' && c - text < 9; c++)
        *number = *number * 10 + (uint32_t)(*c - '0');
    *rest = c;
    return c > text && *number <= most;
}

bool whole_number(const char *text, uint32_t most, uint32_t *number)
{
    const char *rest;
    return number_read(text, most, number, &rest) && *rest == '\0';
}

bool truth_read(const char *text, bool *truth)
{
    *truth = strcmp(text, "true") == 0;
    return *truth || strcmp(text, "false") == 0;
}

bool ipv4_read(const char *text, uint32_t *address, const char **rest)
{
    *address = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t byte;
        if ((i > 0 && *text++ != '.') || !number_read(text, 255, &byte, &text))
            return false;
        *address = *address << 8 | byte;
    }
    *rest = text;
    return true;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
           c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Up to four digits; false: there is none. */
static bool group_read(const char **text, uint32_t *group)
{
    const char *start = *text;

    for (*group = 0; *text - start < 4 && hex(**text) >= 0; (*text)++)
        *group = *group << 4 | (uint32_t)hex(**text);
    return *text > start;
}

/* Without an IPv4 address at its end. */
bool ipv6_read(const char *text, struct ip *ip, const char **rest)
{
    size_t n = 0, gap = 17; /* bytes so far, and before `::`; 17: none */
    uint32_t group;

    *ip = (struct ip){ .byte = { 0 } };
    if (strncmp(text, "::", 2) == 0) {
        gap = 0;
        text += 2;
    }
    while (n < 16 && group_read(&text, &group)) {
        ip->byte[n++] = (uint8_t)(group >> 8);
        ip->byte[n++] = (uint8_t)group;
        if (strncmp(text, "::", 2) == 0 && gap == 17) {
            gap = n;
            text += 2;
        } else if (*text != ':' || n == 16) {
            break;
        } else if (hex(*++text) < 0) {
            return false;
        }
    }
    if (gap < n) {
        memmove(ip->byte + 16 - (n - gap), ip->byte + gap, n - gap);
        memset(ip->byte + gap, 0, 16 - n);
    }
    *rest = text;
    return gap == 17 ? n == 16 : n < 16;
}

bool mac_read(const char *text, uint8_t *mac)
{
    if (strlen(text) != 17)
        return false;
    for (int i = 0; i < 6; i++) {
        int high = hex(text[3 * i]), low = hex(text[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
