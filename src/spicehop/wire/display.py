"""Messages of a display channel (dossier B.2); the draw messages themselves are in `drawing`, and named here too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.base import WaitFor
from spicehop.wire.drawing import (
    DISPLAY,
    Brush,
    CopyBits,
    DisplayBase,
    DrawAlphaBlend,
    DrawBlackness,
    DrawBlend,
    DrawComposite,
    DrawCopy,
    DrawFill,
    DrawInvers,
    DrawOpaque,
    DrawRop3,
    DrawStroke,
    DrawText,
    DrawTransparent,
    DrawWhiteness,
    Glyph,
    GlyphBox,
    LineAttr,
    Path,
    PathSegment,
    Pattern,
    QMask,
    String,
)
from spicehop.wire.geometry import Clip, Point, Point16, Rect, Transform
from spicehop.wire.image import (
    Bitmap,
    Compressed,
    FromCache,
    Image,
    ImageDescriptor,
    JpegAlpha,
    LzPalette,
    Palette,
    Payload,
    SurfaceImage,
    UnknownPayload,
    ZlibGlz,
)
from spicehop.wire.layout import I32, I64, U8, U16, U32, U64, Array, Data, Message, Rest, SizedBytes, Structure
from spicehop.wire.registry import from_client, from_server

__all__ = [
    "DISPLAY",
    "Bitmap",
    "Brush",
    "Clip",
    "Compressed",
    "CopyBits",
    "DisplayBase",
    "DrawAlphaBlend",
    "DrawBlackness",
    "DrawBlend",
    "DrawComposite",
    "DrawCopy",
    "DrawFill",
    "DrawInvers",
    "DrawOpaque",
    "DrawRop3",
    "DrawStroke",
    "DrawText",
    "DrawTransparent",
    "DrawWhiteness",
    "FromCache",
    "GlDraw",
    "GlDrawDone",
    "GlScanoutUnix",
    "Glyph",
    "GlyphBox",
    "Head",
    "Image",
    "ImageDescriptor",
    "Init",
    "InvalAllPalettes",
    "InvalAllPixmaps",
    "InvalList",
    "InvalPalette",
    "JpegAlpha",
    "LineAttr",
    "LzPalette",
    "Mark",
    "Mode",
    "MonitorsConfig",
    "Palette",
    "Path",
    "PathSegment",
    "Pattern",
    "Payload",
    "Point",
    "Point16",
    "PreferredCompression",
    "PreferredVideoCodecType",
    "QMask",
    "QualityIndicator",
    "Rect",
    "Reset",
    "Resource",
    "StreamActivateReport",
    "StreamClip",
    "StreamCreate",
    "StreamData",
    "StreamDataSized",
    "StreamDestroy",
    "StreamDestroyAll",
    "StreamReport",
    "String",
    "SurfaceCreate",
    "SurfaceDestroy",
    "SurfaceImage",
    "Transform",
    "UnknownPayload",
    "ZlibGlz",
]


@from_server(DISPLAY, 101)
@dataclass(frozen=True, slots=True)
class Mode(Message):
    """Obsolete: the primary surface's size and depth."""

    width: U32
    height: U32
    bits: U32


@from_server(DISPLAY, 102)
@dataclass(frozen=True, slots=True)
class Mark(Message):
    """The primary surface is ready to be shown."""


@from_server(DISPLAY, 103)
@dataclass(frozen=True, slots=True)
class Reset(Message):
    """Forget the primary surface and the caches."""


@dataclass(frozen=True, slots=True)
class Resource(Structure):
    """One thing to forget: a `ResourceType` and its cache id."""

    type: U8
    id: U64


@from_server(DISPLAY, 105)
@dataclass(frozen=True, slots=True)
class InvalList(Message):
    """Drop these images from the cache."""

    resources: Annotated[tuple[Resource, ...], Array(Resource, count="H")]


@from_server(DISPLAY, 106)
@dataclass(frozen=True, slots=True)
class InvalAllPixmaps(Message):
    """Empty the image cache when these channels have come this far."""

    channels: Annotated[tuple[WaitFor, ...], Array(WaitFor, count="B")]


@from_server(DISPLAY, 107)
@dataclass(frozen=True, slots=True)
class InvalPalette(Message):
    """Drop one palette from the cache."""

    id: U64


@from_server(DISPLAY, 108)
@dataclass(frozen=True, slots=True)
class InvalAllPalettes(Message):
    """Empty the palette cache."""


