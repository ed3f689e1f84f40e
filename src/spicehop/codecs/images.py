"""Images of display messages to pixels, and the caches that stand between them (dossier B.2, E)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spicehop.codecs import bitmap, jpeg, lz, lz4, quic, zlib_glz
from spicehop.codecs.bitmap import MAX_PIXELS, Pixels, check_size
from spicehop.codecs.glz import GlzWindow
from spicehop.codecs.lz import LzType
from spicehop.codecs.quic import QuicType
from spicehop.errors import ProtocolError
from spicehop.wire.display_constants import PALETTE_CACHE_ENTRIES, BitmapFlag, BitmapFormat, ImageFlag, ImageType
from spicehop.wire.image import Bitmap, Compressed, Image, JpegAlpha, LzPalette, Palette, SurfaceImage, ZlibGlz

MAX_CACHED_IMAGES = 2**17
GLZ_WINDOW_PIXELS = 2**22
PIXMAP_CACHE_PIXELS = 20 * 2**20

_FROM_CACHE = (ImageType.FROM_CACHE, ImageType.FROM_CACHE_LOSSLESS)
_LOSSY = (ImageType.JPEG, ImageType.JPEG_ALPHA)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels of an image; whoever holds one does not write to them."""

    pixels: Pixels
    """`(height, width, 4)` B, G, R, X or A, or `(height, width)` alpha only; top-down, C-contiguous."""
    has_alpha: bool
    """Whether the fourth byte is an alpha value; without it the byte is kept but means nothing."""
    lossy: bool = False
    """Whether a lossless version may follow."""


