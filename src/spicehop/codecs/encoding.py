"""One door to all image encoders: pixels in, the type and payload of a display message's image out (dossier B.2, E).

Which codec suits an image is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spicehop.codecs import jpeg_encoding, lz4_encoding, lz_encoding, palettes, quic_encoding, zlib_glz
from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.codecs.lz import LzType
from spicehop.codecs.pixels import cells_of
from spicehop.codecs.quic import QuicType
from spicehop.wire.display_constants import BitmapFlag, BitmapFormat, ImageType, JpegAlphaFlag
from spicehop.wire.image import (
    Bitmap,
    Compressed,
    Image,
    ImageDescriptor,
    JpegAlpha,
    LzPalette,
    Palette,
    Payload,
    ZlibGlz,
)


class ImageCodec(StrEnum):
    """How an image can be encoded."""

    OFF = "off"
    QUIC = "quic"
    LZ = "lz"
    LZ_PALETTE = "lz-palette"
    """LZ, of palette indices where the image has few enough colours for that to pay."""
    GLZ = "glz"
    ZLIB_GLZ = "zlib-glz"
    """GLZ, deflated where that makes it shorter."""
    LZ4 = "lz4"
    JPEG = "jpeg"
    """The only lossy one."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image ready for a display message."""

    kind: ImageType
    payload: Payload
    width: int
    """Pixels."""
    height: int
    """Rows."""
    lossy: bool = False
    """Whether the client sees something else than what was encoded."""

    @property
    def size(self) -> int:
        """Bytes of pixels, without what describes them."""
        return len(getattr(self.payload, "data", b""))

    def image(self, image_id: int = 0, flags: int = 0) -> Image:
        """The image of a message; `flags` are `ImageFlag`."""
        return Image(ImageDescriptor(image_id, self.kind, flags, self.width, self.height), self.payload)


def encode(
    pixels: Pixels,
    *,
    compression: ImageCodec,
    has_alpha: bool = False,
    dictionary: GlzDictionary | None = None,
    quality: int = jpeg_encoding.QUALITY,
) -> EncodedImage:
    """Encode `(height, width, 4)` pixels of B, G, R and X or A, rows from the top.

    A part of a larger picture is fine. `dictionary` is for GLZ: the one of the client that gets the image, which must
    then be sent (see `GlzDictionary`); pixels that several clients get pass through `glz_encoding.shareable` first, so
    that their dictionaries keep one copy. `quality` is for JPEG, 1 to 95. Raises ValueError where the codec does not
    take an image of this size: see `GlzDictionary.takes` and `jpeg_encoding.takes`.
    """
    height, width = pixels.shape[:2]
    lossy = compression is ImageCodec.JPEG
    kind, payload = _encoded(pixels, compression, has_alpha, dictionary, quality)
    return EncodedImage(kind, payload, width, height, lossy)


def _encoded(
    pixels: Pixels, compression: ImageCodec, has_alpha: bool, dictionary: GlzDictionary | None, quality: int
) -> tuple[ImageType, Payload]:
    lz_kind = LzType.RGBA if has_alpha else LzType.RGB32
    match compression:
        case ImageCodec.OFF:
            return ImageType.BITMAP, _bitmap(pixels, has_alpha)
        case ImageCodec.QUIC:
            data = quic_encoding.encode(pixels, QuicType.RGBA if has_alpha else QuicType.RGB32)
            return ImageType.QUIC, Compressed(data)
        case ImageCodec.LZ:
            return ImageType.LZ_RGB, Compressed(lz_encoding.encode(pixels, lz_kind))
        case ImageCodec.LZ_PALETTE:
            found = None if has_alpha else palettes.indexed(pixels)
            if found is None or not found.pays:
                return ImageType.LZ_RGB, Compressed(lz_encoding.encode(pixels, lz_kind))
            data = lz_encoding.encode_packed(found.packed(), found.kind, pixels.shape[1])
            return ImageType.LZ_PLT, LzPalette(0, None, Palette(0, found.colors), data)
        case ImageCodec.LZ4:
            return ImageType.LZ4, Compressed(lz4_encoding.encode(pixels, has_alpha=has_alpha))
        case ImageCodec.JPEG:
            file = jpeg_encoding.encode(pixels, quality)
            if not has_alpha:
                return ImageType.JPEG, Compressed(file)
            alpha = jpeg_encoding.encode_alpha(pixels)
            return ImageType.JPEG_ALPHA, JpegAlpha(JpegAlphaFlag.TOP_DOWN, len(file), file + alpha)
        case ImageCodec.GLZ | ImageCodec.ZLIB_GLZ:
            if dictionary is None:
                raise ValueError("GLZ needs the dictionary of the client that gets the image")
            data = dictionary.encode(pixels, lz_kind)
            deflated = zlib_glz.deflate(data) if compression is ImageCodec.ZLIB_GLZ else None
            if deflated is None:
                return ImageType.GLZ_RGB, Compressed(data)
            return ImageType.ZLIB_GLZ_RGB, ZlibGlz(len(data), deflated)


def _bitmap(pixels: Pixels, has_alpha: bool) -> Bitmap:
    height, width = cells_of(pixels).shape
    kind = BitmapFormat.ARGB_32 if has_alpha else BitmapFormat.XRGB_32
    return Bitmap(kind, BitmapFlag.TOP_DOWN, width, height, 4 * width, None, None, pixels.tobytes())
