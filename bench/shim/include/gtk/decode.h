/* Stands in for spice-gtk's decode.h: the GLZ decoder's own interface. */
#ifndef SPICEHOP_SHIM_DECODE_H
#define SPICEHOP_SHIM_DECODE_H

#include <glib.h>
#include <draw.h>

typedef struct SpiceGlzDecoder SpiceGlzDecoder;
typedef struct SpiceGlzDecoderWindow SpiceGlzDecoderWindow;

typedef struct SpiceGlzDecoderOps {
    void (*decode)(SpiceGlzDecoder *decoder, uint8_t *data, SpicePalette *palette, void *user);
} SpiceGlzDecoderOps;

struct SpiceGlzDecoder {
    SpiceGlzDecoderOps *ops;
};

SpiceGlzDecoderWindow *glz_decoder_window_new(void);
void glz_decoder_window_clear(SpiceGlzDecoderWindow *window);
void glz_decoder_window_destroy(SpiceGlzDecoderWindow *window);
SpiceGlzDecoder *glz_decoder_new(SpiceGlzDecoderWindow *window);
void glz_decoder_destroy(SpiceGlzDecoder *decoder);

#endif
