"""The saved state of a demo guest: one structure behind a header with version, length and checksum.

It may come from anywhere, so that nothing of it is believed before it has been checked; what follows from other parts
(the pixels, for example) is not in it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Annotated

from spicehop.errors import ProtocolError
from spicehop.guests.demo.agent import AgentState
from spicehop.guests.demo.desktop import NO_DRAG, DesktopState
from spicehop.guests.demo.devices import CAPACITY, DeviceState
from spicehop.guests.demo.keyboard import KEY_UNKNOWN
from spicehop.guests.demo.log import Role
from spicehop.guests.demo.pointing import ALL_BUTTONS
from spicehop.guests.demo.scene import (
    HOVER_MENU,
    MAX_SQUARES,
    MENU_SURFACE,
    SQUARE,
    Button,
    Place,
    Scene,
    WindowKind,
    check_at_most,
    check_size,
)
from spicehop.guests.demo.sound import SoundState
from spicehop.wire.layout import U8, U16, U32, U64, Array, Data, FixedArray, SizedBytes, Structure

MAX_STATE = 32 * 1024 * 1024
"""Largest state that is read."""
LARGEST_SEED = 2**32 - 1
NEVER = 2**64 - 1
"""Stands for a time that will not come."""
_MAGIC = b"SHDG"
_VERSION = 1
_HEAD = struct.Struct("<4sHHI16s")  # magic, version, nothing, length, checksum
_MAX_PIECE = 16 * 1024 * 1024
_LONGEST_TIME = 2**50
_MOST = 2**31  # of anything that is counted in 32 bits, so that counting can go on
_MOST_BYTES = 2**60


@dataclass(frozen=True, slots=True)
class SurfaceSize(Structure):
    """A surface that the taker of the changes knows; id 0 is what is shown."""

    id: U8
    width: U16
    height: U16


@dataclass(frozen=True, slots=True)
class SavedGuest(Structure):
    """All that lives on in another guest."""

    seed: U32
    width: U16
    height: U16
    wanted_width: U16
    wanted_height: U16
    sequences: Annotated[tuple[int, ...], FixedArray("I", len(Role))]
    time: U64
    frame: U32
    next_frame: U64
    has_booted: U8
    frozen: U8
    tablet: U8
    counts: Annotated[tuple[int, ...], FixedArray("I", 4)]
    dropped: Annotated[tuple[int, ...], FixedArray("I", 3)]
    held: Annotated[tuple[int, ...], Array("H", count="B")]
    locks: U8
    key_prefix: Annotated[Data, SizedBytes("B")]
    pointer_x: U16
    pointer_y: U16
    buttons: U8
    desktop: DesktopState
    shown: Scene
    """What the screen shows; older than the desktop when the picture is frozen."""
    has_changes: U8
    """Whether something has been drawn that the taker of the changes has not been told."""
    known: Annotated[tuple[SurfaceSize, ...], Array(SurfaceSize, count="B")]
    sound: SoundState
    agent: AgentState
    echo: DeviceState
    reported: U64
    idle_at: U64
    others: Annotated[tuple[DeviceState, ...], FixedArray(DeviceState, 3)]

    def check(self) -> None:
        """`ProtocolError` when no demo guest can be so."""
        check_size(self.width, self.height)
        if self.wanted_width or self.wanted_height:
            check_size(self.wanted_width, self.wanted_height)
        if (self.shown.width, self.shown.height) != (self.width, self.height):
            raise ProtocolError("a saved guest shows another screen than it has")
        for flag in (self.has_booted, self.frozen, self.tablet, self.has_changes):
            check_at_most(flag, 1, "a flag of a saved guest")
        check_at_most(max(self.time, self.next_frame), _LONGEST_TIME, "the clock of a saved guest")
        if self.idle_at != NEVER:
            check_at_most(self.idle_at, _LONGEST_TIME, "the echo port's clock")
        check_at_most(max((0, *self.held)), KEY_UNKNOWN, "a held key")
        if list(self.held) != sorted(set(self.held)):
            raise ProtocolError("the held keys of a saved guest are not in order")
        check_at_most(self.locks, 7, "the lock keys")
        if bytes(self.key_prefix) not in _PREFIXES:
            raise ProtocolError("a saved keyboard stands in a key that cannot be")
        check_at_most(self.pointer_x, self.width - 1, "the pointer's place")
        check_at_most(self.pointer_y, self.height - 1, "the pointer's place")
        check_at_most(self.buttons, ALL_BUTTONS, "the buttons")
        counted = (self.frame, self.shown.frame, self.desktop.log_lines, self.shown.log_lines, self.agent.messages)
        check_at_most(max(*counted, *self.sequences, *self.counts, *self.dropped), _MOST, "a count of a saved guest")
        totals = (self.echo.total, *(device.total for device in self.others), self.agent.received, self.sound.heard)
        check_at_most(max(*totals, self.sound.position), _MOST_BYTES, "a total of a saved guest")
        check_at_most(self.shown.seconds, _LONGEST_TIME // 1_000_000, "the shown time")
        self._check_desktop()
        self.shown.check()
        self.sound.check()
        self.agent.check()
        for device in (self.echo, *self.others):
            check_at_most(max(device.has_client, device.noticed_client), 1, "a flag of a saved device")
            check_at_most(len(device.pending), max(CAPACITY, _MAX_PIECE), "what a saved device holds")
        check_at_most(self.reported, self.echo.total, "what the echo port has said")
        if [surface.id for surface in self.known] != sorted({surface.id for surface in self.known}):
            raise ProtocolError("a saved guest names its surfaces twice, or in no order")
        check_at_most(max((0, *(surface.id for surface in self.known))), MENU_SURFACE, "a surface's id")

    def _check_desktop(self) -> None:
        desktop = self.desktop
        check_places(desktop.windows, self.width, self.height)
        check_places(self.shown.windows, self.width, self.height)
        check_at_most(len(desktop.squares), MAX_SQUARES, "the number of squares")
        for square in (*desktop.squares, *self.shown.squares):
            check_at_most(square.x, self.width - SQUARE, "a square's place")
            check_at_most(square.y, self.height - SQUARE, "a square's place")
            check_at_most(square.colour, 0xFFFFFF, "a square's colour")
        check_at_most(max(desktop.menu_open, desktop.film_fills), 1, "a flag of a saved desktop")
        check_at_most(desktop.hover, HOVER_MENU + max(Button), "what is under the pointer")
        if desktop.dragged != NO_DRAG:
            check_at_most(desktop.dragged, max(WindowKind), "the dragged window")
        check_at_most(max(abs(desktop.speed_x), abs(desktop.speed_y)), 64, "the planet's speed")


_PREFIXES = (b"", b"\xe0", b"\xe1", *(bytes([0xE1, byte]) for byte in range(256)))


def check_places(places: tuple[Place, ...], width: int, height: int) -> None:
    """`ProtocolError` unless each window is there once, where it can be."""
    if sorted(place.kind for place in places) != list(WindowKind):
        raise ProtocolError("a saved desktop needs each window once")
    for place in places:
        check_at_most(abs(place.x), width, "a window's place")
        check_at_most(abs(place.y), height, "a window's place")


def encode_saved(saved: SavedGuest) -> bytes:
    """The state as bytes."""
    body = saved.encode()
    return _HEAD.pack(_MAGIC, _VERSION, 0, len(body), _checksum(body)) + body


def decode_saved(state: bytes) -> SavedGuest:
    """What `encode_saved` was given; `ProtocolError` for anything else."""
    if len(state) < _HEAD.size or len(state) > MAX_STATE:
        raise ProtocolError(f"{len(state)} bytes are not the state of a demo guest")
    magic, version, nothing, length, checksum = _HEAD.unpack_from(state)
    body = state[_HEAD.size :]
    if magic != _MAGIC or nothing or length != len(body):
        raise ProtocolError("these bytes are not the state of a demo guest")
    if version != _VERSION:
        raise ProtocolError(f"this demo guest reads version {_VERSION} of its state, not {version}")
    if checksum != _checksum(body):
        raise ProtocolError("the state of the demo guest is damaged")
    saved = SavedGuest.decode(body)
    saved.check()
    if saved.encode() != body:
        raise ProtocolError("the state of the demo guest holds more than it should")
    return saved


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()
