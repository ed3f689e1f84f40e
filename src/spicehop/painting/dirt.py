"""Which pixels a client may lack: boxes that may cover more than they must, never less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from spicehop.painting.digests import Flags, Grid
from spicehop.raster.region import Box

_MOST_BOXES = 48


class Dirt:
    """Boxes of one surface; they may overlap. When they become many, whole tiles take their place."""

    def __init__(self, grid: Grid, boxes: Iterable[Box] = ()) -> None:
        self.grid = grid
        self._boxes: list[Box] = []
        for box in boxes:
            self.add(box)

    def __iter__(self) -> Iterator[Box]:
        return iter(self._boxes)

    @property
    def is_empty(self) -> bool:
        return not self._boxes

    def covers(self, box: Box) -> bool:
        """Whether one box has all of `box`."""
        return any(known.intersect(box) == box for known in self._boxes)

    def add(self, box: Box) -> None:
        """These pixels may have changed."""
        box = box.intersect(self.grid.box)
        if box.is_empty or self.covers(box):
            return
        self._boxes = [known for known in self._boxes if known.intersect(box) != known]
        self._boxes.append(box)
        if len(self._boxes) > _MOST_BOXES:
            self._boxes = [
                self.grid.area(*area) for area, _ in rectangles(self.tiles().astype(np.int64))
            ]

    def remove(self, box: Box) -> None:
        """The client has these pixels now."""
        self._boxes = [piece for known in self._boxes for piece in _without(known, box)]
        if len(self._boxes) > 2 * _MOST_BOXES:
            self._boxes, many = [], self._boxes
            for piece in many:
                self.add(piece)

    def within(self, box: Box) -> list[Box]:
        """The parts of the boxes that lie in `box`."""
        return [piece for known in self._boxes if not (piece := known.intersect(box)).is_empty]

    def tiles(self) -> Flags:
        """The tiles that a box touches."""
        flags = self.grid.flags()
        for box in self._boxes:
            flags[self.grid.touched(box)] = True
        return flags


def _without(box: Box, hole: Box) -> list[Box]:
    """What is left of `box`: at most four boxes."""
    inner = box.intersect(hole)
    if inner.is_empty:
        return [box]
    pieces = (
        Box(box.left, box.top, box.right, inner.top),
        Box(box.left, inner.top, inner.left, inner.bottom),
        Box(inner.right, inner.top, box.right, inner.bottom),
        Box(box.left, inner.bottom, box.right, box.bottom),
    )
    return [piece for piece in pieces if not piece.is_empty]


def rectangles(
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]], most: int = 1 << 30
) -> list[tuple[tuple[int, int, int, int], int]]:
    """Rectangles (top, left, bottom, right) of equal labels that cover everything but 0, with their labels.

    None has more than `most` cells, except that one row may.
    """
    found = []
    height, width = labels.shape
    rest = labels.tolist()
    for top in range(height):
        row = rest[top]
        left = 0
        while left < width:
            label = row[left]
            if not label:
                left += 1
                continue
            right = left + 1
            while right < width and row[right] == label:
                right += 1
            run = [label] * (right - left)
            bottom = top + 1
            while (
                bottom < height and (bottom + 1 - top) * len(run) <= most and rest[bottom][left:right] == run
            ):
                rest[bottom][left:right] = [0] * len(run)
                bottom += 1
            found.append(((top, left, bottom, right), int(label)))
            left = right
    return found
