/* The platform of the two unix shapes: the log is on stderr, as MirageOS's is. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

uint32_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

void console(enum stream stream, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write((int)stream, text, length);
        if (n <= 0)
            return; /* nobody reads the log: no reason to stop serving */
        text += n;
        length -= (size_t)n;
    }
}

void crash(void)
{
    abort();
}

void deaf(void)
{
    signal(SIGTERM, SIG_IGN);
}

void fatal(void)
{
    exit(EXIT_EXCEPTION);
}

/* Written to, or the kernel would only promise it. Without a limit there is an end all the same:
   the machine must outlive a test. */
bool take_memory(uint32_t megabytes)
{
    enum { MEGABYTE = 1 << 20, MOST = 1024 };
    static uint32_t taken;
    char *memory = taken + megabytes > MOST ? NULL : malloc((size_t)megabytes * MEGABYTE);

    if (memory == NULL)
        return false;
    for (size_t i = 0; i < (size_t)megabytes * MEGABYTE; i += 4096)
        ((volatile char *)memory)[i] = 1;
    taken += megabytes;
    return true;
}

static void *idle(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

/* Their stacks, of the default size, count against `prlimit --data`. What Lwt says then. */
void start_threads(uint32_t count)
{
    pthread_t thread;

    for (; count > 0; count--)
        if (pthread_create(&thread, NULL, idle, NULL) != 0) {
            say("netif write errored: Unix.Unix_error(Unix.EAGAIN, \"launch_thread\", \"\")\n");
            return;
        }
}

/* MirageOS 3.3 on joins the arguments with spaces and splits them anew. */
int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    size_t n = 0;

    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", i > 1 ? " " : "", argv[i]);
        if (n >= sizeof line) {
            say("command line: longer than %d bytes\n", LINE_MAX_BYTES - 1);
            return EXIT_USAGE;
        }
    }
    return guest_main(UNIX_SHAPE, line);
}
