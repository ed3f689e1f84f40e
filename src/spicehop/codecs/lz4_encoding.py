"""LZ4 images: the encoder (dossier E.5)."""

from __future__ import annotations

import lz4.block
import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.pixels import cells_of
from spicehop.wire.display_constants import BitmapFormat


def encode(pixels: Pixels, *, has_alpha: bool = False) -> bytes:
    """Encode `(height, width, 4)` pixels, rows from the top, as 32-bit ones in a single block.

    The fourth byte is kept as it is, whether it means anything or not. Releases the GIL while it encodes.
    """
    kind = BitmapFormat.ARGB_32 if has_alpha else BitmapFormat.XRGB_32
    block = lz4.block.compress(np.ascontiguousarray(cells_of(pixels)).data, store_size=False)
    return b"".join((bytes((1, kind)), len(block).to_bytes(4, "big"), block))
