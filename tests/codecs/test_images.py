"""The image decoder: which codec for which image, and what stays in the caches."""

from __future__ import annotations

import hashlib
import json
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from spicehop.codecs import jpeg
from spicehop.codecs.glz import MissingImage
from spicehop.codecs.images import DecodedImage, ImageCaches, ImageDecoder, PaletteCache, PixmapCache
from spicehop.errors import ProtocolError
from spicehop.wire.display_constants import BitmapFlag, BitmapFormat, ImageFlag, ImageType, JpegAlphaFlag
from spicehop.wire.image import (
    PAYLOADS,
    Bitmap,
    Compressed,
    FromCache,
    Image,
    ImageDescriptor,
    JpegAlpha,
    LzPalette,
    Palette,
    SurfaceImage,
    UnknownPayload,
    ZlibGlz,
)

GOLDEN = Path(__file__).parent.parent / "golden"


def no_surface(surface_id: int) -> DecodedImage:
    raise ProtocolError(f"surface {surface_id} does not exist")


def new_decoder(caches: ImageCaches | None = None) -> ImageDecoder:
    return ImageDecoder(caches if caches is not None else ImageCaches(), no_surface)


def image(kind: int, payload: object, *, size: tuple[int, int] = (1, 1), flags: int = 0, id: int = 7) -> Image:
    return Image(ImageDescriptor(id, kind, flags, *size), payload)  # type: ignore[arg-type]


def raw(cells: list[int], *, flags: int = 0, id: int = 7, format: int = BitmapFormat.XRGB_32) -> Image:
    """A raw 32-bit image of one row."""
    data = np.array(cells, "<u4").tobytes()
    bitmap = Bitmap(format, BitmapFlag.TOP_DOWN, len(cells), 1, 4 * len(cells), None, None, memoryview(data))
    return image(ImageType.BITMAP, bitmap, size=(len(cells), 1), flags=flags, id=id)


def from_cache(id: int = 7, *, lossless: bool = False) -> Image:
    return image(ImageType.FROM_CACHE_LOSSLESS if lossless else ImageType.FROM_CACHE, FromCache(), id=id)


def jpeg_file(width: int = 16, height: int = 8) -> bytes:
    out = BytesIO()
    Picture.new("RGB", (width, height), (200, 100, 50)).save(out, "JPEG", quality=90)
    return out.getvalue()


def cells_of(decoded: DecodedImage) -> list[int]:
    return decoded.pixels.view("<u4").ravel().tolist()


# -- codecs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rgb16", "rgb24-bottom_up", "rgb32", "rgba", "a8", "rgba-bottom_up"])
def test_lz_images(name: str) -> None:
    with np.load(GOLDEN / "lz" / "expected.npz") as arrays:
        expected = arrays[name]
    data = (GOLDEN / "lz" / f"{name}.bin").read_bytes()
    decoded = new_decoder().decode(
        image(ImageType.LZ_RGB, Compressed(memoryview(data)), size=(expected.shape[1], expected.shape[0]))
    )
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.has_alpha is name.startswith(("rgba", "a8"))
    assert not decoded.lossy


@pytest.mark.parametrize("name", ["plt1_le", "plt4_be", "plt8"])
def test_lz_images_with_palettes(name: str) -> None:
    with np.load(GOLDEN / "lz" / "expected.npz") as arrays:
        expected, colors = arrays[name], tuple(arrays[f"{name}.palette"].tolist())
    data = (GOLDEN / "lz" / f"{name}.bin").read_bytes()
    size = (expected.shape[1], expected.shape[0])
    decoder = new_decoder()
    payload = LzPalette(BitmapFlag.PALETTE_CACHE_ME, None, Palette(99, colors), data)
    assert np.array_equal(decoder.decode(image(ImageType.LZ_PLT, payload, size=size)).pixels, expected)
    payload = LzPalette(BitmapFlag.PALETTE_FROM_CACHE, 99, None, data)
    assert np.array_equal(decoder.decode(image(ImageType.LZ_PLT, payload, size=size)).pixels, expected)


@pytest.mark.parametrize("kind", ["gray", "rgb16", "rgb32", "rgba"])
def test_quic_images(kind: str) -> None:
    index = json.loads((GOLDEN / "quic" / "index.json").read_text())
    entry = next(entry for entry in index if entry["file"] == f"desktop-97x61-{kind}.quic")
    data = (GOLDEN / "quic" / entry["file"]).read_bytes()
    decoded = new_decoder().decode(image(ImageType.QUIC, Compressed(data), size=(97, 61)))
    assert hashlib.sha256(decoded.pixels.tobytes()).hexdigest() == entry["sha256"]
    assert decoded.has_alpha is (kind in ("gray", "rgba"))


