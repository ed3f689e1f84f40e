"""What a server needs of a guest, whatever the guest is.

A guest has displays, a pointer, inputs, char devices and sound. It runs or stands still; while it stands still it draws
nothing, plays nothing, and its devices take and give no bytes. Time is an argument: the server calls `advance` when
`next_deadline` has passed and after everything it gives the guest. All calls come from one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spicehop.raster.changes import (
    CopiedFromSurface,
    DisplayChange,
    Drawn,
    Moved,
    Resized,
    SurfaceCreated,
    SurfaceDestroyed,
)

__all__ = [
    "CharDevice",
    "CopiedFromSurface",
    "Display",
    "DisplayChange",
    "Drawn",
    "Guest",
    "GuestDevices",
    "Moved",
    "Pixels",
    "Pointer",
    "PointerShape",
    "Resized",
    "SoundFormat",
    "SoundIn",
    "SoundOut",
    "SurfaceCreated",
    "SurfaceDestroyed",
]

Pixels = npt.NDArray[np.uint8]
"""`(height, width, 4)` bytes B, G, R, X or A."""


class Display(Protocol):
    """One screen of the guest."""

    @property
    def pixels(self) -> Pixels:
        """What is shown now, `(height, width, 4)` B, G, R, X. It goes on changing: read it, keep no reference."""

    @property
    def surfaces(self) -> Mapping[int, Pixels]:
        """Off-screen surfaces by id, from 1."""

    def take_changes(self) -> Sequence[DisplayChange]:
        """What has happened since the last call, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class PointerShape:
    """A pointer's picture, `(height, width, 4)` B, G, R, A, and the pixel of it that points."""

    pixels: Pixels
    hot_x: int
    hot_y: int
    unique: int
    """Names the picture; the same number is the same picture."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where the guest shows its pointer, and as what."""

    x: int = 0
    y: int = 0
    visible: bool = True
    shape: PointerShape | None = None


class CharDevice(Protocol):
    """A device that takes and gives bytes: agent, named port, usbredir, smartcard or webdav."""

    @property
    def name(self) -> str:
        """For a port its name, for example `org.example.echo.0`; else the kind."""

    @property
    def opened(self) -> bool:
        """Whether something in the guest has it open."""

    def write(self, data: bytes) -> int:
        """Offer bytes to the guest; it takes all or none, `len(data)` or 0; a stopped one takes none."""

    def read(self, limit: int) -> bytes:
        """At most `limit` bytes from the guest; empty when it has none or stands still."""

    def client_changed(self, *, present: bool) -> None:
        """A client has taken the device, or left it."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """Signed 16-bit samples, interleaved."""

    channels: int = 2
    frequency: int = 48000


class SoundOut(Protocol):
    """What the guest plays."""

    @property
    def format(self) -> SoundFormat | None:
        """None while the guest plays nothing."""

    @property
    def volume(self) -> tuple[int, ...]:
        """For each channel, 0 to 65535."""

    @property
    def muted(self) -> bool:
        """Whether it is to be heard."""

    def read(self, limit: int) -> bytes:
        """Samples played since the last call, at most `limit` bytes, whole frames of all channels."""


class SoundIn(Protocol):
    """What the guest records."""

    @property
    def format(self) -> SoundFormat | None:
        """None while the guest records nothing."""

    def write(self, samples: bytes) -> None:
        """Samples from the client; a stopped guest drops them."""


@dataclass(frozen=True, slots=True)
class GuestDevices:
    """The char devices of a guest by kind; None where there is none."""

    agent: CharDevice | None = None
    ports: tuple[CharDevice, ...] = ()
    usbredir: tuple[CharDevice, ...] = ()
    smartcard: CharDevice | None = None
    webdav: CharDevice | None = None


class Guest(Protocol):
    """What a server shows and feeds."""

    @property
    def name(self) -> str:
        """Shown to the user."""

    @property
    def uuid(self) -> bytes:
        """16 bytes."""

    @property
    def displays(self) -> Sequence[Display]:
        """At least one."""

    @property
    def pointer(self) -> Pointer:
        """As of now; a new object whenever something of it has changed."""

    @property
    def lock_keys(self) -> int:
        """`KeyboardModifier`: the LEDs of the guest's keyboard."""

    @property
    def absolute_pointer(self) -> bool:
        """Whether the guest takes positions (a tablet, or its agent)."""

    @property
    def devices(self) -> GuestDevices:
        """Its char devices; the same objects for its whole life."""

    @property
    def sound_out(self) -> SoundOut | None:
        """None when it has no sound card."""

    @property
    def sound_in(self) -> SoundIn | None:
        """None when it cannot record."""

    @property
    def running(self) -> bool:
        """Whether it runs; else it stands still."""

    def run(self, now: float) -> None:
        """Let it run."""

    def stop(self, now: float) -> None:
        """Let it stand still."""

    def advance(self, now: float) -> None:
        """Bring it up to `now`."""

    def next_deadline(self) -> float | None:
        """When it next does something by itself; None when it waits for something."""

    def key(self, scancodes: bytes) -> None:
        """AT set 1 bytes of one key, pressed or released. A stopped guest drops them, as QEMU's does."""

    def pointer_moved(self, dx: int, dy: int, buttons: int) -> None:
        """A relative movement; `buttons` has bit `MouseButton - 1` for each that is down."""

    def pointer_placed(self, display: int, x: int, y: int, buttons: int) -> None:
        """An absolute position in pixels of a display."""

    def buttons_changed(self, buttons: int) -> None:
        """A button went down or up, or the wheel turned (buttons 4 and 5)."""

    def want_monitors(self, monitors: Sequence[tuple[int, int, int, int]]) -> None:
        """A client asks for monitors, each (x, y, width, height)."""

    def save(self) -> bytes:
        """Its whole state; it must stand still."""

    def load(self, state: bytes) -> None:
        """Become what `save` gave, elsewhere; `ProtocolError` when the bytes are not such a state."""
