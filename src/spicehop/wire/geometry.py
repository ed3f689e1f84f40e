"""Points, rectangles and clips (dossier B.2, shared structs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.display_constants import ClipKind
from spicehop.wire.layout import I16, I32, U8, U32, Array, Structure, When, equals


@dataclass(frozen=True, slots=True)
class Point(Structure):
    """A point in pixels, or, in a path, in sixteenths of a pixel (28.4)."""

    x: I32
    y: I32


@dataclass(frozen=True, slots=True)
class Point16(Structure):
    """A point in pixels, in 16 bits each."""

    x: I16
    y: I16


@dataclass(frozen=True, slots=True)
class Rect(Structure):
    """A rectangle in pixels, right and bottom outside; the wire's order of fields."""

    top: I32
    left: I32
    bottom: I32
    right: I32

    @property
    def width(self) -> int:
        """Pixels from left to right; negative or 0 when the rectangle is empty."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels from top to bottom; negative or 0 when the rectangle is empty."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Clip(Structure):
    """What a drawing is limited to: nothing, or `rects` (`ClipKind`)."""

    kind: U8 = ClipKind.NONE
    rects: Annotated[tuple[Rect, ...], When(equals("kind", ClipKind.RECTS), Array(Rect, count="I"), ())] = ()


@dataclass(frozen=True, slots=True)
class Transform(Structure):
    """Two rows of a matrix in 16.16 fixed point."""

    t00: U32
    t01: U32
    t02: U32
    t10: U32
    t11: U32
    t12: U32