@from_server(DISPLAY, 122)
@dataclass(frozen=True, slots=True)
class StreamCreate(Message):
    """A video stream begins; `flags` are `StreamFlag`, `codec` is a `VideoCodec`."""

    surface_id: U32
    id: U32
    flags: U8
    codec: U8
    stamp: U64
    stream_width: U32
    stream_height: U32
    source_width: U32
    source_height: U32
    destination: Rect
    clip: Clip


@from_server(DISPLAY, 123)
@dataclass(frozen=True, slots=True)
class StreamData(Message):
    """One video frame, to be shown at a time of the multimedia clock, in ms."""

    id: U32
    multi_media_time: U32
    data: Annotated[Data, SizedBytes("I")]


@from_server(DISPLAY, 124)
@dataclass(frozen=True, slots=True)
class StreamClip(Message):
    """What of a stream is visible now."""

    id: U32
    clip: Clip


@from_server(DISPLAY, 125)
@dataclass(frozen=True, slots=True)
class StreamDestroy(Message):
    """A video stream ends."""

    id: U32


@from_server(DISPLAY, 126)
@dataclass(frozen=True, slots=True)
class StreamDestroyAll(Message):
    """All video streams end."""


@from_server(DISPLAY, 314)
@dataclass(frozen=True, slots=True)
class SurfaceCreate(Message):
    """A surface begins; `format` is a `SurfaceFormat`, `flags` are `SurfaceFlag`."""

    surface_id: U32
    width: U32
    height: U32
    format: U32
    flags: U32


@from_server(DISPLAY, 315)
@dataclass(frozen=True, slots=True)
class SurfaceDestroy(Message):
    """A surface ends."""

    surface_id: U32


@from_server(DISPLAY, 316)
@dataclass(frozen=True, slots=True)
class StreamDataSized(Message):
    """As STREAM_DATA, for a frame with its own size and place."""

    id: U32
    multi_media_time: U32
    width: U32
    height: U32
    destination: Rect
    data: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class Head(Structure):
    """One monitor: the part of a surface that it shows."""

    monitor_id: U32
    surface_id: U32
    width: U32
    height: U32
    x: U32
    y: U32
    flags: U32


@from_server(DISPLAY, 317)
@dataclass(frozen=True, slots=True)
class MonitorsConfig(Message):
    """The monitors of this display."""

    max_allowed: U16
    heads: Annotated[tuple[Head, ...], Array(Head, count="H", before="max_allowed")]


@from_server(DISPLAY, 319)
@dataclass(frozen=True, slots=True)
class StreamActivateReport(Message):
    """Asks for STREAM_REPORT at least every `max_window` frames or `timeout` ms."""

    stream_id: U32
    unique_id: U32
    max_window: U32
    timeout: U32


@from_server(DISPLAY, 320)
@dataclass(frozen=True, slots=True)
class GlScanoutUnix(Message):
    """A DMA buffer to show; its file descriptor follows the message. `flags` are `GlScanoutFlag`."""

    width: U32
    height: U32
    stride: U32
    fourcc: U32
    flags: U32


@from_server(DISPLAY, 321)
@dataclass(frozen=True, slots=True)
class GlDraw(Message):
    """A part of the GL scanout has changed; asks for GL_DRAW_DONE."""

    x: U32
    y: U32
    width: U32
    height: U32


@from_server(DISPLAY, 322)
@dataclass(frozen=True, slots=True)
class QualityIndicator(Message):
    """An opaque report that nobody reads."""

    data: Rest


@from_client(DISPLAY, 101)
@dataclass(frozen=True, slots=True)
class Init(Message):
    """The client's caches: ids, and sizes in pixels."""

    pixmap_cache_id: U8
    pixmap_cache_size: I64
    glz_dictionary_id: U8
    glz_window_size: I32


@from_client(DISPLAY, 102)
@dataclass(frozen=True, slots=True)
class StreamReport(Message):
    """How a stream fared; no frames and 2**32-1 drops mean that it cannot be decoded. Times and delays in ms."""

    stream_id: U32
    unique_id: U32
    start_frame_time: U32
    end_frame_time: U32
    frames: U32
    drops: U32
    last_frame_delay: I32
    audio_delay: U32


@from_client(DISPLAY, 103)
@dataclass(frozen=True, slots=True)
class PreferredCompression(Message):
    """Asks for a `Compression` of images."""

    compression: U8


@from_client(DISPLAY, 104)
@dataclass(frozen=True, slots=True)
class GlDrawDone(Message):
    """Answers GL_DRAW."""


@from_client(DISPLAY, 105)
@dataclass(frozen=True, slots=True)
class PreferredVideoCodecType(Message):
    """Asks for these `VideoCodec`, the best first."""

    codecs: Annotated[tuple[int, ...], Array("B", count="B")]
