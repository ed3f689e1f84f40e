"""Images inside messages (dossier B.2): a descriptor and, by its type, a payload. Pixels stay encoded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from spicehop.wire.display_constants import BitmapFlag, ImageType
from spicehop.wire.layout import (
    U8,
    U32,
    U64,
    Array,
    ComputedBytes,
    Data,
    Integer,
    Pointer,
    Rest,
    SizedBytes,
    Structure,
    Switch,
    When,
    has,
    lacks,
)


@dataclass(frozen=True, slots=True)
class ImageDescriptor(Structure):
    """What every image begins with: cache id, `ImageType`, `ImageFlag` and size in pixels."""

    id: U64
    type: U8
    flags: U8
    width: U32
    height: U32


@dataclass(frozen=True, slots=True)
class Palette(Structure):
    """Colours as xRGB values; `unique` is the cache id, 0 for none."""

    unique: U64
    colors: Annotated[tuple[int, ...], Array("I", count="H")]


@dataclass(frozen=True, slots=True)
class Bitmap(Structure):
    """Pixels as they are: `height` rows of `stride` bytes.

    `format` is a `BitmapFormat`, `flags` are `BitmapFlag`. With PALETTE_FROM_CACHE there is a `palette_id` and no
    palette; without it a palette or, for formats that need none, None.
    """

    format: U8
    flags: U8
    width: U32
    height: U32
    stride: U32
    palette_id: Annotated[
        int | None,
        When(has("flags", BitmapFlag.PALETTE_FROM_CACHE), Integer("Q")),
    ]
    palette: Annotated[
        Palette | None,
        When(lacks("flags", BitmapFlag.PALETTE_FROM_CACHE), Pointer(lambda: Palette)),
    ]
    data: Annotated[Data, ComputedBytes("stride", "height")]


@dataclass(frozen=True, slots=True)
class Compressed(Structure):
    """One stream of the codec that the descriptor names: QUIC, LZ_RGB, GLZ_RGB, JPEG or LZ4."""

    data: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class LzPalette(Structure):
    """An LZ stream of palette indices; the palette as in `Bitmap`, but never absent."""

    flags: U8
    palette_id: Annotated[
        int | None,
        When(has("flags", BitmapFlag.PALETTE_FROM_CACHE), Integer("Q")),
    ]
    palette: Annotated[
        Palette | None,
        When(lacks("flags", BitmapFlag.PALETTE_FROM_CACHE), Pointer(lambda: Palette, required=True)),
    ]
    data: Annotated[Data, SizedBytes("I", before="palette_id")]


@dataclass(frozen=True, slots=True)
class ZlibGlz(Structure):
    """A GLZ stream of `glz_size` bytes, deflated."""

    glz_size: U32
    data: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class JpegAlpha(Structure):
    """`jpeg_size` bytes of JPEG, then an LZ stream with the alpha channel; `flags` are `JpegAlphaFlag`."""

    flags: U8
    jpeg_size: U32
    data: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class FromCache(Structure):
    """The image that is cached under the descriptor's id."""


@dataclass(frozen=True, slots=True)
class SurfaceImage(Structure):
    """The pixels of another surface."""

    surface_id: U32


@dataclass(frozen=True, slots=True)
class UnknownPayload(Structure):
    """Whatever follows the descriptor of an image type that is not known here, up to the end of the message."""

    data: Rest


Payload: TypeAlias = (
    Bitmap | Compressed | LzPalette | ZlibGlz | JpegAlpha | FromCache | SurfaceImage | UnknownPayload
)

PAYLOADS: dict[int, type[Structure]] = {
    ImageType.BITMAP: Bitmap,
    ImageType.QUIC: Compressed,
    ImageType.LZ_PLT: LzPalette,
    ImageType.LZ_RGB: Compressed,
    ImageType.GLZ_RGB: Compressed,
    ImageType.FROM_CACHE: FromCache,
    ImageType.SURFACE: SurfaceImage,
    ImageType.JPEG: Compressed,
    ImageType.FROM_CACHE_LOSSLESS: FromCache,
    ImageType.ZLIB_GLZ_RGB: ZlibGlz,
    ImageType.JPEG_ALPHA: JpegAlpha,
    ImageType.LZ4: Compressed,
}
"""The payload class of each `ImageType`."""


@dataclass(frozen=True, slots=True)
class Image(Structure):
    """An image: what it is, and its bytes in the form that `descriptor.type` says."""

    descriptor: ImageDescriptor
    payload: Annotated[Payload, Switch("descriptor.type", PAYLOADS, UnknownPayload)]
