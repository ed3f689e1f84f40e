"""The moving picture: clouds and hills that pass by, at any size."""

from __future__ import annotations

import numpy as np

from spicehop.guests.demo.colours import Bytes, Picture, bands, ramp
from spicehop.guests.demo.tables import noise, ridge

_CLOUDS = 256
_RIDGE = 2048
_SKY = (0x2E6FB7, 0x5C9BD6, 0x9CC4E8, 0xE8F0F6, 0xFFFFFF)
_GROUNDS = ((0x6E8FA8, 0x56789A), (0x4F7A5E, 0x3C6B4C), (0x2F5A3A, 0x1E3F28))


class Film:
    """Draws any frame of the film."""

    def __init__(self, seed: int) -> None:
        self._clouds = noise(_CLOUDS, seed + 31)
        self._sky = ramp(_SKY, 256)
        self._ridges = [ridge(_RIDGE, seed * 5 + layer, 1024) for layer in range(len(_GROUNDS))]

    def draw(self, number: int, out: Picture) -> None:
        """Draws frame `number` over the whole of `out`."""
        height, width = out.shape
        sky = height * 7 // 10
        for top, bottom in bands(0, sky, width):
            far = self._layer(number, 1, width, top, bottom)
            near = self._layer(number * 3 + 40, 2, width, top, bottom)
            np.take(self._sky, (far >> 1) + (near >> 1), out=out[top:bottom], mode="clip")
        out[sky:] = 0
        for layer, colours in enumerate(_GROUNDS):
            self._draw_ground(number, layer, colours, out)

    def _layer(self, shift: int, zoom: int, width: int, top: int, bottom: int) -> Bytes:
        scale = max(1, width * zoom // 400)
        rows = (np.arange(top, bottom) // scale + shift // 5) % _CLOUDS
        columns = (np.arange(width) // scale + shift // 2) % _CLOUDS
        return self._clouds[rows][:, columns]

    def _draw_ground(self, number: int, layer: int, colours: tuple[int, int], out: Picture) -> None:
        height, width = out.shape
        step = max(1, _RIDGE * 3 // (width * 4))
        places = (np.arange(width) * step + number * (layer + 1) * (layer + 2)) % _RIDGE
        top = height * (50 + 12 * layer) // 100
        outline = top + self._ridges[layer][places] * (height * 14 // 100) // 1024
        rows = np.arange(height, dtype=np.int32)
        shades = ramp(colours, height)
        full = int(outline.max())
        edge = out[top:full]
        np.copyto(edge, shades[top:full, None], where=rows[top:full, None] >= outline)
        out[full:] = shades[full:, None]
