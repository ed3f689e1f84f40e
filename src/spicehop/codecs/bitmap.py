"""Raw bitmaps to pixels (dossier B.2, Image type 0, and the layouts inside LZ4 images, E.5).

Results are top-down and C-contiguous: `(height, width, 4)` in memory order B, G, R, X or A, or `(height, width)` for
alpha-only images. A 16-bit pixel widens by repeating its high bits, so that widening and bitwise operations commute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spicehop.errors import ProtocolError
from spicehop.wire.display_constants import BitmapFormat

Pixels = npt.NDArray[np.uint8]
"""Pixels as the module docstring says."""

Cells = npt.NDArray[Any]
"""Pixels with one element each: little-endian u32 for colour, u8 for alpha."""

MAX_PIXELS = 2**26
"""Default limit of one image."""

CELL = np.dtype("<u4")


BITS_PER_PIXEL = {
    BitmapFormat.PALETTE_1_LE: 1,
    BitmapFormat.PALETTE_1_BE: 1,
    BitmapFormat.PALETTE_4_LE: 4,
    BitmapFormat.PALETTE_4_BE: 4,
    BitmapFormat.PALETTE_8: 8,
    BitmapFormat.RGB_555: 16,
    BitmapFormat.BGR_24: 24,
    BitmapFormat.XRGB_32: 32,
    BitmapFormat.ARGB_32: 32,
    BitmapFormat.ALPHA_8: 8,
}

_ONE_BIT = (BitmapFormat.PALETTE_1_LE, BitmapFormat.PALETTE_1_BE)
_FOUR_BIT = (BitmapFormat.PALETTE_4_LE, BitmapFormat.PALETTE_4_BE)
_PALETTE_SIZES = {1: 2, 4: 16, 8: 256}


def decode(
    data: bytes | memoryview,
    *,
    format: int,
    width: int,
    height: int,
    stride: int,
    top_down: bool,
    palette: Sequence[int] | None = None,
    palette_bits: int = 32,
    max_pixels: int = MAX_PIXELS,
) -> Pixels:
    """Pixels of a raw bitmap.

    `stride` is in bytes and may be larger than a row needs. `palette` holds xRGB values, or x555 values with
    `palette_bits=16` (as servers send for 16-bit surfaces); colours that the palette lacks are black.
    A top-down 32-bit bitmap without padding is returned as a view of `data`: copy what outlives it.
    """
    kind, rows = _rows(data, format, width, height, stride, top_down, max_pixels)
    if kind is BitmapFormat.ALPHA_8:
        return np.ascontiguousarray(rows)
    if kind in (BitmapFormat.XRGB_32, BitmapFormat.ARGB_32):
        return np.ascontiguousarray(rows).reshape(height, width, 4)
    if kind is BitmapFormat.BGR_24:
        pixels = np.zeros((height, width, 4), np.uint8)
        pixels[:, :, :3] = np.ascontiguousarray(rows).reshape(height, width, 3)
        return pixels
    if kind is BitmapFormat.RGB_555:
        return from_cells(widen_555(np.ascontiguousarray(rows).view("<u2")))
    bits = BITS_PER_PIXEL[kind]
    colors = palette_table(palette, palette_bits, _PALETTE_SIZES[bits])
    return from_cells(colors[_indices(kind, rows, width)])


def decode_mask(
    data: bytes | memoryview,
    *,
    format: int,
    width: int,
    height: int,
    stride: int,
    top_down: bool,
    max_pixels: int = MAX_PIXELS,
) -> Pixels:
    """A 1-bit bitmap as a mask `(height, width)` of 0 and 255; a mask has no palette."""
    if format not in _ONE_BIT:
        raise ProtocolError(f"a mask has bitmap format {format}, one bit per pixel is needed")
    kind, rows = _rows(data, format, width, height, stride, top_down, max_pixels)
    return _indices(kind, rows, width) * np.uint8(255)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse images without pixels or with more than `max_pixels`."""
    if width < 1 or height < 1:
        raise ProtocolError(f"an image of {width} x {height} has no pixels")
    if width * height > max_pixels:
        raise ProtocolError(f"an image of {width} x {height} exceeds the limit of {max_pixels} pixels")


def _rows(
    data: bytes | memoryview, format: int, width: int, height: int, stride: int, top_down: bool, max_pixels: int
) -> tuple[BitmapFormat, Pixels]:
    """The bytes that count as `(height, bytes per row)`, top row first."""
    try:
        kind = BitmapFormat(format)
    except ValueError:
        raise ProtocolError(f"bitmap format {format} does not exist") from None
    check_size(width, height, max_pixels)
    needed = (width * BITS_PER_PIXEL[kind] + 7) // 8
    if stride < needed:
        raise ProtocolError(f"a bitmap row of {width} pixels takes {needed} bytes, the stride is {stride}")
    if len(data) < stride * (height - 1) + needed:
        raise ProtocolError(f"a bitmap of {height} rows of {stride} bytes has only {len(data)} bytes")
    rows = np.ndarray((height, needed), np.uint8, buffer=data, strides=(stride, 1))
    return kind, rows if top_down else rows[::-1]


def _indices(kind: BitmapFormat, rows: Pixels, width: int) -> Pixels:
    if kind is BitmapFormat.PALETTE_8:
        return rows
    if kind in _ONE_BIT:
        order = "little" if kind is BitmapFormat.PALETTE_1_LE else "big"
        return np.unpackbits(rows, axis=1, count=width, bitorder=order)  # type: ignore[call-overload, no-any-return]
    indices = np.empty((rows.shape[0], rows.shape[1], 2), np.uint8)
    first = 0 if kind is BitmapFormat.PALETTE_4_LE else 1
    np.bitwise_and(rows, 15, out=indices[:, :, first])
    np.right_shift(rows, 4, out=indices[:, :, 1 - first])
    return indices.reshape(rows.shape[0], -1)[:, :width]


def palette_table(palette: Sequence[int] | None, palette_bits: int, size: int) -> Cells:
    """`size` colours as u32 cells; what the palette lacks is black."""
    if palette is None:
        raise ProtocolError("an indexed image has no palette")
    table = np.zeros(size, CELL)
    count = min(len(palette), size)
    colors = np.array(palette[:count], CELL)
    table[:count] = widen_555(colors) if palette_bits == 16 else colors
    return table


def widen_555(values: Cells) -> Cells:
    """x1r5g5b5 values as x8r8g8b8 cells."""
    v = values.astype(CELL)
    return ((v & 0x1F) << 3 | (v & 0x1C) >> 2 | (v & 0x3E0) << 6 | (v & 0x380) << 1 | (v & 0x7C00) << 9) | (
        v & 0x7000
    ) << 4


def widen_565(values: Cells) -> Cells:
    """r5g6b5 values as x8r8g8b8 cells."""
    v = values.astype(CELL)
    return ((v & 0x1F) << 3 | (v & 0x1C) >> 2 | (v & 0x7E0) << 5 | (v & 0x600) >> 1 | (v & 0xF800) << 8) | (
        v & 0xE000
    ) << 3


def from_cells(cells: Cells) -> Pixels:
    """u32 cells `(height, width)` as colour pixels `(height, width, 4)`."""
    contiguous = np.ascontiguousarray(cells, CELL)
    return contiguous.view(np.uint8).reshape(*cells.shape, 4)


def to_cells(pixels: Pixels) -> Cells:
    """Pixels with one element each, as a view: u32 for colour images, u8 for alpha-only ones."""
    if pixels.ndim == 2:
        return pixels
    return pixels.view(CELL)[:, :, 0]
