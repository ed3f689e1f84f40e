"""The form in which encoders take pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from spicehop.codecs.bitmap import Pixels

Cells = np.ndarray[Any, np.dtype[np.uint32]]


def cells_of(pixels: Pixels) -> Cells:
    """Colour pixels `(height, width, 4)` as 32-bit values `(height, width)`, without a copy where that is possible.

    A part of a larger picture is fine: rows may lie apart. Only when the pixels of a row do not follow each other are
    they copied.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"an image is an array (height, width, 4) of bytes, not {pixels.shape} of {pixels.dtype}")
    if pixels.strides[1:] != (4, 1):
        pixels = np.ascontiguousarray(pixels)
    cells: Cells = pixels.view(np.uint32)[:, :, 0]
    if cells.strides[1] != 4:  # numpy gives an axis of one pixel any stride
        cells = np.ascontiguousarray(cells)
    return cells


def plane_of(pixels: Pixels) -> Pixels:
    """Pixels of one byte each `(height, width)`, checked."""
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"a plane is an array (height, width) of bytes, not {pixels.shape} of {pixels.dtype}")
    return pixels
