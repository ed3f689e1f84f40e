/*
 * The reference's codecs behind plain functions, for ctypes.
 *
 * Pixels come in one piece, compressed bytes too. Every function returns a negative number when the codec refused,
 * and leaves it with longjmp, because the reference's error callbacks must not return. Not thread-safe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <common/canvas_utils.h>
#include <common/log.h>
#include <common/lz.h>
#include <common/quic.h>

#include "red-common.h"
#include "glz-encoder.h"
#include "glz-encoder-dict.h"
#include "decode.h"

static jmp_buf refused;

void shim_fail(void)
{
    longjmp(refused, 1);
}

void spice_log(GLogLevelFlags level, const char *place, const char *function, const char *format, ...)
{
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
        shim_fail();
}

#define CALLBACKS(name, Context) \
    static SPICE_GNUC_NORETURN void name##_error(Context *user, const char *format, ...) { shim_fail(); } \
    static SPICE_GNUC_NORETURN void name##_warn(Context *user, const char *format, ...) { shim_fail(); } \
    static SPICE_GNUC_NORETURN void name##_info(Context *user, const char *format, ...) { shim_fail(); } \
    static void *name##_malloc(Context *user, int size) { return malloc(size); } \
    static void name##_free(Context *user, void *memory) { free(memory); } \
    static int name##_more_lines(Context *user, uint8_t **lines) { return 0; }

CALLBACKS(quic, QuicUsrContext)
CALLBACKS(lz, LzUsrContext)
CALLBACKS(glz, GlzEncoderUsrContext)

static int quic_more_space(QuicUsrContext *user, uint32_t **words, int rows) { return 0; }
static int lz_more_space(LzUsrContext *user, uint8_t **bytes) { return 0; }
static int glz_more_space(GlzEncoderUsrContext *user, uint8_t **bytes) { return 0; }
static void glz_free_image(GlzEncoderUsrContext *user, GlzUsrImageContext *image) { }

static QuicUsrContext quic_user = {quic_error, quic_warn, quic_info, quic_malloc, quic_free, quic_more_space,
                                   quic_more_lines};
static LzUsrContext lz_user = {lz_error, lz_warn, lz_info, lz_malloc, lz_free, lz_more_space, lz_more_lines};
static GlzEncoderUsrContext glz_user = {glz_error, glz_warn, glz_info, glz_malloc, glz_free, glz_more_lines,
                                        glz_more_space, glz_free_image};

/* Contexts live as long as the process: making one is not what is measured. After a refusal a new one is made. */
static QuicContext *quic;
static LzContext *lz;

/* Returns the number of bytes written. */
int shim_quic_encode(int type, int width, int height, uint8_t *pixels, int stride, uint32_t *out, int out_bytes)
{
    int words;
    if (!quic)
        quic = quic_create(&quic_user);
    if (setjmp(refused)) {
        quic = NULL;
        return -1;
    }
    words = quic_encode(quic, type, width, height, pixels, height, stride, out, out_bytes / 4);
    return words < 0 ? -1 : 4 * words;
}

/* Decodes to the type given, which must be one that the stream's type can become. */
int shim_quic_decode(uint32_t *data, int bytes, int type, uint8_t *pixels, int stride)
{
    QuicImageType found;
    int width, height;
    if (!quic)
        quic = quic_create(&quic_user);
    if (setjmp(refused)) {
        quic = NULL;
        return -1;
    }
    if (quic_decode_begin(quic, data, bytes / 4, &found, &width, &height) != QUIC_OK)
        return -1;
    return quic_decode(quic, type, pixels, stride) == QUIC_OK ? 0 : -1;
}

int shim_lz_encode(int type, int width, int height, int top_down, uint8_t *pixels, int stride, uint8_t *out,
                   int out_bytes)
{
    if (!lz)
        lz = lz_create(&lz_user);
    if (setjmp(refused)) {
        lz = NULL;
        return -1;
    }
    return lz_encode(lz, type, width, height, top_down, pixels, height, stride, out, out_bytes);
}

