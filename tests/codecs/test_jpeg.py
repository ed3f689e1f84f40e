"""JPEG against pictures that Pillow encoded, within a bound, and against bytes that lie."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spicehop.codecs import jpeg, jpeg_encoding
from spicehop.errors import ProtocolError


def picture(width: int, height: int) -> np.ndarray:
    """Smooth RGB gradients, which JPEG keeps well."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) * 2 % 256], axis=2)
    return rgb.astype(np.uint8)


def encode(rgb: np.ndarray, **options: object) -> bytes:
    out = BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", **options)
    return out.getvalue()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("size", [(97, 61), (1, 1), (16, 16), (640, 200)])
def test_colors_within_a_bound(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    data = encode(rgb, quality=85)
    assert jpeg.dimensions(memoryview(data)) == size
    pixels = jpeg.decode(memoryview(data))
    assert pixels.shape == (size[1], size[0], 4)
    assert not pixels[:, :, 3].any()
    assert psnr(pixels[:, :, 2::-1], rgb) > 30


@pytest.mark.parametrize("quality", [1, 75, 95])
@pytest.mark.parametrize(
    "part",
    [
        np.s_[:, :],
        np.s_[10:50, 7:],
        np.s_[60:, 96:],
        np.s_[5:6, 7:9],
        np.s_[::-1],
        np.s_[:, ::-1],
        np.s_[::3, 4:90],
        np.s_[:, ::2],
    ],
)
def test_pixels_that_are_read_where_they_are_give_the_file_that_pillow_saves(
    part: tuple[slice, ...], quality: int
) -> None:
    rgb = picture(97, 61)
    pixels = np.full((61, 97, 4), 99, np.uint8)
    pixels[:, :, 2::-1] = rgb
    assert jpeg_encoding.encode(pixels[part], quality) == encode(np.ascontiguousarray(rgb[part]), quality=quality)


def test_grey_is_widened() -> None:
    pixels = jpeg.decode(encode(picture(40, 30)[:, :, 0], quality=90))
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])


def test_an_alpha_plane_becomes_the_fourth_byte() -> None:
    colors = jpeg.decode(encode(picture(8, 4)))
    alpha = np.arange(32, dtype=np.uint8).reshape(4, 8)
    pixels = jpeg.with_alpha(colors, alpha)
    assert np.array_equal(pixels[:, :, 3], alpha)
    assert np.array_equal(pixels[:, :, :3], colors[:, :, :3])
    with pytest.raises(ProtocolError, match="does not fit"):
        jpeg.with_alpha(colors, alpha.T)


def test_what_no_server_sends_is_refused() -> None:
    rgb = picture(32, 32)
    with pytest.raises(ProtocolError, match="sequential"):
        jpeg.decode(encode(rgb, progressive=True))
    cmyk = BytesIO()
    Image.fromarray(rgb).convert("CMYK").save(cmyk, "JPEG")
    with pytest.raises(ProtocolError, match="8-bit"):
        jpeg.decode(cmyk.getvalue())
    with pytest.raises(ProtocolError, match="limit"):
        jpeg.decode(encode(rgb), max_pixels=1023)
    png = BytesIO()
    Image.fromarray(rgb).save(png, "PNG")
    with pytest.raises(ProtocolError, match="start like"):
        jpeg.decode(png.getvalue())
    huge = bytearray(encode(rgb))
    start = huge.index(b"\xff\xc0")
    huge[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ProtocolError, match="limit"):
        jpeg.decode(huge)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_files_give_pixels_or_a_protocol_error(data: st.DataObject) -> None:
    file = bytearray(encode(picture(24, 17), quality=60))
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(2, len(file) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(file)) | st.just(len(file)))
    try:
        pixels = jpeg.decode(bytes(file[:length]), max_pixels=2**20)
        assert pixels.shape[2] == 4
    except ProtocolError:
        pass
