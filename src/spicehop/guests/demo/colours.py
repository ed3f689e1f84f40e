"""Pictures of the demo guest while it draws: one 32-bit number a pixel, 0xRRGGBB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint32]
"""`(height, width)`, little endian, so that its bytes are B, G, R, 0."""

Bytes = npt.NDArray[np.uint8]

_BAND_PIXELS = 32_768


def blank(width: int, height: int, colour: int = 0) -> Picture:
    """A picture of one colour."""
    return np.full((height, width), colour, "<u4")


def as_bytes(picture: Picture) -> Bytes:
    """The same pixels as `(height, width, 4)` bytes, not a copy."""
    height, width = picture.shape
    return picture.view(np.uint8).reshape(height, width, 4)


def bands(top: int, bottom: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows from `top` to `bottom` in pieces, each (first row, last row + 1), so that work on one takes little memory.

    What a whole screen needs at once would stay with the process for good.
    """
    rows = max(1, _BAND_PIXELS // max(1, width))
    for first in range(top, bottom, rows):
        yield first, min(first + rows, bottom)


def mixed(low: int, high: int, part: int, whole: int) -> int:
    """The colour that is `part` of `whole` on the way from `low` to `high`."""
    result = 0
    for shift in (0, 8, 16):
        start, end = low >> shift & 255, high >> shift & 255
        result |= (start + ((end - start) * part + whole // 2) // whole) << shift
    return result


@lru_cache(maxsize=64)
def ramp(colours: tuple[int, ...], steps: int) -> Picture:
    """`steps` colours that go evenly through all of `colours`, `(steps,)`; not to be written to."""
    last = len(colours) - 1
    values = []
    for step in range(steps):
        place = step * last
        first = min(place // max(1, steps - 1), last - 1)
        values.append(mixed(colours[first], colours[first + 1], place - first * (steps - 1), max(1, steps - 1)))
    result = np.array(values, "<u4")
    result.flags.writeable = False
    return result


def frame(picture: Picture, colour: int) -> None:
    """Draws the outermost pixels."""
    picture[0, :] = picture[-1, :] = colour
    picture[:, 0] = picture[:, -1] = colour
