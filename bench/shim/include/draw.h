/* Of the reference's draw.h the codecs want the palette alone. */
#ifndef SPICEHOP_SHIM_DRAW_H
#define SPICEHOP_SHIM_DRAW_H

#include <stdint.h>
#include <common/log.h>

typedef struct SpicePalette {
    uint64_t unique;
    uint16_t num_ents;
    uint32_t ents[256];
} SpicePalette;

#endif
