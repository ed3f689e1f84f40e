"""From pixels to the image of a draw message: which encoder, and what is shared between clients."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spicehop.codecs import glz_encoding, lz_encoding, quic_encoding
from spicehop.codecs.bitmap import Pixels
from spicehop.painting.frames import jpeg
from spicehop.painting.settings import ImageCompression, PaintSettings
from spicehop.painting.view import ClientView
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import BitmapFlag, BitmapFormat, Compression, ImageType
from spicehop.wire.image import Bitmap, Compressed, Payload

Encoded = tuple[ImageType, Payload]

_SMALLEST = 54
"""Bytes of pixels below which nothing is encoded (dossier E.7)."""
_ENTRY_BYTES = 400
"""About what an entry of `SharedImages` takes beside its pixels."""

LOSSY = frozenset({ImageType.JPEG, ImageType.JPEG_ALPHA})


@dataclass(frozen=True, slots=True)
class Choice:
    """What encodes drawn things and what encodes photos."""

    drawn: ImageCompression
    photo: ImageCompression


_GLZ_OR_QUIC = Choice(ImageCompression.GLZ, ImageCompression.QUIC)
_LZ_OR_QUIC = Choice(ImageCompression.LZ, ImageCompression.QUIC)

_ASKED = {
    Compression.AUTO_GLZ: _GLZ_OR_QUIC,
    Compression.AUTO_LZ: _LZ_OR_QUIC,
    Compression.OFF: Choice(ImageCompression.OFF, ImageCompression.OFF),
    Compression.QUIC: Choice(ImageCompression.QUIC, ImageCompression.QUIC),
    Compression.GLZ: Choice(ImageCompression.GLZ, ImageCompression.GLZ),
    Compression.LZ: Choice(ImageCompression.LZ, ImageCompression.LZ),
    Compression.LZ4: Choice(ImageCompression.LZ4, ImageCompression.LZ4),
}


class SharedImages:
    """What several clients may be sent, by content: encoded images, the least recently used of which go first, and the
    pixels that their GLZ dictionaries keep.
    """

    def __init__(self, max_bytes: int = 8 * 2**20) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._images: OrderedDict[tuple[int, str], Encoded] = OrderedDict()
        self._pixels: weakref.WeakValueDictionary[int, Pixels] = weakref.WeakValueDictionary()

    def encoded(self, content: int, how: str, encode: Callable[[], Encoded]) -> Encoded:
        """The image with this content digest, encoded in this way; made when it is not there."""
        key = (content, how)
        known = self._images.get(key)
        if known is not None:
            self._images.move_to_end(key)
            return known
        made = encode()
        size = payload_bytes(made[1]) + _ENTRY_BYTES
        if size <= self.max_bytes // 8:
            self._images[key] = made
            self.bytes += size
            while self.bytes > self.max_bytes:
                _, (_, payload) = self._images.popitem(last=False)
                self.bytes -= payload_bytes(payload) + _ENTRY_BYTES
        return made

    def constant(self, content: int, pixels: Pixels) -> Pixels:
        """The pixels with this content digest in a form that dictionaries can keep together."""
        known = self._pixels.get(content)
        if known is None:
            known = self._pixels[content] = glz_encoding.shareable(pixels)
        return known


class ImageEncoder:
    """Encodes images for one client."""

    def __init__(self, view: ClientView, settings: PaintSettings, shared: SharedImages) -> None:
        self._view = view
        self._settings = settings
        self._shared = shared
        self._choice = _choice(settings.compression, view.preferred_compression)

    def encode(self, pixels: Pixels, content: int, *, exactly: bool) -> Encoded:
        """Encode `(height, width, 4)` pixels with this content digest; `exactly` forbids JPEG."""
        if pixels.size < _SMALLEST:
            return raw(pixels)
        choice = self._choice
        how = choice.drawn if choice.drawn is choice.photo or not is_photo(pixels) else choice.photo
        if how is ImageCompression.JPEG and exactly:
            how = ImageCompression.QUIC
        height, width = pixels.shape[:2]
        glz = self._view.glz
        if how is ImageCompression.GLZ:
            if glz is not None and glz.takes(width, height):
                # Not shared and, once made, sent in any case: the client waits for every id.
                data = glz.encode(self._shared.constant(content, pixels))
                return ImageType.GLZ_RGB, Compressed(data)
            how = ImageCompression.LZ
        if how is ImageCompression.LZ4 and DisplayCap.LZ4_COMPRESSION not in self._view.capabilities:
            how = ImageCompression.LZ
        quality = self._settings.jpeg_quality
        return self._shared.encoded(content, how, lambda: _shorter(_encoded(pixels, how, quality), pixels))


def raw(pixels: Pixels) -> Encoded:
    """Pixels as they are."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).tobytes()
    bitmap = Bitmap(BitmapFormat.XRGB_32, BitmapFlag.TOP_DOWN, width, height, 4 * width, None, None, data)
    return ImageType.BITMAP, bitmap


def payload_bytes(payload: Payload) -> int:
    """How many bytes of pixels a payload has."""
    return len(getattr(payload, "data", b""))


def is_photo(pixels: Pixels) -> bool:
    """Whether a picture looks filmed rather than drawn: few neighbours are the same."""
    height, width = pixels.shape[:2]
    if width < 8 or height < 8:
        return False
    cells = pixels.view("<u4")[:: max(1, height // 64), :, 0] & np.uint32(0x00FFFFFF)
    same = np.count_nonzero(cells[:, 1:] == cells[:, :-1])
    return bool(same < 0.35 * cells[:, 1:].size)


def _choice(chosen: ImageCompression, asked: int | None) -> Choice:
    """What the operator has chosen, or what the client asks for where the operator leaves it open."""
    if chosen is ImageCompression.AUTO:
        return _ASKED.get(Compression(asked), _GLZ_OR_QUIC) if asked in set(Compression) else _GLZ_OR_QUIC
    if chosen is ImageCompression.JPEG:
        return Choice(ImageCompression.GLZ, ImageCompression.JPEG)
    return Choice(chosen, chosen)


def _encoded(pixels: Pixels, how: ImageCompression, jpeg_quality: int) -> Encoded:
    match how:
        case ImageCompression.OFF:
            return raw(pixels)
        case ImageCompression.JPEG:
            return ImageType.JPEG, Compressed(jpeg(pixels, jpeg_quality))
        case ImageCompression.QUIC:
            return ImageType.QUIC, Compressed(quic_encoding.encode(pixels))
        case _:
            return ImageType.LZ_RGB, Compressed(lz_encoding.encode(pixels))


def _shorter(encoded: Encoded, pixels: Pixels) -> Encoded:
    return encoded if payload_bytes(encoded[1]) < pixels.size else raw(pixels)
