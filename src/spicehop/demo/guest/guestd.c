/* The whole userland of the demo guest. One process per role:
 *
 *   screen  draws a frame stamp, a moving tile and text, or a band with the stamp on it, `fps` times a second
 *   keys    logs every event of every input device; function keys command the other roles
 *   echo    sends back what the port org.example.echo.0 receives, logs count and checksum
 *   agent   stands in for the SPICE agent on com.redhat.spice.0: capabilities, clipboard both ways
 *
 * F5: the agent offers its clipboard. F6: every role logs its totals. F7: drawing stops, or goes on.
 *
 * Everything is said on the serial line, which the host writes to a file: what is in that file the guest has seen.
 */
#include "guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int serial = -1;
static const char *role_name = "INIT";
static unsigned sequence;
static int command_pipes[ROLE_COUNT][2];
static int ready_pipe[2];

void log_as(const char *role)
{
    role_name = role;
    sequence = 0;
}

void log_line(const char *format, ...)
{
    char line[512];
    int size = snprintf(line, sizeof line, "%s %u ", role_name, sequence++);
    va_list arguments;
    va_start(arguments, format);
    int text = vsnprintf(line + size, sizeof line - size - 1, format, arguments);
    va_end(arguments);
    size += text;
    if (size > (int)sizeof line - 2)
        size = sizeof line - 2;
    line[size++] = '\n';
    write_all(serial, line, size);
}

long parameter(const char *name, long fallback)
{
    static char command_line[2048];
    if (!*command_line) {
        int file = open("/proc/cmdline", O_RDONLY);
        command_line[0] = ' ';
        ssize_t got = read(file, command_line + 1, sizeof command_line - 2);
        command_line[got > 0 ? got + 1 : 1] = 0;
        close(file);
    }
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=", name);
    const char *found = strstr(command_line, wanted);
    return found ? strtol(found + strlen(wanted), NULL, 0) : fallback;
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

uint32_t fnv1a(uint32_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    while (size--)
        hash = (hash ^ *bytes++) * 16777619u;
    return hash;
}

void write_all(int file, const void *data, size_t size)
{
    const char *next = data;
    while (size) {
        ssize_t written = write(file, next, size);
        if (written > 0) {
            next += written;
            size -= written;
        } else {
            usleep(2000); /* a port whose host side is closed takes nothing: wait for it */
        }
    }
}

void send_command(enum role role, enum command command)
{
    char byte = command;
    write_all(command_pipes[role][1], &byte, 1);
}

void role_is_ready(void)
{
    write_all(ready_pipe[1], "", 1);
}

static int port_is_named(const char *device, const char *name)
{
    char path[300], text[100] = "";
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", device);
    int file = open(path, O_RDONLY);
    if (file < 0)
        return 0;
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    text[got > 0 ? got : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, name) == 0;
}

int open_port(const char *name)
{
    for (int attempt = 0; attempt < 150; attempt++) {
        DIR *directory = opendir("/sys/class/virtio-ports");
        struct dirent *entry;
        while (directory && (entry = readdir(directory))) {
            if (!port_is_named(entry->d_name, name))
                continue;
            char path[300];
            snprintf(path, sizeof path, "/dev/%s", entry->d_name);
            closedir(directory);
            return open(path, O_RDWR);
        }
        if (directory)
            closedir(directory);
        usleep(20000);
    }
    return -1;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(int commands);
    } roles[ROLE_COUNT] = {
        [ROLE_SCREEN] = { "SCREEN", run_screen },
        [ROLE_ECHO] = { "ECHO", run_echo },
        [ROLE_AGENT] = { "AGENT", run_agent },
        [ROLE_KEYS] = { "KEYS", run_keys },
    };
    signal(SIGPIPE, SIG_IGN);
    serial = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
    if (pipe(ready_pipe))
        return 1;
    for (int role = 0; role < ROLE_COUNT; role++)
        if (pipe(command_pipes[role]))
            return 1;
    for (int role = 0; role < ROLE_COUNT; role++) {
        if (fork())
            continue;
        log_as(roles[role].name);
        roles[role].run(command_pipes[role][0]);
        _exit(0);
    }
    char byte;
    for (int waiting = ROLE_COUNT; waiting;)
        waiting -= read(ready_pipe[0], &byte, 1) == 1;
    log_line("READY t=%.6f", now());
    for (;;) {
        int status;
        pid_t child = wait(&status);
        if (child > 0)
            log_line("fault a role ended, status %#x", status);
        else
            pause();
    }
}
