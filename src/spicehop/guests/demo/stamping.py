"""The frame number on the screen, for machines to read: the same as the demo's guest under QEMU draws.

At (16, 16) there are 16 by 4 cells of 8 by 8 pixels, white for 1 and black for 0, the highest bit first: the mark
0xA53C, the number's upper and lower half, and a check: FNV-1a of its four bytes (big endian), both halves combined by
exclusive or.
"""

from __future__ import annotations

import numpy as np

from spicehop.guests.demo.colours import Picture
from spicehop.guests.demo.fnv import fnv1a

_MARK = 0xA53C
_CELL = 8
_WHITE = 0xFFFFFF


def draw_stamp(number: int, out: Picture) -> None:
    """Draws the stamp over `out`, `(32, 128)`."""
    checksum = fnv1a(number.to_bytes(4, "big"))
    rows = np.array([_MARK, number >> 16, number & 0xFFFF, (checksum >> 16 ^ checksum) & 0xFFFF])
    cells = np.where(rows[:, None] >> np.arange(15, -1, -1) & 1, _WHITE, 0)
    out[:] = cells.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
