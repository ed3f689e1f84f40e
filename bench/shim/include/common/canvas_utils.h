/* Stands in for spice-common's canvas_utils.h and pixman: an image is a block of 32-bit pixels with a count of users. */
#ifndef SPICEHOP_SHIM_CANVAS_UTILS_H
#define SPICEHOP_SHIM_CANVAS_UTILS_H

#include <stdint.h>
#include <common/lz.h>

typedef struct pixman_image {
    int users;
    uint32_t *first; /* where row 0 of the picture is */
    uint32_t pixels[];
} pixman_image_t;

typedef enum { PIXMAN_LE_a8r8g8b8, PIXMAN_LE_x8r8g8b8 } pixman_format_code_t;

typedef struct LzDecodeUsrData {
    pixman_image_t *out_surface;
} LzDecodeUsrData;

pixman_image_t *alloc_lz_image_surface(LzDecodeUsrData *user, pixman_format_code_t format, int width, int height,
                                       int gross_pixels, int top_down);
pixman_image_t *pixman_image_ref(pixman_image_t *image);
int pixman_image_unref(pixman_image_t *image);
uint32_t *pixman_image_get_data(pixman_image_t *image);

#endif
