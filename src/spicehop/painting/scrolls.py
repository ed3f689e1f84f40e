"""Finds pixels that have moved up or down, from row digests alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicehop.painting.digests import TILE, Digests, Flags, Grid
from spicehop.raster.region import Box

_LEAST_ROWS = 16
"""A shorter run is not worth a copy."""
_LEAST_VOTES = 8
LEAST_TILES = 6
"""Changed tiles below which nobody looks for a scroll."""


@dataclass(frozen=True, slots=True)
class Scroll:
    """`target` shows what was `dy` rows above it (below it when `dy` is negative); whole columns of tiles."""

    target: Box
    dy: int

    @property
    def source(self) -> Box:
        return self.target.shifted(0, -self.dy)


def find_scrolls(before: Digests, after: Digests, wanted: Flags, grid: Grid) -> list[Scroll]:
    """The scrolls between two pictures given by their row digests, `(tile columns, height)`, 0 for unknown rows.

    Only columns of tiles in which two `wanted` tiles or more lie are looked at.
    """
    found: list[tuple[int, int, int, int]] = []  # column, top, bottom, dy
    for column in np.flatnonzero(wanted.sum(axis=0) >= 2).tolist():
        tile_rows = np.flatnonzero(wanted[:, column])
        top, bottom = int(tile_rows[0]) * TILE, min((int(tile_rows[-1]) + 1) * TILE, grid.height)
        run = _scroll_of(before[column, top:bottom], after[column, top:bottom])
        if run is not None:
            first, last, dy = run
            found.append((column, top + first, top + last, dy))
    return _joined(found, grid)


def _scroll_of(before: Digests, after: Digests) -> tuple[int, int, int] | None:
    """(first row, last row + 1, dy) of the longest run of rows that have moved by the distance most rows tell."""
    old_rows, old_at = _unique(before)
    new_rows, new_at = _unique(after)
    _, old_index, new_index = np.intersect1d(old_rows, new_rows, assume_unique=True, return_indices=True)
    distances = new_at[new_index] - old_at[old_index]
    distances = distances[distances != 0]
    if len(distances) < _LEAST_VOTES:
        return None
    votes = np.bincount(distances + len(after))
    dy = int(votes.argmax()) - len(after)
    if 2 * votes.max() < len(distances):
        return None
    if dy > 0:
        same, offset = (after[dy:] == before[:-dy]) & (after[dy:] != 0), dy
    else:
        same, offset = (after[:dy] == before[-dy:]) & (after[:dy] != 0), 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False]))))
    begins, ends = edges[::2], edges[1::2]
    longest = int((ends - begins).argmax())
    if ends[longest] - begins[longest] < _LEAST_ROWS:
        return None
    return int(begins[longest]) + offset, int(ends[longest]) + offset, dy


def _unique(rows: Digests) -> tuple[Digests, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """The known rows that occur once, and where."""
    values, first, counts = np.unique(rows, return_index=True, return_counts=True)
    once = (counts == 1) & (values != 0)
    return values[once], first[once]


def _joined(found: list[tuple[int, int, int, int]], grid: Grid) -> list[Scroll]:
    """Neighbours that moved by the same distance as one scroll, over the rows that they have in common."""
    scrolls: list[Scroll] = []
    for column, top, bottom, dy in found:
        box = Box(column * TILE, top, min((column + 1) * TILE, grid.width), bottom)
        if scrolls:
            last = scrolls[-1]
            common = (max(last.target.top, top), min(last.target.bottom, bottom))
            longest = max(last.target.height, box.height)
            if last.dy == dy and last.target.right == box.left and 4 * (common[1] - common[0]) >= 3 * longest:
                scrolls[-1] = Scroll(Box(last.target.left, common[0], box.right, common[1]), dy)
                continue
        scrolls.append(Scroll(box, dy))
    return scrolls