class PixmapCache:
    """Decoded images by id, for all display channels of a session (dossier B.2, caches).

    The server decides what stays. What it keeps beyond `max_pixels`, the limit here, is a `ProtocolError`: dropping
    something on our own would only make a later FROM_CACHE fail.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels
        self.pixels = 0
        self._images: dict[int, DecodedImage] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._images

    def put(self, image_id: int, image: DecodedImage) -> None:
        """Keep `image` under `image_id`, in place of what was there."""
        self.discard(image_id)
        size = image.pixels.shape[0] * image.pixels.shape[1]
        if self.pixels + size > self.max_pixels or len(self._images) >= MAX_CACHED_IMAGES:
            raise ProtocolError(
                f"image {image_id:#x} does not fit the image cache: {len(self._images)} images, {self.pixels} pixels"
            )
        self._images[image_id] = image
        self.pixels += size

    def get(self, image_id: int) -> DecodedImage:
        """The image under `image_id`; a `ProtocolError` when there is none."""
        image = self._images.get(image_id)
        if image is None:
            raise ProtocolError(f"image {image_id:#x} is not in the image cache")
        return image

    def lossless(self, image_id: int) -> DecodedImage:
        """As `get`, and the image must not be a lossy version."""
        image = self.get(image_id)
        if image.lossy:
            raise ProtocolError(f"only a lossy version of image {image_id:#x} is in the image cache")
        return image

    def discard(self, image_id: int) -> None:
        """Forget one image; unknown ids are fine, as INVAL_LIST may name them."""
        image = self._images.pop(image_id, None)
        if image is not None:
            self.pixels -= image.pixels.shape[0] * image.pixels.shape[1]

    def clear(self) -> None:
        """Forget all images."""
        self._images.clear()
        self.pixels = 0


class PaletteCache:
    """Palettes of one display channel by their unique id.

    A server counts 128 entries and sends INVAL_PALETTE for what it drops. That message may come late, so twice as
    many are kept, the least recently used going first.
    """

    def __init__(self, max_entries: int = 2 * PALETTE_CACHE_ENTRIES) -> None:
        self.max_entries = max_entries
        self._palettes: OrderedDict[int, Palette] = OrderedDict()

    def __len__(self) -> int:
        return len(self._palettes)

    def put(self, palette: Palette) -> None:
        """Keep a palette under its unique id; id 0 means that it cannot be cached."""
        if palette.unique == 0:
            return
        self._palettes[palette.unique] = palette
        self._palettes.move_to_end(palette.unique)
        if len(self._palettes) > self.max_entries:
            self._palettes.popitem(last=False)

    def get(self, palette_id: int) -> Palette:
        """The palette under `palette_id`; a `ProtocolError` when there is none."""
        palette = self._palettes.get(palette_id)
        if palette is None:
            raise ProtocolError(f"palette {palette_id:#x} is not in the palette cache")
        self._palettes.move_to_end(palette_id)
        return palette

    def discard(self, palette_id: int) -> None:
        """Forget one palette."""
        self._palettes.pop(palette_id, None)

    def clear(self) -> None:
        """Forget all palettes."""
        self._palettes.clear()


class ImageCaches:
    """What all display channels of one session share: the image cache and the GLZ window."""

    def __init__(
        self, *, max_cached_pixels: int = MAX_PIXELS, glz_window_pixels: int = GLZ_WINDOW_PIXELS
    ) -> None:
        self.pixmaps = PixmapCache(max_cached_pixels)
        self.glz = GlzWindow(glz_window_pixels)

    def clear(self) -> None:
        """Forget everything, for a server that begins anew: switch-host and semi-seamless migration."""
        self.pixmaps.clear()
        self.glz.clear()


class ImageDecoder:
    """Turns the images of one display channel's messages into pixels.

    `surface` gives the pixels of another surface by its id, or raises `ProtocolError`. `decode` raises `ProtocolError`;
    its subclass `codecs.glz.MissingImage` means that an image of another display channel must come first: then nothing
    has changed and the same image can be decoded again later.
    """

    def __init__(
        self,
        caches: ImageCaches,
        surface: Callable[[int], DecodedImage],
        *,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.caches = caches
        self.palettes = PaletteCache()
        self.max_pixels = max_pixels
        self._surface = surface

    def decode(self, image: Image, *, palette_bits: int = 32) -> DecodedImage:
        """The pixels of `image`, which also enter the cache or come from it as its flags say.

        `palette_bits` is 16 when the image is for a 16-bit surface: palettes hold x555 values then.
        """
        kind, flags = image.descriptor.type, image.descriptor.flags
        if kind == ImageType.FROM_CACHE:
            return self.caches.pixmaps.get(image.descriptor.id)
        if kind == ImageType.FROM_CACHE_LOSSLESS:
            return self.caches.pixmaps.lossless(image.descriptor.id)
        if isinstance(image.payload, SurfaceImage):
            return self._surface(image.payload.surface_id)
        decoded = self._decode_payload(image, palette_bits)
        if flags & ImageFlag.HIGH_BITS_SET and not decoded.has_alpha:
            decoded = replace(decoded, pixels=_with_high_bits(decoded.pixels))
        if flags & (ImageFlag.CACHE_ME | ImageFlag.CACHE_REPLACE_ME):
            if not flags & ImageFlag.CACHE_ME and decoded.lossy:
                raise ProtocolError(f"a lossy image is to replace image {image.descriptor.id:#x} in the cache")
            if isinstance(image.payload, Bitmap):
                # A raw bitmap may be a view of the message, which the cache must not keep alive or see change.
                decoded = replace(decoded, pixels=decoded.pixels.copy())
            self.caches.pixmaps.put(image.descriptor.id, decoded)
        return decoded

    def decode_mask(self, image: Image) -> Pixels:
        """A mask `(height, width)`, not 0 where pixels pass: a 1-bit bitmap, a cached one, or an alpha surface."""
        kind = image.descriptor.type
        if isinstance(image.payload, Bitmap):
            payload = image.payload
            pixels = bitmap.decode_mask(
                payload.data,
                format=payload.format,
                width=payload.width,
                height=payload.height,
                stride=payload.stride,
                top_down=bool(payload.flags & BitmapFlag.TOP_DOWN),
                max_pixels=self.max_pixels,
            )
            if image.descriptor.flags & ImageFlag.CACHE_ME:
                self.caches.pixmaps.put(image.descriptor.id, DecodedImage(pixels, has_alpha=True))
            return pixels
        if kind not in (*_FROM_CACHE, ImageType.SURFACE):
            raise ProtocolError(f"a mask cannot be an image of type {kind}")
        pixels = self.decode(image).pixels
        if pixels.ndim != 2:
            raise ProtocolError(f"a mask comes from image {image.descriptor.id:#x}, which is a colour image")
        return pixels

    def touch(self, image: Image, *, palette_bits: int = 32) -> None:
        """Do what decoding leaves behind in caches and GLZ window, for an image that will not be drawn."""
        kind, flags = image.descriptor.type, image.descriptor.flags
        if kind in _FROM_CACHE or kind == ImageType.SURFACE:
            return
        cached = flags & (ImageFlag.CACHE_ME | ImageFlag.CACHE_REPLACE_ME)
        if cached or kind in (ImageType.GLZ_RGB, ImageType.ZLIB_GLZ_RGB):
            self.decode(image, palette_bits=palette_bits)
        elif isinstance(image.payload, Bitmap | LzPalette):
            self._palette(image.payload)

    def touch_mask(self, image: Image) -> None:
        """As `touch`, for a mask."""
        if isinstance(image.payload, Bitmap) and image.descriptor.flags & ImageFlag.CACHE_ME:
            self.decode_mask(image)

    def _decode_payload(self, image: Image, palette_bits: int) -> DecodedImage:
        payload, kind = image.payload, image.descriptor.type
        if isinstance(payload, Bitmap):
            return self._bitmap(payload, palette_bits)
        check_size(image.descriptor.width, image.descriptor.height, self.max_pixels)
        if isinstance(payload, Compressed):
            decoded = self._compressed(image, payload.data)
        elif isinstance(payload, LzPalette):
            pixels = lz.decode(payload.data, self._colors(payload, palette_bits), max_pixels=self.max_pixels)
            decoded = DecodedImage(pixels, has_alpha=False)
        elif isinstance(payload, ZlibGlz):
            decoded = self._glz(zlib_glz.inflate(payload.data, payload.glz_size))
        elif isinstance(payload, JpegAlpha):
            decoded = self._jpeg_alpha(payload)
        else:
            raise ProtocolError(f"image type {kind} is not known")
        height, width = decoded.pixels.shape[:2]
        if (width, height) != (image.descriptor.width, image.descriptor.height):
            raise ProtocolError(
                f"an image of {width} x {height} is described as "
                f"{image.descriptor.width} x {image.descriptor.height}"
            )
        return decoded

    def _bitmap(self, payload: Bitmap, palette_bits: int) -> DecodedImage:
        palette = self._palette(payload)
        pixels = bitmap.decode(
            payload.data,
            format=payload.format,
            width=payload.width,
            height=payload.height,
            stride=payload.stride,
            top_down=bool(payload.flags & BitmapFlag.TOP_DOWN),
            palette=None if palette is None else palette.colors,
            palette_bits=palette_bits,
            max_pixels=self.max_pixels,
        )
        return DecodedImage(pixels, has_alpha=payload.format in (BitmapFormat.ARGB_32, BitmapFormat.ALPHA_8))

    def _compressed(self, image: Image, data: bytes | memoryview) -> DecodedImage:
        descriptor = image.descriptor
        match descriptor.type:
            case ImageType.LZ_RGB:
                pixels = lz.decode(data, max_pixels=self.max_pixels)
                return DecodedImage(pixels, has_alpha=data[11] in (LzType.RGBA, LzType.XXXA, LzType.A8))
            case ImageType.GLZ_RGB:
                return self._glz(data)
            case ImageType.QUIC:
                pixels = quic.decode(data, max_pixels=self.max_pixels)
                return DecodedImage(pixels, has_alpha=pixels.ndim == 2 or data[8] == QuicType.RGBA)
            case ImageType.LZ4:
                pixels = lz4.decode(data, descriptor.width, descriptor.height, max_pixels=self.max_pixels)
                return DecodedImage(pixels, has_alpha=lz4.has_alpha(data))
            case ImageType.JPEG:
                return DecodedImage(jpeg.decode(data, max_pixels=self.max_pixels), has_alpha=False, lossy=True)
        raise ProtocolError(f"image type {descriptor.type} is not known")

    def _glz(self, data: bytes | memoryview) -> DecodedImage:
        pixels = self.caches.glz.decode(data)
        return DecodedImage(pixels, has_alpha=data[8] & 15 == LzType.RGBA)

    def _jpeg_alpha(self, payload: JpegAlpha) -> DecodedImage:
        if payload.jpeg_size > len(payload.data):
            raise ProtocolError(f"a JPEG_ALPHA image of {len(payload.data)} bytes has {payload.jpeg_size} of JPEG")
        colors = jpeg.decode(payload.data[: payload.jpeg_size], max_pixels=self.max_pixels)
        alpha = lz.decode_alpha(payload.data[payload.jpeg_size :], self.max_pixels)
        return DecodedImage(jpeg.with_alpha(colors, alpha), has_alpha=True, lossy=True)

    def _palette(self, payload: Bitmap | LzPalette) -> Palette | None:
        if payload.flags & BitmapFlag.PALETTE_FROM_CACHE:
            return self.palettes.get(payload.palette_id or 0)
        if payload.palette is not None and payload.flags & BitmapFlag.PALETTE_CACHE_ME:
            self.palettes.put(payload.palette)
        return payload.palette

    def _colors(self, payload: LzPalette, palette_bits: int) -> tuple[int, ...]:
        palette = self._palette(payload)
        if palette is None:
            raise ProtocolError("an LZ image of palette indices has no palette")
        if palette_bits == 16:
            return tuple(bitmap.widen_555(np.array(palette.colors, bitmap.CELL)).tolist())
        return palette.colors


def _with_high_bits(pixels: Pixels) -> Pixels:
    """The same colours with 255 in their fourth byte (HIGH_BITS_SET)."""
    if pixels.ndim == 2:
        return pixels
    changed = pixels.copy()
    changed[:, :, 3] = 255
    return changed
