from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.painting.imagecache import MOST_IMAGES, CachedImage, ImageCache, Place, whole_tiles
from spicehop.painting.palettecache import PaletteCache
from spicehop.wire.display_constants import PALETTE_CACHE_ENTRIES


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(1, 40))))
def test_the_cache_never_holds_more_than_it_may(steps):
    cache, held = ImageCache(4000), {}
    for number, width, height in steps:
        if cache.use(number) is not None:
            held[number] = held.pop(number)
            continue
        dropped = cache.put(CachedImage(number, width, height))
        assert dropped == list(held)[: len(dropped)]  # the least recently used first
        for old in dropped:
            del held[old]
        held[number] = width * height
        assert sum(held.values()) == cache.pixels <= 4000
        assert [image.image_id for image in cache] == list(held)


def test_whole_tiles_are_found_in_an_image():
    digests = np.arange(1, 7, dtype=np.uint64).reshape(2, 3)
    tiles = whole_tiles(digests, 150, 128)
    assert tiles == (1, 2, 4, 5)
    cache = ImageCache(10**6)
    cache.put(CachedImage(99, 150, 128, tiles))
    assert cache.place(5) == Place(99, 64, 64)
    assert cache.place(3) is None
    cache.clear()
    assert cache.place(5) is None


def test_a_dropped_image_takes_its_places_along():
    cache = ImageCache(2 * 64 * 64)
    cache.put(CachedImage(1, 64, 64, (7,)))
    cache.put(CachedImage(2, 64, 64, (7,)))  # the same tile again
    assert cache.put(CachedImage(3, 64, 64, (8,))) == [1]
    assert cache.place(7) == Place(2, 0, 0)
    assert cache.put(CachedImage(4, 64, 64, (9,))) == [2]
    assert cache.place(7) is None


def test_large_images_are_not_kept():
    cache = ImageCache(4000)
    assert cache.admits(1000)
    assert not cache.admits(1001)
    assert not ImageCache(0).admits(1)


def test_there_is_a_limit_of_images():
    cache = ImageCache(10**9)
    for number in range(1, MOST_IMAGES + 1):
        assert cache.put(CachedImage(number, 1, 1)) == []
    assert cache.put(CachedImage(MOST_IMAGES + 1, 1, 1)) == [1]


def test_a_palette_serves_pictures_with_fewer_colours():
    cache = PaletteCache()
    many, few = tuple(range(0, 100, 5)), tuple(range(0, 100, 10))
    large, _ = cache.put(many)
    assert cache.find((5, 10, *range(20, 95, 5))) is large
    assert cache.find(few) is None  # half a byte a pixel is less
    small, _ = cache.put(few)
    assert cache.find((0, 90)) is small
    assert cache.find((0, 91)) is None
    assert small.places(np.array([90, 0, 30], np.uint32)).tolist() == [9, 0, 3]


def test_the_oldest_palette_goes_first():
    cache = PaletteCache()
    first, _ = cache.put((1, 2))
    second, _ = cache.put((3, 4))
    for number in range(PALETTE_CACHE_ENTRIES - 2):
        assert cache.put((100 + number,))[1] == []
    cache.find((1, 2))
    assert cache.put((7, 8))[1] == [second.unique]
    assert cache.find((1, 2)) is first


def test_a_palette_of_another_server_is_known_by_its_id():
    cache = PaletteCache()
    palette, _ = cache.put((1, 2, 3))
    other = PaletteCache()
    other.restore(palette.unique)
    assert other.find((1, 2)) is None
    assert other.find((1, 2, 3)) == palette
    assert other.find((1, 2)) == palette


@given(
    st.lists(
        st.builds(
            CachedImage,
            st.integers(1, 10**6),
            st.integers(64, 130),
            st.integers(64, 130),
            st.sampled_from([(), (7,), (8, 7)]),
        ),
        unique_by=lambda image: image.image_id,
        max_size=20,
    )
)
def test_images_restored_at_once_are_those_put_one_by_one(images):
    images = [image for image in images if len(image.tiles) in (0, (image.width // 64) * (image.height // 64))]
    one_by_one, at_once = ImageCache(10**7), ImageCache(10**7)
    for image in images:
        one_by_one.put(image)
    at_once.restore(images)
    for cache in (one_by_one, at_once):
        assert list(cache) == images
    assert at_once.pixels == one_by_one.pixels
    assert [at_once.place(digest) for digest in (7, 8)] == [one_by_one.place(digest) for digest in (7, 8)]
    at_once.capacity = one_by_one.capacity = one_by_one.pixels
    extra = CachedImage(2 * 10**6, 64, 64)
    assert at_once.put(extra) == one_by_one.put(extra)
