/* What the freestanding shapes use of a C library. */
#include "guest.h"

void *memcpy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    if (to <= from)
        return memcpy(to, from, n);
    while (n-- > 0)
        ((char *)to)[n] = ((const char *)from)[n];
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((char *)to)[i] = (char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    return memcmp(a, b, strlen(a) + 1);
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] || a[i] == '\0')
            return (uint8_t)a[i] - (uint8_t)b[i];
    return 0;
}

char *strchr(const char *s, int c)
{
    for (; *s != '\0'; s++)
        if (*s == c)
            return (char *)s;
    return NULL;
}

static char *digits(char *end, unsigned value, unsigned base)
{
    do
        *--end = "0123456789abcdef"[value % base];
    while ((value /= base) > 0);
    return end;
}

/* %s %d %u %x %02x %% only. */
int vsnprintf(char *to, size_t room, const char *format, va_list values)
{
    char buffer[16] = "", *const end = buffer + sizeof buffer - 1;
    size_t n = 0;

    for (; *format != '\0'; format++) {
        char one[2] = { *format, '\0' };
        const char *piece = one;
        if (*format == '%' && format[1] != '%') {
            size_t width = strncmp(++format, "02", 2) == 0 ? 2 : 0;
            format += width;
            int number = *format == 's' ? 0 : va_arg(values, int);
            bool minus = *format == 'd' && number < 0;
            piece = *format == 's' ? va_arg(values, const char *) :
                digits(end, minus ? -(unsigned)number : (unsigned)number, *format == 'x' ? 16 : 10);
            for (; *format != 's' && strlen(piece) < width; *(char *)piece = '0')
                piece--;
            if (minus)
                *(char *)--piece = '-';
        } else if (*format == '%') {
            format++;
        }
        for (; *piece != '\0'; piece++, n++)
            if (n + 1 < room)
                to[n] = *piece;
    }
    if (room > 0)
        to[n < room ? n : room - 1] = '\0';
    return (int)n;
}

int snprintf(char *to, size_t room, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = vsnprintf(to, room, format, values);
    va_end(values);
    return n;
}
