"""LZ encoding: pixels that come back, and streams that the reference's decoder has judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import lz, lz_encode_kernels, lz_encoding
from spicehop.codecs.lz import LzType

GOLDEN = Path(__file__).parent.parent / "golden" / "encoded"
VECTORS = [entry for entry in json.loads((GOLDEN / "index.json").read_text()) if entry["codec"] == "lz"]
PACKED = tuple(lz.PIXELS_PER_BYTE)
PLAIN = tuple(set(LzType) - set(PACKED))
PALETTE = np.arange(256, dtype=np.uint32) * 0x010305


def encode(kind: LzType, pixels: np.ndarray, width: int) -> bytes:
    if kind in PACKED:
        return lz_encoding.encode_packed(pixels, kind, width)
    return lz_encoding.encode(pixels, kind)


def kept(kind: LzType, pixels: np.ndarray) -> np.ndarray:
    """What is left of pixels that went through this type."""
    if kind in (LzType.A8, LzType.RGBA):
        return pixels
    if kind == LzType.XXXA:
        return pixels[..., 3]
    made = pixels.copy()
    made[..., 3] = 0
    return (made >> 3 << 3) | (made >> 5) if kind == LzType.RGB16 else made


@st.composite
def images(draw, kinds=tuple(LzType)):
    """A type, an array for it with something to match, and the width in pixels."""
    kind = draw(st.sampled_from(kinds))
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 12))
    columns = -(-width // lz.PIXELS_PER_BYTE.get(kind, 1))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    index = generator.integers(0, draw(st.sampled_from([1, 2, 4, 200])), (height, columns))
    if draw(st.booleans()):
        index = np.repeat(index, draw(st.sampled_from([2, 7])), 1)[:, :columns]
    if kind in (*PACKED, LzType.A8):
        return kind, generator.integers(0, 256, 256).astype(np.uint8)[index], width
    return kind, generator.integers(0, 256, (256, 4)).astype(np.uint8)[index], width


@settings(max_examples=150, deadline=None)
@given(image=images())
def test_core_what_was_encoded_comes_back(image):
    kind, pixels, width = image
    decoded = lz.decode(encode(kind, pixels, width), PALETTE)
    if kind not in PACKED:
        np.testing.assert_array_equal(decoded, kept(kind, pixels))
        return
    table = lz.palette_table(kind, PALETTE)
    wanted = table[pixels].reshape(len(pixels), -1)[:, :width]
    np.testing.assert_array_equal(decoded.view(np.uint32)[..., 0], wanted)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["file"] for vector in VECTORS])
def test_core_writes_what_the_references_decoder_has_judged(vector):
    data = (GOLDEN / vector["file"]).read_bytes()
    with np.load(GOLDEN / "pixels.npz") as arrays:
        pixels, seen = arrays[vector["pixels"]], arrays[vector["file"]]
    kind = LzType(vector["kind"])
    assert encode(kind, pixels, vector["width"]) == data
    np.testing.assert_array_equal(lz.decode(data, PALETTE), seen)


@pytest.mark.parametrize("kind", PLAIN)
def test_core_parts_of_a_picture_encode_as_their_copies(kind):
    picture = np.random.default_rng(1).integers(0, 3, (40, 50, 4), np.uint8) * 80
    picture.flags.writeable = False
    for view in (picture[5:30, 7:41], picture[::-1, 3:9], picture[::2, :1], picture.transpose(1, 0, 2)):
        part = view[..., 0] if kind == LzType.A8 else view
        assert lz_encoding.encode(part, kind) == lz_encoding.encode(np.ascontiguousarray(part), kind)


@pytest.mark.parametrize("kind", PLAIN)
def test_noise_grows_by_a_control_byte_for_32_units(kind):
    noise = np.random.default_rng(2).integers(0, 256, (64, 100, 4), np.uint8)
    pixels = noise[..., 0] if kind == LzType.A8 else noise
    size = {LzType.RGB16: 2, LzType.RGB24: 3, LzType.RGB32: 3, LzType.RGBA: 4}.get(kind, 1)
    controls = 200 * (2 if kind == LzType.RGBA else 1)
    data = lz_encoding.encode(pixels, kind)
    assert len(data) <= 28 + 6400 * size + controls
    np.testing.assert_array_equal(lz.decode(data), kept(kind, pixels))


def test_matches_reach_as_far_as_the_format_goes():
    generator = np.random.default_rng(3)
    block = generator.integers(0, 256, (1, 300, 4), np.uint8)
    for gap in (7800, 7900, 8192, 73000, 73424, 73425, 73426, 73427, 80000):
        pixels = np.concatenate([block, np.zeros((1, gap, 4), np.uint8), block], axis=1)
        for kind in (LzType.RGB32, LzType.RGBA, LzType.RGB16, LzType.XXXA):
            np.testing.assert_array_equal(lz.decode(lz_encoding.encode(pixels, kind)), kept(kind, pixels))
    data = lz_encoding.encode(np.concatenate([block, np.zeros((1, 73000, 4), np.uint8), block], axis=1))
    assert len(data) < 1400


def test_less_room_than_needed_is_noticed_before_it_is_passed():
    noise = np.random.default_rng(4).integers(0, 2**32, 500, np.uint32)
    plane = np.resize(noise.view(np.uint8), 1000)
    guarded = np.full(1000, 0xA5, np.uint8)
    for size in range(0, 900, 31):
        with pytest.raises(ValueError, match="room"):
            lz_encode_kernels.pack_cells(noise, False, lz_encoding.table_for(500), guarded[:size].data)
        assert (guarded[size:] == 0xA5).all()
        with pytest.raises(ValueError, match="room"):
            lz_encode_kernels.pack_bytes(plane, lz_encoding.table_for(1000), guarded[:size].data)
        assert (guarded[size:] == 0xA5).all()


def test_what_is_no_picture_is_refused():
    for shape in ((0, 4, 4), (4, 4), (4, 4, 3)):
        with pytest.raises(ValueError, match="array"):
            lz_encoding.encode(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="array"):
        lz_encoding.encode(np.zeros((4, 4, 4), np.uint8), LzType.A8)
    with pytest.raises(ValueError, match="palette"):
        lz_encoding.encode(np.zeros((4, 4, 4), np.uint8), LzType.PLT8)
    with pytest.raises(ValueError, match="do not take"):
        lz_encoding.encode_packed(np.zeros((4, 4), np.uint8), LzType.PLT4_BE, 9)
