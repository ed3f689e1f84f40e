"""GLZ images and their window: golden vectors of the reference's encoder, an encoder of our own, and bad bytes."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import glz, lz, lz_kernels
from spicehop.codecs.glz import GlzWindow, MissingImage
from spicehop.codecs.lz import LzType
from spicehop.errors import ProtocolError

GOLDEN = Path(__file__).parent.parent / "golden" / "glz"
CAPACITY = {
    "mixed-two_channels": 6000,
    "migrated": 6000,
    "rgb16-far": 600_000,
    "rgb32-far": 600_000,
    "rgba-far": 600_000,
}
NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin"))


def golden_images(name: str) -> list[bytes]:
    data = (GOLDEN / f"{name}.bin").read_bytes()
    images = []
    while data:
        size = int.from_bytes(data[:4], "big")
        images.append(data[4 : 4 + size])
        data = data[4 + size :]
    return images


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "expected.npz") as arrays:
        return dict(arrays)


# -- an encoder for tests ------------------------------------------------------------------------------------------


def header(
    image_id=0, kind=8, width=4, height=2, stride=16, top_down=1, distance=0, magic=lz.MAGIC, version=lz.VERSION
) -> bytes:
    return struct.pack(
        ">IIBIIIQI", magic, version, kind | top_down << 4, width, height, stride, image_id, distance
    )


def emit_match(out: bytearray, length: int, offset: int, image_distance: int) -> None:
    """One match; `length` without its bias, `offset` a distance less one in this image or an index into another."""
    out.append(min(length, 7) << 5 | (16 if offset >= 4096 else 0) | offset & 15)
    if length >= 7:
        rest = length - 7
        out.extend(b"\xff" * (rest // 255))
        out.append(rest % 255)
    out.append(offset >> 4 & 255)
    if offset < 4096:
        more = 0 if image_distance < 2**6 else 1 if image_distance < 2**14 else 2 if image_distance < 2**22 else 3
        out.append(more << 6 | image_distance & 63)
        out.extend((image_distance >> 6).to_bytes(3, "little")[:more])
        return
    more = 0 if image_distance == 0 else 1 if image_distance < 2**8 else 2 if image_distance < 2**16 else 3
    out.append(more << 6 | (32 if offset >= 2**17 else 0) | offset >> 12 & 31)
    out.extend(image_distance.to_bytes(3, "little")[:more])
    if offset >= 2**17:
        out.append(offset >> 17)


class Encoder:
    """Encodes images against all earlier ones of the window, with the last place of the same three units."""

    def __init__(self, capacity: int = 10_000, next_id: int = 0) -> None:
        self.capacity = capacity
        self.next_id = next_id
        self.window: list[tuple[int, dict[tuple[LzType, int], list[bytes]], int]] = []  # id, units by pass, pixels

    def encode(self, kind: LzType, plane: np.ndarray, *, top_down: bool = True) -> bytes:
        """`plane` is of u16 for RGB16, else of B, G, R, A."""
        height, width = plane.shape[:2]
        rows = plane if top_down else plane[::-1]
        if kind == LzType.RGB16:
            passes = {(kind, 1): [struct.pack(">H", value) for value in rows.reshape(-1).tolist()]}
        else:
            passes = {(kind, 0): [bytes(pixel[:3]) for pixel in rows.reshape(-1, 4).tolist()]}
            if kind == LzType.RGBA:
                passes[kind, 2] = [bytes(pixel[3:]) for pixel in rows.reshape(-1, 4).tolist()]
        self.window.append((self.next_id, passes, width * height))
        while sum(pixels for _, _, pixels in self.window) > self.capacity:
            del self.window[0]
        out = bytearray(
            header(
                self.next_id,
                kind,
                width,
                height,
                width * lz.BYTES_PER_PIXEL[kind],
                int(top_down),
                self.next_id - self.window[0][0],
            )
        )
        for key in passes:
            self.encode_pass(out, key)
        self.next_id += 1
        return bytes(out)

    def encode_pass(self, out: bytearray, key: tuple[LzType, int]) -> None:
        """Only units of the same type and pass match: the reference refers to images of the same type alone."""
        bias = key[1]
        seen: dict[tuple[bytes, ...], tuple[int, int]] = {}
        for image_id, passes, _ in self.window[:-1]:
            units = passes.get(key, [])
            for place in range(len(units) - 2):
                seen[tuple(units[place : place + 3])] = (image_id, place)
        own, passes, _ = self.window[-1]
        units = passes[key]
        by_id = {image_id: passes.get(key, []) for image_id, passes, _ in self.window}
        literals: list[bytes] = []
        position = 0
        while position < len(units):
            three = tuple(units[position : position + 3])
            place = seen.get(three) if len(three) == 3 else None
            if len(three) == 3:
                seen[three] = (own, position)
            if place is None:
                literals.append(units[position])
                position += 1
            else:
                image_id, start = place
                other = by_id[image_id]
                length = 3
                while (
                    position + length < len(units)
                    and start + length < len(other)
                    and other[start + length] == units[position + length]
                ):
                    length += 1
                flush(out, literals)
                offset = position - start - 1 if image_id == own else start
                emit_match(out, length - bias, offset, own - image_id)
                position += length
        flush(out, literals)


def flush(out: bytearray, literals: list[bytes]) -> None:
    for start in range(0, len(literals), 32):
        run = literals[start : start + 32]
        out.append(len(run) - 1)
        out.extend(b"".join(run))
    literals.clear()


def widened(kind: LzType, plane: np.ndarray) -> np.ndarray:
    """What a decoder must make of the rows that were encoded."""
    if kind == LzType.RGBA:
        return plane
    pixels = np.zeros((*plane.shape[:2], 4), np.uint8)
    if kind == LzType.RGB16:
        for channel in range(3):
            value = plane >> (5 * channel) & 31
            pixels[:, :, channel] = value << 3 | value >> 2
    else:
        pixels[:, :, :3] = plane[:, :, :3]
    return pixels


COLORS = np.random.default_rng(5).integers(0, 256, (64, 4)).astype(np.uint8)
HIGH_COLORS = np.random.default_rng(6).integers(0, 2**15, 64).astype(np.uint16)


@st.composite
def sequences(draw):
    """Up to eight images of few colours: type, rows, top_down."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 8))
    shade = draw(st.sampled_from([1, 2, 3, 64]))
    images = []
    for _ in range(count):
        kind = LzType(generator.choice([LzType.RGB16, LzType.RGB24, LzType.RGB32, LzType.RGBA]))
        index = generator.integers(0, shade, (generator.integers(1, 9), generator.integers(1, 30)))
        images.append((kind, (HIGH_COLORS if kind == LzType.RGB16 else COLORS)[index], bool(generator.integers(2))))
    return images


