from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from screens import boxes

from spicehop.painting.digests import Grid
from spicehop.painting.dirt import Dirt, rectangles
from spicehop.raster.region import Box

GRID = Grid(140, 100)
STEPS = st.lists(st.tuples(st.booleans(), boxes(140, 100)), max_size=80)


@given(STEPS)
def test_nothing_that_is_dirty_is_lost(steps):
    dirt, must = Dirt(GRID), np.zeros((100, 140), np.bool_)
    for adds, box in steps:
        must[box.area] = adds
        if adds:
            dirt.add(box)
        else:
            dirt.remove(box)
    may = np.zeros((100, 140), np.bool_)
    for box in dirt:
        assert box.intersect(GRID.box) == box
        assert not box.is_empty
        may[box.area] = True
    assert not (must & ~may).any()
    if len(steps) < 10:
        assert np.array_equal(must, may)
    tiles = dirt.tiles()
    for row, column in np.argwhere(must):
        assert tiles[row // 64, column // 64]


def test_many_boxes_become_tiles():
    dirt = Dirt(Grid(6400, 6400))
    for number in range(300):
        dirt.add(Box(20 * number, 20 * number, 20 * number + 3, 20 * number + 3))
    assert len(list(dirt)) < 100


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=6), st.integers(1, 10))
def test_rectangles_cover_each_cell_once(cells, most):
    labels = np.array(cells, np.int64)
    covered = np.zeros_like(labels)
    for (top, left, bottom, right), label in rectangles(labels, most):
        assert (labels[top:bottom, left:right] == label).all()
        assert (covered[top:bottom, left:right] == 0).all()
        assert bottom - top == 1 or (bottom - top) * (right - left) <= most
        covered[top:bottom, left:right] = label
    assert np.array_equal(covered, labels)
