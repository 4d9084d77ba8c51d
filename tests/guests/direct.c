/* unix/direct: a tap of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"

uint8_t mac[6];
static int tap;

/* Raised only when it is down: a ready tap of the user's needs no privilege. */
static bool raise_interface(struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = ioctl(fd, SIOCGIFFLAGS, request) == 0;

    if (up && !(request->ifr_flags & IFF_UP)) {
        request->ifr_flags |= IFF_UP;
        up = ioctl(fd, SIOCSIFFLAGS, request) == 0;
    }
    close(fd);
    return up;
}

bool device_open(const struct options *options)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };

    memcpy(request.ifr_name, options->interface, strlen(options->interface));
    tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0 || !raise_interface(&request)) {
        say("tap %s: %s\n", options->interface, strerror(errno));
        return false;
    }
    if (options->mac != NULL)
        return mac_read(options->mac, mac);
    mac[0] = 2; /* locally administered, random at each start, as MirageOS's */
    return getrandom(mac + 1, 5, 0) == 5;
}

size_t device_receive(uint8_t *frame)
{
    ssize_t n = read(tap, frame, FRAME_MAX);
    return n > 0 ? (size_t)n : 0;
}

void device_send(const uint8_t *frame, size_t length)
{
    /* a full queue loses the frame, as a wire would */
    ssize_t sent = write(tap, frame, length);
    (void)sent;
}

void device_wait(uint32_t ms)
{
    struct pollfd p = { .fd = tap, .events = POLLIN };

    /* a tap that was taken away is always ready, with an error: no busy loop over it */
    if (poll(&p, 1, (int)ms) > 0 && !(p.revents & POLLIN))
        poll(NULL, 0, (int)ms);
}
