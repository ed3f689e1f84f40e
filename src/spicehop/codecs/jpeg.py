"""JPEG images, the colour and alpha planes of JPEG_ALPHA, and MJPEG frames (dossier E.6, E.8)."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from spicehop.codecs.bitmap import MAX_PIXELS, Pixels, check_size
from spicehop.errors import ProtocolError

_SEQUENTIAL = (0xC0, 0xC1)
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_COMPONENTS = (1, 3)


def dimensions(data: bytes | memoryview) -> tuple[int, int]:
    """Width and height from the frame header, before anything is decoded.

    Only sequential 8-bit JPEG in grey or YCbCr passes, which is all that a SPICE server encodes: a progressive file
    may hold thousands of scans, each of which costs a full pass.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        raise ProtocolError("a JPEG image does not start like one")
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ProtocolError("a JPEG image has no marker where one is due")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _FRAME_HEADERS:
            return _frame_header(marker, data[position + 4 : position + 2 + length])
        if marker in (0xD9, 0xDA) or length < 2:
            break
        position += 2 + length
    raise ProtocolError("a JPEG image has no frame header")


def _frame_header(marker: int, header: bytes | memoryview) -> tuple[int, int]:
    if marker not in _SEQUENTIAL:
        raise ProtocolError(f"a JPEG image has frame type {marker:#x}, only sequential ones are allowed")
    if len(header) < 6 or header[0] != 8 or header[5] not in _COMPONENTS:
        raise ProtocolError("a JPEG image has a frame header that is not 8-bit grey or YCbCr")
    return int.from_bytes(header[3:5], "big"), int.from_bytes(header[1:3], "big")


def decode(data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """A JPEG image or MJPEG frame as `(height, width, 4)` pixels B, G, R, X with X = 0."""
    width, height = dimensions(data)
    check_size(width, height, max_pixels)
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as picture:
            if picture.size != (width, height):
                raise ProtocolError("a JPEG image has two sizes")
            colors = picture if picture.mode == "RGB" else picture.convert("RGB")
            raw = colors.tobytes("raw", "BGRX")
    except ProtocolError:
        raise
    except Exception as error:  # the library's decoders raise half a dozen unrelated classes on bad bytes
        raise ProtocolError(f"a JPEG image does not decode: {error}") from None
    return np.frombuffer(raw, np.uint8).reshape(height, width, 4)


def with_alpha(colors: Pixels, alpha: Pixels) -> Pixels:
    """The colours of a JPEG_ALPHA image with `alpha` `(height, width)` as their fourth byte."""
    if colors.shape[:2] != alpha.shape:
        raise ProtocolError(f"an alpha plane of {alpha.shape} does not fit a JPEG image of {colors.shape[:2]}")
    pixels = colors.copy()
    pixels[:, :, 3] = alpha
    return pixels