def picture(seed: int, *, width: int = 10, height: int = 10) -> np.ndarray:
    return COLORS[np.random.default_rng(seed).integers(0, 64, (height, width))]


# -- good bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_core_golden_vectors_of_the_reference(name, expected):
    window = GlzWindow(CAPACITY.get(name, 60_000))
    images = golden_images(name)
    window.clear(glz.read_header(images[0], 2**26).image_id)
    for number, data in enumerate(images):
        np.testing.assert_array_equal(window.decode(data), expected[f"{name}.{number}"])
        assert window.pixels <= window.capacity
    assert window.next_id in (len(images), 1000 + len(images))


def test_core_ids_go_on_after_a_seamless_migration(expected):
    """The target's encoder starts with an empty window and the source's ids; its first image releases all others."""
    window = GlzWindow(6000)
    source = Encoder(6000, next_id=996)
    window.clear(996)
    for seed in range(4):
        window.decode(source.encode(LzType.RGB32, picture(seed)))
    assert len(window) == 4
    for number, data in enumerate(golden_images("migrated")):
        np.testing.assert_array_equal(window.decode(data), expected[f"migrated.{number}"])
        assert 999 not in window
        assert len(window) == number + 1


@settings(max_examples=60, deadline=None)
@given(images=sequences(), capacity=st.sampled_from([300, 700, 10_000]))
def test_core_round_trip(images, capacity):
    encoder = Encoder(capacity)
    window = GlzWindow(capacity)
    for kind, plane, top_down in images:
        pixels = window.decode(encoder.encode(kind, plane, top_down=top_down))
        np.testing.assert_array_equal(pixels, widened(kind, plane))
        assert {image_id for image_id, _, _ in encoder.window} == {i for i in range(encoder.next_id) if i in window}
        assert window.pixels == sum(pixels for _, _, pixels in encoder.window)


@settings(max_examples=60, deadline=None)
@given(images=sequences(), order=st.randoms(use_true_random=False))
def test_core_images_in_any_order(images, order):
    """Whatever arrives first waits for what it refers to; in the end all are decoded and the window is the same."""
    encoder = Encoder(2000)
    waiting = [(encoder.encode(kind, plane, top_down=up), widened(kind, plane)) for kind, plane, up in images]
    order.shuffle(waiting)
    window = GlzWindow(2000)
    while waiting:
        put_off = []
        wanted: list[int] = []
        for data, pixels in waiting:
            before = len(window)
            try:
                np.testing.assert_array_equal(window.decode(data), pixels)
            except MissingImage as missing:
                wanted.append(missing.image_id)
                put_off.append((data, pixels))
                assert len(window) == before
        assert len(put_off) < len(waiting)
        assert any(image_id in window for image_id in wanted) == bool(wanted)
        waiting = put_off
    assert window.next_id == len(images)
    assert window.pixels == sum(pixels for _, _, pixels in encoder.window)


