"""QUIC encoding: byte for byte what the reference's encoder writes, and pixels that come back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import quic, quic_encoding
from spicehop.codecs.quic import QuicType

GOLDEN = Path(__file__).parent.parent / "golden" / "quic"
VECTORS = {entry["file"]: QuicType(entry["kind"]) for entry in json.loads((GOLDEN / "index.json").read_text())}
CORE = [name for name in VECTORS if "97x61" not in name or "noise" in name or "desktop" in name]


def kept(kind: QuicType, pixels: np.ndarray) -> np.ndarray:
    """What is left of pixels that went through this type."""
    if kind in (QuicType.GRAY, QuicType.RGBA):
        return pixels
    made = pixels.copy()
    made[..., 3] = 0
    return (made >> 3 << 3) | (made >> 5) if kind == QuicType.RGB16 else made


def check_vector(name: str) -> None:
    """The vectors are the reference's output, so encoding their pixels again must give the same bytes."""
    data = (GOLDEN / name).read_bytes()
    assert quic_encoding.encode(quic.decode(data), VECTORS[name]) == data


@pytest.mark.parametrize("name", CORE)
def test_core_writes_what_the_reference_writes(name):
    check_vector(name)


@pytest.mark.parametrize("name", sorted(set(VECTORS) - set(CORE)))
def test_writes_what_the_reference_writes(name):
    check_vector(name)


@st.composite
def pictures(draw) -> tuple[QuicType, np.ndarray]:
    """A type, and pixels with runs, few colours and some noise, the fourth byte being anything."""
    kind = draw(st.sampled_from(QuicType))
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 12))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    colors = generator.integers(0, 256, (draw(st.integers(1, 6)), 4), np.uint8)
    cells = generator.integers(0, len(colors), (height, -(-width // 5))).repeat(5, 1)[:, :width]
    pixels = colors[cells]
    noisy = generator.random((height, width, 1)) < draw(st.sampled_from([0, 0.05, 1]))
    pixels = np.where(noisy, generator.integers(0, 256, pixels.shape, np.uint8), pixels)
    return kind, pixels[..., 0] if kind == QuicType.GRAY else pixels


@given(picture=pictures())
@settings(max_examples=80, deadline=None)
def test_core_what_was_encoded_comes_back(picture):
    kind, pixels = picture
    np.testing.assert_array_equal(quic.decode(quic_encoding.encode(pixels, kind)), kept(kind, pixels))


@pytest.mark.parametrize("kind", QuicType)
def test_core_parts_of_a_picture_need_no_copy(kind):
    picture = np.random.default_rng(1).integers(0, 3, (40, 50, 4), np.uint8) * 80
    picture.flags.writeable = False
    for view in (
        picture[5:30, 7:41],
        picture[::-1, 3:9],
        picture[::2, :1],
        picture[3:4, ::-1],
        picture.transpose(1, 0, 2),
    ):
        part = view[..., 0] if kind == QuicType.GRAY else view
        assert quic_encoding.encode(part, kind) == quic_encoding.encode(np.ascontiguousarray(part), kind)


def test_a_stream_that_outgrows_its_room_goes_on():
    # Alternating extremes under a model that has learned that nothing changes: codewords of the greatest length.
    pixels = np.zeros((400, 300, 4), np.uint8)
    pixels[200:] = np.random.default_rng(2).integers(0, 2, (200, 300, 1), np.uint8) * 255
    data = quic_encoding.encode(pixels, QuicType.RGBA)
    np.testing.assert_array_equal(quic.decode(data), pixels)
    noise = np.random.default_rng(3).integers(0, 256, (200, 300, 4), np.uint8)
    data = quic_encoding.encode(noise, QuicType.RGBA)
    assert len(data) > noise.nbytes
    np.testing.assert_array_equal(quic.decode(data), noise)


def test_long_runs_and_wide_rows_come_back():
    pixels = np.zeros((3, 9000, 4), np.uint8)
    pixels[2, 8100:] = 200
    for kind in (QuicType.RGB32, QuicType.RGBA):
        np.testing.assert_array_equal(quic.decode(quic_encoding.encode(pixels, kind)), kept(kind, pixels))


def test_several_pictures_are_encoded_at_the_same_time():
    pictures = [np.random.default_rng(seed).integers(0, 9, (90, 120, 4), np.uint8) for seed in range(6)]
    alone = [quic_encoding.encode(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(quic_encoding.encode, pictures * 4)) == alone * 4


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 0, 4), (4, 4), (4, 4, 3)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match="array"):
        quic_encoding.encode(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="array"):
        quic_encoding.encode(np.zeros((4, 4, 4), np.uint8), QuicType.GRAY)
