"""JPEG images, and the two parts of JPEG_ALPHA: the encoder (dossier E.6). MJPEG frames are such images too (E.8)."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from spicehop.codecs import lz_encoding
from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.lz import LzType
from spicehop.codecs.pixels import cells_of

QUALITY = 85
_LONGEST_SIDE = 65_500  # of libjpeg


def takes(width: int, height: int) -> bool:
    """Whether an image of this size can be encoded."""
    return 0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE


def encode(pixels: Pixels, quality: int = QUALITY) -> bytes:
    """A baseline JPEG file of `(height, width, 4)` pixels, rows from the top; the fourth byte is left out."""
    cells = cells_of(pixels)
    height, width = cells.shape
    if not takes(width, height):
        raise ValueError(f"a JPEG image of {width} by {height} pixels is too large")
    stride = cells.strides[0]
    if stride < 4 * width:
        cells = np.ascontiguousarray(cells)
        stride = 4 * width
    # Pillow reads pixels where they are only in some modes. None of them is BGRX, but from RGBX it can hand BGR to the
    # encoder, which swaps what was swapped. It wants whole rows; what follows the last pixel of the last is never read.
    memory = np.lib.stride_tricks.as_strided(cells.view(np.uint8), (height * stride,), (1,))
    picture = Image.frombuffer("RGBX", (width, height), memory, "raw", "RGBX", stride, 1)
    return picture.tobytes("jpeg", "BGR", *_parameters(quality))


@lru_cache(maxsize=128)
def _parameters(quality: int) -> tuple[Any, ...]:
    """What Pillow's `save` hands to its encoder; it differs between versions, so it is asked for."""
    sample = Image.new("RGB", (1, 1))
    sample.save(BytesIO(), "JPEG", quality=quality)
    parameters: tuple[Any, ...] = sample.encoderconfig
    return parameters


def encode_alpha(pixels: Pixels) -> bytes:
    """The LZ stream of the fourth bytes that follows the file in a JPEG_ALPHA image, top-down."""
    return lz_encoding.encode(pixels, LzType.XXXA)
