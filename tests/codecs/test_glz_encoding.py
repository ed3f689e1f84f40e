"""GLZ encoding: what a client's window makes of it, also after a migration of the dictionary."""

from __future__ import annotations

import json
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import glz, glz_encoding, zlib_glz
from spicehop.codecs.glz import GlzWindow
from spicehop.codecs.glz_encoding import GlzDictionary, shareable
from spicehop.codecs.lz import LzType
from spicehop.errors import ProtocolError

GOLDEN = Path(__file__).parent.parent / "golden" / "encoded"
KINDS = (LzType.RGB16, LzType.RGB24, LzType.RGB32, LzType.RGBA)


def kept(kind: LzType, pixels: np.ndarray) -> np.ndarray:
    """What is left of pixels that went through this type."""
    if kind == LzType.RGBA:
        return pixels
    made = pixels.copy()
    made[..., 3] = 0
    return (made >> 3 << 3) | (made >> 5) if kind == LzType.RGB16 else made


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)


@st.composite
def histories(draw) -> list[tuple[LzType, np.ndarray]]:
    """Images cut from one picture, so that they have much in common, with something new in some of them."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    colors = generator.integers(0, 256, (draw(st.sampled_from([2, 30, 250])), 4), np.uint8)
    picture = colors[generator.integers(0, len(colors), (40, 40))]
    images = []
    for _ in range(draw(st.integers(1, 14))):
        top, left = generator.integers(0, 30, 2)
        height, width = generator.integers(1, 40 - max(top, left), 2)
        pixels = picture[top : top + height, left : left + width].copy()
        if generator.random() < 0.3:
            pixels[0] = generator.integers(0, 256, pixels[0].shape)
        images.append((draw(st.sampled_from(KINDS)), pixels))
    return images


@settings(max_examples=100, deadline=None)
@given(history=histories(), capacity=st.sampled_from([1600, 2500, 100_000]))
def test_core_a_clients_window_decodes_what_its_dictionary_encoded(history, capacity):
    dictionary, window = GlzDictionary(capacity), GlzWindow(capacity)
    for kind, pixels in history:
        decoded = window.decode(dictionary.encode(pixels, kind))
        np.testing.assert_array_equal(decoded, kept(kind, pixels))
        assert len(window) == len(dictionary)
        assert window.pixels == dictionary.pixels <= capacity
        assert window.next_id == dictionary.next_id


def test_core_writes_what_the_references_decoder_has_judged():
    images = [entry for entry in json.loads((GOLDEN / "index.json").read_text()) if entry["codec"] == "glz"]
    stream = (GOLDEN / "window.glz").read_bytes()
    dictionary, window = GlzDictionary(20_000), GlzWindow(20_000)
    at = 0
    with np.load(GOLDEN / "pixels.npz") as arrays:
        for number, entry in enumerate(images):
            size = int.from_bytes(stream[at : at + 4], "big")
            data = stream[at + 4 : at + 4 + size]
            at += 4 + size
            assert dictionary.encode(arrays[entry["pixels"]], LzType(entry["kind"])) == data
            np.testing.assert_array_equal(window.decode(data), arrays[f"glz.{number}"])
    assert at == len(stream)


@pytest.mark.parametrize("kind", KINDS)
def test_core_a_picture_seen_before_costs_next_to_nothing(kind):
    dictionary, picture = GlzDictionary(10_000), noise(30, 40)
    first = dictionary.encode(picture, kind)
    again = dictionary.encode(picture[10:, 5:], kind)
    assert len(first) > 1200 * 2
    assert len(again) < 33 + 20 * 16


def test_a_long_history_stays_within_reach():
    """One place in sixteen of each image is remembered, whatever came after it."""
    pictures = [noise(50, 50, seed) for seed in range(40)]
    dictionary, window = GlzDictionary(150_000), GlzWindow(150_000)
    sizes = []
    for picture in pictures + pictures:
        data = dictionary.encode(picture)
        np.testing.assert_array_equal(window.decode(data), kept(LzType.RGB32, picture))
        sizes.append(len(data))
    assert max(sizes[40:]) < min(sizes[:40]) // 4


def test_what_is_shown_all_the_time_is_not_forgotten():
    """A picture that each time was found in an older image is still found when those have left the window."""
    logo = noise(40, 40)
    dictionary, window = GlzDictionary(20_000), GlzWindow(20_000)
    sizes = []
    for seed in range(60):
        window.decode(dictionary.encode(noise(40, 25, seed + 1)))
        data = dictionary.encode(logo)
        np.testing.assert_array_equal(window.decode(data), kept(LzType.RGB32, logo))
        sizes.append(len(data))
    assert max(sizes[1:]) < 500


def test_far_offsets_and_distant_images_decode():
    picture = noise(600, 900)
    dictionary, window = GlzDictionary(2_000_000), GlzWindow(2_000_000)
    for part in (picture, picture[400:], *([picture[:1, :1]] * 300), picture[550:, 3:], picture[:5], noise(2, 2)):
        np.testing.assert_array_equal(window.decode(dictionary.encode(part)), kept(LzType.RGB32, part))
    double = np.concatenate([picture, picture])
    data = dictionary.encode(double, LzType.RGBA)
    np.testing.assert_array_equal(window.decode(data), double)
    assert len(data) < double.size * 0.6


# -- the window ----------------------------------------------------------------------------------------------------


def test_core_old_images_leave_in_order_and_the_header_says_so():
    dictionary = GlzDictionary(1000)
    distances = []
    for seed in range(8):
        header = glz.read_header(dictionary.encode(noise(20, 20, seed)), 1000)
        assert header.image_id == seed
        distances.append(header.window_head_distance)
    assert distances == [0, 1, 1, 1, 1, 1, 1, 1]
    assert (len(dictionary), dictionary.pixels) == (2, 800)
    assert glz.read_header(dictionary.encode(noise(25, 40)), 1000).window_head_distance == 0


def test_core_an_image_must_fit_the_window():
    dictionary = GlzDictionary(100)
    assert dictionary.takes(10, 10)
    assert not dictionary.takes(10, 11)
    assert not dictionary.takes(0, 5)
    with pytest.raises(ValueError, match="takes no"):
        dictionary.encode(noise(10, 11))
    with pytest.raises(ValueError, match="takes no"):
        dictionary.encode(noise(2, 2), LzType.PLT8)
    assert dictionary.next_id == 0
    assert not GlzDictionary(2**26).takes(2**13, 2**12)


def test_more_images_than_allowed_do_not_stay():
    dictionary = GlzDictionary(2**20)
    pixel = shareable(noise(1, 1))
    for _ in range(glz_encoding.MAX_IMAGES + 10):
        dictionary.encode(pixel)
    assert len(dictionary) == glz_encoding.MAX_IMAGES


def test_several_dictionaries_share_one_copy():
    picture = noise(30, 30)
    once = shareable(picture)
    assert once is not picture
    assert shareable(once) is once
    assert shareable(once[5:]) is not once
    dictionaries = [GlzDictionary(5000) for _ in range(3)]
    for dictionary in dictionaries:
        dictionary.encode(once)
    assert all(np.shares_memory(dictionary._images[0].cells, once) for dictionary in dictionaries)


def test_changing_a_picture_afterwards_changes_no_window():
    picture = noise(20, 20)
    view = picture[:]
    view.flags.writeable = False
    dictionary, window = GlzDictionary(5000), GlzWindow(5000)
    window.decode(dictionary.encode(view))
    before = picture.copy()
    picture[:] = 0
    np.testing.assert_array_equal(window.decode(dictionary.encode(before)), kept(LzType.RGB32, before))


def test_threads_take_turns():
    dictionary, window = GlzDictionary(100_000), GlzWindow(100_000)
    pictures = [noise(20, 20, seed % 5) for seed in range(60)]
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(dictionary.encode, pictures))
    order = sorted(range(60), key=lambda number: glz.read_header(encoded[number], 1000).image_id)
    for number in order:
        np.testing.assert_array_equal(window.decode(encoded[number]), kept(LzType.RGB32, pictures[number]))


# -- migration -----------------------------------------------------------------------------------------------------


def test_core_ids_go_on_with_an_empty_window():
    source, window = GlzDictionary(3000), GlzWindow(3000)
    for seed in range(5):
        window.decode(source.encode(noise(25, 25, seed)))
    target = GlzDictionary(3000, next_id=source.next_id)
    for seed in range(5):
        picture = noise(25, 25, seed)
        data = target.encode(picture)
        assert glz.read_header(data, 3000).image_id == 5 + seed
        np.testing.assert_array_equal(window.decode(data), kept(LzType.RGB32, picture))
    assert window.pixels == target.pixels


@settings(max_examples=30, deadline=None)
@given(before=histories(), after=histories(), capacity=st.sampled_from([1600, 4000, 100_000]))
def test_core_a_restored_dictionary_goes_on_with_the_same_client(before, after, capacity):
    source, window = GlzDictionary(capacity), GlzWindow(capacity)
    for kind, pixels in before:
        window.decode(source.encode(pixels, kind))
    target = GlzDictionary.restored(source.save())
    assert (target.capacity, target.next_id, len(target), target.pixels) == (
        source.capacity, source.next_id, len(source), source.pixels
    )  # fmt: skip
    for kind, pixels in after:
        np.testing.assert_array_equal(window.decode(target.encode(pixels, kind)), kept(kind, pixels))
        assert window.pixels == target.pixels


def test_a_restored_dictionary_finds_what_the_client_has():
    source, picture = GlzDictionary(50_000), noise(60, 60)
    for kind in (LzType.RGB32, LzType.RGBA, LzType.RGB16):
        source.encode(picture, kind)
    target = GlzDictionary.restored(source.save())
    for kind in (LzType.RGB32, LzType.RGBA, LzType.RGB16):
        assert len(target.encode(picture, kind)) < 1000
    assert GlzDictionary.restored(GlzDictionary(9, next_id=7).save()).next_id == 7


def test_a_dictionary_goes_on_from_an_earlier_copy():
    """What has left the window of the one has left the other's: both encode the same from then on."""
    source = GlzDictionary(3000)
    for seed in range(5):
        source.encode(noise(20, 20, seed))
    ahead, since = source.save(), source.next_id
    for seed in range(5, 9):
        source.encode(noise(20, 20, seed))
    rest = source.save(since)
    assert len(rest) < len(source.save())
    target = GlzDictionary.restored(ahead)
    target.continued(rest)
    assert (target.next_id, target.pixels, len(target)) == (source.next_id, source.pixels, len(source))
    assert target.encode(noise(20, 20, 7)) == source.encode(noise(20, 20, 7))
    with pytest.raises(ProtocolError, match="not the continuation"):
        target.continued(rest)
    with pytest.raises(ProtocolError):
        GlzDictionary(3000).continued(rest[:-1])


