"""LZ images: the decoder of all eleven types (dossier E.2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from spicehop.codecs.lz_kernels import unpack_bytes, unpack_pixels
from spicehop.errors import ProtocolError

MAGIC = 0x20205A4C
VERSION = 0x00010001
MAX_PIXELS = 2**26
#: No control sequence yields more units than this for each byte it takes: a full extension byte of a match.
MAX_EXPANSION = 255

_HEADER = struct.Struct(">7I")


class LzType(IntEnum):
    """What the units of an LZ or GLZ stream are. PLT1, PLT4 and PLT8 are indexes into a palette, LE: low bits first."""

    PLT1_LE = 1
    PLT1_BE = 2
    PLT4_LE = 3
    PLT4_BE = 4
    PLT8 = 5
    RGB16 = 6
    RGB24 = 7
    RGB32 = 8
    RGBA = 9
    XXXA = 10
    A8 = 11


PIXELS_PER_BYTE = {LzType.PLT1_LE: 8, LzType.PLT1_BE: 8, LzType.PLT4_LE: 2, LzType.PLT4_BE: 2, LzType.PLT8: 1}
BYTES_PER_PIXEL = {
    LzType.RGB16: 2,
    LzType.RGB24: 3,
    LzType.RGB32: 4,
    LzType.RGBA: 4,
    LzType.XXXA: 4,
    LzType.A8: 1,
}


@dataclass(frozen=True, slots=True)
class LzHeader:
    """The first 28 bytes of an LZ image."""

    kind: LzType
    width: int  # pixels
    height: int  # rows
    stride: int  # bytes a row before compression
    top_down: bool  # whether the first row of the stream is the top one

    @property
    def units(self) -> int:
        """How many units each pass of the stream yields: bytes of rows for palettes, else pixels."""
        return self.height * (self.stride if self.kind in PIXELS_PER_BYTE else self.width)


def check_size(kind: LzType, width: int, height: int, stride: int, max_pixels: int) -> None:
    """Refuse what no encoder writes: an empty image, one over the limit, or a stride that does not fit the width."""
    if not width or not height:
        raise ProtocolError(f"an LZ image of {width} by {height} pixels is empty")
    per_byte = PIXELS_PER_BYTE.get(kind)
    if per_byte is None:
        valid = stride == width * BYTES_PER_PIXEL[kind]
        total = width * height
    else:
        valid = stride == -(-width // per_byte)
        total = stride * per_byte * height
    if not valid:
        raise ProtocolError(f"the stride {stride} of an LZ image does not fit {width} pixels of type {kind.name}")
    if total > max_pixels:
        raise ProtocolError(f"an LZ image of {width} by {height} pixels is over the limit of {max_pixels}")


def read_header(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> LzHeader:
    """Read and check the header; the compressed units follow at offset 28."""
    if len(data) < _HEADER.size:
        raise ProtocolError(f"an LZ image of {len(data)} bytes ends inside its header")
    magic, version, number, width, height, stride, top_down = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ProtocolError("an LZ image does not begin with magic and version")
    try:
        kind = LzType(number)
    except ValueError:
        raise ProtocolError(f"the LZ image type {number} does not exist") from None
    check_size(kind, width, height, stride, max_pixels)
    return LzHeader(kind, width, height, stride, bool(top_down))


def decode(
    data: bytes | memoryview,
    palette: Sequence[int] | np.ndarray[Any, Any] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode one LZ image of any type.

    Colour and palette images become (height, width, 4), with 0 in the fourth byte of those that carry no alpha. A8 and
    XXXA become an alpha plane (height, width). `palette` holds 0x00RRGGBB values and is needed for the PLT types; an
    index beyond its end wraps around, as it does in the reference.
    """
    header = read_header(data, max_pixels)
    view = memoryview(data).cast("B")
    if header.units > MAX_EXPANSION * (len(view) - _HEADER.size):
        raise ProtocolError("an LZ image is too short for its size")
    kind = header.kind
    if kind in PIXELS_PER_BYTE:
        table = palette_table(kind, palette)
        packed = np.empty((header.height, header.stride), np.uint8)
        end = unpack_bytes(view, _HEADER.size, packed, 1, 0)
        _finish(view, end)
        rows = table[packed].reshape(header.height, -1)[:, : header.width]
        colors = np.ascontiguousarray(rows if header.top_down else rows[::-1])
        return colors.view(np.uint8).reshape(header.height, header.width, 4)
    if kind in (LzType.A8, LzType.XXXA):
        pixels = np.empty((header.height, header.width), np.uint8)
        end = unpack_bytes(view, _HEADER.size, pixels, 1, 0)
    else:
        pixels = np.empty((header.height, header.width, 4), np.uint8)
        end = unpack_pixels(view, _HEADER.size, pixels, kind == LzType.RGB16)
        if kind == LzType.RGBA:
            end = unpack_bytes(view, end, pixels, 4, 3)
    _finish(view, end)
    return pixels if header.top_down else np.ascontiguousarray(pixels[::-1])


def decode_alpha(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode the alpha plane (height, width) that follows the JPEG file of a JPEG_ALPHA image (dossier E.6)."""
    kind = read_header(data, max_pixels).kind
    if kind not in (LzType.XXXA, LzType.A8):
        raise ProtocolError(f"an alpha plane cannot be of the LZ type {kind.name}")
    return decode(data, max_pixels=max_pixels)


def palette_table(
    kind: LzType, palette: Sequence[int] | np.ndarray[Any, Any] | None
) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Map each packed byte to its pixels: shape (256, pixels a byte), values 0x00RRGGBB."""
    if palette is None or not len(palette):
        raise ProtocolError(f"an image of the LZ type {kind.name} comes without a palette")
    per_byte = PIXELS_PER_BYTE[kind]
    bits = 8 // per_byte
    shifts = np.arange(0, 8, bits)
    if kind in (LzType.PLT1_BE, LzType.PLT4_BE):
        shifts = shifts[::-1]
    indexes = (np.arange(256)[:, None] >> shifts) & ((1 << bits) - 1)
    colors = np.asarray(palette, dtype=np.uint32) & np.uint32(0x00FFFFFF)
    table: np.ndarray[Any, np.dtype[np.uint32]] = colors[indexes % len(colors)]
    return table


def _finish(view: memoryview, end: int) -> None:
    if end != len(view):
        raise ProtocolError(f"an LZ image is followed by {len(view) - end} bytes too many")
