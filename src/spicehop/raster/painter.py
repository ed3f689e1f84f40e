"""Drawing on one surface: copies, fills, moves, blends (reference: canvas_base.c and sw_canvas.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spicehop.codecs.bitmap import CELL, Cells, from_cells, to_cells
from spicehop.codecs.images import DecodedImage
from spicehop.raster import blending
from spicehop.raster.operations import Rop, combine, store
from spicehop.raster.region import Box, Mask, Region, bounds
from spicehop.raster.scaling import scaled
from spicehop.raster.surface import Surface
from spicehop.wire.display_constants import SurfaceFormat

_OPAQUE = 0xFF000000
_COLOR = 0x00FFFFFF


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image goes: `area` of the image to `box` of the surface, scaled when their sizes differ."""

    area: Box
    box: Box
    smooth: bool = False

    @property
    def is_scaled(self) -> bool:
        return (self.area.width, self.area.height) != (self.box.width, self.box.height)


def draw_image(surface: Surface, region: Region, image: DecodedImage, placement: Placement, rop: Rop) -> None:
    """Combine an image with the pixels of `region`. Pixels for which a copied image has none stay as they are."""
    cells = surface.adopted(image)
    if placement.is_scaled and not image.has_alpha and surface.format is SurfaceFormat.ARGB_32:
        # An image without alpha is opaque as soon as it is sampled; only plain copies keep its fourth byte.
        cells = cells | _OPAQUE
    for part, mask, values in _values(surface, region, cells, placement):
        target = surface.cells[part.area]
        if placement.is_scaled:
            values = values & _COLOR if surface.format is SurfaceFormat.XRGB_32 else surface.settled(values)
        store(target, _combined(surface, rop, values, target), mask)


def draw_transparent(
    surface: Surface, region: Region, image: DecodedImage, placement: Placement, color: int
) -> None:
    """Copy an image except for its pixels of one xRGB colour."""
    cells = surface.adopted(image)
    key = surface.reduced_color(color)
    compared = 0xFF if surface.is_alpha_only else _COLOR
    for part, mask, values in _values(surface, region, cells, placement):
        kept = (values & compared) != (key & compared)
        store(surface.cells[part.area], values, kept if mask is None else kept & mask)


def draw_blended(
    surface: Surface,
    region: Region,
    image: DecodedImage,
    placement: Placement,
    alpha: int,
    *,
    target_has_alpha: bool,
) -> None:
    """Lay an image over the pixels of `region`, its strength `alpha` of 255.

    Colours are premultiplied. `target_has_alpha` says that an xRGB surface holds alpha values in its fourth byte;
    else that byte becomes 0.
    """
    if surface.is_alpha_only:
        planes = surface.adopted(image)
        for part, mask, values in _values(surface, region, planes, placement, banded=True):
            target = surface.cells[part.area]
            store(target, surface.settled(blending.over_alpha(values, target, alpha)), mask)
        return
    cells = _as_argb(image)
    keeps_alpha = target_has_alpha or surface.format is SurfaceFormat.ARGB_32
    for part, mask, values in _values(surface, region, cells, placement, banded=True):
        target = surface.cells[part.area]
        result = to_cells(blending.over(from_cells(values), from_cells(target), alpha))
        store(target, surface.settled(result if keeps_alpha else result & _COLOR), mask)


def fill_color(surface: Surface, region: Region, color: int, rop: Rop) -> None:
    """Combine a colour, expressed in the surface's format, with the pixels of `region`."""
    cell = surface.color(color)
    for part, mask in region.parts():
        target = surface.cells[part.area]
        store(target, _combined(surface, rop, cell, target), mask)


def fill_pattern(surface: Surface, region: Region, tile: DecodedImage, left: int, top: int, rop: Rop) -> None:
    """Combine a repeated image, one copy of which has its corner at (left, top), with the pixels of `region`."""
    cells = surface.adopted(tile)
    if np.may_share_memory(cells, surface.cells):
        cells = cells.copy()
    height, width = cells.shape
    for part, mask in region.parts():
        rows = (np.arange(part.top, part.bottom, dtype=np.int64) - top) % height
        columns = (np.arange(part.left, part.right, dtype=np.int64) - left) % width
        target = surface.cells[part.area]
        store(target, _combined(surface, rop, cells[rows[:, None], columns], target), mask)


def copy_bits(surface: Surface, region: Region, dx: int, dy: int) -> Region:
    """Move pixels by (dx, dy) into `region`; what would come from outside the surface is left out.

    All pixels are read before any is written. Returns the region that was written.
    """
    source_box = surface.box.shifted(dx, dy)
    reachable = _intersected(region, source_box)
    if reachable.is_empty or (dx == 0 and dy == 0):
        return reachable
    around = bounds(reachable.boxes)
    origin = around.shifted(-dx, -dy)
    cells = surface.cells[origin.area]
    if len(reachable.boxes) > 1 or reachable.mask is not None:
        cells = cells.copy()
    for part, mask in reachable.parts():
        store(surface.cells[part.area], cells[part.within(around)], mask)
    return reachable


def _intersected(region: Region, box: Box) -> Region:
    if all(part.intersect(box) == part for part in region.boxes):
        return region
    if region.mask is None:
        return Region(tuple(piece for part in region.boxes if not (piece := part.intersect(box)).is_empty))
    around = region.boxes[0]
    piece = around.intersect(box)
    return Region(()) if piece.is_empty else Region((piece,), region.mask[piece.within(around)])


def _values(
    surface: Surface, region: Region, cells: Cells, placement: Placement, *, banded: bool = False
) -> Iterator[tuple[Box, Mask | None, Cells]]:
    """The image's cells for each part of `region`: box, mask and cells of the same shape."""
    area, box = placement.area, placement.box
    if np.may_share_memory(cells, surface.cells):
        cells = cells.copy()
    if not placement.is_scaled:
        dx, dy = area.left - box.left, area.top - box.top
        image_box = Box(0, 0, cells.shape[1], cells.shape[0])
        for part, mask in region.bands() if banded else region.parts():
            source = part.shifted(dx, dy)
            inside = source.intersect(image_box)
            if inside.is_empty:
                continue
            if inside == source:
                yield part, mask, cells[source.area]
                continue
            visible = inside.shifted(-dx, -dy)
            yield visible, None if mask is None else mask[visible.within(part)], cells[inside.area]
        return
    for part, mask in region.bands():
        yield part, mask, scaled(cells, area, box, part, smooth=placement.smooth)


def _combined(surface: Surface, rop: Rop, source: Cells, target: Cells) -> Cells:
    result = combine(rop, source, target)
    # A pixel of 16 bits has no fourth byte that an inversion could set.
    return result if rop is Rop.COPY or surface.palette_bits != 16 else result & _COLOR


def _as_argb(image: DecodedImage) -> Cells:
    cells = to_cells(image.pixels)
    if image.pixels.ndim == 2:
        return cells.astype(CELL) << 24
    return cells if image.has_alpha else cells | _OPAQUE
