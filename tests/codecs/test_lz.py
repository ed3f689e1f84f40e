"""LZ images: golden vectors of the reference's encoder, round trips through an encoder of our own, and bad bytes."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import lz, lz_kernels
from spicehop.codecs.lz import LzType
from spicehop.errors import ProtocolError

GOLDEN = Path(__file__).parent.parent / "golden" / "lz"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin"))
PALETTE = np.array([0x000000, 0xFFFFFF, 0x123456, 0x2468AC, 0x0F0F0F], np.uint32)


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "expected.npz") as arrays:
        return dict(arrays)


# -- an encoder for tests ------------------------------------------------------------------------------------------


def encode_units(units: list[bytes], length_bias: int, reach: int = 8191 + 65535) -> bytes:
    """Encode one pass: greedy matches of at least three units, found by the last place of the same three."""
    out = bytearray()
    literals: list[bytes] = []
    seen: dict[tuple[bytes, ...], int] = {}

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.append(len(run) - 1)
            out.extend(b"".join(run))
        literals.clear()

    position = 0
    while position < len(units):
        key = tuple(units[position : position + 3])
        place = seen.get(key) if len(key) == 3 else None
        seen[key] = position
        if place is None or position - place > reach:
            literals.append(units[position])
            position += 1
            continue
        length = 3
        while position + length < len(units) and units[place + length] == units[position + length]:
            length += 1
        flush()
        emit_match(out, length - length_bias, position - place - 1)
        position += length
    flush()
    return bytes(out)


def emit_match(out: bytearray, length: int, distance: int) -> None:
    """One match; `length` and `distance` with their biases taken off."""
    far = distance >= 8191
    near = 8191 if far else distance
    out.append(min(length, 7) << 5 | near >> 8)
    if length >= 7:
        rest = length - 7
        out.extend(b"\xff" * (rest // 255))
        out.append(rest % 255)
    out.append(near & 255)
    if far:
        out.extend(struct.pack(">H", distance - 8191))


def encode(kind: LzType, plane: np.ndarray, *, top_down: bool = True, width: int | None = None) -> bytes:
    """Encode rows of packed bytes (palettes, A8, XXXA), of u16 (RGB16) or of B, G, R, A."""
    height, columns = plane.shape[:2]
    width = columns if width is None else width
    stride = columns * lz.BYTES_PER_PIXEL.get(kind, 1)
    rows = plane if top_down else plane[::-1]
    if kind == LzType.RGB16:
        body = encode_units([struct.pack(">H", value) for value in rows.reshape(-1).tolist()], 1)
    elif kind in (LzType.RGB24, LzType.RGB32, LzType.RGBA):
        body = encode_units([bytes(pixel[:3]) for pixel in rows.reshape(-1, 4).tolist()], 0)
        if kind == LzType.RGBA:
            body += encode_units([bytes(pixel[3:]) for pixel in rows.reshape(-1, 4).tolist()], 2)
    else:
        body = encode_units([bytes([value]) for value in rows.reshape(-1).tolist()], 2)
    return struct.pack(">7I", lz.MAGIC, lz.VERSION, kind, width, height, stride, top_down) + body


def expected_pixels(kind: LzType, plane: np.ndarray, width: int) -> np.ndarray:
    """What a decoder must make of the same rows, computed pixel by pixel."""
    height = plane.shape[0]
    if kind in (LzType.A8, LzType.XXXA):
        return plane
    if kind in (LzType.RGB24, LzType.RGB32):
        pixels = plane.copy()
        pixels[:, :, 3] = 0
        return pixels
    if kind == LzType.RGBA:
        return plane
    pixels = np.zeros((height, width, 4), np.uint8)
    for y in range(height):
        for x in range(width):
            if kind == LzType.RGB16:
                value = int(plane[y, x])
                channels = [value & 31, value >> 5 & 31, value >> 10 & 31]
                pixels[y, x, :3] = [channel << 3 | channel >> 2 for channel in channels]
                continue
            per_byte = lz.PIXELS_PER_BYTE[kind]
            bits = 8 // per_byte
            order = x % per_byte
            shift = bits * (per_byte - 1 - order if kind in (LzType.PLT1_BE, LzType.PLT4_BE) else order)
            index = int(plane[y, x // per_byte]) >> shift & (1 << bits) - 1
            pixels[y, x, :3] = list(int(PALETTE[index % len(PALETTE)]).to_bytes(3, "little"))
    return pixels


@st.composite
def images(draw, kinds=tuple(LzType)):
    """A type, rows for it with few different values so that there is something to match, and the width in pixels."""
    kind = draw(st.sampled_from(kinds))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    per_byte = lz.PIXELS_PER_BYTE.get(kind, 1)
    columns = -(-width // per_byte)
    index = generator.integers(0, draw(st.sampled_from([1, 2, 4, 60])), (height, columns))
    if kind == LzType.RGB16:
        return kind, generator.integers(0, 2**15, 256).astype(np.uint16)[index], width
    if kind in (LzType.RGB24, LzType.RGB32, LzType.RGBA):
        return kind, generator.integers(0, 256, (256, 4)).astype(np.uint8)[index], width
    return kind, generator.integers(0, 256, 256).astype(np.uint8)[index], width


# -- good bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_core_golden_vectors_of_the_reference(name, expected):
    data = (GOLDEN / f"{name}.bin").read_bytes()
    pixels = lz.decode(data, expected.get(f"{name}.palette"))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, expected[name])


def test_core_golden_vectors_cover_every_type():
    assert {lz.read_header((GOLDEN / f"{name}.bin").read_bytes()).kind for name in NAMES} == set(LzType)


@settings(max_examples=60, deadline=None)
@given(image=images(), top_down=st.booleans())
def test_core_round_trip(image, top_down):
    kind, plane, width = image
    data = encode(kind, plane, top_down=top_down, width=width)
    np.testing.assert_array_equal(lz.decode(data, PALETTE), expected_pixels(kind, plane, width))


@pytest.mark.parametrize("kind", [LzType.A8, LzType.RGB16, LzType.RGB32, LzType.RGBA])
@pytest.mark.parametrize("distance", [1, 2, 3, 4, 5, 17, 8191, 8192, 8193, 70000, 8191 + 65535])
def test_core_matches_at_each_distance(kind, distance):
    generator = np.random.default_rng(distance)
    total = distance + 700
    shape = (1, total) if kind in (LzType.A8, LzType.RGB16) else (1, total, 4)
    plane = np.zeros(shape, np.uint16 if kind == LzType.RGB16 else np.uint8)
    head = generator.integers(0, 256, plane[:, : min(distance, 90)].shape)
    plane[:, : head.shape[1]] = head
    for start in range(distance, total):
        plane[:, start] = plane[:, start - distance]
    data = encode(kind, plane)
    np.testing.assert_array_equal(lz.decode(data), expected_pixels(kind, plane, total))


def test_alpha_plane_of_a_jpeg_alpha_image():
    plane = np.arange(60, dtype=np.uint8).reshape(6, 10) // 7
    data = encode(LzType.XXXA, plane.repeat(1, axis=0))
    np.testing.assert_array_equal(lz.decode_alpha(data), plane)
    colors = encode(LzType.RGB32, np.zeros((2, 2, 4), np.uint8))
    with pytest.raises(ProtocolError, match="alpha plane"):
        lz.decode_alpha(colors)


def test_input_may_be_any_bytes_like_view():
    data = (GOLDEN / "rgb32.bin").read_bytes()
    padded = memoryview(b"xx" + data + b"xx")[2:-2]
    np.testing.assert_array_equal(lz.decode(padded), lz.decode(data))


# -- bad bytes -----------------------------------------------------------------------------------------------------


def header(kind=8, width=4, height=2, stride=16, top_down=1, magic=lz.MAGIC, version=lz.VERSION) -> bytes:
    return struct.pack(">7I", magic, version, kind, width, height, stride, top_down)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "inside its header"),
        (header()[:-1], "inside its header"),
        (header(magic=1), "magic"),
        (header(version=2), "magic"),
        (header(kind=0), "does not exist"),
        (header(kind=12), "does not exist"),
        (header(width=0, stride=0), "empty"),
        (header(height=0), "empty"),
        (header(stride=17), "stride"),
        (header(kind=4, width=5, stride=2), "stride"),
        (header(kind=4, width=5, stride=4), "stride"),
        (header(width=2**31, height=2**31, stride=2**33 & 0xFFFFFFFF), "stride"),
        (header(width=2**20, height=2**20, stride=2**22), "limit"),
        (header(), "too short"),
        (header(kind=5, stride=4) + b"\x00\x00", "palette"),
        (header() + b"\x07" + bytes(23), "ends before"),
        (header() + b"\x08" + bytes(27), "beyond"),
        (header() + b"\x00\x01\x02\x03\xe0\x01\x00", "beyond"),
        (header() + b"\x00\x01\x02\x03\xe0\x00\x01", "outside"),
        (header() + b"\x00\x01\x02\x03\xe0", "ends before"),
        (header() + b"\x00\x01\x02\x03\xe0\x00", "ends before"),
        (header() + b"\x00\x01\x02\x03\xe0\x00\x00\x00", "too many"),
        (header() + b"\x00\x01\x02\x03\xff\x00\xff\x00", "ends before"),
    ],
)
def test_bad_bytes_are_a_protocol_error(data, sentence):
    with pytest.raises(ProtocolError, match=sentence):
        lz.decode(data)


def test_an_announced_size_allocates_nothing_that_the_bytes_cannot_fill():
    data = header(width=8192, height=8192, stride=4 * 8192) + bytes(1000)
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        lz.decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def decode_or_refuse(data: bytes) -> None:
    try:
        pixels = lz.decode(data, PALETTE, max_pixels=2**16)
    except ProtocolError:
        return
    assert pixels.size <= 4 * 2**16


@settings(max_examples=25, deadline=None)
@given(image=images())
def test_every_truncation_is_refused_and_every_flipped_bit_survived(image):
    kind, plane, width = image
    data = encode(kind, plane, width=width)
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            lz.decode(data[:end], PALETTE)
    for bit in range(8 * min(len(data), 150)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        decode_or_refuse(bytes(flipped))


def mutate(generator: random.Random, data: bytes, start: int) -> bytes:
    """Change, drop or repeat a few bytes from `start` on."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(start, len(changed))
        choice = generator.randrange(4)
        if choice == 0:
            changed[place] = generator.choice([0, 1, 31, 32, 0xE0, 0xFF, generator.randrange(256)])
        elif choice == 1:
            del changed[place : place + generator.randint(1, 5)]
        elif choice == 2:
            changed[place:place] = changed[place : place + generator.randint(1, 5)]
        else:
            del changed[generator.randrange(start, len(changed)) :]
        if len(changed) <= start:
            break
    return bytes(changed)