def test_core_two_channels_deliver_two_orders(expected):
    """Two channels that each keep their own order; the second one goes first, as far as it can."""
    data = golden_images("mixed-two_channels")
    window = GlzWindow(6000)
    queues = [list(enumerate(data))[0::2], list(enumerate(data))[1::2]]
    stalled = 0
    turn = 1
    while any(queues):
        if not queues[turn]:
            turn ^= 1
        number, blob = queues[turn][0]
        try:
            np.testing.assert_array_equal(window.decode(blob), expected[f"mixed-two_channels.{number}"])
        except MissingImage:
            stalled += 1
            turn ^= 1
            continue
        del queues[turn][0]
    assert stalled
    assert window.next_id == len(data)


def test_an_image_waits_for_the_one_it_refers_to():
    encoder = Encoder()
    first, second = (encoder.encode(LzType.RGB32, picture(1)) for _ in range(2))
    window = GlzWindow(10_000)
    with pytest.raises(MissingImage) as missing:
        window.decode(second)
    assert missing.value.image_id == 0
    window.decode(first)
    np.testing.assert_array_equal(window.decode(second)[:, :, :3], picture(1)[:, :, :3])


def test_nothing_is_released_before_the_gap_is_closed():
    encoder = Encoder(250)
    images = [encoder.encode(LzType.RGB32, picture(seed % 3)) for seed in range(5)]
    window = GlzWindow(250)
    window.decode(images[0])
    window.decode(images[1])
    assert 0 in window
    window.decode(images[2])
    assert 0 not in window
    window.decode(images[4])
    assert 1 in window
    window.decode(images[3])
    assert [image_id for image_id in range(5) if image_id in window] == [3, 4]


def test_images_that_run_ahead_of_a_gap_are_bounded():
    encoder = Encoder(1000)
    window = GlzWindow(1000)
    first = encoder.encode(LzType.RGB32, picture(0, width=40, height=10))
    ahead = [
        header(number, 8, 20, 20, 80, 1, number) + b"\x00abc" + b"\xe0\xff" + bytes([399 - 7 - 255]) + b"\x00\x00"
        for number in range(1, 10)
    ]
    for data in ahead[:5]:
        window.decode(data)
    with pytest.raises(MissingImage, match="full") as missing:
        window.decode(ahead[5])
    assert missing.value.image_id == 0
    window.decode(first)
    assert window.next_id == 6
    window.decode(ahead[5])
    with pytest.raises(ProtocolError, match="exceeded"):
        window.decode(ahead[6])


def test_the_window_shares_its_pixels_read_only():
    pixels = GlzWindow(1000).decode(Encoder().encode(LzType.RGB32, picture(3)))
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def test_clear_begins_anew():
    window = GlzWindow(1000)
    data = Encoder().encode(LzType.RGB32, picture(3))
    window.decode(data)
    with pytest.raises(ProtocolError, match="second time"):
        window.decode(data)
    window.clear()
    assert len(window) == window.pixels == window.next_id == 0
    window.decode(data)


def test_many_small_images():
    """More images than the tables first hold."""
    encoder = Encoder(2000)
    window = GlzWindow(2000)
    for number in range(400):
        plane = picture(number % 7, width=3, height=2)
        np.testing.assert_array_equal(window.decode(encoder.encode(LzType.RGBA, plane)), plane)
    assert len(window) == 2000 // 6


# -- bad bytes -----------------------------------------------------------------------------------------------------

