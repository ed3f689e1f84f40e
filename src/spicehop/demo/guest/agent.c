/* A stand-in for the SPICE agent: capabilities, the clipboard in both directions, and a log of what it was sent.
 *
 * Bytes arrive as chunks (port, size), whose payloads together form messages (protocol, type, opaque, size). */
#include "guest.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum message_type {
    MOUSE_STATE = 1,
    MONITORS_CONFIG = 2,
    CLIPBOARD = 4,
    ANNOUNCE_CAPABILITIES = 6,
    CLIPBOARD_GRAB = 7,
    CLIPBOARD_REQUEST = 8,
    CLIPBOARD_RELEASE = 9,
    LAST_TYPE = 17,
};
enum { AGENT_PROTOCOL = 1, CLIENT_PORT = 1, SERVER_PORT = 2, TEXT = 1, SELECTION_SIZE = 4, SMALL = 256 };
enum { LARGEST_CHUNK = 1 << 28 };
static const uint32_t CAPABILITIES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6; /* mouse, monitors, reply, by demand, selection */

struct chunk_header {
    uint32_t port, size;
} __attribute__((packed));

struct message_header {
    uint32_t protocol, type;
    uint64_t opaque;
    uint32_t size;
} __attribute__((packed));

/* Where the reader stands in the stream. */
struct reader {
    struct chunk_header chunk;
    unsigned chunk_header_got;
    uint32_t chunk_left;
    struct message_header message;
    unsigned message_header_got;
    uint32_t body_got;
    uint32_t hash;       /* of a clipboard's text */
    uint8_t small[SMALL]; /* the first bytes of the body */
};

static int port;
static long clipboard_size, chunk_limit, pace;
static uint64_t received;
static unsigned messages;

/* `pace` bytes at a time with a millisecond between, so that the host keeps up; all at once when it is 0. */
static void write_paced(const uint8_t *data, uint32_t size)
{
    uint32_t most = pace > 0 ? pace : size;
    for (uint32_t sent = 0; sent < size; sent += most) {
        if (sent)
            usleep(1000);
        write_all(port, data + sent, size - sent < most ? size - sent : most);
    }
}

static void send_message(uint32_t type, const void *body, uint32_t size)
{
    struct message_header header = { AGENT_PROTOCOL, type, 0, size };
    uint32_t total = sizeof header + size, limit = chunk_limit > 0 ? chunk_limit : total;
    uint8_t *whole = malloc(total), *out = malloc(limit + sizeof(struct chunk_header));
    memcpy(whole, &header, sizeof header);
    memcpy(whole + sizeof header, body, size);
    for (uint32_t sent = 0; sent < total;) {
        uint32_t part = total - sent < limit ? total - sent : limit;
        struct chunk_header chunk = { CLIENT_PORT, part };
        memcpy(out, &chunk, sizeof chunk);
        memcpy(out + sizeof chunk, whole + sent, part);
        write_paced(out, sizeof chunk + part);
        sent += part;
    }
    free(whole);
    free(out);
}

static void announce(uint32_t wants_reply)
{
    uint32_t body[2] = { wants_reply, CAPABILITIES };
    send_message(ANNOUNCE_CAPABILITIES, body, sizeof body);
}

/* The guest's clipboard: numbered lines "clip 00000000\n", cut at `size` bytes. */
static void send_clipboard(long size)
{
    uint8_t *body = calloc(1, size + 8 + 16);
    body[SELECTION_SIZE] = TEXT;
    unsigned line = 0;
    for (long offset = 0; offset < size; offset += 14)
        snprintf((char *)body + 8 + offset, 15, "clip %08u\n", line++ % 100000000u);
    log_line("clipboard-sending bytes=%ld fnv=%08x", size, fnv1a(FNV_START, body + 8, size));
    send_message(CLIPBOARD, body, size + 8);
    log_line("clipboard-sent bytes=%ld", size);
    free(body);
}

static uint32_t word(const struct reader *reader, unsigned index)
{
    uint32_t value;
    memcpy(&value, reader->small + index * 4, 4);
    return value;
}

