"""A guest for tests of the server: one screen on which each key leaves a mark, and devices that tests can look into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spicehop.guests.interface import (
    CharDevice,
    Display,
    DisplayChange,
    Drawn,
    GuestDevices,
    Pixels,
    Pointer,
    PointerShape,
    Resized,
    SoundFormat,
    SoundIn,
    SoundOut,
)
from spicehop.raster.region import Box


class SmallDisplay:
    """A screen with a pattern, and marks on it."""

    def __init__(self, width: int, height: int) -> None:
        self._pixels = pattern(width, height)
        self._surfaces: dict[int, Pixels] = {}
        self.changes: list[DisplayChange] = []

    @property
    def pixels(self) -> Pixels:
        return self._pixels

    @property
    def surfaces(self) -> Mapping[int, Pixels]:
        return self._surfaces

    def take_changes(self) -> Sequence[DisplayChange]:
        taken, self.changes = self.changes, []
        return taken

    def fill(self, box: Box, value: int) -> None:
        self._pixels[box.area] = (value & 0xFF, value >> 8 & 0xFF, value >> 16 & 0xFF, 0)
        self.changes.append(Drawn(0, (box,)))

    def resize(self, width: int, height: int) -> None:
        self._pixels = pattern(width, height)
        self.changes.append(Resized(width, height))


def pattern(width: int, height: int) -> Pixels:
    """Pixels of which no two rows or columns are the same; the fourth byte is 0, as clients show it."""
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., 0] = np.arange(width) % 251
    pixels[..., 1] = (np.arange(height) % 241)[:, None]
    pixels[..., 2] = (np.arange(width)[None, :] // 16 * 7 + np.arange(height)[:, None] // 16 * 13) % 256
    return pixels


class SmallDevice:
    """A char device that keeps what it gets, and gives what it is told to, or what it got."""

    def __init__(self, name: str, *, echo: bool = False, opened: bool = True) -> None:
        self._name = name
        self.is_open = opened
        self.echo = echo
        self.takes = True
        self.got = bytearray()
        self.to_give = bytearray()
        self.clients: list[bool] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def opened(self) -> bool:
        return self.is_open

    def write(self, data: bytes) -> int:
        if not self.takes:
            return 0
        self.got += data
        if self.echo:
            self.to_give += data
        return len(data)

    def read(self, limit: int) -> bytes:
        given = bytes(self.to_give[:limit])
        del self.to_give[:limit]
        return given

    def client_changed(self, *, present: bool) -> None:
        self.clients.append(present)


class SmallSoundOut:
    def __init__(self) -> None:
        self.playing: SoundFormat | None = None
        self.samples = bytearray()

    @property
    def format(self) -> SoundFormat | None:
        return self.playing

    @property
    def volume(self) -> tuple[int, ...]:
        return (65535, 30000)

    @property
    def muted(self) -> bool:
        return False

    def read(self, limit: int) -> bytes:
        given = bytes(self.samples[:limit])
        del self.samples[:limit]
        return given


class SmallSoundIn:
    def __init__(self) -> None:
        self.recording: SoundFormat | None = None
        self.samples = bytearray()

    @property
    def format(self) -> SoundFormat | None:
        return self.recording

    def write(self, samples: bytes) -> None:
        self.samples += samples


class SmallGuest:
    """Logs its input; `advance` does nothing by itself."""

    def __init__(self, width: int = 320, height: int = 240, *, ports: int = 1, screens: int = 1) -> None:
        self.screens = tuple(SmallDisplay(width + 16 * n, height) for n in range(screens))
        self.screen = self.screens[0]
        self.shown = Pointer(shape=PointerShape(np.full((16, 16, 4), 200, np.uint8), 1, 2, 77))
        self.locks = 0
        self.takes_positions = True
        self.is_running = True
        self.keys: list[bytes] = []
        self.input: list[tuple[object, ...]] = []
        self.monitors: list[tuple[int, int, int, int]] = []
        self.agent = SmallDevice("agent", opened=False)
        self.ports = tuple(SmallDevice(f"org.example.echo.{n}", echo=True) for n in range(ports))
        self.usb = SmallDevice("usbredir")
        self.card = SmallDevice("smartcard")
        self.webdav = SmallDevice("webdav")
        self.out = SmallSoundOut()
        self.microphone = SmallSoundIn()

    @property
    def name(self) -> str:
        return "small"

    @property
    def uuid(self) -> bytes:
        return bytes(range(16))

    @property
    def displays(self) -> Sequence[Display]:
        return self.screens

    @property
    def pointer(self) -> Pointer:
        return self.shown

    @property
    def lock_keys(self) -> int:
        return self.locks

    @property
    def absolute_pointer(self) -> bool:
        return self.takes_positions

    @property
    def devices(self) -> GuestDevices:
        ports: tuple[CharDevice, ...] = self.ports
        return GuestDevices(self.agent, ports, (self.usb,), self.card, self.webdav)

    @property
    def sound_out(self) -> SoundOut | None:
        return self.out

    @property
    def sound_in(self) -> SoundIn | None:
        return self.microphone

    @property
    def running(self) -> bool:
        return self.is_running

    def run(self, now: float) -> None:
        self.is_running = True

    def stop(self, now: float) -> None:
        self.is_running = False

    def advance(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def key(self, scancodes: bytes) -> None:
        self.keys.append(scancodes)
        place = len(self.keys) % 40
        self.screen.fill(Box(place * 8, 0, place * 8 + 8, 8), scancodes[-1] * 0x010305)

    def pointer_moved(self, dx: int, dy: int, buttons: int) -> None:
        self.input.append(("moved", dx, dy, buttons))

    def pointer_placed(self, display: int, x: int, y: int, buttons: int) -> None:
        self.input.append(("placed", display, x, y, buttons))

    def buttons_changed(self, buttons: int) -> None:
        self.input.append(("buttons", buttons))

    def want_monitors(self, monitors: Sequence[tuple[int, int, int, int]]) -> None:
        self.monitors = list(monitors)

    def save(self) -> bytes:
        return b""

    def load(self, state: bytes) -> None:
        pass
