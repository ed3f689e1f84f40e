"""QUIC images: the decoder of all five types (dossier E.1)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from spicehop.codecs.quic_kernels import Pass, decode_color, decode_color_and_alpha, decode_gray, padded
from spicehop.errors import ProtocolError

MAGIC = 0x43495551
VERSION = 0
MAX_PIXELS = 2**26
HEADER_WORDS = 5

_FAULTS = {
    -1: "a QUIC image ends before its last pixel",
    -2: "a QUIC image contains a codeword that stands for nothing",
    -3: "a run of a QUIC image goes beyond the end of its row",
}


class QuicType(IntEnum):
    """What a QUIC stream holds: the third word of its header."""

    GRAY = 1
    RGB16 = 2
    RGB24 = 3
    RGB32 = 4
    RGBA = 5


class QuicHeader(NamedTuple):
    """The first 20 bytes of a QUIC image."""

    kind: QuicType
    width: int  # pixels
    height: int  # rows


def read_header(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> QuicHeader:
    """Read and check the header of a QUIC image without decoding it."""
    if len(data) < 4 * HEADER_WORDS:
        raise ProtocolError(f"a QUIC image of {len(data)} bytes ends inside its header")
    magic, version, number, width, height = np.frombuffer(data, "<u4", HEADER_WORDS).tolist()
    if magic != MAGIC or version != VERSION:
        raise ProtocolError("a QUIC image does not begin with magic and version")
    try:
        kind = QuicType(number)
    except ValueError:
        raise ProtocolError(f"the QUIC image type {number} does not exist") from None
    if not width or not height:
        raise ProtocolError(f"a QUIC image of {width} by {height} pixels is empty")
    if width * height > max_pixels:
        raise ProtocolError(f"a QUIC image of {width} by {height} pixels is over the limit of {max_pixels}")
    return QuicHeader(kind, width, height)


def decode(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode one QUIC image.

    Colour images become (height, width, 4) with 0 in the fourth byte of those that carry no alpha, RGB16 widened to
    8 bits a channel; grey ones become (height, width). A stream that ends before its last pixel is an error, whatever
    of it could be decoded. Releases the GIL while it decodes.
    """
    kind, width, height = read_header(data, max_pixels)
    count = len(data) // 4
    channels = {QuicType.GRAY: 1, QuicType.RGBA: 4}.get(kind, 3)
    # Neither the first row nor the first pixel of a row can be part of a run: a bit a channel at least.
    if (width + height - 1) * channels > 32 * (count - HEADER_WORDS):
        raise ProtocolError("a QUIC image is too short for its size")
    words = padded(np.frombuffer(data, "<u4", count))
    start, end = 32 * HEADER_WORDS, 32 * count

    if kind == QuicType.GRAY:
        plane = np.empty((height, width), np.uint8)
        gray = Pass(words, start, end, width, np.empty(2 * width, np.uint32), 1, 8)
        _raise_fault(decode_gray(gray, plane.reshape(-1).data, width, height))
        return plane
    pixels = np.empty((height, width, 4), np.uint8)
    flat = pixels.reshape(-1).view(np.uint32)
    color = Pass(words, start, end, width, flat, 3, 5 if kind == QuicType.RGB16 else 8)
    if kind == QuicType.RGBA:
        alpha = Pass(words, start, end, width, np.empty(2 * width, np.uint32), 1, 8)
        _raise_fault(decode_color_and_alpha(color, alpha, width, height))
    else:
        _raise_fault(decode_color(color, width, height))
    if kind == QuicType.RGB16:
        flat[:] = (flat << 3) | ((flat >> 2) & 0x070707)
    return pixels


def _raise_fault(fault: int) -> None:
    if fault:
        raise ProtocolError(_FAULTS[fault])
