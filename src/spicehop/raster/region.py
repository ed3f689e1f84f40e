"""Boxes and regions: which pixels of a surface an operation may touch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

_MAX_PAIRWISE = 16
_MAX_BOXES = 256
_BAND_PIXELS = 2**18


class Box(NamedTuple):
    """A rectangle; right and bottom are outside. A box whose right <= left or bottom <= top is empty."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def is_empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top

    def intersect(self, other: Box) -> Box:
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def shifted(self, dx: int, dy: int) -> Box:
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """The index of this box in an array that covers `outer`."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    @property
    def area(self) -> tuple[slice, slice]:
        """The index of this box in an array that starts at (0, 0)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def bounds(boxes: Sequence[Box]) -> Box:
    """The smallest box around all `boxes`, of which there is at least one."""
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


@dataclass(frozen=True, slots=True)
class Region:
    """A set of pixels: disjoint boxes, or one box and a mask of it.

    Every pixel belongs to at most one box, so that an operation such as XOR is applied to it once.
    """

    boxes: tuple[Box, ...]  # none is empty
    mask: Mask | None = None  # (height, width) of the only box: the pixels that belong to the region

    @staticmethod
    def clipped(box: Box, clips: Sequence[Box] | None) -> Region:
        """The pixels of `box` that lie in at least one of `clips`, or all of them when `clips` is None."""
        if box.is_empty:
            return EMPTY
        if clips is None:
            return Region((box,))
        pieces = [piece for clip in clips if not (piece := box.intersect(clip)).is_empty]
        if len(pieces) <= 1:
            return Region(tuple(pieces))
        if len(pieces) <= _MAX_PAIRWISE and all(
            first.intersect(second).is_empty for first, second in itertools.combinations(pieces, 2)
        ):
            return Region(tuple(pieces))
        return _merged(pieces)

    @property
    def is_empty(self) -> bool:
        return not self.boxes

    def parts(self) -> Iterator[tuple[Box, Mask | None]]:
        """Each box with its mask, if any."""
        for box in self.boxes:
            yield box, self.mask

    def bands(self) -> Iterator[tuple[Box, Mask | None]]:
        """As `parts`, in pieces of at most 2**18 pixels or one row, for operations that take many bytes a pixel."""
        for box, mask in self.parts():
            step = max(1, _BAND_PIXELS // box.width)
            for top in range(box.top, box.bottom, step):
                band = Box(box.left, top, box.right, min(top + step, box.bottom))
                yield band, None if mask is None else mask[band.within(box)]

    def masked(self, mask: Mask, left: int, top: int) -> Region:
        """The pixels that `mask`, laid with its corner at (left, top), marks as well; none outside the mask."""
        if not self.boxes:
            return self
        cover = Box(left, top, left + mask.shape[1], top + mask.shape[0])
        inside = [piece for box in self.boxes if not (piece := box.intersect(cover)).is_empty]
        if not inside:
            return EMPTY
        around = bounds(inside)
        if self.mask is not None:
            kept = self.mask[around.within(self.boxes[0])] & mask[around.within(cover)]
        elif len(inside) == 1:
            kept = mask[around.within(cover)]
        else:
            kept = np.zeros((around.height, around.width), np.bool_)
            for piece in inside:
                kept[piece.within(around)] = mask[piece.within(cover)]
        if kept.all():
            return Region((around,))
        return Region((around,), kept) if kept.any() else EMPTY


EMPTY = Region(())


def _merged(pieces: list[Box]) -> Region:
    """A region of pieces that may overlap, in time linear in their number and in the area around them."""
    around = bounds(pieces)
    corners = np.array(pieces, np.int64) - np.array([around.left, around.top, around.left, around.top])
    coverage = np.zeros((around.height + 1, around.width + 1), np.int32)
    left, top, right, bottom = corners.T
    np.add.at(coverage, (top, left), 1)
    np.add.at(coverage, (bottom, right), 1)
    np.add.at(coverage, (top, right), -1)
    np.add.at(coverage, (bottom, left), -1)
    np.cumsum(coverage, axis=0, out=coverage)
    np.cumsum(coverage, axis=1, out=coverage)
    counts = coverage[:-1, :-1]
    if len(pieces) <= _MAX_BOXES and counts.max() <= 1:
        return Region(tuple(pieces))
    mask = counts > 0
    return Region((around,)) if mask.all() else Region((around,), mask)
