from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.painting import digest_kernels
from spicehop.painting.digests import TILE, Grid, digest, fold
from spicehop.raster.region import Box

KNOWN = [
    "67f3e3459ede7834",
    "67f3e3459ede7834",
    "5f2613f6eb34210f",
    "1cbeeb63e471c3b5",
    "1cbeeb63e471c3b5",
    "ab871fa2d1d68719",
]
KNOWN_FOLD = "ec75b028a5e3d88f"
SIDES = st.integers(1, 150)


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)


@pytest.mark.skipif(not digest_kernels.COMPILED, reason="nothing to compare with")
@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.integers(0, 99), st.booleans())
def test_compiled_or_not_is_the_same(width, height, seed, part):
    pixels = picture(width, height, seed)
    wanted = np.random.default_rng(seed).random((Grid(width, height).rows, Grid(width, height).columns)) < 0.5
    chosen = wanted if part else None
    compiled = digest(pixels, chosen)
    digest_kernels.COMPILED = False
    try:
        plain = digest(pixels, chosen)
    finally:
        digest_kernels.COMPILED = True
    assert np.array_equal(compiled.tiles, plain.tiles)
    assert np.array_equal(compiled.rows, plain.rows)
    assert np.array_equal(compiled.solid, plain.solid)
    if part:
        assert not compiled.tiles[~wanted].any()


def test_known_digests_stay_what_they_are():
    """Digests move between servers of different versions."""
    pixels = np.arange(130 * 70 * 4, dtype=np.uint32).astype(np.uint8).reshape(70, 130, 4)
    found = digest(pixels)
    assert [f"{number:016x}" for number in found.tiles.ravel().tolist()] == KNOWN
    assert f"{fold(found.tiles, 130, 70):016x}" == KNOWN_FOLD


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 2**20), st.integers(0, 3), st.integers(0, 7))
def test_any_bit_of_a_colour_counts(width, height, place, channel, bit):
    pixels = picture(width, height)
    before = digest(pixels)
    row, column = place % height, place // height % width
    pixels[row, column, channel] ^= 1 << bit
    after = digest(pixels)
    changed = before.tiles != after.tiles
    assert changed.sum() == (channel != 3)
    if channel != 3:
        assert changed[row // TILE, column // TILE]
        assert list(np.argwhere(before.rows != after.rows)[0]) == [column // TILE, row]


def test_pixels_that_change_places_count():
    pixels = picture(64, 64)
    before = digest(pixels).tiles
    for swapped in (pixels[::-1], pixels[:, ::-1], np.roll(pixels, 1, 0), np.roll(pixels, 1, 1)):
        assert digest(np.ascontiguousarray(swapped)).tiles != before


def test_rows_may_lie_apart_and_be_read_only():
    pixels = picture(300, 200)
    part = pixels[13:150, 17:200]
    part.flags.writeable = False
    assert np.array_equal(digest(part).tiles, digest(part.copy()).tiles)


def test_pixels_may_lie_apart():
    pixels = picture(300, 200)[:, ::2]
    assert np.array_equal(digest(pixels).tiles, digest(pixels.copy()).tiles)


def test_solid_tiles():
    pixels = np.zeros((100, 100, 4), np.uint8)
    pixels[70, 70] = 9
    assert digest(pixels).solid.tolist() == [[True, True], [True, False]]


def test_black_rows_are_not_unknown():
    assert digest(np.zeros((100, 100, 4), np.uint8)).rows.all()


def test_a_picture_of_another_size_is_another_picture():
    black = np.zeros((64, 64, 4), np.uint8)
    sizes = range(1, 65, 7)
    folds = {fold(digest(black[:rows, :columns]).tiles, columns, rows) for rows in sizes for columns in sizes}
    assert len(folds) == 100


@given(SIDES, SIDES, st.tuples(*[st.integers(-20, 170)] * 4))
def test_tiles_of_a_box(width, height, corners):
    grid, box = Grid(width, height), Box(*corners)
    touched, inside = grid.flags(), grid.flags()
    touched[grid.touched(box)] = True
    inside[grid.inside(box)] = True
    for row in range(grid.rows):
        for column in range(grid.columns):
            tile = grid.tile(row, column)
            common = tile.intersect(box)
            assert touched[row, column] == (not common.is_empty)
            assert inside[row, column] == (common == tile and not box.is_empty)


