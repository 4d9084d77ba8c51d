/* XenStore, one request at a time (xen/include/public/io/xs_wire.h). */
#include "xen.h"

enum { READ = 2, WRITE = 11, ERROR = 16 };

struct message { uint32_t type, request, transaction, length; };

static void put(const void *bytes, size_t n)
{
    struct store_ring *ring = xen.store;

    for (const char *c = bytes; n-- > 0; c++) {
        while (ring->request_put - ring->request_taken == sizeof ring->request)
            wait_for(xen.store_port, 10);
        ring->request[ring->request_put % sizeof ring->request] = *c;
        __sync_synchronize();
        ring->request_put++;
    }
}

/* `n` bytes of the response; those beyond `room` are taken and dropped. */
static void take(void *bytes, size_t room, size_t n)
{
    struct store_ring *ring = xen.store;

    for (size_t i = 0; i < n; i++) {
        while (ring->response_put == ring->response_taken)
            wait_for(xen.store_port, 10);
        if (i < room)
            ((char *)bytes)[i] = ring->response[ring->response_taken % sizeof ring->response];
        __sync_synchronize();
        ring->response_taken++;
    }
    notify(xen.store_port);
}

static struct message ask(uint32_t type, const char *path, const char *value)
{
    size_t length = strlen(path) + 1 + (value ? strlen(value) : 0);
    struct message message = { .type = type, .length = (uint32_t)length };

    put(&message, sizeof message);
    put(path, strlen(path) + 1);
    if (value != NULL)
        put(value, strlen(value));
    notify(xen.store_port);
    take(&message, sizeof message, sizeof message);
    return message;
}

bool store_read(const char *path, char *value, size_t room)
{
    struct message message = ask(READ, path, NULL);

    take(value, room - 1, message.length);
    value[message.length < room ? message.length : room - 1] = '\0';
    return message.type != ERROR;
}

void store_write(const char *path, const char *value)
{
    char ignored[16];
    struct message message = ask(WRITE, path, value);

    take(ignored, sizeof ignored, message.length);
}
