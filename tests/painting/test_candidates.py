from __future__ import annotations

import numpy as np

from spicehop.painting.candidates import Candidates, changed_areas, drawn_areas
from spicehop.painting.digests import Grid
from spicehop.raster.region import Box

FILM = Box(100, 100, 300, 250)
GRID = Grid(640, 480)


def frames_until_ripe(boxes, *, pause: float = 0.04) -> int | None:
    candidates = Candidates()
    for number, box in enumerate(boxes):
        if candidates.watch([box], number * pause):
            return number + 1
    return None


def test_ten_changes_in_a_row_make_it_video():
    assert frames_until_ripe([FILM] * 20) == 10


def test_small_boxes_and_slow_changes_do_not():
    assert frames_until_ripe([Box(0, 0, 300, 20)] * 30) is None
    assert frames_until_ripe([FILM] * 30, pause=0.3) is None


def test_a_box_may_vary_a_little():
    assert frames_until_ripe([FILM, Box(100, 100, 300, 240)] * 10) == 10
    assert frames_until_ripe([FILM, FILM.shifted(150, 0)] * 6) is None


def test_a_box_counts_once_at_a_time():
    candidates = Candidates()
    assert candidates.watch([FILM] * 20, 0.0) == []


def test_groups_of_changed_tiles():
    changed = GRID.flags()
    changed[0, 0] = changed[0, 1] = changed[1, 1] = True
    changed[4, 8:10] = True
    found = sorted(changed_areas(changed, GRID))
    assert found == [Box(0, 0, 128, 128), Box(512, 256, 640, 320)]
    assert changed_areas(GRID.flags(), GRID) == []


def test_drawn_strips_are_one_area():
    changed = np.ones_like(GRID.flags())
    strips = [Box(0, 16 * number, 320, 16 * number + 16) for number in range(15)]
    assert drawn_areas(strips, changed, GRID) == [Box(0, 0, 320, 240)]
    assert drawn_areas([FILM, FILM], changed, GRID) == [FILM]
    assert drawn_areas([FILM], GRID.flags(), GRID) == []
    assert drawn_areas([Box(600, 400, 900, 900)], changed, GRID) == [Box(600, 400, 640, 480)]
