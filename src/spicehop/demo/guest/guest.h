/* What the roles of the demo guest share: the serial log, parameters, commands, virtio ports. */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>

/* One line "<ROLE> <sequence> <text>" in a single write(), so that lines of different roles never mix and a lost
 * or doubled line shows in the sequence. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_as(const char *role);

/* The number N of "name=N" on the kernel command line. */
long parameter(const char *name, long fallback);

double now(void);

#define FNV_START 2166136261u
uint32_t fnv1a(uint32_t hash, const void *data, size_t size);

/* What a function key asks of the other roles. Each role reads its own pipe, one byte a command. */
enum command { COMMAND_SYNC = 's', COMMAND_GRAB = 'g', COMMAND_FREEZE = 'f' };
enum role { ROLE_SCREEN, ROLE_ECHO, ROLE_AGENT, ROLE_KEYS, ROLE_COUNT };
void send_command(enum role role, enum command command);

/* A role calls this once, when it can be used; READY is logged when all have. */
void role_is_ready(void);

/* Opens the virtio port of that name, waiting some seconds for the driver; -1 when the machine has none. */
int open_port(const char *name);
void write_all(int file, const void *data, size_t size);

void run_screen(int commands);
void run_echo(int commands);
void run_agent(int commands);
void run_keys(int commands);

#endif