def glz_images(name: str) -> list[tuple[bytes, np.ndarray]]:
    data = (GOLDEN / "glz" / f"{name}.bin").read_bytes()
    images = []
    with np.load(GOLDEN / "glz" / "expected.npz") as arrays:
        while data:
            size = int.from_bytes(data[:4], "big")
            images.append((data[4 : 4 + size], arrays[f"{name}.{len(images)}"]))
            data = data[4 + size :]
    return images


def test_glz_images_share_a_window_between_channels() -> None:
    caches = ImageCaches()
    channels = [new_decoder(caches), new_decoder(caches)]
    for number, (data, expected) in enumerate(glz_images("rgba")):
        size = (expected.shape[1], expected.shape[0])
        payload: object = Compressed(data)
        kind = ImageType.GLZ_RGB
        if number % 3 == 0:
            kind, payload = ImageType.ZLIB_GLZ_RGB, ZlibGlz(len(data), zlib.compress(data))
        decoded = channels[number % 2].decode(image(kind, payload, size=size))
        assert np.array_equal(decoded.pixels, expected)
        assert decoded.has_alpha


def waits(decoder: ImageDecoder, one: Image) -> bool:
    try:
        decoder.decode(one)
    except MissingImage:
        return True
    return False


def test_a_glz_image_waits_for_another_channel() -> None:
    images = [
        image(ImageType.GLZ_RGB, Compressed(data), size=(expected.shape[1], expected.shape[0]))
        for data, expected in glz_images("rgb32")
    ]
    caches = ImageCaches()
    first, second = new_decoder(caches), new_decoder(caches)
    waiting = next(one for one in images[1:] if waits(second, one))
    first.decode(images[0])
    assert not waits(second, waiting)


def test_jpeg_images_are_lossy() -> None:
    file = jpeg_file()
    decoded = new_decoder().decode(image(ImageType.JPEG, Compressed(memoryview(file)), size=(16, 8)))
    assert decoded.lossy
    assert not decoded.has_alpha
    assert np.array_equal(decoded.pixels, jpeg.decode(file))


@pytest.mark.parametrize(("name", "flags"), [("xxxa", JpegAlphaFlag.TOP_DOWN), ("xxxa-bottom_up", 0)])
def test_jpeg_alpha_images(name: str, flags: int) -> None:
    with np.load(GOLDEN / "lz" / "expected.npz") as arrays:
        alpha = arrays[name]
    height, width = alpha.shape
    file = jpeg_file(width, height)
    payload = JpegAlpha(flags, len(file), memoryview(file + (GOLDEN / "lz" / f"{name}.bin").read_bytes()))
    decoded = new_decoder().decode(image(ImageType.JPEG_ALPHA, payload, size=(width, height)))
    assert np.array_equal(decoded.pixels[:, :, 3], alpha)
    assert decoded.has_alpha
    assert decoded.lossy


def test_high_bits_are_set_on_request() -> None:
    plain = raw([0x00112233, 0x80445566], flags=ImageFlag.HIGH_BITS_SET)
    assert cells_of(new_decoder().decode(plain)) == [0xFF112233, 0xFF445566]
    with_alpha = raw([0x00112233], flags=ImageFlag.HIGH_BITS_SET, format=BitmapFormat.ARGB_32)
    assert cells_of(new_decoder().decode(with_alpha)) == [0x00112233]


def test_surfaces_are_images() -> None:
    pixels = np.zeros((2, 3, 4), np.uint8)
    decoder = ImageDecoder(ImageCaches(), lambda surface_id: DecodedImage(pixels, has_alpha=surface_id == 4))
    decoded = decoder.decode(image(ImageType.SURFACE, SurfaceImage(4)))
    assert decoded.pixels is pixels
    assert decoded.has_alpha


# -- caches --------------------------------------------------------------------------------------------------------


