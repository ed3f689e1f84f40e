"""From a guest's pixels to the draw messages that one client needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spicehop.codecs.bitmap import Pixels
from spicehop.painting.images import SharedImages
from spicehop.painting.output import Output
from spicehop.painting.replay import PRIMARY, steady_sources
from spicehop.painting.settings import PaintSettings
from spicehop.painting.surfacepainter import paint_surface
from spicehop.painting.view import ClientView, SurfaceView
from spicehop.raster.changes import DisplayChange, Resized, SurfaceCreated, SurfaceDestroyed
from spicehop.wire import display as wire
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import SurfaceFlag, SurfaceFormat
from spicehop.wire.layout import Message

_NO_SURFACES: Mapping[int, Pixels] = {}


class Painter:
    """Keeps one client's picture of one display up to date.

    Pixels are `(height, width, 4)` B, G, R, X. Messages come back in the order in which they must be sent; once they
    are returned the view counts them as shown. A frame is dropped by not calling `paint`.
    """

    def __init__(self, view: ClientView, settings: PaintSettings, shared: SharedImages) -> None:
        self.view = view
        self.settings = settings
        self.shared = shared

    @property
    def is_behind(self) -> bool:
        """Whether tiles were left out because there was no room for them: paint again as soon as there is."""
        return any(surface.stale.any() for surface in self.view.surfaces.values())

    def client_message(self, message: Message, now: float) -> None:
        """Something that the client sent on its display channel."""
        match message:
            case wire.Init():
                most = self.settings.max_cached_pixels
                self.view.images.capacity = max(0, min(message.pixmap_cache_size, most))
                self.view.glz_window_pixels = max(0, message.glz_window_size)
            case wire.PreferredCompression():
                self.view.preferred_compression = message.compression
            case wire.PreferredVideoCodecType():
                self.view.preferred_codecs = message.codecs
            case _:
                pass

    def begin(
        self,
        pixels: Pixels,
        surfaces: Mapping[int, Pixels] = _NO_SURFACES,
        now: float = 0.0,
        *,
        room: int | None = None,
    ) -> list[Message]:
        """The first picture; nothing for a client that has one, because its view was restored."""
        if self.view.has_begun:
            return []
        output = Output(self.view, self.settings, self.shared, room)
        output.add(wire.InvalAllPalettes())
        self._create_primary(pixels, output)
        self._paint(pixels, surfaces, (), output, complete=False)
        output.add(wire.Mark())
        return output.messages

    def paint(
        self,
        pixels: Pixels,
        surfaces: Mapping[int, Pixels],
        changes: Sequence[DisplayChange],
        now: float,
        *,
        complete: bool,
        room: int | None = None,
    ) -> list[Message]:
        """What brings the client up to date with `pixels` and the off-screen `surfaces`.

        `changes` is what has happened since the last `paint` or `begin`, `complete` says that it is all of that: frames
        may have been left out, but no change. Without it the whole picture is compared. About `room` bytes are made;
        what does not fit is made up for next time (`is_behind`).
        """
        if not self.view.has_begun:
            return self.begin(pixels, surfaces, now, room=room)
        output = Output(self.view, self.settings, self.shared, room)
        grid = self.view.surfaces[PRIMARY].grid
        if (grid.height, grid.width) != pixels.shape[:2]:
            output.add(wire.SurfaceDestroy(PRIMARY))
            self._create_primary(pixels, output)
            self._paint(pixels, surfaces, changes, output, complete=False)
            output.add(wire.Mark())
        else:
            resized = any(isinstance(change, Resized) for change in changes)
            self._paint(pixels, surfaces, changes, output, complete=complete and not resized)
        return output.messages

    def _create_primary(self, pixels: Pixels, output: Output) -> None:
        height, width = pixels.shape[:2]
        output.add(wire.SurfaceCreate(PRIMARY, width, height, SurfaceFormat.XRGB_32, SurfaceFlag.PRIMARY))
        if DisplayCap.MONITORS_CONFIG in self.view.capabilities:
            output.add(wire.MonitorsConfig(1, (wire.Head(0, PRIMARY, width, height, 0, 0, 0),)))
        self.view.surfaces[PRIMARY] = SurfaceView(width, height)

    def _paint(
        self,
        pixels: Pixels,
        surfaces: Mapping[int, Pixels],
        changes: Sequence[DisplayChange],
        output: Output,
        *,
        complete: bool,
    ) -> None:
        gone = self._fit_surfaces(surfaces, changes, output)
        for surface_id, picture in surfaces.items():
            paint_surface(surface_id, picture, changes, output, complete=complete)
        ready = {
            surface_id: self.view.surfaces[surface_id].grid.box
            for surface_id in surfaces
            if not self.view.surfaces[surface_id].stale.any()
        }
        sources = steady_sources(changes, ready) if complete else {}
        paint_surface(PRIMARY, pixels, changes, output, complete=complete, sources=sources)
        for surface_id in gone:
            output.add(wire.SurfaceDestroy(surface_id))
            del self.view.surfaces[surface_id]

    def _fit_surfaces(
        self, surfaces: Mapping[int, Pixels], changes: Sequence[DisplayChange], output: Output
    ) -> list[int]:
        """Create the off-screen surfaces that the client lacks; returns those that it has no more use for."""
        renewed = {
            change.surface_id for change in changes if isinstance(change, SurfaceCreated | SurfaceDestroyed)
        }
        for surface_id, picture in surfaces.items():
            height, width = picture.shape[:2]
            known = self.view.surfaces.get(surface_id)
            if known is not None:
                if (known.grid.width, known.grid.height) == (width, height):
                    if surface_id in renewed:
                        known.stale[:] = True
                    continue
                output.add(wire.SurfaceDestroy(surface_id))
            output.add(wire.SurfaceCreate(surface_id, width, height, SurfaceFormat.XRGB_32, 0))
            self.view.surfaces[surface_id] = SurfaceView(width, height)
        return [number for number in self.view.surfaces if number != PRIMARY and number not in surfaces]
