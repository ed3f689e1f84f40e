/* Sends back what it receives; logs how much it was, and its FNV-1a checksum, every 64 KiB and when it falls idle. */
#include "guest.h"

#include <poll.h>
#include <unistd.h>

enum { REPORT_EVERY = 65536, IDLE_MS = 500 };

static uint64_t total, reported;
static uint32_t hash = FNV_START;

static void report(const char *why)
{
    log_line("%s bytes=%llu fnv=%08x t=%.6f", why, (unsigned long long)total, hash, now());
    reported = total;
}

void run_echo(int commands)
{
    int port = open_port("org.example.echo.0"), is_open = 1;
    log_line("port present=%d", port >= 0);
    role_is_ready();
    for (;;) {
        struct pollfd polled[2] = { { commands, POLLIN, 0 }, { port, POLLIN, 0 } };
        int count = poll(polled, 2, IDLE_MS);
        if (count == 0 && total != reported)
            report("total");
        char command;
        if (polled[0].revents && read(commands, &command, 1) == 1 && command == COMMAND_SYNC)
            report("sync");
        if (is_open && polled[1].revents & POLLHUP && !(polled[1].revents & POLLIN)) {
            is_open = 0;
            report("closed");
        } else if (!is_open && !(polled[1].revents & POLLHUP) && count > 0) {
            is_open = 1;
            report("open");
        }
        uint8_t bytes[4096];
        ssize_t got = polled[1].revents & POLLIN ? read(port, bytes, sizeof bytes) : 0;
        if (got <= 0) {
            if (polled[1].revents)
                usleep(5000); /* while the host side is closed poll returns at once, with POLLIN too */
            continue;
        }
        total += got;
        hash = fnv1a(hash, bytes, got);
        write_all(port, bytes, got);
        if (total - reported >= REPORT_EVERY)
            report("total");
    }
}