int shim_lz_decode(uint8_t *data, int bytes, int type, const uint32_t *colors, int color_count, uint8_t *pixels)
{
    static SpicePalette palette;
    LzImageType found;
    int width, height, count, top_down, i;
    if (!lz)
        lz = lz_create(&lz_user);
    if (setjmp(refused)) {
        lz = NULL;
        return -1;
    }
    palette.num_ents = color_count;
    for (i = 0; i < color_count && i < 256; i++)
        palette.ents[i] = colors[i];
    lz_decode_begin(lz, data, bytes, &found, &width, &height, &count, &top_down, color_count ? &palette : NULL);
    lz_decode(lz, type, pixels);
    return 0;
}

/* A GLZ dictionary and its one encoder; the pixels given must stay until it is destroyed. */
struct shim_glz {
    GlzEncDictContext *dictionary;
    GlzEncoderContext *encoder;
};

struct shim_glz *shim_glz_create(int window_pixels)
{
    struct shim_glz *made = shim_zalloc(1, sizeof(*made));
    if (setjmp(refused))
        return NULL;
    made->dictionary = glz_enc_dictionary_create(window_pixels, 1, &glz_user);
    made->encoder = glz_encoder_create(0, made->dictionary, &glz_user);
    return made;
}

void shim_glz_destroy(struct shim_glz *glz)
{
    if (setjmp(refused))
        return;
    glz_encoder_destroy(glz->encoder);
    glz_enc_dictionary_destroy(glz->dictionary, &glz_user);
    free(glz);
}

int shim_glz_encode(struct shim_glz *glz, int type, int width, int height, int top_down, uint8_t *pixels, int stride,
                    uint8_t *out, int out_bytes)
{
    GlzEncDictImageContext *context;
    if (setjmp(refused))
        return -1;
    return glz_encode(glz->encoder, type, width, height, top_down, pixels, height, stride, out, out_bytes, NULL,
                      &context);
}

/* spice-gtk's decoder with its window. */
struct shim_window {
    SpiceGlzDecoderWindow *window;
    SpiceGlzDecoder *decoder;
};

struct shim_window *shim_window_create(void)
{
    struct shim_window *made = shim_zalloc(1, sizeof(*made));
    made->window = glz_decoder_window_new();
    made->decoder = glz_decoder_new(made->window);
    return made;
}

void shim_window_destroy(struct shim_window *window)
{
    glz_decoder_destroy(window->decoder);
    glz_decoder_window_destroy(window->window);
    free(window);
}

/* Copies the pixels out when `pixels` is given. */
int shim_glz_decode(struct shim_window *window, uint8_t *data, const uint32_t *colors, int color_count,
                    uint32_t *pixels, int count)
{
    static SpicePalette palette;
    LzDecodeUsrData user = {NULL};
    int i;
    if (setjmp(refused))
        return -1;
    palette.num_ents = color_count;
    for (i = 0; i < color_count && i < 256; i++)
        palette.ents[i] = colors[i];
    window->decoder->ops->decode(window->decoder, data, color_count ? &palette : NULL, &user);
    if (pixels)
        memcpy(pixels, user.out_surface->pixels, 4 * (size_t)count);
    pixman_image_unref(user.out_surface);
    return 0;
}

pixman_image_t *alloc_lz_image_surface(LzDecodeUsrData *user, pixman_format_code_t format, int width, int height,
                                       int gross_pixels, int top_down)
{
    pixman_image_t *made = malloc(sizeof(*made) + 4 * (size_t)gross_pixels);
    if (!made)
        abort();
    made->users = 1;
    made->first = made->pixels + (top_down ? 0 : width * (height - 1));
    user->out_surface = made;
    return made;
}

pixman_image_t *pixman_image_ref(pixman_image_t *image)
{
    image->users++;
    return image;
}

int pixman_image_unref(pixman_image_t *image)
{
    if (--image->users)
        return 0;
    free(image);
    return 1;
}

uint32_t *pixman_image_get_data(pixman_image_t *image)
{
    return image->first;
}