def test_an_image_comes_back_from_the_cache_of_all_channels() -> None:
    caches = ImageCaches()
    message = bytearray(np.array([1, 2, 3], "<u4").tobytes())
    payload = Bitmap(BitmapFormat.XRGB_32, BitmapFlag.TOP_DOWN, 3, 1, 12, None, None, memoryview(message))
    new_decoder(caches).decode(image(ImageType.BITMAP, payload, size=(3, 1), flags=ImageFlag.CACHE_ME, id=2**63))
    message[:] = bytes(12)
    assert cells_of(new_decoder(caches).decode(from_cache(2**63))) == [1, 2, 3]
    assert caches.pixmaps.pixels == 3
    caches.clear()
    with pytest.raises(ProtocolError, match="0x8000000000000000 is not in the image cache"):
        new_decoder(caches).decode(from_cache(2**63))


def test_a_lossless_version_replaces_a_lossy_one() -> None:
    decoder = new_decoder()
    lossy = image(ImageType.JPEG, Compressed(jpeg_file()), size=(16, 8), flags=ImageFlag.CACHE_ME)
    decoder.decode(lossy)
    assert decoder.decode(from_cache()).lossy
    with pytest.raises(ProtocolError, match="only a lossy version of image 0x7"):
        decoder.decode(from_cache(lossless=True))
    with pytest.raises(ProtocolError, match="a lossy image is to replace image 0x7"):
        decoder.decode(
            image(ImageType.JPEG, Compressed(jpeg_file()), size=(16, 8), flags=ImageFlag.CACHE_REPLACE_ME)
        )
    decoder.decode(raw([5], flags=ImageFlag.CACHE_REPLACE_ME))
    assert cells_of(decoder.decode(from_cache(lossless=True))) == [5]
    assert decoder.caches.pixmaps.pixels == 1


def test_the_image_cache_counts_pixels() -> None:
    cache = PixmapCache(max_pixels=10)
    square = DecodedImage(np.zeros((2, 2, 4), np.uint8), has_alpha=False)
    cache.put(1, square)
    cache.put(2, square)
    cache.put(2, square)
    assert (cache.pixels, len(cache)) == (8, 2)
    with pytest.raises(ProtocolError, match="does not fit"):
        cache.put(3, square)
    cache.discard(1)
    cache.discard(1)
    cache.put(3, square)
    assert 1 not in cache
    assert cache.pixels == 8
    cache.clear()
    assert (cache.pixels, len(cache)) == (0, 0)


def test_the_palette_cache_drops_what_was_not_used_longest() -> None:
    cache = PaletteCache(max_entries=2)
    for unique in (1, 2):
        cache.put(Palette(unique, (unique,)))
    cache.get(1)
    cache.put(Palette(3, (3,)))
    cache.put(Palette(0, (0,)))
    assert len(cache) == 2
    assert cache.get(1).colors == (1,)
    for gone in (0, 2):
        with pytest.raises(ProtocolError, match="not in the palette cache"):
            cache.get(gone)
    cache.discard(1)
    cache.discard(1)
    assert len(cache) == 1


def indexed(flags: int, palette_id: int | None, palette: Palette | None) -> Image:
    flags |= BitmapFlag.TOP_DOWN
    payload = Bitmap(BitmapFormat.PALETTE_8, flags, 3, 1, 3, palette_id, palette, b"\x02\x01\x00")
    return image(ImageType.BITMAP, payload, size=(3, 1))


def test_palettes_of_bitmaps_are_cached() -> None:
    decoder = new_decoder()
    palette = Palette(5, (0x10, 0x7FFF, 0x30))
    assert cells_of(decoder.decode(indexed(BitmapFlag.PALETTE_CACHE_ME, None, palette))) == [0x30, 0x7FFF, 0x10]
    again = indexed(BitmapFlag.PALETTE_FROM_CACHE, 5, None)
    assert cells_of(decoder.decode(again)) == [0x30, 0x7FFF, 0x10]
    assert cells_of(decoder.decode(again, palette_bits=16)) == [0x000884, 0xFFFFFF, 0x000084]
    with pytest.raises(ProtocolError, match="palette 0x6"):
        decoder.decode(indexed(BitmapFlag.PALETTE_FROM_CACHE, 6, None))


