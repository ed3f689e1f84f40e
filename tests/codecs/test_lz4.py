"""LZ4 images built with the library's own compressor, block after block with the output before as dictionary."""

from __future__ import annotations

import lz4.block
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import bitmap
from spicehop.codecs import lz4 as codec
from spicehop.errors import ProtocolError

BYTES = {6: 2, 7: 3, 8: 4, 9: 4}


def encode(raw: bytes, kind: int, block_bytes: int, *, top_down: bool = True) -> bytes:
    """A tight raw bitmap as an LZ4 image, as a server does: blocks of one stream, sizes big endian."""
    image = bytearray([top_down, kind])
    for start in range(0, len(raw), block_bytes):
        block = lz4.block.compress(
            raw[start : start + block_bytes], store_size=False, dict=raw[max(0, start - 65536) : start]
        )
        image += len(block).to_bytes(4, "big") + block
    return bytes(image)


@pytest.mark.parametrize("kind", sorted(BYTES))
@pytest.mark.parametrize("top_down", [True, False])
def test_images_round_trip(kind: int, top_down: bool) -> None:
    rng = np.random.default_rng(kind)
    width, height = 211, 190
    stride = width * BYTES[kind]
    raw = np.tile(rng.integers(0, 7, (height // 2, stride), np.uint8), (2, 1)).tobytes()
    image = encode(raw, kind, stride * 37, top_down=top_down)
    assert len(image) < len(raw)
    expected = bitmap.decode(raw, format=kind, width=width, height=height, stride=stride, top_down=top_down)
    assert np.array_equal(codec.decode(memoryview(image), width, height), expected)
    assert codec.has_alpha(image) is (kind == 9)


def test_a_block_may_refer_to_64_kib_of_output() -> None:
    noise = np.random.default_rng(1).bytes(60000)
    raw = noise + noise
    image = encode(raw, 8, 60000)
    assert len(image) < 62000
    assert codec.decode(image, 100, 300).tobytes() == raw


def test_lies_are_protocol_errors() -> None:
    raw = bytes(range(64))
    image = encode(raw, 8, 32)
    assert codec.decode(image, 4, 4).tobytes() == raw
    cases = [
        (image[:1], "too short"),
        (b"\1\5" + image[2:], "format 5"),
        (image[:4], "inside a block size"),
        (image[:2] + b"\xff\xff\xff\xff" + image[6:], "are left"),
        (image[: 2 + 4 + int.from_bytes(image[2:6], "big")], "32 bytes of pixels instead of 64"),
        (image + image[2:], "goes on"),
        (image[:2] + bytes(4), "block of 0 bytes"),
    ]
    for bad, sentence in cases:
        with pytest.raises(ProtocolError, match=sentence):
            codec.decode(bad, 4, 4)
    with pytest.raises(ProtocolError, match="limit"):
        codec.decode(image, 2**16, 2**16)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=80), width=st.integers(1, 40), height=st.integers(1, 40))
def test_any_bytes_give_pixels_or_a_protocol_error(data: bytes, width: int, height: int) -> None:
    try:
        assert codec.decode(b"\1\x08" + data, width, height).shape == (height, width, 4)
    except ProtocolError:
        pass
