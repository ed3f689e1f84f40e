"""ZLIB_GLZ images: exactly the announced size, never more."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from spicehop.codecs import zlib_glz
from spicehop.codecs.glz import GlzWindow
from spicehop.errors import ProtocolError

GOLDEN = Path(__file__).parent.parent / "golden" / "glz"


def golden_image() -> bytes:
    data = (GOLDEN / "rgb32.bin").read_bytes()
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def test_inflates_and_decodes():
    image = golden_image()
    pixels = zlib_glz.decode(memoryview(zlib.compress(image)), len(image), GlzWindow(60_000))
    np.testing.assert_array_equal(pixels, GlzWindow(60_000).decode(image))


@pytest.mark.parametrize("off", [-1, 1, -100, 1000])
def test_another_size_is_refused(off):
    image = golden_image()
    with pytest.raises(ProtocolError, match="announces"):
        zlib_glz.inflate(zlib.compress(image), len(image) + off)


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_sizes(size):
    assert zlib_glz.inflate(zlib.compress(bytes(size)), size) == bytes(size)


def test_every_truncation_is_refused_and_every_flipped_bit_survived():
    data = zlib.compress(bytes(range(100)) * 3)
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            zlib_glz.inflate(data[:end], 300)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert len(zlib_glz.inflate(flipped, 300)) == 300
        except ProtocolError:
            pass


def test_bytes_after_the_stream_are_refused():
    with pytest.raises(ProtocolError, match="announces"):
        zlib_glz.inflate(zlib.compress(b"abc") + b"d", 3)


def test_a_bomb_inflates_no_further_than_announced():
    bomb = zlib.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(ProtocolError, match="announces"):
        zlib_glz.inflate(bomb, 1000)
    with pytest.raises(ProtocolError, match="limit"):
        zlib_glz.inflate(bomb, 2**29)
    with pytest.raises(ProtocolError, match="limit"):
        zlib_glz.decode(bomb, 50_000_000, GlzWindow(1_000_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
