"""Numbers and names of the display and cursor channels (dossier B.2, B.4). Message fields hold plain ints."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class ClipKind(IntEnum):
    """What limits a drawing."""

    NONE = 0
    RECTS = 1


class BrushKind(IntEnum):
    """What a brush paints with."""

    NONE = 0
    SOLID = 1
    PATTERN = 2


class MaskFlag(IntFlag):
    """How a mask is read."""

    INVERS = 1


class ImageType(IntEnum):
    """How an image is held in a message."""

    BITMAP = 0
    QUIC = 1
    LZ_PLT = 100
    LZ_RGB = 101
    GLZ_RGB = 102
    FROM_CACHE = 103
    SURFACE = 104
    JPEG = 105
    FROM_CACHE_LOSSLESS = 106
    ZLIB_GLZ_RGB = 107
    JPEG_ALPHA = 108
    LZ4 = 109


class ImageFlag(IntFlag):
    """What the client does with the decoded image."""

    CACHE_ME = 1
    HIGH_BITS_SET = 2
    CACHE_REPLACE_ME = 4


class BitmapFormat(IntEnum):
    """Pixels of a bitmap."""

    PALETTE_1_LE = 1
    PALETTE_1_BE = 2
    PALETTE_4_LE = 3
    PALETTE_4_BE = 4
    PALETTE_8 = 5
    RGB_555 = 6
    BGR_24 = 7
    XRGB_32 = 8
    ARGB_32 = 9
    ALPHA_8 = 10


class BitmapFlag(IntFlag):
    """Palette caching and row order of a bitmap and of an LZ_PLT image."""

    PALETTE_CACHE_ME = 1
    PALETTE_FROM_CACHE = 2
    TOP_DOWN = 4


class JpegAlphaFlag(IntFlag):
    """Row order of the alpha part."""

    TOP_DOWN = 1


class SurfaceFormat(IntEnum):
    """Pixels of a surface."""

    ALPHA_1 = 1
    ALPHA_8 = 8
    RGB_555 = 16
    RGB_565 = 80
    XRGB_32 = 32
    ARGB_32 = 96


class SurfaceFlag(IntFlag):
    """Properties of a surface."""

    PRIMARY = 1
    STREAMING_MODE = 2


class Ropd(IntFlag):
    """A raster operation: which sides are inverted, and how they are combined."""

    INVERS_SRC = 1
    INVERS_BRUSH = 2
    INVERS_DEST = 4
    OP_PUT = 8
    OP_OR = 16
    OP_AND = 32
    OP_XOR = 64
    OP_BLACKNESS = 128
    OP_WHITENESS = 256
    OP_INVERS = 512
    INVERS_RES = 1024


class ScaleMode(IntEnum):
    """How a source area is brought to the size of its destination."""

    INTERPOLATE = 0
    NEAREST = 1


class LineFlag(IntFlag):
    """Whether a line is dashed."""

    START_WITH_GAP = 4
    STYLED = 8


class PathFlag(IntFlag):
    """What a piece of a path is."""

    BEGIN = 1
    END = 2
    CLOSE = 8
    BEZIER = 16


class StringFlag(IntFlag):
    """Depth of the glyphs, of which exactly one bit is set, and their row order."""

    RASTER_A1 = 1
    RASTER_A4 = 2
    RASTER_A8 = 4
    RASTER_TOP_DOWN = 8


class AlphaFlag(IntFlag):
    """Which sides of DRAW_ALPHA_BLEND have an alpha channel."""

    DEST_HAS_ALPHA = 1
    SRC_SURFACE_HAS_ALPHA = 2


class CompositeFlag(IntFlag):
    """The single bits of DRAW_COMPOSITE's flags; the bits below 18 are small numbers (`COMPOSITE_FIELDS`)."""

    COMPONENT_ALPHA = 1 << 18
    HAS_MASK = 1 << 19
    HAS_SRC_TRANSFORM = 1 << 20
    HAS_MASK_TRANSFORM = 1 << 21
    SOURCE_OPAQUE = 1 << 22
    MASK_OPAQUE = 1 << 23
    DEST_OPAQUE = 1 << 24


COMPOSITE_FIELDS = {
    "operator": (0, 8),
    "src_filter": (8, 3),
    "mask_filter": (11, 3),
    "src_repeat": (14, 2),
    "mask_repeat": (16, 2),
}
"""Numbers inside DRAW_COMPOSITE's flags, as (first bit, bits)."""


class StreamFlag(IntFlag):
    """Row order of a video stream's source."""

    TOP_DOWN = 1


class VideoCodec(IntEnum):
    """Video codecs of streams."""

    MJPEG = 1
    VP8 = 2
    H264 = 3
    VP9 = 4
    H265 = 5


class Compression(IntEnum):
    """What PREFERRED_COMPRESSION asks for."""

    OFF = 1
    AUTO_GLZ = 2
    AUTO_LZ = 3
    QUIC = 4
    GLZ = 5
    LZ = 6
    LZ4 = 7


class ResourceType(IntEnum):
    """What INVAL_LIST speaks of."""

    PIXMAP = 1


class GlScanoutFlag(IntFlag):
    """Row order of a GL scanout."""

    Y0_TOP = 1


class CursorFlag(IntFlag):
    """Where a cursor's shape comes from and goes to."""

    NONE = 1
    CACHE_ME = 2
    FROM_CACHE = 4


class CursorType(IntEnum):
    """Pixels of a cursor."""

    ALPHA = 0
    MONO = 1
    COLOR4 = 2
    COLOR8 = 3
    COLOR16 = 4
    COLOR24 = 5
    COLOR32 = 6


MAX_SURFACES = 1024
"""Surface ids that a server uses are below this."""
MAX_STREAMS = 64
"""Stream ids that a server uses are below this."""
PALETTE_CACHE_ENTRIES = 128
CURSOR_CACHE_ENTRIES = 256
