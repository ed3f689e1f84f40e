"""LZ images: the encoder of all eleven types (dossier E.2)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.lz import BYTES_PER_PIXEL, MAGIC, PIXELS_PER_BYTE, VERSION, LzType
from spicehop.codecs.lz_encode_kernels import most_bytes, pack_bytes, pack_cells
from spicehop.codecs.pixels import Cells, cells_of, plane_of

_HEADER = struct.Struct(">7I")
_TABLE_BITS = range(8, 14)


def encode(pixels: Pixels, kind: LzType = LzType.RGB32) -> bytes:
    """Encode one image of rows from the top, in colours or alpha.

    A8 takes `(height, width)`, the others `(height, width, 4)` of B, G, R and X or A: RGBA keeps all four bytes, XXXA
    the fourth alone, RGB16 the upper five bits of each colour. Nothing is copied of RGB24 and RGB32 in one piece; rows
    that lie apart are gathered first. Releases the GIL while it encodes. For palettes see `encode_packed`.
    """
    if kind in PIXELS_PER_BYTE:
        raise ValueError(f"the LZ type {kind.name} needs a palette, use encode_packed")
    height, width = pixels.shape[:2]
    if kind == LzType.A8:
        passes = [_bytes_pass(np.ascontiguousarray(plane_of(pixels)))]
    else:
        cells = np.ascontiguousarray(cells_of(pixels))
        if kind == LzType.XXXA:
            passes = [_alpha_pass(cells)]
        elif kind == LzType.RGB16:
            passes = [_cells_pass(high_color(cells), sixteen=True)]
        else:
            passes = [_cells_pass(cells)]
            if kind == LzType.RGBA:
                passes.append(_alpha_pass(cells))
    return b"".join((_header(kind, width, height, width * BYTES_PER_PIXEL[kind]), *passes))


def encode_packed(rows: Pixels, kind: LzType, width: int) -> bytes:
    """Encode rows of palette indices, `(height, bytes a row)`, packed as the type says; `width` is in pixels."""
    height, stride = plane_of(rows).shape
    if stride != -(-width // PIXELS_PER_BYTE[kind]):
        raise ValueError(f"{width} pixels of the LZ type {kind.name} do not take {stride} bytes")
    return _header(kind, width, height, stride) + _bytes_pass(np.ascontiguousarray(rows))


def high_color(cells: Cells) -> Cells:
    """32-bit colours as x1r5g5b5 values in 32 bits."""
    high = ((cells >> 9) & 0x7C00) | ((cells >> 6) & 0x03E0) | ((cells >> 3) & 0x001F)
    return high.astype(np.uint32, copy=False)


def table_for(units: int) -> np.ndarray[Any, Any]:
    """An empty table for a pass over so many units: small ones need not clear a large one."""
    bits = min(max(units.bit_length(), _TABLE_BITS[0]), _TABLE_BITS[-1])
    return np.zeros(1 << bits, np.uint32)


def _header(kind: LzType, width: int, height: int, stride: int) -> bytes:
    return _HEADER.pack(MAGIC, VERSION, kind, width, height, stride, 1)


def _cells_pass(cells: Cells, *, sixteen: bool = False) -> memoryview:
    out = np.empty(most_bytes(cells.size, 2 if sixteen else 3), np.uint8).data
    return out[: pack_cells(cells.reshape(-1), sixteen, table_for(cells.size), out)]


def _bytes_pass(plane: Pixels) -> memoryview:
    out = np.empty(most_bytes(plane.size, 1), np.uint8).data
    return out[: pack_bytes(plane.reshape(-1), table_for(plane.size), out)]


def _alpha_pass(cells: Cells) -> memoryview:
    return _bytes_pass(np.ascontiguousarray(cells.view(np.uint8).reshape(-1, 4)[:, 3]))
