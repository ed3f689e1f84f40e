"""From pixels to the image of a draw message: which encoder, and what is shared between clients."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from spicehop.codecs import lz_encoding, quic_encoding
from spicehop.codecs.bitmap import Pixels
from spicehop.painting.settings import ImageCompression
from spicehop.wire.display_constants import BitmapFlag, BitmapFormat, Compression, ImageType
from spicehop.wire.image import Bitmap, Compressed, Payload

Encoded = tuple[ImageType, Payload]

_SMALLEST = 54
"""Bytes of pixels below which nothing is encoded (dossier E.7)."""

_ASKED = {
    Compression.OFF: ImageCompression.OFF,
    Compression.AUTO_GLZ: ImageCompression.AUTO,
    Compression.AUTO_LZ: ImageCompression.AUTO,
    Compression.QUIC: ImageCompression.QUIC,
    Compression.GLZ: ImageCompression.GLZ,
    Compression.LZ: ImageCompression.LZ,
    Compression.LZ4: ImageCompression.LZ4,
}


class SharedImages:
    """Encoded images that several clients may be sent, by content; the least recently used goes first."""

    def __init__(self, max_bytes: int = 8 * 2**20) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._images: OrderedDict[tuple[int, str], Encoded] = OrderedDict()

    def encoded(self, content: int, how: str, encode: Callable[[], Encoded]) -> Encoded:
        """The image with this content digest, encoded in this way; made when it is not there."""
        key = (content, how)
        known = self._images.get(key)
        if known is not None:
            self._images.move_to_end(key)
            return known
        made = encode()
        size = payload_bytes(made[1])
        if size <= self.max_bytes // 8:
            self._images[key] = made
            self.bytes += size
            while self.bytes > self.max_bytes:
                _, (_, payload) = self._images.popitem(last=False)
                self.bytes -= payload_bytes(payload)
        return made


def payload_bytes(payload: Payload) -> int:
    """How many bytes of pixels a payload has."""
    return len(getattr(payload, "data", b""))


def encode_lossless(pixels: Pixels, compression: ImageCompression) -> Encoded:
    """Encode `(height, width, 4)` pixels exactly."""
    if compression is ImageCompression.OFF or pixels.size < _SMALLEST:
        return raw(pixels)
    if compression is ImageCompression.QUIC or (compression is ImageCompression.AUTO and is_photo(pixels)):
        return ImageType.QUIC, Compressed(quic_encoding.encode(pixels))
    return _unless_longer((ImageType.LZ_RGB, Compressed(lz_encoding.encode(pixels))), pixels)


def raw(pixels: Pixels) -> Encoded:
    """Pixels as they are."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).tobytes()
    bitmap = Bitmap(BitmapFormat.XRGB_32, BitmapFlag.TOP_DOWN, width, height, 4 * width, None, None, data)
    return ImageType.BITMAP, bitmap


def is_photo(pixels: Pixels) -> bool:
    """Whether a picture looks like a photo rather than like drawn things: few neighbours are the same."""
    height, width = pixels.shape[:2]
    if width < 8 or height < 8:
        return False
    cells = pixels.view("<u4")[:: max(1, height // 64), :, 0]
    same = np.count_nonzero(cells[:, 1:] == cells[:, :-1])
    return bool(same < 0.35 * cells[:, 1:].size)


def compression_for(chosen: ImageCompression, asked: int | None) -> ImageCompression:
    """What the operator has chosen, or what the client asks for where the operator leaves it open."""
    if asked is None or chosen is not ImageCompression.AUTO:
        return chosen
    try:
        return _ASKED[Compression(asked)]
    except ValueError:
        return chosen


def _unless_longer(encoded: Encoded, pixels: Pixels) -> Encoded:
    return encoded if payload_bytes(encoded[1]) < pixels.size else raw(pixels)
