"""From pixels to the image of a draw message: which encoder, and what is shared between clients."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spicehop.codecs import encoding, glz_encoding, is_compiled, lz_encoding, palettes, quic_encoding
from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.encoding import EncodedImage, ImageCodec
from spicehop.painting.settings import ImageCompression, PaintSettings
from spicehop.painting.view import ClientView
from spicehop.wire import display as wire
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import BitmapFlag, Compression, ImageType
from spicehop.wire.image import LzPalette, Palette
from spicehop.wire.layout import Message

_SMALLEST = 54
"""Bytes of pixels below which nothing is encoded (dossier E.7)."""
_MOST_SAME = 0.85
_SAMPLE = 64
"""Pixels a side."""
_QUIC_SHARE = 0.8
_ENTRY_BYTES = 400
"""About what an entry of `SharedImages` takes beside its pixels."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What encodes drawn things and what encodes photos."""

    drawn: ImageCodec
    photo: ImageCodec
    palettes: bool = False
    """Whether drawn things of few colours go as indices into a palette."""


_AUTO_LZ = Choice(ImageCodec.LZ, ImageCodec.QUIC, palettes=True)
_AUTO_GLZ = Choice(ImageCodec.GLZ, ImageCodec.QUIC, palettes=True)
_ASKED = {
    Compression.AUTO_GLZ: _AUTO_GLZ,
    Compression.AUTO_LZ: _AUTO_LZ,
    Compression.OFF: Choice(ImageCodec.OFF, ImageCodec.OFF),
    Compression.QUIC: Choice(ImageCodec.QUIC, ImageCodec.QUIC),
    Compression.GLZ: Choice(ImageCodec.GLZ, ImageCodec.GLZ),
    Compression.LZ: Choice(ImageCodec.LZ, ImageCodec.LZ),
    Compression.LZ4: Choice(ImageCodec.LZ4, ImageCodec.LZ4),
}
_CHOSEN = {
    # LZ4 is a library of its own, which is fast without our compiled codecs too.
    ImageCompression.AUTO: _AUTO_GLZ if is_compiled() else _ASKED[Compression.LZ4],
    ImageCompression.OFF: _ASKED[Compression.OFF],
    ImageCompression.QUIC: _ASKED[Compression.QUIC],
    ImageCompression.GLZ: _ASKED[Compression.GLZ],
    ImageCompression.LZ: _ASKED[Compression.LZ],
    ImageCompression.LZ4: _ASKED[Compression.LZ4],
    ImageCompression.JPEG: Choice(ImageCodec.LZ, ImageCodec.JPEG, palettes=True),
}


