"""Brings one surface of a client up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.painting import messages
from spicehop.painting.candidates import changed_areas, drawn_areas
from spicehop.painting.digests import Flags, PictureDigests, digest
from spicehop.painting.dirt import Dirt, rectangles
from spicehop.painting.imagecache import Place
from spicehop.painting.labels import EDGE, IMAGE, labelled
from spicehop.painting.output import Output
from spicehop.painting.replay import Copy, replay
from spicehop.painting.scrolls import LEAST_TILES, find_scrolls
from spicehop.painting.video import Moment, VideoPainter
from spicehop.painting.view import copy_rows
from spicehop.raster.changes import DisplayChange, Drawn
from spicehop.raster.region import Box, bounds

_MOST_TILES = 64
"""In one image: the client shows it while the next one is on its way."""
_GLIMPSE_TILES = 4
_NOTHING: Mapping[tuple[int, int], Box] = {}


class SurfacePainter:
    """One surface in one paint; `video` is given for the primary alone."""

    def __init__(
        self,
        surface_id: int,
        pixels: Pixels,
        output: Output,
        moment: Moment,
        *,
        repair_after: float,
        video: VideoPainter | None = None,
    ) -> None:
        self._surface_id = surface_id
        self._pixels = pixels
        self._output = output
        self._moment = moment
        self._repair_after = repair_after
        self._video = video
        self._view = output.view.surfaces[surface_id]
        self._grid = self._view.grid

    def paint(
        self,
        changes: Sequence[DisplayChange],
        sources: Mapping[tuple[int, int], Box] = _NOTHING,
        *,
        complete: bool,
    ) -> None:
        """Draw what the client lacks; tiles for which there is no room become stale.

        `sources` are the off-screen surfaces that can be copied from, as `replay` takes them.
        """
        view, grid, now = self._view, self._grid, self._moment.now
        dirt = Dirt(grid)
        copied = grid.flags()
        if complete:
            for area, _ in rectangles(view.stale.astype(np.int64)):
                dirt.add(grid.area(*area))
            unsteady = self._video.regions() if self._video is not None else []
            if self._video is not None:
                self._video.follow(changes, now, self._output)
            copied = self._repeat(replay(self._surface_id, changes, dirt, unsteady=unsteady, sources=sources))
        else:
            dirt.add(grid.box)
        in_dirt = dirt.tiles()
        still = view.lossy & (now - view.drawn_at >= self._repair_after)
        look = in_dirt | copied | still
        if not look.any():
            return
        picture = digest(self._pixels, look)
        changed = look & (picture.tiles != view.tiles)
        due = still & ~changed
        if self._video is not None:
            due &= ~self._video.rest(due, self._output)
        edges, done = self._draw_video(changed, picture, dirt, changes if complete else None)
        wanted = (changed & in_dirt & ~done) | due
        view.shown(look & ~wanted & ~done, picture)
        if wanted.any():
            view.stale |= wanted
            self._scroll(wanted & changed, picture)
            self._draw(wanted, due, edges, picture, dirt)

    def glimpse(self) -> None:
        """Draw one small part of what the client lacks. All else stays as it is known, for `paint`."""
        view, grid = self._view, self._grid
        picture = digest(self._pixels)
        changed = picture.tiles != view.tiles
        for region in self._video.regions() if self._video is not None else ():
            changed[grid.touched(region)] = False
        pieces = rectangles(changed.astype(np.int64), _GLIMPSE_TILES)
        if pieces:
            (top, left, bottom, right), _ = min(pieces, key=lambda piece: _tiles(piece[0]))
            wanted = grid.flags()
            wanted[top:bottom, left:right] = True
            view.stale |= wanted
            dirt = Dirt(grid)
            dirt.add(grid.box)
            self._draw(wanted, grid.flags(), grid.flags(), picture, dirt)

    def _repeat(self, copies: Sequence[Copy]) -> Flags:
        """Let the client copy by itself; returns the tiles of which it shows something else now."""
        view = self._view
        touched = self._grid.flags()
        for copy in copies:
            source = self._output.view.surfaces[copy.surface_id]
            if copy.surface_id == self._surface_id:
                message = messages.copy_bits(self._surface_id, copy.source, copy.x, copy.y)
                self._output.add(message)
            else:
                image = messages.from_surface(copy.surface_id, source.grid.width, source.grid.height)
                corner = (copy.source.left, copy.source.top)
                self._output.add(messages.draw_image(self._surface_id, copy.target, image, *corner))
            tiles = self._grid.touched(copy.target)
            if source.lossy[source.grid.touched(copy.source)].any():
                view.lossy[tiles] = True
            view.forget(copy.target)
            view.drawn_at[tiles] = self._moment.now
            touched[tiles] = True
        return touched

    def _draw_video(
        self, changed: Flags, picture: PictureDigests, dirt: Dirt, hints: Sequence[DisplayChange] | None
    ) -> tuple[Flags, Flags]:
        """Begin and feed streams; returns the tiles that a stream shows in part, and those it shows as a whole."""
        edges = self._grid.flags()
        if self._video is None:
            return edges, edges
        if changed.any():
            if hints is None:
                areas = changed_areas(changed, self._grid)
            else:
                drawn = [hint for hint in hints if isinstance(hint, Drawn) and hint.surface_id == self._surface_id]
                areas = drawn_areas([box for hint in drawn for box in hint.boxes], changed, self._grid)
            self._video.watch(areas, self._pixels, self._moment.now, self._output)
        waiting = self._video.draw(changed, self._pixels, self._moment, self._output)
        inside = self._grid.flags()
        for region in self._video.regions():
            dirt.remove(region)
            edges[self._grid.touched(region)] = True
            inside[self._grid.inside(region)] = True
        edges &= ~inside
        done = inside | (edges & ~dirt.tiles())
        self._view.shown(done & changed & ~waiting, picture)
        # Of a frame that waits the edges need no mark: they are lossy, and drawn exactly if no frame follows.
        self._view.stale |= waiting & inside
        return edges & ~done, done

    def _scroll(self, wanted: Flags, picture: PictureDigests) -> None:
        """Let the client move what has only moved up or down."""
        view, grid = self._view, self._grid
        if np.count_nonzero(wanted) < LEAST_TILES:
            return
        after = view.rows.copy()
        copy_rows(grid, wanted, picture.rows, after)
        regions = self._video.regions() if self._video is not None else []
        for scroll in find_scrolls(view.rows, after, wanted, grid):
            source, target = scroll.source, scroll.target
            if any(not region.intersect(part).is_empty for region in regions for part in (source, target)):
                continue
            self._output.add(messages.copy_bits(self._surface_id, source, target.left, target.top))
            touched = grid.touched(target)
            if view.lossy[grid.touched(source)].any():
                view.lossy[touched] = True
            view.tiles[touched] = np.where(wanted[touched], 0, view.tiles[touched])  # others show what they did
            view.drawn_at[touched] = self._moment.now
            columns, rows = touched[1], slice(target.top, target.bottom)
            view.rows[columns, rows] = after[columns, rows]

    def _draw(self, wanted: Flags, due: Flags, edges: Flags, picture: PictureDigests, dirt: Dirt) -> None:
        view, grid, output = self._view, self._grid, self._output
        labels, meanings = labelled(self._pixels, picture, wanted, edges, grid, output.view.images)
        pieces = rectangles(labels, _MOST_TILES)
        # What costs little comes first, and of the rest what was drawn longest ago: with little room, what changes all
        # the time would leave none for the others.
        pieces.sort(key=lambda piece: (piece[1] in (IMAGE, EDGE), self._oldest(piece[0])))
        for tiles, label in pieces:
            if output.is_full:
                return
            box = grid.area(*tiles)
            index = (slice(tiles[0], tiles[2]), slice(tiles[1], tiles[3]))
            meaning = meanings.get(label)
            cached = output.view.images.use(meaning.image_id) if isinstance(meaning, Place) else None
            view.drawn_at[index] = self._moment.now
            if isinstance(meaning, int):
                output.draw_fill(self._surface_id, box, meaning)
                view.lossy[index] = False
            elif cached is not None and isinstance(meaning, Place):
                output.draw_cached(self._surface_id, box, cached, box.left + meaning.x, box.top + meaning.y)
                view.lossy[index] = False
            else:
                parts = dirt.within(box) if label == EDGE else self._cropped(box, index, picture, dirt, due)
                exactly = bool(due[index].any())
                for part in parts:
                    whole = part == box
                    known = picture.tiles[index] if whole else None
                    exact = output.draw_pixels(self._surface_id, part, self._pixels, known, exactly=exactly)
                    if whole or not exact:
                        view.lossy[index] = not exact
            drawn = grid.flags()
            drawn[index] = True
            view.shown(drawn, picture)

    def _oldest(self, tiles: tuple[int, int, int, int]) -> float:
        """When the oldest of these tiles was drawn."""
        return float(self._view.drawn_at[tiles[0] : tiles[2], tiles[1] : tiles[3]].min())

    def _cropped(
        self, box: Box, index: tuple[slice, slice], picture: PictureDigests, dirt: Dirt, due: Flags
    ) -> list[Box]:
        """The parts of `box` that can differ, when that spares at least half of it."""
        if due[index].any():
            return [box]
        columns, rows = index[1], slice(box.top, box.bottom)
        differing = (self._view.rows[columns, rows] != picture.rows[columns, rows]).any(axis=0)
        if not differing.any():
            return []
        lines = np.flatnonzero(differing)
        strip = Box(box.left, box.top + int(lines[0]), box.right, box.top + int(lines[-1]) + 1)
        parts = [part for piece in dirt.within(box) if not (part := piece.intersect(strip)).is_empty]
        if len(parts) > 1:
            around = bounds(parts)
            if len(parts) > 4 or 2 * _size(parts) > _size([around]):
                parts = [around]
        return [box] if not parts or 2 * _size(parts) > _size([box]) else parts


def _tiles(area: tuple[int, int, int, int]) -> int:
    return (area[2] - area[0]) * (area[3] - area[1])


def _size(boxes: Sequence[Box]) -> int:
    return sum(box.width * box.height for box in boxes)
