"""Reads the frame number that the demo guest draws on its screen (the layout is described in guest/screen.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spicehop.demo.payload import fnv1a

LEFT, TOP, CELL, COLUMNS, ROWS = 16, 16, 8, 16, 4
MARK = 0xA53C


def read_stamp(pixels: npt.NDArray[np.uint8]) -> int | None:
    """The number of the frame in a picture (height, width, 4), or None when it shows no whole stamp.

    A picture with a stamp half drawn, or none at all, fails the check. Lossy codecs do no harm.
    """
    area = pixels[TOP : TOP + ROWS * CELL, LEFT : LEFT + COLUMNS * CELL, :3]
    if area.shape != (ROWS * CELL, COLUMNS * CELL, 3):
        return None
    cells = area.reshape(ROWS, CELL, COLUMNS, CELL * 3).mean(axis=(1, 3)) > 127
    weights = 1 << np.arange(COLUMNS - 1, -1, -1)
    mark, high, low, check = (int(row @ weights) for row in cells)
    frame = high << 16 | low
    hashed = fnv1a(frame.to_bytes(4, "big"))
    return frame if mark == MARK and check == (hashed >> 16 ^ hashed) & 0xFFFF else None
