"""Brings one surface of a client up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.painting import messages
from spicehop.painting.digests import TILE, Flags, Grid, PictureDigests, digest
from spicehop.painting.dirt import Dirt, rectangles
from spicehop.painting.imagecache import ImageCache, Place
from spicehop.painting.output import Output
from spicehop.painting.replay import Copy, replay
from spicehop.raster.changes import DisplayChange
from spicehop.raster.region import Box, bounds

_MOST_TILES = 64
"""In one image: the client shows it while the next one is on its way."""
_IMAGE = 1
"""Label of tiles whose pixels are sent; other labels are colours and places in the cache."""


def paint_surface(
    surface_id: int,
    pixels: Pixels,
    changes: Sequence[DisplayChange],
    output: Output,
    *,
    complete: bool,
    sources: Mapping[tuple[int, int], Box] | None = None,
) -> None:
    """Draw what the client lacks of `pixels`; tiles for which there is no room become stale."""
    view = output.view.surfaces[surface_id]
    grid = view.grid
    dirt = Dirt(grid)
    copies: list[Copy] = []
    if complete:
        if view.stale.any():
            for area, _ in rectangles(view.stale.astype(np.int64)):
                dirt.add(grid.area(*area))
        copies = replay(surface_id, changes, dirt, sources=sources or {})
    else:
        dirt.add(grid.box)
    in_dirt = dirt.tiles()
    look = in_dirt | _repeat_copies(surface_id, copies, output)
    if not look.any():
        return
    picture = digest(pixels, look)
    changed = look & (picture.tiles != view.tiles)
    wanted = changed & in_dirt
    view.shown(look & ~wanted, picture)
    if wanted.any():
        view.stale |= wanted
        _draw(surface_id, pixels, picture, wanted, dirt, output)


def _repeat_copies(surface_id: int, copies: Sequence[Copy], output: Output) -> Flags:
    """Let the client copy by itself; returns the tiles of which it shows something else now."""
    view = output.view.surfaces[surface_id]
    touched = view.grid.flags()
    for copy in copies:
        source = output.view.surfaces[copy.surface_id]
        if copy.surface_id == surface_id:
            output.add(messages.copy_bits(surface_id, copy.source, copy.x, copy.y))
        else:
            image = messages.from_surface(copy.surface_id, source.grid.width, source.grid.height)
            output.add(
                messages.draw_image(surface_id, copy.target, image, copy.source.left, copy.source.top)
            )
        tiles = view.grid.touched(copy.target)
        if source.lossy[source.grid.touched(copy.source)].any():
            view.lossy[tiles] = True
        view.forget(tiles)
        touched[tiles] = True
    return touched


def _draw(
    surface_id: int, pixels: Pixels, picture: PictureDigests, wanted: Flags, dirt: Dirt, output: Output
) -> None:
    view = output.view.surfaces[surface_id]
    grid = view.grid
    labels, meanings = _labels(pixels, picture, wanted, grid, output.view.images)
    pieces = rectangles(labels, _MOST_TILES)
    pieces.sort(key=lambda piece: piece[1] == _IMAGE)  # what costs little comes first
    for tiles, label in pieces:
        if output.is_full:
            return
        box = grid.area(*tiles)
        index = (slice(tiles[0], tiles[2]), slice(tiles[1], tiles[3]))
        meaning = meanings.get(label)
        if isinstance(meaning, int):
            output.draw_fill(surface_id, box, meaning)
        elif meaning is not None and output.view.images.use(meaning.image_id) is not None:
            output.draw_cached(surface_id, box, meaning.image_id, box.left + meaning.x, box.top + meaning.y)
        else:
            for part in _cropped(box, dirt):
                whole = part == box
                output.draw_pixels(surface_id, part, pixels, picture.tiles[index] if whole else None)
        drawn = grid.flags()
        drawn[index] = True
        view.shown(drawn, picture)


def _labels(
    pixels: Pixels, picture: PictureDigests, wanted: Flags, grid: Grid, images: ImageCache
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], dict[int, int | Place]]:
    """A number for each wanted tile, the same for those that can be drawn together, and what the numbers mean.

    A colour stands for itself; a place says how far the cached image's pixels are from the surface's.
    """
    labels = wanted.astype(np.int64)
    meanings: dict[int, int | Place] = {}
    numbers: dict[int | Place, int] = {}
    for row, column in np.argwhere(wanted).tolist():
        meaning: int | Place | None = None
        if picture.solid[row, column]:
            blue, green, red = pixels[row * TILE, column * TILE, :3].tolist()
            meaning = red << 16 | green << 8 | blue
        else:
            place = images.place(int(picture.tiles[row, column]))
            if place is not None and _is_whole(grid, row, column):
                meaning = Place(place.image_id, place.x - column * TILE, place.y - row * TILE)
        if meaning is not None:
            number = numbers.setdefault(meaning, len(numbers) + _IMAGE + 1)
            meanings[number] = meaning
            labels[row, column] = number
    return labels, meanings


def _is_whole(grid: Grid, row: int, column: int) -> bool:
    return (row + 1) * TILE <= grid.height and (column + 1) * TILE <= grid.width


def _cropped(box: Box, dirt: Dirt) -> list[Box]:
    """The parts of `box` that can differ, when that spares at least half of it."""
    parts = dirt.within(box)
    if len(parts) > 1:
        around = bounds(parts)
        if len(parts) > 4 or 2 * sum(part.width * part.height for part in parts) > around.width * around.height:
            parts = [around]
    if 2 * sum(part.width * part.height for part in parts) > box.width * box.height:
        return [box]
    return parts
