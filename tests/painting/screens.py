"""A small guest for painting: pixels that change at random, with the hints a guest gives, and a client that watches."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from spicehop.codecs.images import ImageCaches
from spicehop.painting import ClientView, Painter, PaintSettings, SharedImages
from spicehop.raster.canvas import Canvas
from spicehop.raster.changes import (
    CopiedFromSurface,
    DisplayChange,
    Drawn,
    Moved,
    Resized,
    SurfaceCreated,
    SurfaceDestroyed,
)
from spicehop.raster.region import Box
from spicehop.raster.results import NotDrawn
from spicehop.wire import display, registry
from spicehop.wire.constants import ChannelType, Direction, DisplayCap

CAPABILITIES = frozenset(
    {
        DisplayCap.SIZED_STREAM,
        DisplayCap.MONITORS_CONFIG,
        DisplayCap.LZ4_COMPRESSION,
        DisplayCap.MULTI_CODEC,
        DisplayCap.CODEC_MJPEG,
        DisplayCap.STREAM_REPORT,
    }
)


class Screen:
    """Pixels and off-screen surfaces, and what happened to them since `take`."""

    def __init__(self, width: int, height: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.surfaces: dict[int, np.ndarray] = {}
        self.changes: list[DisplayChange] = []
        self.pixels = np.zeros((height, width, 4), np.uint8)
        self._next_surface = 1

    def take(self) -> list[DisplayChange]:
        changes, self.changes = self.changes, []
        return changes

    def _picture(self, surface_id: int) -> np.ndarray:
        return self.surfaces[surface_id] if surface_id else self.pixels

    def noise(self, box: Box, surface_id: int = 0) -> None:
        """Pixels of no order."""
        part = self._picture(surface_id)[box.area]
        part[...] = self.random.integers(0, 256, part.shape, np.uint8)
        self.changes.append(Drawn(surface_id, (box,)))

    def fill(self, box: Box, color: tuple[int, int, int], surface_id: int = 0) -> None:
        """One colour."""
        self._picture(surface_id)[box.area][..., :3] = color
        self.changes.append(Drawn(surface_id, (box,)))

    def stripes(self, box: Box, phase: int, surface_id: int = 0) -> None:
        """A pattern that comes again with the same phase."""
        part = self._picture(surface_id)[box.area]
        rows, columns = np.indices(part.shape[:2])
        part[..., 0] = (rows // 3 + phase) * 40 % 256
        part[..., 1] = (columns // 5 + phase) * 23 % 256
        part[..., 2] = phase
        self.changes.append(Drawn(surface_id, (box,)))

    def move(self, source: Box, x: int, y: int, surface_id: int = 0) -> None:
        """Copy pixels within a surface; what would go outside is lost."""
        picture = self._picture(surface_id)
        dx, dy = x - source.left, y - source.top
        whole = Box(0, 0, picture.shape[1], picture.shape[0])
        target = source.shifted(dx, dy).intersect(whole)
        if not target.is_empty:
            picture[target.area] = picture[target.shifted(-dx, -dy).area].copy()
        self.changes.append(Moved(surface_id, source, x, y))

    def resize(self, width: int, height: int) -> None:
        self.pixels = np.zeros((height, width, 4), np.uint8)
        self.changes.append(Resized(width, height))
        self.noise(Box(0, 0, width // 2, height // 2))

    def create_surface(self, width: int, height: int) -> int:
        number = self._next_surface
        self._next_surface = number % 5 + 1
        if number in self.surfaces:
            self.destroy_surface(number)
        self.surfaces[number] = np.zeros((height, width, 4), np.uint8)
        self.changes.append(SurfaceCreated(number, width, height))
        return number

    def destroy_surface(self, number: int) -> None:
        del self.surfaces[number]
        self.changes.append(SurfaceDestroyed(number))

    def show_surface(self, number: int, source: Box, x: int, y: int) -> None:
        """Copy from an off-screen surface; `source` lies inside it."""
        whole = Box(0, 0, self.pixels.shape[1], self.pixels.shape[0])
        dx, dy = x - source.left, y - source.top
        target = source.shifted(dx, dy).intersect(whole)
        if not target.is_empty:
            self.pixels[target.area] = self.surfaces[number][target.shifted(-dx, -dy).area]
        self.changes.append(CopiedFromSurface(number, source, x, y))

    def act(self, number: int) -> None:
        """One of all that can happen, by a random number."""
        choose = np.random.default_rng(number)
        surface_id = int(choose.choice([0, 0, 0, *self.surfaces]))
        height, width = self._picture(surface_id).shape[:2]
        left, top = int(choose.integers(0, width)), int(choose.integers(0, height))
        box = Box(left, top, int(choose.integers(left, width)) + 1, int(choose.integers(top, height)) + 1)
        x, y = int(choose.integers(-20, width)), int(choose.integers(-20, height))
        match int(choose.integers(0, 12)):
            case 0 | 1:
                self.noise(box, surface_id)
            case 2 | 3:
                self.fill(box, (number % 256, number // 256 % 256, 7), surface_id)
            case 4 | 5:
                self.stripes(box, number % 3, surface_id)
            case 6 | 7 | 8:
                self.move(box, x, y, surface_id)
            case 9:
                self.create_surface(int(choose.integers(1, 150)), int(choose.integers(1, 150)))
            case 10 if self.surfaces:
                self.destroy_surface(int(choose.choice(list(self.surfaces))))
            case 11 if surface_id:
                self.show_surface(surface_id, box, x, y)
            case _:
                self.noise(Box(left, top, left + 1, top + 1).intersect(Box(0, 0, width, height)), surface_id)


class Watcher:
    """A client with the server's painter for it: every message goes through the wire to a canvas."""

    def __init__(
        self,
        screen: Screen,
        settings: PaintSettings | None = None,
        *,
        cache_pixels: int = 2**20,
        capabilities: frozenset[int] = CAPABILITIES,
    ) -> None:
        self.screen = screen
        self.canvas = Canvas(ImageCaches(max_cached_pixels=cache_pixels))
        self.view = ClientView(capabilities)
        self.painter = Painter(self.view, settings or PaintSettings(), SharedImages())
        self.painter.client_message(display.Init(1, cache_pixels, 1, 2**20), 0.0)
        self.pending: list[DisplayChange] = []
        self.now = 0.0
        self.received: list = []
        """All messages of the last paint."""

    def begin(self) -> None:
        self.receive(self.painter.begin(self.screen.pixels, self.screen.surfaces, self.now))

    def paint(self, *, complete: bool = True, room: int | None = None, after: float = 0.04) -> int:
        """Paint what happened in `pending`; returns the bytes of all messages."""
        self.now += after
        changes, self.pending = self.pending, []
        return self.receive(
            self.painter.paint(
                self.screen.pixels, self.screen.surfaces, changes, self.now, complete=complete, room=room
            )
        )

    def settle(self) -> None:
        """Let time pass, without anything happening, until nothing lossy is left."""
        for _ in range(20):
            deadline = self.painter.next_deadline()
            if deadline is None and not self.painter.is_behind:
                return
            self.paint(after=max(0.0, (deadline or self.now) - self.now) + 0.001)
        raise AssertionError("lossy areas are not repaired")

    def receive(self, messages: list) -> int:
        total = 0
        self.received = []
        for message in messages:
            number = registry.number_of(message, ChannelType.DISPLAY, Direction.FROM_SERVER)
            body = message.encode()
            total += len(body)
            decoded = registry.decode(ChannelType.DISPLAY, Direction.FROM_SERVER, number, body)
            self.received.append(decoded)
            result = self.canvas.apply(decoded)
            assert not isinstance(result, NotDrawn), result
        return total

    def assert_same(self) -> None:
        """The client shows what the guest has, off-screen too."""
        assert np.array_equal(self.canvas.screenshot()[..., :3], self.screen.pixels[..., :3])
        for number, pixels in self.screen.surfaces.items():
            shown = self.canvas.surfaces.surface(number).pixels
            assert np.array_equal(shown[..., :3], pixels[..., :3]), number


def boxes(width: int, height: int) -> st.SearchStrategy[Box]:
    """Boxes with at least one pixel inside a picture."""
    return st.builds(
        lambda x, y, w, h: Box(x, y, min(width, x + w), min(height, y + h)),
        st.integers(0, width - 1),
        st.integers(0, height - 1),
        st.integers(1, width),
        st.integers(1, height),
    )
