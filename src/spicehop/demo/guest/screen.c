/* Draws through the framebuffer device and the text console.
 *
 * The stamp, at pixel (16, 16): 16 x 4 cells of 8 x 8 pixels, white for 1 and black for 0, most significant bit first.
 * Row 0 is the mark 0xA53C, rows 1 and 2 the frame number, row 3 the check: FNV-1a of the number's four bytes
 * (big endian), its upper and lower half combined by exclusive or. */
#include "guest.h"

#include <fcntl.h>
#include <linux/fb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { STAMP_X = 16, STAMP_Y = 16, CELL = 8, STAMP_COLUMNS = 16, STAMP_ROWS = 4, STAMP_MARK = 0xA53C };
enum { TILE_X = 160, TILE_Y = 16, PICTURE_X = 16, PICTURE_Y = 512, PICTURE_WIDTH = 512, PICTURE_HEIGHT = 192 };
enum { BAND_PIXELS = 2048 * 256 };

static int framebuffer = -1, console = -1;
static unsigned line_bytes;

static void draw_row(unsigned x, unsigned y, const uint32_t *pixels, unsigned count)
{
    if (pwrite(framebuffer, pixels, count * 4, (off_t)y * line_bytes + x * 4) < 0)
        log_line("fault framebuffer write at row %u", y);
}

static void stamp_row(uint32_t frame, unsigned row, uint32_t *pixels)
{
    uint8_t bytes[4] = { frame >> 24, frame >> 16, frame >> 8, frame };
    uint32_t hash = fnv1a(FNV_START, bytes, sizeof bytes);
    uint16_t rows[STAMP_ROWS] = { STAMP_MARK, frame >> 16, frame, (hash >> 16) ^ hash };
    for (unsigned x = 0; x < STAMP_COLUMNS * CELL; x++)
        pixels[x] = (rows[row] >> (STAMP_COLUMNS - 1 - x / CELL)) & 1 ? 0xffffffff : 0xff000000;
}

static void draw_stamp(uint32_t frame)
{
    uint32_t pixels[STAMP_COLUMNS * CELL];
    for (unsigned row = 0; row < STAMP_ROWS; row++) {
        stamp_row(frame, row, pixels);
        for (unsigned y = 0; y < CELL; y++)
            draw_row(STAMP_X, STAMP_Y + row * CELL + y, pixels, STAMP_COLUMNS * CELL);
    }
}

/* A gradient that changes with the frame, at one of 16 places. */
static void draw_tile(uint32_t frame, unsigned size)
{
    uint32_t pixels[size];
    unsigned left = TILE_X + frame % 4 * (size / 4), top = TILE_Y + frame / 4 % 4 * (size / 4);
    for (unsigned y = 0; y < size; y++) {
        for (unsigned x = 0; x < size; x++)
            pixels[x] = 0xff000000 | ((x * 2 + frame) & 255) << 16 | (y * 2 & 255) << 8 | ((x + y + frame * 3) & 255);
        draw_row(left, top + y, pixels, size);
    }
}

/* A gradient over the whole width of the screen, at one place, with the stamp on it, in a single write. The device then
 * gets one picture a frame, always of the same rectangle: a video to libspice. Its rows have no gaps between them, as
 * those of the tile have (qxl gives every picture the stride of the screen), so that LZ and GLZ take it. */
static void draw_band(uint32_t frame, unsigned rows)
{
    static uint32_t pixels[BAND_PIXELS];
    unsigned width = line_bytes / 4;
    if (width * rows > BAND_PIXELS)
        return;
    for (unsigned y = 0; y < rows; y++)
        for (unsigned x = 0; x < width; x++)
            pixels[y * width + x] = 0xff000000 | ((x / 4 + frame * 2) & 255) << 16 | ((x / 8 + y) & 255) << 8 | y;
    for (unsigned y = 0; y < STAMP_ROWS * CELL && y < rows; y++)
        stamp_row(frame, y / CELL, pixels + y * width + STAMP_X);
    draw_row(0, STAMP_Y, pixels, width * rows);
}

/* Drawn once: coloured text, and a picture smooth enough for the photographic codecs. */
static void draw_background(void)
{
    dprintf(console, "\033[2J\033[?25l\033[14;1H");
    for (int row = 0; row < 12; row++) {
        for (int column = 0; column < 72; column++)
            dprintf(console, "\033[4%dm%c", (row + column) % 8, 'A' + (row * 7 + column) % 26);
        dprintf(console, "\033[0m\r\n");
    }
    uint32_t pixels[PICTURE_WIDTH];
    for (unsigned y = 0; y < PICTURE_HEIGHT; y++) {
        for (unsigned x = 0; x < PICTURE_WIDTH; x++)
            pixels[x] = 0xff000000 | (x * x / 1024 & 255) << 16 | ((x + y) / 3 & 255) << 8 | (x * y / 400 & 255);
        draw_row(PICTURE_X, PICTURE_Y + y, pixels, PICTURE_WIDTH);
    }
}

static void draw_frame(uint32_t frame, unsigned tile, unsigned band)
{
    if (band) {
        draw_band(frame, band);
        return;
    }
    if (tile)
        draw_tile(frame, tile);
    dprintf(console, "\033[5;3H\033[1;3%um frame %08u \033[0m", 1 + frame % 7, frame);
    dprintf(console, "\033[7;3H\033[4%um %-13.2f \033[0m", 1 + frame % 7, now());
    draw_stamp(frame);
}

void run_screen(int commands)
{
    struct fb_var_screeninfo screen = { 0 };
    struct fb_fix_screeninfo memory = { 0 };
    console = open("/dev/tty0", O_RDWR);
    for (int attempt = 0; framebuffer < 0 && attempt < 150; attempt++, usleep(20000))
        framebuffer = open("/dev/fb0", O_RDWR);
    if (framebuffer < 0 || ioctl(framebuffer, FBIOGET_VSCREENINFO, &screen) ||
        ioctl(framebuffer, FBIOGET_FSCREENINFO, &memory) || screen.bits_per_pixel != 32) {
        log_line("fault no framebuffer of 32 bits");
        role_is_ready();
        pause();
    }
    line_bytes = memory.line_length;
    log_line("screen width=%u height=%u driver=%.15s", screen.xres, screen.yres, memory.id);
    long fps = parameter("fps", 25), tile = parameter("tile", 96), band = parameter("band", 0);
    if (fps < 1 || fps > 200)
        fps = 25;
    if (tile < 0 || tile > 256)
        tile = 96;
    if (band < 0 || band > 256)
        band = 0;
    draw_background();
    role_is_ready();

    int frozen = 0;
    double next = now();
    for (uint32_t frame = 0;;) {
        double pause_for = frozen ? 1 : next - now();
        struct pollfd wait = { commands, POLLIN, 0 };
        if (poll(&wait, 1, pause_for > 0 ? (int)(pause_for * 1000) + 1 : 0) > 0) {
            char command = 0;
            if (read(commands, &command, 1) == 1 && command == COMMAND_FREEZE) {
                frozen = !frozen;
                log_line("%s frame=%u t=%.6f", frozen ? "frozen" : "drawing", frame, now());
                next = now();
            } else if (command == COMMAND_SYNC) {
                log_line("sync frame=%u t=%.6f", frame, now());
            }
            continue;
        }
        if (frozen)
            continue;
        draw_frame(frame, tile, band);
        if (frame % (fps * 2) == 0)
            log_line("frame n=%u t=%.6f", frame, now());
        frame++;
        next += 1.0 / fps;
        if (next < now())
            next = now();
    }
}
