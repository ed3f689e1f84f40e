"""The few draw messages that painting uses (dossier B.2)."""

from __future__ import annotations

from spicehop.raster.region import Box
from spicehop.wire import display as wire
from spicehop.wire.display_constants import BrushKind, ClipKind, ImageType, Ropd, ScaleMode
from spicehop.wire.image import FromCache, Image, ImageDescriptor, SurfaceImage

_NO_CLIP = wire.Clip()
_NO_MASK = wire.QMask()

DRAWING_BYTES = 80
"""About what a drawing takes without its image."""


def rect(box: Box) -> wire.Rect:
    """A box in the wire's order of fields."""
    return wire.Rect(box.top, box.left, box.bottom, box.right)


def clip(boxes: tuple[Box, ...]) -> wire.Clip:
    """Only these boxes are drawn."""
    return wire.Clip(ClipKind.RECTS, tuple([rect(box) for box in boxes]))


def copy_bits(surface_id: int, source: Box, x: int, y: int) -> wire.CopyBits:
    """Move `source` of a surface to (x, y)."""
    target = source.shifted(x - source.left, y - source.top)
    return wire.CopyBits(_base(surface_id, target), wire.Point(source.left, source.top))


def fill(surface_id: int, box: Box, color: int) -> wire.DrawFill:
    """Fill a box with an xRGB colour."""
    return wire.DrawFill(_base(surface_id, box), wire.Brush(BrushKind.SOLID, color), Ropd.OP_PUT, _NO_MASK)


def draw_image(surface_id: int, box: Box, image: Image, x: int = 0, y: int = 0) -> wire.DrawCopy:
    """Draw the part of an image that begins at its pixel (x, y)."""
    area = wire.Rect(y, x, y + box.height, x + box.width)
    return wire.DrawCopy(_base(surface_id, box), image, area, Ropd.OP_PUT, ScaleMode.NEAREST, _NO_MASK)


def from_cache(image_id: int, width: int, height: int) -> Image:
    """An image that the client has in its cache."""
    return Image(ImageDescriptor(image_id, ImageType.FROM_CACHE, 0, width, height), FromCache())


def from_surface(surface_id: int, width: int, height: int) -> Image:
    """Another surface as an image."""
    return Image(ImageDescriptor(surface_id, ImageType.SURFACE, 0, width, height), SurfaceImage(surface_id))


def _base(surface_id: int, box: Box) -> wire.DisplayBase:
    return wire.DisplayBase(surface_id, rect(box), _NO_CLIP)
