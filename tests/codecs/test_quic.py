"""QUIC images: golden vectors of the reference's encoder, round trips through an encoder of our own, and bad bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import struct
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import quic, quic_kernels
from spicehop.codecs.quic import QuicType
from spicehop.errors import ProtocolError

GOLDEN = Path(__file__).parent.parent / "golden" / "quic"
VECTORS = {entry.pop("file"): entry for entry in json.loads((GOLDEN / "index.json").read_text())}
SMALL = [name for name, entry in VECTORS.items() if np.prod(entry["shape"][:2]) < 50]
CORE = [name for name in VECTORS if "97x61" not in name or "noise" in name or "desktop" in name]


def load_encoder():
    spec = importlib.util.spec_from_file_location("quic_encoder", Path(__file__).parent / "quic_encoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quic_encoder = load_encoder()
encode = quic_encoder.encode


def header(kind: int, width: int, height: int, magic: int = quic.MAGIC, version: int = 0) -> bytes:
    return struct.pack("<5I", magic, version, kind, width, height)


def in_decoded_form(kind: QuicType, pixels: np.ndarray) -> np.ndarray:
    """What decoding must give for pixels that were encoded as this type."""
    if kind in (QuicType.GRAY, QuicType.RGBA):
        return pixels
    made = pixels.copy()
    made[..., 3] = 0
    if kind == QuicType.RGB16:
        made = (made >> 3 << 3) | (made >> 5)
    return made


def check_vector(name: str) -> None:
    pixels = quic.decode((GOLDEN / name).read_bytes())
    assert pixels.shape == tuple(VECTORS[name]["shape"])
    assert pixels.flags.c_contiguous
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == VECTORS[name]["sha256"]


# -- the reference's vectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORE)
def test_core_vectors_decode_to_the_references_pixels(name):
    check_vector(name)


@pytest.mark.parametrize("name", sorted(set(VECTORS) - set(CORE)))
def test_other_vectors_decode_to_the_references_pixels(name):
    check_vector(name)


@pytest.mark.parametrize("name", [name for name in VECTORS if name.startswith(("desktop", "flat", "noise-3x5"))])
def test_the_encoder_of_these_tests_writes_what_the_reference_writes(name):
    data = (GOLDEN / name).read_bytes()
    assert encode(QuicType(VECTORS[name]["kind"]), quic.decode(data)) == data


def test_core_memoryviews_and_streams_without_the_padding_decode_too():
    name = "desktop-97x61-rgba.quic"
    data = (GOLDEN / name).read_bytes()
    whole = quic.decode(data)
    assert np.array_equal(quic.decode(memoryview(bytearray(data))), whole)
    assert np.array_equal(quic.decode(memoryview(b"xyz" + data)[3:]), whole)
    assert np.array_equal(quic.decode(data[:-4]), whole)
    assert np.array_equal(quic.decode(data + b"more"), whole)


# -- round trips ---------------------------------------------------------------------------------------------------


@st.composite
def pictures(draw) -> tuple[QuicType, np.ndarray]:
    kind = draw(st.sampled_from(QuicType))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 8))
    colors = draw(st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=5))
    seed = draw(st.integers(0, 2**32 - 1))
    amount = draw(st.sampled_from([0.0, 0.1, 1.0]))
    noise = np.random.default_rng(seed)
    table = np.frombuffer(b"".join(colors), np.uint8).reshape(-1, 4)
    pixels = table[noise.integers(0, len(table), (height, (width + 3) // 4)).repeat(4, 1)[:, :width]]
    random_pixels = noise.integers(0, 256, pixels.shape, np.uint8)
    pixels = np.where(noise.random((height, width, 1)) < amount, random_pixels, pixels)
    return kind, pixels[..., 0] if kind == QuicType.GRAY else pixels


@given(pictures())
@settings(max_examples=60, deadline=None)
def test_core_what_was_encoded_comes_back(picture):
    kind, pixels = picture
    assert np.array_equal(quic.decode(encode(kind, pixels)), in_decoded_form(kind, pixels))


@pytest.mark.parametrize("kind", QuicType)
def test_long_runs_come_back(kind):
    pixels = np.zeros((3, 9000, 4), np.uint8)
    pixels[2, 8100:] = 200
    pixels = pixels[..., 0].copy() if kind == QuicType.GRAY else pixels
    assert np.array_equal(quic.decode(encode(kind, pixels)), in_decoded_form(kind, pixels))


def test_several_images_decode_at_the_same_time():
    data = [(GOLDEN / name).read_bytes() for name in VECTORS]
    alone = [quic.decode(item) for item in data]
    wrong: list[int] = []

    def work() -> None:
        for number, item in enumerate(data):
            if not np.array_equal(quic.decode(item), alone[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


# -- bad bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends inside its header"),
        (header(4, 1, 1)[:-1], "ends inside its header"),
        (header(4, 1, 1, magic=1), "does not begin with magic"),
        (header(4, 1, 1, version=1), "does not begin with magic"),
        (header(0, 1, 1), "type 0 does not exist"),
        (header(6, 1, 1), "type 6 does not exist"),
        (header(4, 0, 1), "is empty"),
        (header(4, 1, 0), "is empty"),
        (header(4, 2**32 - 1, 2**32 - 1), "over the limit"),
        (header(4, 2**13 + 1, 2**13), "over the limit"),
        (header(4, 1, 1), "too short for its size"),
        (header(4, 100, 100) + bytes(40), "too short for its size"),
        (header(4, 8, 2) + bytes(16), "ends before its last pixel"),
    ],
)
def test_bad_bytes_are_named(data, words):
    with pytest.raises(ProtocolError, match=words):
        quic.decode(data)


def stream_of_gray(width: int, height: int, rows: int, last_pixels: int, *tail: tuple[int, int]) -> bytes:
    """Rows of zeros and the first pixels of another, encoded, and then the given bits."""
    bits = quic_encoder.Bits()
    plane = quic_encoder.Plane(bits, width, 1, 8)
    for row in range(rows):
        plane.row([(0,)] * width if row else None, [(0,)] * width)
    plane.row([(0,)] * width if rows else None, [(0,)] * last_pixels)
    for value, length in tail:
        bits.put(value, length)
    return header(QuicType.GRAY, width, height) + bits.words()


def test_bad_bytes_a_codeword_beyond_the_levels_is_refused():
    # After some zeros the code is 0: eighteen zeros and eight bits stand for 18 to 255.
    assert quic.decode(stream_of_gray(101, 1, 0, 100, (0, 18), (255 - 18, 8)))[0, 100] == 128
    with pytest.raises(ProtocolError, match="stands for nothing"):
        quic.decode(stream_of_gray(101, 1, 0, 100, (0, 18), (256 - 18, 8)))


def test_bad_bytes_a_run_beyond_its_row_is_refused():
    # The first states of the run coder take a bit a pixel, and a zero ends it.
    assert not quic.decode(stream_of_gray(6, 2, 1, 3, (0b1110, 4))).any()
    with pytest.raises(ProtocolError, match="beyond the end of its row"):
        quic.decode(stream_of_gray(6, 2, 1, 3, (0b11110, 5)))


def test_the_limit_holds_before_anything_is_allocated():
    data = header(5, 8192, 8192) + bytes(4096)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="too short"):
            quic.decode(data)
        with pytest.raises(ProtocolError, match="over the limit of 1000"):
            quic.decode(data, max_pixels=1000)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", SMALL)
def test_bad_bytes_every_truncation_is_an_error_or_the_same_picture(name):
    data = (GOLDEN / name).read_bytes()
    whole = quic.decode(data)
    for size in range(len(data)):
        try:
            pixels = quic.decode(data[:size])
        except ProtocolError:
            assert size < len(data) - 4
        else:
            assert np.array_equal(pixels, whole)


@pytest.mark.parametrize("name", SMALL)
def test_bad_bytes_every_flipped_bit_gives_pixels_or_an_error(name):
    data = (GOLDEN / name).read_bytes()
    for position in range(8 * len(data)):
        broken = bytearray(data)
        broken[position // 8] ^= 1 << position % 8
        try:
            pixels = quic.decode(broken, max_pixels=10_000)
        except ProtocolError:
            continue
        assert pixels.dtype == np.uint8


@given(
    name=st.sampled_from([name for name in VECTORS if name not in SMALL]),
    seed=st.integers(0, 2**32 - 1),
    faults=st.integers(1, 8),
    kept=st.floats(0.1, 1.0),
)
@settings(max_examples=150, deadline=None)
def test_any_damage_gives_pixels_or_an_error(name, seed, faults, kept):
    choose = random.Random(seed)
    data = bytearray((GOLDEN / name).read_bytes())
    if kept < 0.8:
        del data[max(24, int(len(data) * kept)) :]
    for _ in range(faults):
        data[choose.randrange(20, len(data))] = choose.randrange(256)
    try:
        pixels = quic.decode(data)
    except ProtocolError:
        return
    assert list(pixels.shape) == VECTORS[name]["shape"]


@given(st.sampled_from(QuicType), st.integers(1, 70), st.integers(1, 20), st.binary(max_size=600))
@settings(max_examples=150, deadline=None)
def test_any_bytes_after_a_header_give_pixels_or_an_error(kind, width, height, data):
    try:
        pixels = quic.decode(header(kind, width, height) + data)
    except ProtocolError:
        return
    assert pixels.shape[:2] == (height, width)


def test_the_spare_words_cover_what_is_read_before_the_end_is_seen():
    # 64 pixels of three codewords of 26 bits each, and the three words of the window after them.
    assert len(quic_kernels.padded(np.zeros(1, np.uint32))) - 1 >= 64 * 3 * 26 // 32 + 1 + 3
