"""Surfaces: the pictures that display messages draw on."""

from __future__ import annotations

import numpy as np

from spicehop.codecs.bitmap import CELL, Cells, Pixels, from_cells, to_cells, widen_555, widen_565
from spicehop.codecs.images import DecodedImage
from spicehop.errors import ProtocolError
from spicehop.raster.region import Box
from spicehop.wire.display_constants import SurfaceFormat

MAX_SIDE = 32767
"""Longest side of a surface in pixels: the reference's limit (pixman)."""

_ALPHA_ONLY = (SurfaceFormat.ALPHA_1, SurfaceFormat.ALPHA_8)
_SIXTEEN_BIT = (SurfaceFormat.RGB_555, SurfaceFormat.RGB_565)


class PixelBudget:
    """Counts the pixels that the surfaces of a session may have together."""

    def __init__(self, limit: int = 2**26) -> None:
        self.limit = limit
        self.used = 0

    def take(self, pixels: int) -> None:
        """Reserve pixels, before they are allocated; a `ProtocolError` when they are not left."""
        if pixels > self.limit - self.used:
            raise ProtocolError(f"surfaces would have {self.used + pixels} pixels, the limit is {self.limit}")
        self.used += pixels

    def give_back(self, pixels: int) -> None:
        """Return what was reserved."""
        self.used -= pixels


class Surface:
    """One surface, black and transparent at first.

    `cells` is `(height, width)` with one element a pixel: u32 xRGB or ARGB values, or u8 alpha. 16-bit surfaces hold
    their colours widened to 8 bits a channel by repeated high bits, and 1-bit ones hold 0 and 255: bitwise operations
    have the same effect on both forms. Whoever writes `cells` other than bitwise passes the result through `settled`.
    """

    __slots__ = ("cells", "format", "height", "is_primary", "surface_id", "width")

    def __init__(self, surface_id: int, width: int, height: int, format: int, *, is_primary: bool) -> None:
        self.surface_id = surface_id
        self.width = width
        self.height = height
        self.format = surface_format(format)
        self.is_primary = is_primary
        check_surface_size(width, height)
        self.cells: Cells = np.zeros((height, width), np.uint8 if self.is_alpha_only else CELL)

    @property
    def is_alpha_only(self) -> bool:
        return self.format in _ALPHA_ONLY

    @property
    def palette_bits(self) -> int:
        """How servers express palettes of images for this surface: 16-bit surfaces get x555 palettes."""
        return 16 if self.format in _SIXTEEN_BIT else 32

    @property
    def box(self) -> Box:
        return Box(0, 0, self.width, self.height)

    @property
    def pixels(self) -> Pixels:
        """A view: `(height, width, 4)` B, G, R, X or A, or `(height, width)` alpha."""
        return self.cells if self.is_alpha_only else from_cells(self.cells)

    def as_image(self) -> DecodedImage:
        """This surface as the source of a drawing; it shares the pixels."""
        return DecodedImage(self.pixels, self.is_alpha_only or self.format is SurfaceFormat.ARGB_32)

    def color(self, value: int) -> Cells:
        """A colour of the wire as one cell: it is expressed in the surface's own format."""
        if self.format is SurfaceFormat.RGB_555:
            return widen_555(np.array(value & 0x7FFF))
        if self.format is SurfaceFormat.RGB_565:
            return widen_565(np.array(value & 0xFFFF))
        if self.format is SurfaceFormat.ALPHA_8:
            return np.array(value & 0xFF, np.uint8)
        if self.format is SurfaceFormat.ALPHA_1:
            return np.array((value & 1) * 255, np.uint8)
        return np.array(value, CELL)

    def reduced_color(self, value: int) -> Cells:
        """An xRGB colour as this surface shows it."""
        if self.is_alpha_only:
            return self.color(value)
        return self.settled(np.array(value & 0xFFFFFF, CELL))

    def adopted(self, image: DecodedImage) -> Cells:
        """The cells of an image for this surface, before any scaling; they may be a view of the image.

        Between 32-bit formats the fourth byte is kept as it is, even where it means nothing, as the reference does.
        """
        cells = to_cells(image.pixels)
        if image.pixels.ndim == 2:
            return self.settled(cells if self.is_alpha_only else cells.astype(CELL) << 24)
        if not self.is_alpha_only:
            return self.settled(cells)
        if not image.has_alpha:
            return np.full(cells.shape, 255, np.uint8)
        return self.settled(image.pixels[:, :, 3])

    def settled(self, cells: Cells) -> Cells:
        """Cells of the right type with what this format cannot hold removed."""
        if self.format is SurfaceFormat.RGB_555:
            high = cells & 0xF8F8F8
            return high | high >> 5 & 0x070707
        if self.format is SurfaceFormat.RGB_565:
            high = cells & 0xF8FCF8
            return high | high >> 5 & 0x070007 | high >> 6 & 0x000300
        if self.format is SurfaceFormat.ALPHA_1:
            return (cells >> 7) * np.uint8(255)
        return cells


def surface_format(number: int) -> SurfaceFormat:
    """The format with this number, or a `ProtocolError`."""
    try:
        return SurfaceFormat(number)
    except ValueError:
        raise ProtocolError(f"surface format {number} does not exist") from None


def check_surface_size(width: int, height: int) -> None:
    """Refuse surfaces without pixels and those with a side over the limit."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ProtocolError(f"a surface cannot have {width} x {height} pixels")
