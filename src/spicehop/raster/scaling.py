"""Scaling as the reference does it: pixman's sampling in 16.16 fixed point, with nothing outside the image.

Sampling is at pixel centres. Outside the image everything is 0, colour and alpha, which darkens the edges of an
interpolated picture (reference: sw_canvas.c, scale_image: repeat NONE, filter GOOD, which is bilinear).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spicehop.codecs.bitmap import CELL, Cells
from spicehop.errors import ProtocolError
from spicehop.raster.region import Box

MAX_COORDINATE = 2**20
_ONE = 1 << 16
_HALF = 1 << 15

_Positions = npt.NDArray[np.int64]


def scaled(source: Cells, area: Box, box: Box, part: Box, *, smooth: bool) -> Cells:
    """The cells of `part`, a part of `box`, when `area` of `source` is stretched over `box`.

    u32 cells are interpolated by channel. Raises `ProtocolError` when `area` is empty or far outside any image.
    """
    if area.is_empty or min(area) < -MAX_COORDINATE or max(area) > MAX_COORDINATE:
        raise ProtocolError(f"an area of {area.width} x {area.height} at {area.left}, {area.top} cannot be scaled")
    across = _positions(area.left, area.width, box.width, part.left - box.left, part.width)
    down = _positions(area.top, area.height, box.height, part.top - box.top, part.height)
    height, width = source.shape
    if smooth:
        return _interpolated(source, across, down)
    columns, rows = (across - 1) >> 16, (down - 1) >> 16
    inside_x, inside_y = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    result: Cells = source[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    if not inside_x.all():
        result[:, ~inside_x] = 0
    if not inside_y.all():
        result[~inside_y, :] = 0
    return result


def _positions(start: int, size: int, box_size: int, first: int, count: int) -> _Positions:
    """Where the centres of `count` pixels from `first` on fall in the source, in 16.16 fixed point."""
    step = size * _ONE // box_size
    origin = (step * _HALF + _HALF >> 16) + start * _ONE
    return origin + step * (first + np.arange(count, dtype=np.int64))


def _interpolated(source: Cells, across: _Positions, down: _Positions) -> Cells:
    channels = source.view(np.uint8).reshape(*source.shape, source.itemsize)
    rows, row_weights = _taps(down, source.shape[0])
    columns, column_weights = _taps(across, source.shape[1])
    # Each row of the source that is used is stretched once, then pairs of rows are mixed.
    used, places = np.unique(rows, return_inverse=True)
    places = places.reshape(rows.shape)
    lines = channels[used].astype(np.uint32)
    stretched = lines[:, columns[0]] * column_weights[0][:, None] + lines[:, columns[1]] * column_weights[1][:, None]
    mixed = stretched[places[0]] * row_weights[0][:, None, None] + stretched[places[1]] * row_weights[1][:, None, None]
    result = np.ascontiguousarray((mixed >> 16).astype(np.uint8))
    return result.view(CELL)[:, :, 0] if source.itemsize == 4 else result[:, :, 0]


def _taps(positions: _Positions, size: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Index and weight, of 256 in all, of the two source pixels that make up each result pixel: shape (2, count)."""
    before = positions - _HALF
    index = np.stack([before >> 16, (before >> 16) + 1])
    second = (before >> 9 & 127) << 1
    weights = np.stack([256 - second, second])
    weights[(index < 0) | (index >= size)] = 0
    return index.clip(0, size - 1), weights.astype(np.uint32)
