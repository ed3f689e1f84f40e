"""Pictures of few colours as indices into a palette, for LZ_PLT images (dossier B.2, E.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.lz import PIXELS_PER_BYTE, LzType
from spicehop.codecs.palette_kernels import MAX_COLORS, index_colors
from spicehop.codecs.pixels import cells_of

_PIXELS_PER_COLOR = 48


@dataclass(frozen=True, slots=True)
class IndexedPixels:
    """A picture as indices."""

    indices: Pixels
    """`(height, width)`, each below the number of colours."""
    colors: tuple[int, ...]
    """0x00RRGGBB, at most 256."""

    @property
    def kind(self) -> LzType:
        """The LZ type with the fewest bits a pixel."""
        if len(self.colors) <= 2:
            return LzType.PLT1_BE
        return LzType.PLT4_BE if len(self.colors) <= 16 else LzType.PLT8

    @property
    def pays(self) -> bool:
        """Whether the palette is likely to cost less than it saves: a rule of thumb, by the number of pixels."""
        return self.indices.size >= _PIXELS_PER_COLOR * len(self.colors)

    def packed(self) -> Pixels:
        """Rows of indices as the type packs them: `(height, bytes a row)`."""
        per_byte = PIXELS_PER_BYTE[self.kind]
        if per_byte == 1:
            return self.indices
        if per_byte == 8:
            return np.packbits(self.indices, axis=1)
        height, width = self.indices.shape
        pairs = np.zeros((height, -(-width // 2), 2), np.uint8)
        pairs.reshape(height, -1)[:, :width] = self.indices
        rows: Pixels = np.bitwise_or(pairs[..., 0] << 4, pairs[..., 1], dtype=np.uint8)
        return rows


def indexed(pixels: Pixels) -> IndexedPixels | None:
    """Find the colours of `(height, width, 4)` pixels, the fourth byte left out; None when there are more than 256."""
    cells = np.ascontiguousarray(cells_of(pixels))
    indices = np.empty(cells.shape, np.uint8)
    colors = np.empty(MAX_COLORS, np.uint32)
    count = index_colors(cells.reshape(-1), indices.reshape(-1), colors)
    if count < 0:
        return None
    return IndexedPixels(indices, tuple(colors[:count].tolist()))
