/* The few names of glib that the reference's codecs use, so that they build with a C compiler alone. */
#ifndef SPICEHOP_SHIM_GLIB_H
#define SPICEHOP_SHIM_GLIB_H

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef TRUE
#define TRUE 1
#define FALSE 0
#endif

typedef int gboolean;
typedef void *gpointer;
typedef unsigned int GLogLevelFlags;

enum { G_LOG_LEVEL_ERROR = 4, G_LOG_LEVEL_CRITICAL = 8, G_LOG_LEVEL_WARNING = 16, G_LOG_LEVEL_INFO = 64, G_LOG_LEVEL_DEBUG = 128 };

#define G_STMT_START do
#define G_STMT_END while (0)
#define G_LIKELY(x) (__builtin_expect(!!(x), 1))
#define G_UNLIKELY(x) (__builtin_expect(!!(x), 0))
#define G_GNUC_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define G_STRINGIFY(x) SHIM_STRINGIFY(x)
#define SHIM_STRINGIFY(x) #x
#define G_GUINT64_FORMAT PRIu64

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define GUINT32_TO_LE(x) ((uint32_t)(x))
#else
#define GUINT32_TO_LE(x) __builtin_bswap32(x)
#endif
#define GUINT32_FROM_LE(x) GUINT32_TO_LE(x)

/* Where glib logs and returns, the shim leaves the codec: what was decoded is of no use. */
void shim_fail(void) __attribute__((noreturn));
#define g_return_if_fail(x) G_STMT_START { if (!(x)) shim_fail(); } G_STMT_END
#define g_return_val_if_fail(x, value) g_return_if_fail(x)

static inline void *shim_zalloc(size_t count, size_t size)
{
    void *made = calloc(count ? count : 1, size);
    if (!made)
        abort();
    return made;
}

#define g_new0(type, count) ((type *)shim_zalloc(count, sizeof(type)))
#define g_free free
#define g_clear_pointer(place, destroy) \
    G_STMT_START { \
        if (*(place)) { \
            destroy(*(place)); \
            *(place) = NULL; \
        } \
    } G_STMT_END

#endif
