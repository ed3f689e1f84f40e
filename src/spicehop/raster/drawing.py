"""Draw messages to pixels: which images they need, where they go, by which operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from spicehop.codecs.glz import MissingImage
from spicehop.codecs.images import DecodedImage, ImageDecoder
from spicehop.errors import ProtocolError
from spicehop.raster import painter
from spicehop.raster.geometry import box_of, clip_boxes
from spicehop.raster.operations import Rop, rop_of
from spicehop.raster.painter import Placement
from spicehop.raster.region import Region
from spicehop.raster.results import Damage, NotDrawn
from spicehop.raster.surface import Surface
from spicehop.raster.surfaces import MissingSurface, SurfaceTable
from spicehop.wire import drawing as wire
from spicehop.wire.display_constants import AlphaFlag, BrushKind, MaskFlag, Ropd, ScaleMode, SurfaceFormat
from spicehop.wire.image import Image, SurfaceImage

DrawMessage: TypeAlias = (
    wire.CopyBits
    | wire.DrawFill
    | wire.DrawOpaque
    | wire.DrawCopy
    | wire.DrawBlend
    | wire.DrawBlackness
    | wire.DrawWhiteness
    | wire.DrawInvers
    | wire.DrawRop3
    | wire.DrawStroke
    | wire.DrawText
    | wire.DrawTransparent
    | wire.DrawAlphaBlend
    | wire.DrawComposite
)

_BLACK, _WHITE = 0, 0xFFFFFFFF


class Drawer:
    """Draws on the surfaces of one display channel.

    All images of a message are decoded before a pixel changes. When one of them has to wait for another display
    channel, `MissingImage` is raised, and the same message object can be drawn again later: what was decoded is kept
    until then, because a GLZ image can be decoded only once.
    """

    def __init__(self, surfaces: SurfaceTable, decoder: ImageDecoder) -> None:
        self._surfaces = surfaces
        self._decoder = decoder
        self._decoded: list[tuple[Image, DecodedImage | None]] = []
        self._waiting: DrawMessage | None = None

    def draw(self, message: DrawMessage) -> Damage | NotDrawn | None:
        """Draw one message; None when no pixel of it is visible."""
        if message is not self._waiting:
            self.forget()
        try:
            result = self._draw(message)
        except MissingImage:
            self._waiting = message
            raise
        except BaseException:
            self.forget()
            raise
        self.forget()
        return result

    def forget(self) -> None:
        """Drop what was decoded for a message that waited."""
        self._decoded.clear()
        self._waiting = None

    def _draw(self, message: DrawMessage) -> Damage | NotDrawn | None:
        method = _METHODS.get(type(message))
        if method is None:
            self._touch_images(message)
            return NotDrawn(message.NAME, "this operation is not drawn yet")
        try:
            surface = self._surfaces.surface(message.base.surface_id)
            region = method(self, message, surface)
        except MissingSurface as error:
            self._touch_images(message)
            return NotDrawn(message.NAME, str(error))
        return None if region.is_empty else Damage(surface.surface_id, region.boxes)

    # What messages have in common

    def _region(self, base: wire.DisplayBase, surface: Surface, mask: wire.QMask | None = None) -> Region:
        """The pixels of a drawing: its box inside the surface, its clip and its mask."""
        box = box_of(base.box)
        region = Region.clipped(box.intersect(surface.box), clip_boxes(base.clip))
        if mask is None or mask.image is None:
            return region
        known = self._known(mask.image)
        if known is None:
            known = DecodedImage(self._decoder.decode_mask(mask.image), has_alpha=True)
            self._decoded.append((mask.image, known))
        bits = known.pixels >= 128
        if mask.flags & MaskFlag.INVERS:
            np.logical_not(bits, out=bits)
        return region.masked(bits, box.left - mask.pos.x, box.top - mask.pos.y)

    def _image(self, image: Image | None, surface: Surface) -> DecodedImage:
        if image is None:
            raise ProtocolError("a drawing has no image")
        known = self._known(image)
        if known is None:
            known = self._decoder.decode(image, palette_bits=surface.palette_bits)
            self._decoded.append((image, known))
        return known

    def _known(self, image: Image) -> DecodedImage | None:
        return next((decoded for known, decoded in self._decoded if known is image), None)

    def _touch(self, image: Image | None, surface: Surface | None = None) -> None:
        if image is None or any(known is image for known, _ in self._decoded):
            return
        self._decoder.touch(image, palette_bits=surface.palette_bits if surface is not None else 32)
        self._decoded.append((image, None))

    def _touch_brush(self, brush: wire.Brush, surface: Surface | None = None) -> None:
        if brush.pattern is not None:
            self._touch(brush.pattern.image, surface)

    def _touch_images(self, message: DrawMessage) -> None:
        """Take all images of a message that is not drawn into caches and GLZ window."""
        for image in _images(message):
            self._touch(image)
        mask = getattr(message, "mask", None)
        if isinstance(mask, wire.QMask) and mask.image is not None and self._known(mask.image) is None:
            self._decoder.touch_mask(mask.image)

    def _brush(self, brush: wire.Brush, surface: Surface) -> Callable[[Region, Rop], None]:
        """What paints with `brush` on `surface`; its pattern is decoded now."""
        if brush.kind == BrushKind.PATTERN and brush.pattern is not None:
            pattern = brush.pattern
            tile = self._image(pattern.image, surface)
            return lambda region, rop: painter.fill_pattern(
                surface, region, tile, pattern.pos.x, pattern.pos.y, rop
            )
        if brush.kind in (BrushKind.NONE, BrushKind.SOLID):
            color = brush.color if brush.kind == BrushKind.SOLID else 0
            return lambda region, rop: painter.fill_color(surface, region, color, rop)
        raise ProtocolError(f"brush kind {brush.kind} does not exist")

    # One method per message

    def _fill(self, message: wire.DrawFill, surface: Surface) -> Region:
        region = self._region(message.base, surface, message.mask)
        rop = rop_of(message.rop, Ropd.INVERS_BRUSH, Ropd.INVERS_DEST)
        if region.is_empty or rop is Rop.NOOP:
            self._touch_brush(message.brush, surface)
            return Region(())
        self._brush(message.brush, surface)(region, rop)
        return region

    def _copy(self, message: wire.DrawCopy | wire.DrawBlend, surface: Surface) -> Region:
        region = self._region(message.base, surface, message.mask)
        rop = rop_of(message.rop, Ropd.INVERS_SRC, Ropd.INVERS_DEST)
        if region.is_empty or rop is Rop.NOOP:
            self._touch(message.source, surface)
            return Region(())
        image = self._image(message.source, surface)
        painter.draw_image(surface, region, image, _placement(message), rop)
        return region

    def _opaque(self, message: wire.DrawOpaque, surface: Surface) -> Region:
        region = self._region(message.base, surface, message.mask)
        # The image is drawn first, then the brush is combined with it: the image is the target of the operation.
        rop = rop_of(message.rop, Ropd.INVERS_BRUSH, Ropd.INVERS_SRC)
        if region.is_empty:
            self._touch(message.source, surface)
            self._touch_brush(message.brush, surface)
            return region
        image = self._image(message.source, surface)
        paint = self._brush(message.brush, surface)
        painter.draw_image(surface, region, image, _placement(message), Rop.COPY)
        paint(region, rop)
        return region

    def _copy_bits(self, message: wire.CopyBits, surface: Surface) -> Region:
        box, source = message.base.box, message.source_pos
        region = self._region(message.base, surface)
        return painter.copy_bits(surface, region, box.left - source.x, box.top - source.y)

    def _blackness(self, message: wire.DrawBlackness, surface: Surface) -> Region:
        region = self._region(message.base, surface, message.mask)
        painter.fill_color(surface, region, _BLACK, Rop.COPY)
        return region

    def _whiteness(self, message: wire.DrawWhiteness, surface: Surface) -> Region:
        region = self._region(message.base, surface, message.mask)
        painter.fill_color(surface, region, _WHITE, Rop.COPY)
        return region

    def _invers(self, message: wire.DrawInvers, surface: Surface) -> Region:
        region = self._region(message.base, surface, message.mask)
        painter.fill_color(surface, region, _BLACK, Rop.INVERT)
        return region

    def _transparent(self, message: wire.DrawTransparent, surface: Surface) -> Region:
        region = self._region(message.base, surface)
        if region.is_empty:
            self._touch(message.source, surface)
            return region
        image = self._image(message.source, surface)
        placement = Placement(box_of(message.source_area), box_of(message.base.box))
        painter.draw_transparent(surface, region, image, placement, message.true_color)
        return region

    def _alpha_blend(self, message: wire.DrawAlphaBlend, surface: Surface) -> Region:
        region = self._region(message.base, surface)
        if region.is_empty or message.alpha == 0:
            self._touch(message.source, surface)
            return Region(())
        image = self._image(message.source, surface)
        if message.alpha_flags & AlphaFlag.SRC_SURFACE_HAS_ALPHA and self._is_xrgb_surface(message.source):
            image = DecodedImage(image.pixels, has_alpha=True)
        painter.draw_blended(
            surface,
            region,
            image,
            Placement(box_of(message.source_area), box_of(message.base.box)),
            message.alpha,
            target_has_alpha=bool(message.alpha_flags & AlphaFlag.DEST_HAS_ALPHA),
        )
        return region

    def _is_xrgb_surface(self, image: Image | None) -> bool:
        """Whether an image is a surface whose fourth byte a flag can declare to be alpha."""
        if image is None or not isinstance(image.payload, SurfaceImage):
            return False
        return self._surfaces.surface(image.payload.surface_id).format is SurfaceFormat.XRGB_32


_METHODS: dict[type, Callable[[Drawer, Any, Surface], Region]] = {
    wire.CopyBits: Drawer._copy_bits,
    wire.DrawFill: Drawer._fill,
    wire.DrawOpaque: Drawer._opaque,
    wire.DrawCopy: Drawer._copy,
    wire.DrawBlend: Drawer._copy,
    wire.DrawBlackness: Drawer._blackness,
    wire.DrawWhiteness: Drawer._whiteness,
    wire.DrawInvers: Drawer._invers,
    wire.DrawTransparent: Drawer._transparent,
    wire.DrawAlphaBlend: Drawer._alpha_blend,
}

NOT_DRAWN = frozenset({wire.DrawRop3, wire.DrawStroke, wire.DrawText, wire.DrawComposite})
"""Draw messages that give a `NotDrawn`; their images still enter the caches."""

DRAW_MESSAGES = frozenset(_METHODS) | NOT_DRAWN


def _placement(message: wire.DrawCopy | wire.DrawBlend | wire.DrawOpaque) -> Placement:
    if message.scale_mode not in (ScaleMode.INTERPOLATE, ScaleMode.NEAREST):
        raise ProtocolError(f"scale mode {message.scale_mode} does not exist")
    smooth = message.scale_mode == ScaleMode.INTERPOLATE
    return Placement(box_of(message.source_area), box_of(message.base.box), smooth)


def _images(message: DrawMessage) -> Iterator[Image | None]:
    """Every image of a message that is not a one-bit mask."""
    for name in ("source", "mask", "brush", "fore_brush", "back_brush"):
        part = getattr(message, name, None)
        if isinstance(part, Image):
            yield part
        elif isinstance(part, wire.Brush) and part.pattern is not None:
            yield part.pattern.image
