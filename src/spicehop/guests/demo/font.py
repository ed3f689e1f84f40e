"""Text as pixels."""

from __future__ import annotations

import base64
import zlib
from functools import cache

import numpy as np
import numpy.typing as npt

from spicehop.guests.demo import glyphs
from spicehop.guests.demo.colours import Picture, mixed

LINE = glyphs.HEIGHT
"""Rows of a line of text."""
_FALLBACK = ord("?") - glyphs.FIRST

Coverage = npt.NDArray[np.uint8]


@cache
def _cells() -> tuple[Coverage, ...]:
    """The coverage of each letter, 0 to 15, `(LINE, advance + 2)`."""
    packed = np.frombuffer(zlib.decompress(base64.b85decode(glyphs.COVERAGE)), np.uint8).reshape(LINE, -1)
    whole = np.empty((LINE, packed.shape[1] * 2), np.uint8)
    whole[:, 0::2], whole[:, 1::2] = packed >> 4, packed & 15
    ends = np.cumsum([advance + 2 for advance in glyphs.ADVANCES])
    return tuple(whole[:, end - advance - 2 : end].copy() for end, advance in zip(ends, glyphs.ADVANCES, strict=True))


@cache
def _ramp(ink: int, paper: int) -> npt.NDArray[np.uint32]:
    return np.array([mixed(paper, ink, level, 15) for level in range(16)], "<u4")


def _index(letter: int) -> int:
    index = letter - glyphs.FIRST
    return index if 0 <= index < len(glyphs.ADVANCES) else _FALLBACK


def width_of(text: bytes) -> int:
    """Pixels from the start of `text` to where the next letter would stand."""
    return sum(glyphs.ADVANCES[_index(letter)] for letter in text)


def draw_text(picture: Picture, x: int, y: int, text: bytes, *, ink: int, paper: int) -> None:
    """Draws one line, its top left corner at (x, y), on `paper`; what does not fit in the picture is left out."""
    rows = min(LINE, picture.shape[0] - y)
    room = picture.shape[1] - x
    if rows <= 0 or room <= 0 or y < 0 or x < 0:
        return
    cells = _cells()
    strip = np.zeros((LINE, width_of(text) + 2), np.uint8)
    at = 0
    for letter in text:
        if at > room:
            break
        index = _index(letter)
        part = strip[:, at : at + glyphs.ADVANCES[index] + 2]
        np.maximum(part, cells[index], out=part)
        at += glyphs.ADVANCES[index]
    strip = strip[:rows, :room]
    picture[y : y + rows, x : x + strip.shape[1]] = _ramp(ink, paper)[strip]
