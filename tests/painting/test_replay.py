"""What is copied and what is dirty after the guest's hints, as a table of cases."""

from __future__ import annotations

import pytest

from spicehop.painting.digests import Grid
from spicehop.painting.dirt import Dirt
from spicehop.painting.replay import Copy, replay, steady_sources
from spicehop.raster.changes import CopiedFromSurface, Drawn, Moved, Resized, SurfaceCreated, SurfaceDestroyed
from spicehop.raster.region import Box

SCREEN = Box(0, 0, 400, 300)
A, B = Box(0, 0, 100, 100), Box(200, 100, 300, 200)
SHEET = Box(0, 0, 120, 120)

CASES = {
    "a drawing": ([Drawn(0, (A,))], [], [A]),
    "a drawing elsewhere": ([Drawn(3, (A,))], [], []),
    "a drawing outside": ([Drawn(0, (Box(390, 290, 500, 500),))], [], [Box(390, 290, 400, 300)]),
    "a move": ([Moved(0, A, 200, 100)], [Copy(0, A, 200, 100)], []),
    "a move to where it is": ([Moved(0, A, 0, 0)], [], []),
    "a small move": ([Moved(0, Box(0, 0, 10, 10), 50, 50)], [], [Box(50, 50, 60, 60)]),
    "a move partly outside": ([Moved(0, A, 350, -20)], [Copy(0, Box(0, 20, 50, 100), 350, 0)], []),
    "a move from outside": ([Moved(0, A.shifted(-50, 0), 200, 100)], [Copy(0, Box(0, 0, 50, 100), 250, 100)], []),
    "a move out of sight": ([Moved(0, A, 500, 0)], [], []),
    "a move of what is dirty": ([Drawn(0, (A,)), Moved(0, A, 200, 100)], [], [A, B]),
    "a move of what is dirty in part": (
        [Drawn(0, (Box(50, 50, 150, 150),)), Moved(0, A, 200, 100)],
        [Copy(0, A, 200, 100)],
        [Box(50, 50, 150, 150), Box(250, 150, 300, 200)],
    ),
    "a move onto what is dirty": ([Drawn(0, (B,)), Moved(0, A, 200, 100)], [Copy(0, A, 200, 100)], []),
    "a drawing after a move": ([Moved(0, A, 200, 100), Drawn(0, (B,))], [Copy(0, A, 200, 100)], [B]),
    "a copy": ([CopiedFromSurface(1, SHEET, 9, 9)], [Copy(1, SHEET, 9, 9)], []),
    "a copy of what is not there": ([CopiedFromSurface(2, SHEET, 9, 9)], [], [SHEET.shifted(9, 9)]),
    "a copy from outside": ([CopiedFromSurface(1, SHEET.shifted(1, 0), 9, 9)], [], [SHEET.shifted(9, 9)]),
    "a copy that was drawn over later": (
        [CopiedFromSurface(1, SHEET, 9, 9), Drawn(1, (SHEET,))],
        [],
        [SHEET.shifted(9, 9)],
    ),
    "a copy of what was drawn before": (
        [Drawn(1, (SHEET,)), CopiedFromSurface(1, SHEET, 9, 9)],
        [Copy(1, SHEET, 9, 9)],
        [],
    ),
    "a copy and the end of its surface": (
        [CopiedFromSurface(1, SHEET, 9, 9), SurfaceDestroyed(1), SurfaceCreated(1, 120, 120)],
        [],
        [SHEET.shifted(9, 9)],
    ),
    "two copies": (
        [CopiedFromSurface(1, SHEET, 9, 9), Drawn(1, (SHEET,)), CopiedFromSurface(1, SHEET, 200, 9)],
        [Copy(1, SHEET, 200, 9)],
        [SHEET.shifted(9, 9)],
    ),
    "another size": ([Resized(400, 300)], [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_hints(case):
    changes, copies, dirty = CASES[case]
    dirt = Dirt(Grid(400, 300))
    sources = steady_sources(changes, {1: SHEET})
    assert replay(0, changes, dirt, sources=sources) == copies
    assert sorted(dirt) == sorted(dirty)


def test_what_shows_video_is_not_moved():
    dirt = Dirt(Grid(400, 300))
    film = Box(20, 20, 60, 60)
    copies = replay(0, [Moved(0, A, 200, 100)], dirt, unsteady=[film])
    assert copies == [Copy(0, A, 200, 100)]
    assert list(dirt) == [film.shifted(200, 100)]