class SharedImages:
    """What several clients may be sent, by content: encoded images, the least recently used of which go first, and the
    pixels that their GLZ dictionaries keep.
    """

    def __init__(self, max_bytes: int = 4 * 2**20) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._images: OrderedDict[tuple[int, str], EncodedImage] = OrderedDict()
        self._pixels: weakref.WeakValueDictionary[int, Pixels] = weakref.WeakValueDictionary()

    def encoded(self, content: int, how: str, encode: Callable[[], EncodedImage]) -> EncodedImage:
        """The image with this content digest, encoded in this way; made when it is not there."""
        key = (content, how)
        known = self._images.get(key)
        if known is not None:
            self._images.move_to_end(key)
            return known
        made = encode()
        size = made.size + _ENTRY_BYTES
        if size <= self.max_bytes // 4:
            self._images[key] = made
            self.bytes += size
            while self.bytes > self.max_bytes:
                self.bytes -= self._images.popitem(last=False)[1].size + _ENTRY_BYTES
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
        self._quality = settings.jpeg_quality
        self._shared = shared
        self._choice = _choice(settings.compression, view.preferred_compression)

    def encode(
        self, pixels: Pixels, content: int, *, exactly: bool, send: Callable[[Message], None]
    ) -> EncodedImage:
        """Encode `(height, width, 4)` pixels with this content digest; `exactly` forbids JPEG.

        `send` takes what the client has to be told before the image. What is made must be sent: the client waits for
        every id of its GLZ window.
        """
        if pixels.size < _SMALLEST:
            return encoding.encode(pixels, compression=ImageCodec.OFF)
        how = self._codec(pixels, exactly=exactly)
        if how is self._choice.drawn and self._choice.palettes:
            indexed = self._indexed(pixels, send)
            if indexed is not None:
                return indexed
        glz = self._view.glz
        if how is ImageCodec.GLZ:
            if glz is not None and glz.takes(pixels.shape[1], pixels.shape[0]):
                constant = self._shared.constant(content, pixels)
                return encoding.encode(constant, compression=how, dictionary=glz)
            how = ImageCodec.LZ
        return self._shared.encoded(content, how, lambda: _shorter(pixels, how, self._quality))

    def _codec(self, pixels: Pixels, *, exactly: bool) -> ImageCodec:
        choice = self._choice
        how = choice.drawn if choice.drawn is choice.photo or not is_photo(pixels) else choice.photo
        if how is ImageCodec.JPEG and exactly:
            return ImageCodec.QUIC
        if how is ImageCodec.LZ4 and DisplayCap.LZ4_COMPRESSION not in self._view.capabilities:
            return ImageCodec.LZ
        return how

    def _indexed(self, pixels: Pixels, send: Callable[[Message], None]) -> EncodedImage | None:
        """The image as indices into a palette, which the client has or is given; None when that does not pay."""
        found = palettes.indexed(pixels)
        if found is None:
            return None
        colors = np.array(found.colors, np.uint32)
        ascending = tuple(sorted(found.colors))
        cache = self._view.palettes
        known = cache.find(ascending)
        palette: Palette | None = None
        flags: int = BitmapFlag.PALETTE_FROM_CACHE
        if known is None:
            if not found.pays:
                return None
            known, dropped = cache.put(ascending)
            for unique in dropped:
                send(wire.InvalPalette(unique))
            flags, palette = BitmapFlag.PALETTE_CACHE_ME, Palette(known.unique, known.colors)
        rows = palettes.IndexedPixels(known.places(colors)[found.indices], known.colors)
        height, width = pixels.shape[:2]
        data = lz_encoding.encode_packed(rows.packed(), rows.kind, width)
        palette_id = known.unique if palette is None else None
        return EncodedImage(ImageType.LZ_PLT, LzPalette(flags, palette_id, palette, data), width, height)


def is_photo(pixels: Pixels) -> bool:
    """Whether a picture looks filmed rather than drawn: few neighbours are the same, and QUIC spares more than LZ.

    Only a part of the rows, and the middle, are looked at.
    """
    height, width = pixels.shape[:2]
    if width < 8 or height < 8:
        return False
    cells = pixels.view("<u4")[:: max(1, height // 32), :, 0] & np.uint32(0x00FFFFFF)
    same = np.count_nonzero(cells[:, 1:] == cells[:, :-1])
    if same > _MOST_SAME * cells[:, 1:].size:
        return False
    top, left = max(0, height - _SAMPLE) // 2, max(0, width - _SAMPLE) // 2
    middle = pixels[top : top + _SAMPLE, left : left + _SAMPLE]
    return len(quic_encoding.encode(middle)) < _QUIC_SHARE * len(lz_encoding.encode(middle))


def _choice(chosen: ImageCompression, asked: int | None) -> Choice:
    """What the operator has chosen, or what the client asks for where the operator leaves it open."""
    if chosen is ImageCompression.AUTO and asked in set(Compression):
        return _ASKED[Compression(asked)]
    return _CHOSEN[chosen]


def _shorter(pixels: Pixels, how: ImageCodec, quality: int) -> EncodedImage:
    encoded = encoding.encode(pixels, compression=how, quality=quality)
    if how is ImageCodec.OFF or encoded.size < pixels.size:
        return encoded
    return encoding.encode(pixels, compression=ImageCodec.OFF)
