/* unix/direct: a tap of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"

uint8_t mac[6];
static int tap;

/* OCaml's end of an image whose exception nobody takes. */
static void must(int result, const char *what)
{
    if (result >= 0)
        return;
    say("Fatal error: exception Failure(\"tun[%s]: %s\")\n", what, strerror(errno));
    exit(EXIT_EXCEPTION);
}

#if STRICT_TAP
/* As ocaml-tuntap: the kernel says RUNNING a moment after the tap was opened, and whoever is not
   allowed to set flags dies when it looks before. */
enum { WANTED = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST };
#else
enum { WANTED = IFF_UP };
#endif

/* Nothing is set that is there already: that needs no privilege. */
static void raise_interface(struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    must(fd, "set_up_and_running socket");
    must(ioctl(fd, SIOCGIFFLAGS, request), "set_up_and_running SIOCGIFFLAGS");
    if ((request->ifr_flags & WANTED) != WANTED) {
        request->ifr_flags |= WANTED;
        must(ioctl(fd, SIOCSIFFLAGS, request), "set_up_and_running SIOCSIFFLAGS");
    }
    close(fd);
}

bool device_open(const struct options *options)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };

    memcpy(request.ifr_name, options->interface, strlen(options->interface));
    tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    must(tap, "open");
    must(ioctl(tap, TUNSETIFF, &request), "TUNSETIFF");
    raise_interface(&request);
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