static void take_message(const struct reader *reader)
{
    uint32_t type = reader->message.type, size = reader->message.size;
    uint32_t request[2] = { 0, TEXT };
    messages++;
    switch (type) {
    case MOUSE_STATE:
        log_line("mouse x=%u y=%u buttons=%u", word(reader, 0), word(reader, 1), word(reader, 2));
        return;
    case MONITORS_CONFIG:
        log_line("monitors count=%u height=%u width=%u", word(reader, 0), word(reader, 2), word(reader, 3));
        return;
    case ANNOUNCE_CAPABILITIES:
        log_line("capabilities request=%u words=%u first=%08x", word(reader, 0), (size - 4) / 4, word(reader, 1));
        if (word(reader, 0))
            announce(0);
        return;
    case CLIPBOARD_GRAB:
        log_line("grab bytes=%u first=%u", size, word(reader, 1));
        send_message(CLIPBOARD_REQUEST, request, sizeof request);
        return;
    case CLIPBOARD:
        log_line("clipboard-received bytes=%u fnv=%08x kind=%u", size >= 8 ? size - 8 : 0, reader->hash, word(reader, 1));
        return;
    case CLIPBOARD_REQUEST:
        send_clipboard(clipboard_size);
        return;
    default:
        log_line("message type=%u size=%u", type, size);
    }
}

static void take_message_byte(struct reader *reader, uint8_t byte)
{
    struct message_header *header = &reader->message;
    if (reader->message_header_got < sizeof *header) {
        ((uint8_t *)header)[reader->message_header_got++] = byte;
        if (reader->message_header_got < sizeof *header)
            return;
        reader->body_got = 0;
        reader->hash = FNV_START;
        memset(reader->small, 0, SMALL);
        if (header->protocol != AGENT_PROTOCOL || header->type > LAST_TYPE)
            log_line("fault message protocol %u type %u size %u", header->protocol, header->type, header->size);
        if (header->type == CLIPBOARD)
            log_line("clipboard-begins bytes=%u", header->size);
    } else {
        if (reader->body_got < SMALL)
            reader->small[reader->body_got] = byte;
        if (reader->body_got >= 8)
            reader->hash = fnv1a(reader->hash, &byte, 1);
        reader->body_got++;
    }
    if (reader->body_got == header->size) {
        take_message(reader);
        reader->message_header_got = 0;
    }
}

static void take_byte(struct reader *reader, uint8_t byte)
{
    if (reader->chunk_left) {
        reader->chunk_left--;
        take_message_byte(reader, byte);
        return;
    }
    ((uint8_t *)&reader->chunk)[reader->chunk_header_got++] = byte;
    if (reader->chunk_header_got < sizeof reader->chunk)
        return;
    reader->chunk_header_got = 0;
    uint32_t from = reader->chunk.port, size = reader->chunk.size;
    if ((from != CLIENT_PORT && from != SERVER_PORT) || size > LARGEST_CHUNK)
        log_line("fault chunk port %u size %u after %llu bytes", from, size, (unsigned long long)received);
    else
        reader->chunk_left = size;
}

void run_agent(int commands)
{
    static struct reader reader;
    int is_open = 1;
    port = open_port("com.redhat.spice.0");
    log_line("port present=%d", port >= 0);
    clipboard_size = parameter("clip", 65536);
    chunk_limit = parameter("chunk", 0);
    pace = parameter("pace", 0);
    role_is_ready();
    if (port < 0)
        pause();
    announce(1);
    for (;;) {
        struct pollfd polled[2] = { { commands, POLLIN, 0 }, { port, POLLIN, 0 } };
        poll(polled, 2, is_open ? -1 : 20);
        if (!is_open && !(polled[1].revents & POLLHUP)) {
            is_open = 1;
            memset(&reader, 0, sizeof reader);
            log_line("open bytes=%llu", (unsigned long long)received);
            announce(1);
            continue;
        }
        char command = 0;
        if (polled[0].revents && read(commands, &command, 1) == 1) {
            uint32_t offer[2] = { 0, TEXT };
            if (command == COMMAND_GRAB) {
                log_line("grabbing");
                send_message(CLIPBOARD_GRAB, offer, sizeof offer);
            }
            if (command == COMMAND_SYNC)
                log_line("sync bytes=%llu messages=%u t=%.6f", (unsigned long long)received, messages, now());
        }
        uint8_t bytes[4096];
        ssize_t got = polled[1].revents & POLLIN ? read(port, bytes, sizeof bytes) : 0;
        if (got > 0) {
            received += got;
            for (ssize_t i = 0; i < got; i++)
                take_byte(&reader, bytes[i]);
        } else if (polled[1].revents) {
            if (is_open)
                log_line("closed bytes=%llu", (unsigned long long)received);
            is_open = 0;
            usleep(5000); /* poll returns at once while the host side is closed */
        }
    }
}
