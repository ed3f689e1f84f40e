"""From what happened to a surface to what a client must repeat, and what it may lack after that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spicehop.painting.dirt import Dirt
from spicehop.raster.changes import CopiedFromSurface, DisplayChange, Drawn, Moved, Resized
from spicehop.raster.region import Box

PRIMARY = 0
_NOTHING: Mapping[tuple[int, int], Box] = {}
_LEAST_COPY = 256
"""Fewer pixels are drawn again rather than copied."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Pixels that the client copies by itself: `source` of `surface_id` to (x, y), all inside the surfaces."""

    surface_id: int
    source: Box
    x: int
    y: int

    @property
    def target(self) -> Box:
        return self.source.shifted(self.x - self.source.left, self.y - self.source.top)


def replay(
    surface_id: int,
    changes: Sequence[DisplayChange],
    dirt: Dirt,
    *,
    unsteady: Sequence[Box] = (),
    sources: Mapping[tuple[int, int], Box] = _NOTHING,
) -> list[Copy]:
    """Bring `dirt` up to date by everything that happened to one surface, in order, and say what to copy.

    `unsteady` are areas where the client shows something else than the last picture, such as video. `sources` are the
    surfaces that can be copied from, as `steady_sources` gives them.
    """
    copies: list[Copy] = []
    for index, change in enumerate(changes):
        match change:
            case Drawn(surface_id=number, boxes=boxes) if number == surface_id:
                for box in boxes:
                    dirt.add(box)
            case Moved(surface_id=number) if number == surface_id:
                copy = _clipped(Copy(surface_id, change.source, change.x, change.y), dirt.grid.box, dirt.grid.box)
                if copy is not None:
                    _moved(copy, dirt, unsteady, copies)
            case CopiedFromSurface() if surface_id == PRIMARY:
                copy = Copy(change.surface_id, change.source, change.x, change.y)
                whole = sources.get((index, change.surface_id))
                if whole is None or copy.source.intersect(whole) != copy.source or _area(copy.source) < _LEAST_COPY:
                    dirt.add(copy.target)
                elif (inside := _clipped(copy, whole, dirt.grid.box)) is not None:
                    copies.append(inside)
                    dirt.remove(inside.target)
            case _:
                pass
    return copies


def steady_sources(
    changes: Sequence[DisplayChange], surfaces: Mapping[int, Box]
) -> dict[tuple[int, int], Box]:
    """(index of a copy, surface) for each copy from a surface that nothing has changed since, with its whole box."""
    steady = dict(surfaces)
    found: dict[tuple[int, int], Box] = {}
    for index in range(len(changes) - 1, -1, -1):
        change = changes[index]
        if isinstance(change, CopiedFromSurface):
            if change.surface_id in steady:
                found[index, change.surface_id] = steady[change.surface_id]
        elif not isinstance(change, Resized):
            steady.pop(change.surface_id, None)
    return found


def _moved(copy: Copy, dirt: Dirt, unsteady: Sequence[Box], copies: list[Copy]) -> None:
    source, target = copy.source, copy.target
    if source == target:
        return
    unknown = [*dirt.within(source), *[box.intersect(source) for box in unsteady]]
    if _area(source) < _LEAST_COPY or any(box == source for box in unknown):
        dirt.add(target)
        return
    copies.append(copy)
    dirt.remove(target)
    for box in unknown:
        dirt.add(box.shifted(copy.x - source.left, copy.y - source.top))


def _clipped(copy: Copy, outer: Box, target_box: Box) -> Copy | None:
    """The part of a copy that comes from inside `outer` and goes inside `target_box`."""
    dx, dy = copy.x - copy.source.left, copy.y - copy.source.top
    source = copy.source.intersect(outer).intersect(target_box.shifted(-dx, -dy))
    if source.is_empty:
        return None
    return Copy(copy.surface_id, source, source.left + dx, source.top + dy)


def _area(box: Box) -> int:
    return max(0, box.width) * max(0, box.height)
