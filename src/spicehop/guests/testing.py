"""Helpers for tests of what shows a guest: a guest that does nothing, and a taker of changes that believes them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from spicehop.errors import ProtocolError, StateError
from spicehop.guests.interface import (
    CopiedFromSurface,
    Display,
    DisplayChange,
    Drawn,
    GuestDevices,
    Moved,
    Pixels,
    Pointer,
    Resized,
    SurfaceCreated,
    SurfaceDestroyed,
)
from spicehop.raster.region import Box

_SIZE = struct.Struct("<II")


class StillDisplay:
    """Pixels that change only when the test says so."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.surfaces: Mapping[int, Pixels] = {}
        self._changes: list[DisplayChange] = [Resized(pixels.shape[1], pixels.shape[0])]

    def draw(self, box: Box, colour: tuple[int, int, int]) -> None:
        """Fill a part of it; `colour` is B, G, R."""
        self.pixels[box.area][..., :3] = colour
        self._changes.append(Drawn(0, (box,)))

    def show(self, pixels: Pixels) -> None:
        """Show another picture, of any size."""
        if pixels.shape != self.pixels.shape:
            self._changes.append(Resized(pixels.shape[1], pixels.shape[0]))
        self.pixels = pixels
        self._changes.append(Drawn(0, (Box(0, 0, pixels.shape[1], pixels.shape[0]),)))

    def take_changes(self) -> Sequence[DisplayChange]:
        taken, self._changes = self._changes, []
        return taken


class StillGuest:
    """A guest without devices and sound, whose one display shows `display.pixels`; it notes what it is given."""

    def __init__(self, pixels: Pixels | None = None) -> None:
        self.display = StillDisplay(np.zeros((240, 320, 4), np.uint8) if pixels is None else pixels)
        self.keys: list[bytes] = []
        self.monitors: list[tuple[tuple[int, int, int, int], ...]] = []
        self.pointer = Pointer()
        self.lock_keys = 0
        self.absolute_pointer = True
        self.devices = GuestDevices()
        self.sound_out = None
        self.sound_in = None
        self.running = False
        self.name = "still"
        self.uuid = bytes(range(16))
        self.buttons = 0

    @property
    def displays(self) -> Sequence[Display]:
        return (self.display,)

    def run(self, now: float) -> None:
        self.running = True

    def stop(self, now: float) -> None:
        self.running = False

    def advance(self, now: float) -> None:
        """Nothing happens."""

    def next_deadline(self) -> float | None:
        return None

    def key(self, scancodes: bytes) -> None:
        if self.running:
            self.keys.append(scancodes)

    def pointer_moved(self, dx: int, dy: int, buttons: int) -> None:
        if self.running:
            self.pointer = Pointer(self.pointer.x + dx, self.pointer.y + dy)
            self.buttons = buttons

    def pointer_placed(self, display: int, x: int, y: int, buttons: int) -> None:
        if self.running:
            self.pointer = Pointer(x, y)
            self.buttons = buttons

    def buttons_changed(self, buttons: int) -> None:
        if self.running:
            self.buttons = buttons

    def want_monitors(self, monitors: Sequence[tuple[int, int, int, int]]) -> None:
        self.monitors.append(tuple(monitors))

    def save(self) -> bytes:
        """The picture."""
        if self.running:
            raise StateError("a guest that runs cannot be saved: stop it first")
        height, width = self.display.pixels.shape[:2]
        return _SIZE.pack(width, height) + self.display.pixels.tobytes()

    def load(self, state: bytes) -> None:
        if len(state) < _SIZE.size:
            raise ProtocolError("these bytes are not the state of a still guest")
        width, height = _SIZE.unpack_from(state)
        if not width or not height or len(state) != _SIZE.size + width * height * 4:
            raise ProtocolError("these bytes are not the state of a still guest")
        pixels = np.frombuffer(state, np.uint8, offset=_SIZE.size).reshape(height, width, 4).copy()
        self.display.show(pixels)


class Replica:
    """What a taker has who does exactly what the changes of a display say, with its pixels as they are when taken."""

    def __init__(self) -> None:
        self.surfaces: dict[int, Pixels] = {0: np.zeros((0, 0, 4), np.uint8)}
        self.drawn_pixels = 0
        """Pixels that were taken from the display, not moved or copied within the replica."""

    def follow(self, display: Display) -> Sequence[DisplayChange]:
        """Take the changes of `display` and carry them out."""
        changes = display.take_changes()
        for change in changes:
            self._apply(change, display)
        return changes

    def _apply(self, change: DisplayChange, display: Display) -> None:
        match change:
            case Resized(width, height):
                self.surfaces[0] = np.zeros((height, width, 4), np.uint8)
            case SurfaceCreated(surface, width, height):
                assert surface not in self.surfaces
                self.surfaces[surface] = np.zeros((height, width, 4), np.uint8)
            case SurfaceDestroyed(surface):
                del self.surfaces[surface]
            case Drawn(surface, boxes):
                now = display.surfaces[surface] if surface else display.pixels
                for box in boxes:
                    self.surfaces[surface][box.area] = now[box.area]
                    self.drawn_pixels += box.width * box.height
            case Moved(surface, source, x, y):
                target = source.shifted(x - source.left, y - source.top)
                self.surfaces[surface][target.area] = self.surfaces[surface][source.area].copy()
            case CopiedFromSurface(surface, source, x, y):
                target = source.shifted(x - source.left, y - source.top)
                self.surfaces[0][target.area] = self.surfaces[surface][source.area]
