"""The picture behind all windows: hills at dusk. Any part of it can be drawn again, so that it is not kept."""

from __future__ import annotations

import numpy as np

from spicehop.guests.demo.colours import Picture, bands, ramp
from spicehop.guests.demo.tables import Integers, ridge
from spicehop.raster.region import Box

_FINE = 16
"""Outlines are known to a sixteenth of a pixel."""
_SKY = (0x16213F, 0x2B3F6C, 0x6C5B8E, 0xC9788A, 0xF2A97E, 0xFAD7A0)
_HILLS = ((0x8A6A93, 0x6B5887), (0x5E4F80, 0x473F6C), (0x3A3760, 0x2A2C4E), (0x20263F, 0x141A2C))
_GLOW = (0xFFF3D6, 0xFFE3AE, 0xFBC98F, 0xF7B987)


class Wallpaper:
    """The wallpaper of one screen size and seed."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        horizon = max(2, height * 7 // 10)
        self._sky = ramp(_SKY, horizon)
        self._sky = np.concatenate([self._sky, np.full(max(0, height - horizon), self._sky[-1], "<u4")])
        self._sun = (width * 5 // 8, height * 9 // 20, max(8, height // 14))
        self._hills = []
        for layer, colours in enumerate(_HILLS):
            rise = height * (14 - 2 * layer) // 100
            base = height * (46 + 13 * layer) // 100
            outline = (base + rise) * _FINE - ridge(width, seed * 8 + layer, rise * _FINE)
            self._hills.append((outline, ramp(colours, height)))

    def draw(self, box: Box, out: Picture) -> None:
        """Draws the part `box` of it into `out`, which has the size of the box."""
        for top, bottom in bands(box.top, box.bottom, box.width):
            self._draw_band(box._replace(top=top, bottom=bottom), out[top - box.top : bottom - box.top])

    def _draw_band(self, box: Box, out: Picture) -> None:
        out[:] = self._sky[box.top : box.bottom, None]
        self._draw_sun(box, out)
        rows = np.arange(box.top, box.bottom, dtype=np.int32)
        for outline, colours in self._hills:
            heights = outline[box.left : box.right]
            below = max(0, int(heights.max()) // _FINE + 1 - box.top)  # from this row on there is nothing but hill
            above = max(0, int(heights.min()) // _FINE - box.top)
            if above >= len(rows):
                continue
            edge = out[above:below]
            if len(edge):
                depth = np.clip((rows[above : above + len(edge), None] + 1) * _FINE - heights, 0, _FINE)
                _blend(edge, colours[box.top + above : box.top + above + len(edge), None], depth)
            out[below:] = colours[box.top + below : box.bottom, None]

    def _draw_sun(self, box: Box, out: Picture) -> None:
        x, y, radius = self._sun
        part = box.intersect(Box(x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1))
        if part.is_empty:
            return
        across = np.arange(part.left, part.right, dtype=np.int32) - x
        down = np.arange(part.top, part.bottom, dtype=np.int32) - y
        distance = np.sqrt((across * across + down[:, None] * down[:, None]) * float(_FINE * _FINE)).astype(np.int32)
        colours = ramp(_GLOW, 2 * radius + 2)[down + radius + 1]
        _blend(out[part.within(box)], colours[:, None], np.clip(radius * _FINE - distance, 0, _FINE))


def _blend(out: Picture, colour: Picture, amount: Integers) -> None:
    """Mixes `colour` into `out`, `amount` of 16."""
    result = np.zeros(out.shape, np.uint32)
    for shift in (0, 8, 16):
        low = (out >> np.uint32(shift) & np.uint32(255)).astype(np.int32)
        high = (colour >> np.uint32(shift) & np.uint32(255)).astype(np.int32)
        result |= (low + ((high - low) * amount + 8 >> 4)).astype(np.uint32) << np.uint32(shift)
    out[:] = result
