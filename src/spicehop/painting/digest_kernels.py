# cython: boundscheck=False, wraparound=False
"""The hot loop of tile digests; see `digests` for what it computes. Used only when it is compiled.

Not bounds-checked: `digests` hands in arrays of matching shapes, and every index is a tile, row or column of them.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

if cython.compiled:
    from cython.cimports.libc.string import memcpy

COMPILED = bool(cython.compiled)

_TILE = cython.declare(cython.Py_ssize_t, 64)
_COLORS = cython.declare(cython.uint, 0x00FFFFFF)
_COLOR_PAIR = cython.declare(cython.ulonglong, 0x00FFFFFF_00FFFFFF)
_SPREAD = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
_STIR = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)
_LAST = cython.declare(cython.ulonglong, 0x94D049BB133111EB)


def digest_tiles(
    cells: np.ndarray[Any, Any],
    wanted: np.ndarray[Any, Any],
    across: np.ndarray[Any, Any],
    down: np.ndarray[Any, Any],
    rows: np.ndarray[Any, Any],
    digests: np.ndarray[Any, Any],
    solid: np.ndarray[Any, Any],
) -> None:
    """Fill `rows` (tile columns, height), `digests` and `solid` (tile rows, tile columns) for the `wanted` tiles."""
    pixels: cython.const[cython.uint][:, :] = cells
    wants: cython.const[cython.uchar][:, ::1] = wanted
    pair_weights: cython.const[cython.ulonglong][::1] = across
    row_weights: cython.const[cython.ulonglong][::1] = down
    row_digests: cython.ulonglong[:, ::1] = rows
    tile_digests: cython.ulonglong[:, ::1] = digests
    flat: cython.uchar[:, ::1] = solid
    row: cython.Py_ssize_t
    column: cython.Py_ssize_t
    with cython.nogil:
        for row in range(wants.shape[0]):
            for column in range(wants.shape[1]):
                if wants[row, column]:
                    _digest_tile(pixels, row, column, pair_weights, row_weights, row_digests, tile_digests, flat)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _digest_tile(
    pixels: cython.const[cython.uint][:, :],
    tile_row: cython.Py_ssize_t,
    tile_column: cython.Py_ssize_t,
    pair_weights: cython.const[cython.ulonglong][::1],
    row_weights: cython.const[cython.ulonglong][::1],
    row_digests: cython.ulonglong[:, ::1],
    tile_digests: cython.ulonglong[:, ::1],
    flat: cython.uchar[:, ::1],
) -> cython.void:
    left: cython.Py_ssize_t = tile_column * _TILE
    top: cython.Py_ssize_t = tile_row * _TILE
    width: cython.Py_ssize_t = min(_TILE, pixels.shape[1] - left)
    bottom: cython.Py_ssize_t = min(top + _TILE, pixels.shape[0])
    y: cython.Py_ssize_t
    x: cython.Py_ssize_t
    first: cython.uint = pixels[top, left] & _COLORS
    firsts: cython.ulonglong = cython.cast(cython.ulonglong, first) << 32 | first
    differs: cython.ulonglong = 0
    one: cython.uint
    mixed: cython.ulonglong = 0
    total: cython.ulonglong = 0
    row: cython.ulonglong
    for y in range(top, bottom):
        row = _STIR
        for x in range(0, width - 1, 2):
            memcpy(cython.address(mixed), cython.address(pixels[y, left + x]), 8)  # a row's pixels follow each other
            mixed &= _COLOR_PAIR
            differs |= mixed ^ firsts
            mixed *= _SPREAD
            mixed ^= mixed >> 32
            row += mixed * pair_weights[x >> 1]
        if width & 1:
            one = pixels[y, left + width - 1] & _COLORS
            differs |= one ^ first
            mixed = one
            mixed *= _SPREAD
            mixed ^= mixed >> 32
            row += mixed * pair_weights[width >> 1]
        row ^= row >> 29
        row *= _STIR
        row ^= row >> 32
        row_digests[tile_column, y] = row
        total += row * row_weights[y - top]
    total ^= total >> 31
    total *= _LAST
    total ^= total >> 30
    tile_digests[tile_row, tile_column] = total if total else 1
    flat[tile_row, tile_column] = differs == 0
