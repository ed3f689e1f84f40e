"""From a guest's pixels to the draw messages that one client needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.painting.images import SharedImages
from spicehop.painting.output import Output
from spicehop.painting.replay import PRIMARY, steady_sources
from spicehop.painting.settings import PaintSettings
from spicehop.painting.surfacepainter import SurfacePainter
from spicehop.painting.video import Moment, VideoPainter
from spicehop.painting.view import ClientView, SurfaceView
from spicehop.raster.changes import DisplayChange, Resized, SurfaceCreated, SurfaceDestroyed
from spicehop.wire import display as wire
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import MAX_SURFACES, SurfaceFlag, SurfaceFormat
from spicehop.wire.layout import Message


class Painter:
    """Keeps one client's picture of one display up to date.

    Pixels are `(height, width, 4)` B, G, R, X. Messages come back in the order in which they must be sent; once they
    are returned the view counts them as shown. A frame is dropped by not calling `paint`.
    """

    def __init__(self, view: ClientView, settings: PaintSettings, shared: SharedImages) -> None:
        self.view = view
        self.settings = settings
        self.shared = shared
        self.image_bytes = 0
        """Bytes of pixels, video included, that this painter has sent the client."""
        self._video = VideoPainter(view, settings)
        self._has_painted = False

    @property
    def is_behind(self) -> bool:
        """Whether tiles were left out because there was no room for them: paint again as soon as there is."""
        return any(surface.stale.any() for surface in self.view.surfaces.values())

    @property
    def bandwidth(self) -> int | None:
        """Bits a second that the client's link takes, for video; None while nobody knows."""
        return self._video.bandwidth

    @bandwidth.setter
    def bandwidth(self, bits_a_second: int | None) -> None:
        self._video.bandwidth = bits_a_second

    def client_message(self, message: Message, now: float) -> None:
        """Something that the client sent on its display channel."""
        match message:
            case wire.Init():
                self._caches_announced(message)
            case wire.PreferredCompression():
                self.view.preferred_compression = message.compression
            case wire.PreferredVideoCodecType():
                self.view.preferred_codecs = message.codecs
            case wire.StreamReport():
                self._video.report(message)
            case _:
                pass

    def next_deadline(self) -> float | None:
        """When to call `paint` although nothing has happened: to draw exactly what is lossy, or to end a stream."""
        # `any` would take ten times as long, and most of the time nothing is lossy.
        lossy = [surface for surface in self.view.surfaces.values() if b"\1" in surface.lossy.tobytes()]
        times = [float(surface.drawn_at[surface.lossy].min()) for surface in lossy]
        return min(times) + self.settings.repair_after if times else None

    def begin(
        self,
        pixels: Pixels,
        surfaces: Mapping[int, Pixels],
        now: float,
        *,
        room: int | None = None,
        multi_media_time: int | None = None,
    ) -> list[Message]:
        """The first picture; nothing for a client that has one, because its view was restored."""
        if self.view.has_begun:
            return []
        output = Output(self.view, self.settings, self.shared, room)
        moment = _moment(now, multi_media_time)
        output.add(wire.InvalAllPalettes())
        self._create_primary(pixels, output)
        self._paint(pixels, surfaces, (), output, moment, complete=False)
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
        multi_media_time: int | None = None,
    ) -> list[Message]:
        """What brings the client up to date with `pixels` and the off-screen `surfaces`.

        `changes` is what has happened since the last `paint` or `begin`, `complete` says that it is all of that: frames
        may have been left out, but no change. Without it the whole picture is compared. About `room` bytes are made;
        what does not fit is made up for next time (`is_behind`). Video frames carry `multi_media_time`, in ms.
        """
        if not self.view.has_begun:
            return self.begin(pixels, surfaces, now, room=room, multi_media_time=multi_media_time)
        moment = _moment(now, multi_media_time)
        self._resume(now)
        output = Output(self.view, self.settings, self.shared, room)
        grid = self.view.surfaces[PRIMARY].grid
        if (grid.height, grid.width) != pixels.shape[:2]:
            self._video.end_all(output)
            output.add(wire.SurfaceDestroy(PRIMARY))
            self._create_primary(pixels, output)
            self._paint(pixels, surfaces, changes, output, moment, complete=False)
            output.add(wire.Mark())
        else:
            resized = any(isinstance(change, Resized) for change in changes)
            self._paint(pixels, surfaces, changes, output, moment, complete=complete and not resized)
        return output.messages

    def glimpse(self, pixels: Pixels, now: float, *, multi_media_time: int | None = None) -> list[Message]:
        """A small part of what brings the client up to date with `pixels`, made in a fraction of the time; then call
        `paint`. Nothing for a client that lacks nothing, or all.
        """
        primary = self.view.surfaces.get(PRIMARY)
        if primary is None or (primary.grid.height, primary.grid.width) != pixels.shape[:2]:
            return []
        self._resume(now)
        output = Output(self.view, self.settings, self.shared)
        moment = _moment(now, multi_media_time)
        after = self.settings.repair_after
        SurfacePainter(PRIMARY, pixels, output, moment, repair_after=after, video=self._video).glimpse()
        self.image_bytes += output.image_bytes
        return output.messages

    def _resume(self, now: float) -> None:
        if not self._has_painted:
            self._has_painted = True
            for surface in self.view.surfaces.values():
                surface.resume(now)

    def go_on(self, caches: wire.Init, glz_next_id: int) -> None:
        """For a client that comes from a server which tells no more of it than this: what it can keep, and the id of
        the next image in its GLZ window, of which nothing else is known.
        """
        self._caches_announced(caches)
        if self.view.glz is not None:
            self.view.glz = GlzDictionary(self.view.glz.capacity, next_id=glz_next_id)

    def _caches_announced(self, message: wire.Init) -> None:
        """The client has said what it can keep, before it is sent anything."""
        view, settings = self.view, self.settings
        cached = min(message.pixmap_cache_size // view.displays, settings.max_cached_pixels)
        view.images.capacity = max(0, cached)
        window = min(message.glz_window_size, settings.max_glz_pixels)
        if window > 0 and view.display_id == 0:
            view.glz = GlzDictionary(window)

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
        moment: Moment,
        *,
        complete: bool,
    ) -> None:
        surfaces = {number: picture for number, picture in surfaces.items() if PRIMARY < number < MAX_SURFACES}
        gone = self._fit_surfaces(surfaces, changes, output)
        after = self.settings.repair_after
        for surface_id, picture in surfaces.items():
            off_screen = SurfacePainter(surface_id, picture, output, moment, repair_after=after)
            off_screen.paint(changes, complete=complete)
        ready = {
            surface_id: self.view.surfaces[surface_id].grid.box
            for surface_id in surfaces
            if not self.view.surfaces[surface_id].stale.any()
        }
        sources = steady_sources(changes, ready) if complete else {}
        primary = SurfacePainter(PRIMARY, pixels, output, moment, repair_after=after, video=self._video)
        primary.paint(changes, sources, complete=complete)
        for surface_id in gone:
            output.add(wire.SurfaceDestroy(surface_id))
            del self.view.surfaces[surface_id]
        self.image_bytes += output.image_bytes

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


def _moment(now: float, multi_media_time: int | None) -> Moment:
    return Moment(now, (int(now * 1000) if multi_media_time is None else multi_media_time) & 0xFFFFFFFF)
