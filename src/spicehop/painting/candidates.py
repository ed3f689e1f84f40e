"""Areas that change again and again, which may be video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spicehop.painting.digests import Flags, Grid
from spicehop.raster.region import Box, bounds

_LEAST_SIDE = 64
_FRAMES = 10
"""So many changes in a row make an area video."""
_LONGEST_PAUSE = 0.25
"""Seconds between two of them."""
_MOST = 16
_SAME = 0.8


@dataclass(slots=True)
class _Candidate:
    box: Box
    frames: int
    last: float


class Candidates:
    """Counts how often areas change; time is in seconds."""

    def __init__(self) -> None:
        self._known: list[_Candidate] = []

    def watch(self, boxes: Iterable[Box], now: float) -> list[Box]:
        """These areas have changed; returns those that have done so for long enough, and forgets them."""
        self._known = [known for known in self._known if now - known.last <= _LONGEST_PAUSE]
        ripe = []
        for box in boxes:
            if box.width < _LEAST_SIDE or box.height < _LEAST_SIDE:
                continue
            known = next((known for known in self._known if _overlap(known.box, box) >= _SAME), None)
            if known is None:
                if len(self._known) < _MOST:
                    self._known.append(_Candidate(box, 1, now))
                continue
            known.frames += known.last != now
            known.last = now
            known.box = bounds((known.box, box))
            if known.frames >= _FRAMES:
                self._known.remove(known)
                ripe.append(known.box)
        return ripe


def changed_areas(changed: Flags, grid: Grid) -> list[Box]:
    """The boxes around groups of changed tiles that touch each other."""
    rest = {(row, column) for row, column in np.argwhere(changed).tolist()}
    areas = []
    while rest:
        waiting = [rest.pop()]
        top, left = bottom, right = waiting[0]
        while waiting:
            row, column = waiting.pop()
            top, bottom = min(top, row), max(bottom, row)
            left, right = min(left, column), max(right, column)
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in rest:
                    rest.remove(near)
                    waiting.append(near)
        areas.append(grid.area(top, left, bottom + 1, right + 1))
    return areas


def drawn_areas(boxes: Sequence[Box], changed: Flags, grid: Grid) -> list[Box]:
    """Boxes that were drawn, each once, those that make up a larger box joined; only where something has changed."""
    joined: list[Box] = []
    for box in sorted(set(boxes), key=lambda box: (box.top, box.left)):
        box = box.intersect(grid.box)
        if box.is_empty or not changed[grid.touched(box)].any():
            continue
        for index, known in enumerate(joined):
            around = bounds((known, box))
            if _size(around) <= _size(known) + _size(box):
                joined[index] = around
                break
        else:
            joined.append(box)
    return joined


def _overlap(one: Box, other: Box) -> float:
    """Pixels in both, as a part of the pixels in any of the two."""
    common = _size(one.intersect(other))
    return common / (_size(one) + _size(other) - common)


def _size(box: Box) -> int:
    return max(0, box.width) * max(0, box.height)
