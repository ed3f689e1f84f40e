# cython: boundscheck=False, wraparound=False
"""The hot loop that finds out which colours a picture has.

Compiled by Cython when the package is built, and the same without. Nothing is bounds-checked access by access: the
table of slots is four times as long as there can be colours, so that a search in it ends, and the colours are counted
against their limit before one is added.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

MAX_COLORS = 256

# Declared, because they are used while the GIL is released.
_LIMIT = cython.declare(cython.int, MAX_COLORS)
_SLOTS = cython.declare(cython.uint, 4 * MAX_COLORS)
_SHIFT = cython.declare(cython.int, 22)
_MULTIPLIER = cython.declare(cython.uint, 0x9E3779B1)


def index_colors(cells: np.ndarray[Any, Any], indices: np.ndarray[Any, Any], colors: np.ndarray[Any, Any]) -> int:
    """Number the colours of a picture in the order in which they come.

    `cells` are 32-bit pixels of one piece, of which the lowest 24 bits count; `indices` takes a byte for each of them,
    `colors` (u32, MAX_COLORS of them) takes the colours. Returns how many there are, or -1 when there are more.
    """
    data: cython.const[cython.uint][::1] = cells.data
    target: cython.uchar[::1] = indices.data
    palette: cython.uint[::1] = colors.data
    table: cython.short[::1] = np.full(_SLOTS, -1, np.int16).data
    count: cython.int
    with cython.nogil:
        count = _number(data, data.shape[0], target, palette, table)
    return int(count)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _number(
    data: cython.const[cython.uint][::1],
    total: cython.Py_ssize_t,
    target: cython.uchar[::1],
    palette: cython.uint[::1],
    table: cython.short[::1],
) -> cython.int:
    count: cython.int = 0
    index: cython.int = 0
    before: cython.uint = ~data[0] & 0xFFFFFF
    color: cython.uint
    slot: cython.uint
    i: cython.Py_ssize_t
    for i in range(total):
        color = data[i] & 0xFFFFFF
        if color != before:
            slot = ((color * _MULTIPLIER) >> _SHIFT) & (_SLOTS - 1)
            index = table[slot]
            while index >= 0 and palette[index] != color:
                slot = (slot + 1) & (_SLOTS - 1)
                index = table[slot]
            if index < 0:
                if count == _LIMIT:
                    return -1
                palette[count] = color
                table[slot] = count
                index = count
                count += 1
            before = color
        target[i] = index
    return count
