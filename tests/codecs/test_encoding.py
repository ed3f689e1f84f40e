"""Every image codec through the one door, judged by our client's decoder after a trip over the wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import jpeg, jpeg_encoding, lz, palettes
from spicehop.codecs.encoding import EncodedImage, ImageCodec, encode
from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.codecs.images import DecodedImage, ImageCaches, ImageDecoder
from spicehop.errors import ProtocolError
from spicehop.wire.display_constants import ImageFlag, ImageType
from spicehop.wire.image import Image, LzPalette

CAPACITY = 100_000


def no_surface(number: int) -> DecodedImage:
    raise ProtocolError(f"there is no surface {number}")


def decoder() -> ImageDecoder:
    return ImageDecoder(ImageCaches(glz_window_pixels=CAPACITY), no_surface)


def picture(height: int, width: int, colors: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 256, (colors, 4), np.uint8)
    return table[generator.integers(0, colors, (height, -(-width // 3))).repeat(3, 1)[:, :width]]


def same(decoded: DecodedImage, pixels: np.ndarray, has_alpha: bool) -> bool:
    assert decoded.has_alpha == has_alpha
    channels = 4 if has_alpha else 3
    return np.array_equal(decoded.pixels[..., :channels], pixels[..., :channels])


LOSSLESS = [codec for codec in ImageCodec if codec is not ImageCodec.JPEG]


@pytest.mark.parametrize("has_alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("codec", LOSSLESS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_lossless_codecs_give_the_pixels_back(codec, has_alpha, data):
    whole = picture(
        data.draw(st.integers(1, 40)), data.draw(st.integers(1, 60)), data.draw(st.sampled_from([1, 2, 9, 100, 4000]))
    )
    dictionary, client = GlzDictionary(CAPACITY), decoder()
    for part in (whole, whole[::-1], whole[len(whole) // 2 :, whole.shape[1] // 3 :]):
        encoded = encode(part, compression=codec, has_alpha=has_alpha, dictionary=dictionary)
        assert not encoded.lossy
        assert (encoded.height, encoded.width) == part.shape[:2]
        image = Image.decode(encoded.image(7, ImageFlag.CACHE_ME).encode())
        assert same(client.decode(image), part, has_alpha)
        assert 7 in client.caches.pixmaps


@pytest.mark.parametrize("has_alpha", [False, True], ids=["opaque", "alpha"])
def test_jpeg_comes_close_and_says_that_it_is_lossy(has_alpha):
    rows, columns = np.mgrid[0:90, 0:120]
    pixels = np.stack([columns * 2, rows * 2, rows + columns, columns], -1).astype(np.uint8)
    sizes = []
    for quality in (30, 85):
        encoded = encode(pixels[5:, 7:], compression=ImageCodec.JPEG, has_alpha=has_alpha, quality=quality)
        assert encoded.lossy
        decoded = decoder().decode(Image.decode(encoded.image().encode()))
        assert decoded.lossy
        difference = decoded.pixels[..., :3].astype(int) - pixels[5:, 7:, :3]
        assert np.abs(difference).mean() < 6
        if has_alpha:
            np.testing.assert_array_equal(decoded.pixels[..., 3], pixels[5:, 7:, 3])
        sizes.append(encoded.size)
    assert sizes[0] < sizes[1]


def kinds(pixels: np.ndarray, codec: ImageCodec, **options: object) -> EncodedImage:
    return encode(pixels, compression=codec, dictionary=GlzDictionary(CAPACITY), **options)


def test_the_type_says_what_was_done():
    pixels = picture(40, 60, 5)
    plain = {codec: kinds(pixels, codec).kind for codec in ImageCodec}
    assert plain == {
        ImageCodec.OFF: ImageType.BITMAP,
        ImageCodec.QUIC: ImageType.QUIC,
        ImageCodec.LZ: ImageType.LZ_RGB,
        ImageCodec.LZ_PALETTE: ImageType.LZ_PLT,
        ImageCodec.GLZ: ImageType.GLZ_RGB,
        ImageCodec.ZLIB_GLZ: ImageType.ZLIB_GLZ_RGB,
        ImageCodec.LZ4: ImageType.LZ4,
        ImageCodec.JPEG: ImageType.JPEG,
    }
    assert kinds(pixels, ImageCodec.JPEG, has_alpha=True).kind == ImageType.JPEG_ALPHA
    assert kinds(pixels, ImageCodec.LZ_PALETTE, has_alpha=True).kind == ImageType.LZ_RGB
    assert kinds(picture(40, 60, 4000), ImageCodec.LZ_PALETTE).kind == ImageType.LZ_RGB
    assert kinds(picture(4, 6, 8), ImageCodec.LZ_PALETTE).kind == ImageType.LZ_RGB
    assert kinds(picture(3, 3, 1), ImageCodec.ZLIB_GLZ).kind == ImageType.GLZ_RGB


def test_glz_needs_a_dictionary_and_room():
    pixels = picture(40, 60, 5)
    with pytest.raises(ValueError, match="dictionary"):
        encode(pixels, compression=ImageCodec.GLZ)
    with pytest.raises(ValueError, match="takes no"):
        encode(pixels, compression=ImageCodec.GLZ, dictionary=GlzDictionary(100))


def test_the_size_is_that_of_the_encoded_bytes():
    encoded = kinds(picture(30, 20, 3), ImageCodec.LZ_PALETTE)
    assert isinstance(encoded.payload, LzPalette)
    assert encoded.size == len(encoded.payload.data)
    assert kinds(picture(30, 20, 3), ImageCodec.OFF).size == 2400


# -- palettes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colors", "kind"),
    [(1, "PLT1_BE"), (2, "PLT1_BE"), (3, "PLT4_BE"), (16, "PLT4_BE"), (17, "PLT8"), (256, "PLT8"), (257, None)],
)
def test_core_the_number_of_colours_decides_the_type(colors, kind):
    values = np.arange(colors, dtype=np.uint32) * 65_537 + 3
    cells = np.concatenate([values, values[::-1], values])
    pixels = cells.reshape(3, colors).view(np.uint8).reshape(3, colors, 4).copy()
    pixels[1, :, 3] = 9
    found = palettes.indexed(pixels)
    if kind is None:
        assert found is None
        return
    assert found.kind.name == kind
    assert found.colors == tuple((values & 0xFFFFFF).tolist())
    np.testing.assert_array_equal(np.array(found.colors)[found.indices], cells.reshape(3, colors) & 0xFFFFFF)
    table = lz.palette_table(found.kind, found.colors)
    unpacked = table[found.packed()].reshape(3, -1)[:, :colors]
    np.testing.assert_array_equal(unpacked, cells.reshape(3, colors) & 0xFFFFFF)


def test_core_colours_that_share_a_slot_are_told_apart():
    generator = np.random.default_rng(4)
    for _ in range(20):
        values = generator.integers(0, 2**24, 256, np.uint32) & 0xFF00FF
        cells = values[generator.integers(0, 256, (9, 30))]
        found = palettes.indexed(cells.view(np.uint8).reshape(9, 30, 4))
        np.testing.assert_array_equal(np.array(found.colors, np.uint32)[found.indices], cells)


# -- jpeg ----------------------------------------------------------------------------------------------------------


def test_jpeg_reads_rows_where_they_are():
    whole = picture(40, 60, 900)
    for part in (whole[3:, 5:40], whole[::-1], whole[::2, 4:], whole[:, ::-1], whole[7:8, 9:10]):
        data = jpeg_encoding.encode(part)
        assert data == jpeg_encoding.encode(np.ascontiguousarray(part))
        assert jpeg.dimensions(data) == (part.shape[1], part.shape[0])


def test_jpeg_has_a_longest_side():
    assert not jpeg_encoding.takes(65_501, 1)
    with pytest.raises(ValueError, match="too large"):
        jpeg_encoding.encode(np.zeros((1, 70_000, 4), np.uint8))
