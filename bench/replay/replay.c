/* The first and only process of a virtual machine that shows frames made outside of it.
 *
 * The frames come through a piece of memory that the machine shares with its host (ivshmem at 00:04.0), 64-bit words
 * and 32-bit words little endian:
 *   0  frames that were written, 64 bits      8  frames that were shown, 64 bits
 *   4096 + slot * SLOT  the number of boxes, then for each box left, top, width, height and its pixels, 32 bits each
 * Frame n lies in slot n % SLOTS. They are copied to the standard VGA (00:02.0), whose mode is set by its own ports.
 * Each line of the serial port is a sentence; READY comes when frames are taken. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIDTH = 1920, HEIGHT = 1080, SLOT = 9 << 20, SLOTS = 7, FIRST_SLOT = 4096 };
enum { VGA_BYTES = 16 << 20, SHARED_BYTES = 64 << 20, POLL_MICROSECONDS = 2000 };
enum { INDEX_PORT = 0x1ce, DATA_PORT = 0x1cf, X = 1, Y = 2, DEPTH = 3, ENABLE = 4, ENABLED_LINEAR = 0x41 };

static void say(const char *sentence)
{
    int serial = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
    if (serial >= 0) {
        dprintf(serial, "%s\n", sentence);
        close(serial);
    }
}

static void *map(const char *place, size_t size)
{
    int file = open(place, O_RDWR | O_SYNC);
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (found == MAP_FAILED) {
        say("FAULT a device's memory cannot be mapped");
        pause();
    }
    return found;
}

static void set_mode(int index, int value)
{
    outw(index, INDEX_PORT);
    outw(value, DATA_PORT);
}

static void show(uint32_t *screen, const uint32_t *frame)
{
    uint32_t boxes = *frame++;
    while (boxes--) {
        uint32_t left = frame[0], top = frame[1], width = frame[2], height = frame[3];
        frame += 4;
        if (left + width > WIDTH || top + height > HEIGHT)
            return;
        for (uint32_t row = 0; row < height; row++, frame += width)
            memcpy(screen + (top + row) * WIDTH + left, frame, width * 4);
    }
}

int main(void)
{
    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mount("sysfs", "/sys", "sysfs", 0, "");
    mount("devtmpfs", "/dev", "devtmpfs", 0, "");
    if (iopl(3))
        say("FAULT no ports");
    uint32_t *screen = map("/sys/bus/pci/devices/0000:00:02.0/resource0", VGA_BYTES);
    uint8_t *shared = map("/sys/bus/pci/devices/0000:00:04.0/resource2", SHARED_BYTES);
    volatile uint64_t *counts = (volatile uint64_t *)shared;
    set_mode(ENABLE, 0);
    set_mode(X, WIDTH);
    set_mode(Y, HEIGHT);
    set_mode(DEPTH, 32);
    set_mode(ENABLE, ENABLED_LINEAR);
    outb(0x20, 0x3c0); /* without this bit the VGA shows nothing */
    say("READY");
    for (;;) {
        while (counts[1] == counts[0])
            usleep(POLL_MICROSECONDS);
        __sync_synchronize();
        show(screen, (const uint32_t *)(shared + FIRST_SLOT + counts[1] % SLOTS * (uint64_t)SLOT));
        __sync_synchronize();
        counts[1] = counts[1] + 1;
    }
}
