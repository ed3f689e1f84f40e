"""One display channel's picture: display messages in, pixels and damage out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spicehop.codecs.bitmap import MAX_PIXELS, Pixels
from spicehop.codecs.images import ImageCaches, ImageDecoder
from spicehop.errors import ProtocolError, StateError
from spicehop.raster.drawing import DRAW_MESSAGES, Drawer
from spicehop.raster.results import Damage, NotDrawn
from spicehop.raster.streams import StreamTable
from spicehop.raster.surface import PixelBudget, Surface
from spicehop.raster.surfaces import SurfaceTable
from spicehop.wire import display as wire
from spicehop.wire.display_constants import ResourceType, SurfaceFlag, SurfaceFormat
from spicehop.wire.layout import Message

_LEGACY_FORMATS = {16: SurfaceFormat.RGB_555, 32: SurfaceFormat.XRGB_32}


class Canvas:
    """The picture of one display channel.

    `caches` is shared by all display channels of a session, and so may be `budget`, which counts the pixels of
    surfaces. `apply` takes every message of the channel in the order of arrival; waiting (WAIT_FOR_CHANNELS,
    INVAL_ALL_PIXMAPS, migration) is the channel's business and is over when a message comes here.
    """

    def __init__(
        self,
        caches: ImageCaches | None = None,
        *,
        budget: PixelBudget | None = None,
        max_image_pixels: int = MAX_PIXELS,
    ) -> None:
        self.caches = caches if caches is not None else ImageCaches()
        self.surfaces = SurfaceTable(budget if budget is not None else PixelBudget())
        self.streams = StreamTable(max_image_pixels)
        self.monitors: tuple[wire.Head, ...] = ()
        self.is_marked = False
        self._decoder = ImageDecoder(self.caches, self.surfaces.image, max_pixels=max_image_pixels)
        self._drawer = Drawer(self.surfaces, self._decoder)

    @property
    def primary(self) -> Surface | None:
        """The surface that is shown; None before the server has created it. `is_marked` says that it is complete."""
        return self.surfaces.primary

    def screenshot(self) -> Pixels:
        """A copy of the primary surface, `(height, width, 4)` B, G, R, X; `StateError` when there is none."""
        primary = self.primary
        if primary is None:
            raise StateError("this display has no picture yet")
        if primary.is_alpha_only:
            raise StateError("the primary surface of this display has no colours")
        return primary.pixels.copy()

    def apply(self, message: Message) -> Damage | NotDrawn | None:
        """Let one message take effect and say which pixels it may have changed.

        Messages that are no business of the picture give None. `ProtocolError` means that the server is at fault.
        Its subclass `codecs.glz.MissingImage` means that an image on another display channel must come first: nothing
        has changed, apply the same message object again when another channel has received something.
        """
        if type(message) in DRAW_MESSAGES:
            return self._drawer.draw(message)  # type: ignore[arg-type]
        method = _METHODS.get(type(message))
        return None if method is None else method(self, message)

    def begin_anew(self, caches: ImageCaches) -> None:
        """The channel begins again: at another server, which knows nothing of this one (dossier C2, C5), or at the same
        one after its connection was lost.

        Streams, palettes and all surfaces but the primary go; the primary stays visible until the server has created
        and drawn its own. `caches` take the place of those so far.
        """
        self.caches = self._decoder.caches = caches
        self._drawer.forget()
        self.streams.clear()
        self._decoder.palettes.clear()
        self.surfaces.destroy_all(keep_primary=True)

    def close(self) -> None:
        """Give back all pixels to the budget."""
        self._drawer.forget()
        self.streams.clear()
        self.surfaces.destroy_all(keep_primary=False)

    def _mode(self, message: wire.Mode) -> Damage | None:
        format = _LEGACY_FORMATS.get(message.bits)
        if format is None:
            raise ProtocolError(f"a display mode of {message.bits} bits does not exist")
        return self._create(0, message.width, message.height, format, is_primary=True)

    def _mark(self, message: wire.Mark) -> None:
        self.is_marked = True

    def _reset(self, message: wire.Reset) -> Damage | None:
        self._decoder.palettes.clear()
        self.is_marked = False
        primary = self.primary
        if primary is None:
            return None
        primary.cells[...] = 0
        return Damage(primary.surface_id, (primary.box,))

    def _surface_create(self, message: wire.SurfaceCreate) -> Damage | None:
        is_primary = bool(message.flags & SurfaceFlag.PRIMARY)
        return self._create(
            message.surface_id, message.width, message.height, message.format, is_primary=is_primary
        )

    def _create(self, surface_id: int, width: int, height: int, format: int, *, is_primary: bool) -> Damage | None:
        created = self.surfaces.create(surface_id, width, height, format, is_primary=is_primary)
        return None if created is None else Damage(surface_id, (created.box,))

    def _surface_destroy(self, message: wire.SurfaceDestroy) -> None:
        primary = self.primary
        if primary is not None and primary.surface_id == message.surface_id:
            self.is_marked = False
        self.streams.destroy_on(message.surface_id)
        self.surfaces.destroy(message.surface_id)

    def _monitors_config(self, message: wire.MonitorsConfig) -> None:
        self.monitors = message.heads

    def _inval_list(self, message: wire.InvalList) -> None:
        for resource in message.resources:
            if resource.type == ResourceType.PIXMAP:
                self.caches.pixmaps.discard(resource.id)

    def _inval_all_pixmaps(self, message: wire.InvalAllPixmaps) -> None:
        self.caches.pixmaps.clear()

    def _inval_palette(self, message: wire.InvalPalette) -> None:
        self._decoder.palettes.discard(message.id)

    def _inval_all_palettes(self, message: wire.InvalAllPalettes) -> None:
        self._decoder.palettes.clear()

    def _stream_create(self, message: wire.StreamCreate) -> None:
        self.streams.create(message)

    def _stream_data(self, message: wire.StreamData | wire.StreamDataSized) -> Damage | NotDrawn | None:
        return self.streams.draw(message, self.surfaces)

    def _stream_clip(self, message: wire.StreamClip) -> None:
        self.streams.clip(message)

    def _stream_destroy(self, message: wire.StreamDestroy) -> None:
        self.streams.destroy(message.id)

    def _stream_destroy_all(self, message: wire.StreamDestroyAll) -> None:
        self.streams.clear()

    def _stream_activate_report(self, message: wire.StreamActivateReport) -> None:
        self.streams.activate_report(message)

    def _gl(self, message: wire.GlScanoutUnix | wire.GlDraw) -> NotDrawn:
        return NotDrawn(message.NAME, "pictures in GPU buffers are not shown")


_METHODS: dict[type, Callable[[Canvas, Any], Damage | NotDrawn | None]] = {
    wire.Mode: Canvas._mode,
    wire.Mark: Canvas._mark,
    wire.Reset: Canvas._reset,
    wire.SurfaceCreate: Canvas._surface_create,
    wire.SurfaceDestroy: Canvas._surface_destroy,
    wire.MonitorsConfig: Canvas._monitors_config,
    wire.InvalList: Canvas._inval_list,
    wire.InvalAllPixmaps: Canvas._inval_all_pixmaps,
    wire.InvalPalette: Canvas._inval_palette,
    wire.InvalAllPalettes: Canvas._inval_all_palettes,
    wire.StreamCreate: Canvas._stream_create,
    wire.StreamData: Canvas._stream_data,
    wire.StreamDataSized: Canvas._stream_data,
    wire.StreamClip: Canvas._stream_clip,
    wire.StreamDestroy: Canvas._stream_destroy,
    wire.StreamDestroyAll: Canvas._stream_destroy_all,
    wire.StreamActivateReport: Canvas._stream_activate_report,
    wire.GlScanoutUnix: Canvas._gl,
    wire.GlDraw: Canvas._gl,
}