PIXEL = b"\x00abc"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "inside its header"),
        (header()[:-1], "inside its header"),
        (header(magic=1), "magic"),
        (header(version=2), "magic"),
        (header(kind=0), "does not exist"),
        (header(kind=5, stride=4), "PLT8"),
        (header(kind=10), "XXXA"),
        (header(width=0, stride=0), "empty"),
        (header(stride=12), "stride"),
        (header(width=1000, stride=4000), "limit"),
        (header(distance=1), "starts 1 images before"),
        (header(), "too short"),
        (header(image_id=7) + PIXEL, "second time"),
        (header(image_id=8) + b"\x07" + bytes(23), "ends before"),
        (header(image_id=8) + b"\x08" + bytes(27), "beyond"),
        (header(image_id=8) + PIXEL + b"\xe0", "ends before"),
        (header(image_id=8) + PIXEL + b"\xe0\x00\x00", "ends before"),
        (header(image_id=8) + PIXEL + b"\xe0\x00\x00\xc0\x00\x00", "ends before"),
        (header(image_id=8) + PIXEL + b"\xf0\x00\x00\x20", "ends before"),
        (header(image_id=8) + PIXEL + b"\xe0\x01\x00\x00", "beyond"),
        (header(image_id=8) + PIXEL + b"\xe1\x00\x00\x00", "outside"),
        (header(image_id=8) + PIXEL + b"\xe0\x00\x00\x00\x00", "too many"),
        (header(image_id=8) + PIXEL + b"\xe0\x00\x00\x09", "outside"),  # image -1
        (header(image_id=8) + PIXEL + b"\xe0\x00\x00\x08", "released"),  # image 0
        (header(image_id=8) + PIXEL + b"\xe2\x00\x00\x01", "outside"),  # pixels 2 to 8 of the eight of image 7
        (header(image_id=8) + PIXEL + b"\xef\x00\xff\x01", "outside"),
    ],
)
def test_bad_bytes_are_a_protocol_error(data, sentence):
    window = GlzWindow(1000)
    window.clear(7)
    window.decode(header(image_id=7) + PIXEL + b"\xe0\x00\x00\x00")
    with pytest.raises(ProtocolError, match=sentence) as error:
        window.decode(data)
    assert not isinstance(error.value, MissingImage)
    window.decode(header(image_id=8) + PIXEL + b"\xe1\x00\x00\x01")


def test_ids_that_lie_far_apart_are_refused():
    window = GlzWindow(1000)
    body = PIXEL + b"\xe0\x00\x00\x00"
    window.decode(header(image_id=2**20) + body)
    with pytest.raises(ProtocolError, match="too far"):
        window.decode(header(image_id=2**63) + body)
    window.decode(header(image_id=2**64 - 1) + body)


def test_an_announced_size_allocates_nothing_that_the_bytes_cannot_fill():
    window = GlzWindow(2**26)
    data = header(width=8192, height=8192, stride=4 * 8192) + bytes(1000)
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        window.decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@settings(max_examples=12, deadline=None)
@given(images=sequences())
def test_every_truncation_is_refused_and_every_flipped_bit_survived(images):
    encoder = Encoder()
    blobs = [encoder.encode(kind, plane, top_down=up) for kind, plane, up in images]
    window = GlzWindow(10_000)
    for blob in blobs[:-1]:
        window.decode(blob)
    last = blobs[-1]
    for end in range(len(last)):
        with pytest.raises(ProtocolError):
            window.decode(last[:end])
    for bit in range(8 * min(len(last), 120)):
        flipped = bytearray(last)
        flipped[bit // 8] ^= 1 << bit % 8
        window = GlzWindow(10_000)
        for blob in [*blobs[:-1], bytes(flipped)]:
            try:
                window.decode(blob)
            except ProtocolError:
                pass
        assert window.pixels <= 20_000


@pytest.mark.skipif(not lz_kernels.COMPILED, reason="memory can only be overrun when compiled")
def test_many_mutations_touch_nothing_outside_of_their_buffers():
    """Output between two guards stays there, and nothing is read after the input or after a picture of the window."""
    generator = random.Random(21)
    pictures = [np.full((40, 4), number, np.uint8) for number in range(8)]
    slots = (
        np.arange(8, dtype=np.uint64),
        np.array([40] * 7 + [0], np.intp),
        np.array([array.ctypes.data for array in pictures], np.intp),
    )
    wanted = np.zeros(1, np.uint64)
    for _ in range(15000):
        body = bytearray()
        while len(body) < 24:
            if generator.random() < 0.4:
                count = generator.randint(1, 4)
                body += bytes([count - 1]) + generator.randbytes(3 * count)
            else:
                offset = generator.choice([0, 1, 3, 4, 20, 39])
                emit_match(body, generator.randint(1, 12), offset, generator.randrange(5))
        for _ in range(generator.randint(0, 2)):
            body[generator.randrange(len(body))] = generator.randrange(256)
        del body[generator.randint(8, len(body)) :]
        units = generator.choice([lz_kernels.RGB32, lz_kernels.RGB16, lz_kernels.ALPHA])
        total = generator.randint(4, 60)
        results = []
        for tail in (bytes(8), b"\xff" * 8):
            view = memoryview(bytes(body) + tail)[: len(body)]
            canvas = np.full((total + 16) * 4, 0xA5, np.uint8)
            try:
                end = lz_kernels.unpack_glz(view, 0, canvas[32:-32], units, 5, slots, wanted)
                results.append((end, canvas[32:-32].tobytes()))
            except ProtocolError as error:
                results.append(str(error))
            assert (canvas[:32] == 0xA5).all()
            assert (canvas[-32:] == 0xA5).all()
        assert results[0] == results[1]