@pytest.mark.skipif(not lz_kernels.COMPILED, reason="memory can only be overrun when compiled")
def test_many_mutations_touch_nothing_outside_of_their_buffers():
    """Output between two guards stays there, and the result does not depend on the bytes that follow the input."""
    generator = random.Random(20)
    vectors = [(GOLDEN / f"{name}.bin").read_bytes() for name in NAMES]
    for _ in range(15000):
        data = generator.choice(vectors)
        kind = lz.LzType(data[11])
        units = lz.read_header(data).units
        body = mutate(generator, data, 28)[28:] if len(data) > 28 else b""
        results = []
        for tail in (b"\x00" * 8, b"\xff" * 8):
            view = memoryview(body + tail)[: len(body)]
            width = 4 if kind in (LzType.RGB16, LzType.RGB24, LzType.RGB32, LzType.RGBA) else 1
            canvas = np.full((units + 16) * width, 0xA5, np.uint8)
            inner = canvas[8 * width : -8 * width]
            try:
                if width == 4:
                    end = lz_kernels.unpack_pixels(view, 0, inner, kind == LzType.RGB16)
                    if kind == LzType.RGBA:
                        lz_kernels.unpack_bytes(view, end, inner, 4, 3)
                else:
                    lz_kernels.unpack_bytes(view, 0, inner, 1, 0)
                results.append(inner.tobytes())
            except ProtocolError as error:
                results.append(str(error))
            assert (canvas[: 8 * width] == 0xA5).all()
            assert (canvas[-8 * width :] == 0xA5).all()
        assert results[0] == results[1]
