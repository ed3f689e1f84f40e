/* Logs what the input devices report, each event with the kernel's own time of it. */
#define _GNU_SOURCE
#include "guest.h"

#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { DEVICES = 16 };

struct device {
    int x, y;      /* what moved since the last report */
    int has_moved;
};

static unsigned keys, buttons, moves, syncs;

static void function_key(unsigned code)
{
    if (code == KEY_F5)
        send_command(ROLE_AGENT, COMMAND_GRAB);
    if (code == KEY_F7)
        send_command(ROLE_SCREEN, COMMAND_FREEZE);
    if (code != KEY_F6)
        return;
    log_line("sync n=%u keys=%u buttons=%u moves=%u t=%.6f", ++syncs, keys, buttons, moves, now());
    send_command(ROLE_SCREEN, COMMAND_SYNC);
    send_command(ROLE_ECHO, COMMAND_SYNC);
    send_command(ROLE_AGENT, COMMAND_SYNC);
}

static void take_event(struct device *device, const struct input_event *event)
{
    double time = event->input_event_sec + event->input_event_usec / 1e6;
    int is_sideways = event->code == ABS_X; /* REL_X has the same number */
    switch (event->type) {
    case EV_KEY:
        if (event->code >= BTN_MISC && event->code < KEY_OK) {
            log_line("button n=%u code=%u value=%d t=%.6f", buttons++, event->code, event->value, time);
            break;
        }
        log_line("key n=%u code=%u value=%d t=%.6f", keys++, event->code, event->value, time);
        if (event->value == 1)
            function_key(event->code);
        break;
    case EV_REL:
        if (event->code > REL_Y) {
            log_line("wheel code=%u value=%d t=%.6f", event->code, event->value, time);
            break;
        }
        /* fall through */
    case EV_ABS:
        if (is_sideways)
            device->x = event->value;
        else
            device->y = event->value;
        device->has_moved = event->type;
        break;
    case EV_SYN:
        if (event->code == SYN_DROPPED)
            log_line("fault events dropped");
        if (event->code == SYN_REPORT && device->has_moved) {
            const char *kind = device->has_moved == EV_REL ? "relative" : "absolute";
            log_line("move n=%u kind=%s x=%d y=%d t=%.6f", moves++, kind, device->x, device->y, time);
            if (device->has_moved == EV_REL)
                device->x = device->y = 0;
            device->has_moved = 0;
        }
        break;
    }
}

static int open_devices(struct pollfd *polled)
{
    int count = 0;
    for (int number = 0; number < DEVICES; number++) {
        char path[40], name[80] = "";
        snprintf(path, sizeof path, "/dev/input/event%d", number);
        int file = open(path, O_RDONLY);
        if (file < 0)
            continue;
        int clock = CLOCK_MONOTONIC;
        ioctl(file, EVIOCGNAME(sizeof name - 1), name);
        ioctl(file, EVIOCSCLOCKID, &clock);
        ioctl(file, EVIOCGRAB, 1);
        for (char *blank = name; (blank = strchr(blank, ' '));)
            *blank = '_';
        log_line("device n=%d name=%s", number, name);
        polled[count++] = (struct pollfd){ file, POLLIN, 0 };
    }
    return count;
}

struct report {
    int device;
    struct input_event event;
};

/* The kernel keeps about 20 keys for a reader. This one does nothing but read, before all other programs, so that a
   guest that draws and logs slowly, as under emulation, still loses none. */
static void pass_on(struct pollfd *polled, int count, int out)
{
    struct sched_param first = { .sched_priority = 50 };
    if (sched_setscheduler(0, SCHED_FIFO, &first))
        log_line("fault no real-time priority");
    for (;;) {
        poll(polled, count, -1);
        for (int i = 0; i < count; i++) {
            if (!polled[i].revents)
                continue;
            struct input_event events[64];
            struct report reports[64];
            ssize_t got = read(polled[i].fd, events, sizeof events);
            int number = got > 0 ? got / (ssize_t)sizeof *events : 0;
            for (int j = 0; j < number; j++)
                reports[j] = (struct report){ i, events[j] };
            if (write(out, reports, number * sizeof *reports) != number * (ssize_t)sizeof *reports)
                log_line("fault the log does not keep up");
        }
    }
}

void run_keys(int commands)
{
    struct pollfd polled[DEVICES];
    struct device devices[DEVICES] = { 0 };
    int ends[2];
    (void)commands;
    int count = open_devices(polled);
    if (pipe(ends)) {
        log_line("fault no pipe");
        return;
    }
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    if (!fork())
        pass_on(polled, count, ends[1]);
    role_is_ready();
    for (;;) {
        struct report report;
        for (size_t have = 0; have < sizeof report;) {
            ssize_t got = read(ends[0], (char *)&report + have, sizeof report - have);
            if (got > 0)
                have += got;
        }
        take_event(&devices[report.device], &report.event);
    }
}
