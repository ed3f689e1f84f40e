/* The names of spice-protocol's macros.h that the codecs use. */
#ifndef SPICEHOP_SHIM_SPICE_MACROS_H
#define SPICEHOP_SHIM_SPICE_MACROS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define SPICE_BEGIN_DECLS
#define SPICE_END_DECLS
#define SPICE_GNUC_NORETURN __attribute__((noreturn))
#define SPICE_GNUC_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define SPICE_GNUC_UNUSED __attribute__((unused))
#define SPICE_ATTR_PACKED __attribute__((packed))
#define SPICE_N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
#define SPICE_OFFSETOF(type, member) offsetof(type, member)
#define SPICE_CONTAINEROF(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#define SPICE_ALIGNED_CAST(type, pointer) ((type)(void *)(pointer))
#define SPICE_UNALIGNED_CAST(type, pointer) ((type)(void *)(pointer))

#ifndef ABS
#define ABS(x) ((x) < 0 ? -(x) : (x))
#endif
#ifndef MIN
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif

#endif