def test_touching_leaves_behind_what_decoding_would() -> None:
    decoder = new_decoder()
    decoder.touch(raw([1]))
    decoder.touch(from_cache(1234))
    decoder.touch(image(ImageType.SURFACE, SurfaceImage(9)))
    assert len(decoder.caches.pixmaps) == 0
    decoder.touch(raw([1], flags=ImageFlag.CACHE_ME))
    assert cells_of(decoder.decode(from_cache())) == [1]
    decoder.touch(indexed(BitmapFlag.PALETTE_CACHE_ME, None, Palette(5, (1,))))
    assert len(decoder.palettes) == 1
    data, expected = glz_images("rgb32")[0]
    decoder.touch(image(ImageType.GLZ_RGB, Compressed(data), size=(expected.shape[1], expected.shape[0])))
    assert decoder.caches.glz.next_id == 1


# -- masks ---------------------------------------------------------------------------------------------------------


def mask_image(*, flags: int = 0, format: int = BitmapFormat.PALETTE_1_BE) -> Image:
    payload = Bitmap(format, BitmapFlag.TOP_DOWN, 4, 2, 1, None, None, b"\xa0\x50")
    return image(ImageType.BITMAP, payload, size=(4, 2), flags=flags)


def test_masks() -> None:
    decoder = new_decoder()
    expected = [[255, 0, 255, 0], [0, 255, 0, 255]]
    assert decoder.decode_mask(mask_image(flags=ImageFlag.CACHE_ME)).tolist() == expected
    assert decoder.decode_mask(from_cache()).tolist() == expected
    with pytest.raises(ProtocolError, match="one bit per pixel"):
        decoder.decode_mask(mask_image(format=BitmapFormat.ALPHA_8))
    decoder.decode(raw([1, 2], flags=ImageFlag.CACHE_ME))
    with pytest.raises(ProtocolError, match="colour image"):
        decoder.decode_mask(from_cache())
    with pytest.raises(ProtocolError, match="cannot be an image of type 105"):
        decoder.decode_mask(image(ImageType.JPEG, Compressed(jpeg_file()), size=(16, 8)))
    decoder.touch_mask(mask_image(flags=ImageFlag.CACHE_ME))
    assert decoder.decode_mask(from_cache()).tolist() == expected


# -- lies ----------------------------------------------------------------------------------------------------------


LIES = [
    (image(ImageType.JPEG, Compressed(jpeg_file()), size=(15, 8)), "16 x 8 is described as 15 x 8"),
    (image(ImageType.JPEG, Compressed(jpeg_file()), size=(2**32 - 1, 2**32 - 1)), "limit"),
    (image(ImageType.LZ4, Compressed(b"\1\x08"), size=(0, 0)), "no pixels"),
    (image(ImageType.JPEG_ALPHA, JpegAlpha(0, 5, b"1234")), "has 5 of JPEG"),
    (image(ImageType.ZLIB_GLZ_RGB, ZlibGlz(2**32 - 1, b"")), "limit"),
    (image(ImageType.ZLIB_GLZ_RGB, ZlibGlz(9, b"nonsense")), "zlib"),
    (image(110, UnknownPayload(b"")), "image type 110"),
    (image(ImageType.SURFACE, SurfaceImage(3)), "surface 3"),
]


@pytest.mark.parametrize(("lie", "sentence"), LIES, ids=[sentence for _, sentence in LIES])
def test_lies_are_protocol_errors(lie: Image, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        new_decoder().decode(lie)


COMPRESSED = [kind for kind, payload in PAYLOADS.items() if payload is Compressed]
HEADERS = {
    ImageType.QUIC: b"QUIC" + bytes(4) + b"\4\0\0\0\4\0\0\0\4\0\0\0",
    ImageType.LZ_RGB: bytes.fromhex("20205a4c 00010001 00000008 00000004 00000004 00000010 00000001"),
    ImageType.GLZ_RGB: bytes.fromhex("20205a4c 00010001 18 00000004 00000004 00000010") + bytes(12),
    ImageType.JPEG: jpeg_file(4, 4)[:-20],
    ImageType.LZ4: b"\1\x08",
}


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(COMPRESSED), data=st.binary(max_size=60), headed=st.booleans(), flags=st.integers(0, 7))
def test_any_bytes_give_an_image_or_a_protocol_error(kind: int, data: bytes, headed: bool, flags: int) -> None:
    data = HEADERS[ImageType(kind)] + data if headed else data
    decoder = new_decoder()
    try:
        decoded = decoder.decode(image(kind, Compressed(memoryview(data)), size=(4, 4), flags=flags))
        assert decoded.pixels.shape[:2] == (4, 4)
    except ProtocolError:
        assert len(decoder.caches.pixmaps) == 0