def test_bad_bytes_are_no_dictionary():
    source = GlzDictionary(5000)
    for seed in range(3):
        source.encode(noise(20, 20, seed), LzType.RGBA)
    data = source.save()
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            GlzDictionary.restored(data[:end])
    with pytest.raises(ProtocolError, match="not end"):
        GlzDictionary.restored(data + b"x")
    with pytest.raises(ProtocolError, match="not usable"):
        GlzDictionary.restored(data, max_capacity=4999)
    header = struct.Struct(">IIQI")
    for changed in ((2, 5000, 3, 3), (1, 5000, 2, 3), (1, 1000, 3, 3), (1, 5000, 2**40, 3)):
        with pytest.raises(ProtocolError):
            GlzDictionary.restored(header.pack(*changed) + data[header.size :])
    with pytest.raises(ProtocolError, match="not usable"):
        GlzDictionary.restored(header.pack(1, 5000, 3, 2**31) + data[header.size :])


def test_bad_bytes_of_any_kind_restore_or_are_refused():
    source = GlzDictionary(2000)
    for seed in range(3):
        source.encode(noise(10, 20, seed) // 64, KINDS[seed])
    data = source.save()
    generator = random.Random(5)
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(generator.randint(1, 3)):
            changed[generator.randrange(len(changed))] = generator.choice([0, 1, 255, generator.randrange(256)])
        try:
            restored = GlzDictionary.restored(bytes(changed), max_capacity=5000)
        except ProtocolError:
            continue
        assert restored.pixels <= restored.capacity <= 5000
        if restored.takes(8, 8):
            restored.encode(noise(8, 8))


# -- inside a zlib stream ------------------------------------------------------------------------------------------


def test_deflating_is_done_where_it_pays():
    dictionary, window = GlzDictionary(10_000), GlzWindow(10_000)
    stripes = np.repeat(noise(40, 1), 40, axis=1)
    stripes[:, ::2] = 7
    data = dictionary.encode(stripes)
    deflated = zlib_glz.deflate(data)
    assert deflated is not None
    assert len(deflated) < len(data)
    np.testing.assert_array_equal(zlib_glz.decode(deflated, len(data), window), kept(LzType.RGB32, stripes))
    assert zlib_glz.deflate(dictionary.encode(noise(40, 40))) is None
    assert zlib_glz.deflate(bytes(99)) is None
    assert zlib_glz.deflate(bytes(100)) is not None
