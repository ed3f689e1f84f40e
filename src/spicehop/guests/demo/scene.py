"""What the demo guest's screen shows, as a value: every pixel follows from it, the seed and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from spicehop.errors import ProtocolError
from spicehop.raster.region import Box
from spicehop.wire.layout import I16, U8, U16, U32, Array, Data, SizedBytes, Structure

SMALLEST = (320, 240)
LARGEST = (4096, 2304)
"""Limits of the screen's size, width and height."""
PANEL = 36
"""Height of the panel at the bottom."""
TITLE = 26
"""Height of a window's title bar, its border included."""
MAX_SQUARES = 64
SQUARE = 64
"""Width and height of a square that a test puts on the screen."""
_LONGEST_LINE = 1024
MAX_LEVEL = 8
"""Steps of volume and of the recording level."""

PLANET_SURFACE, MENU_SURFACE = 1, 2
"""Ids of the off-screen surfaces."""
STAMP = Box(16, 16, 144, 48)
"""Where the frame number is, for machines to read."""


class WindowKind(IntEnum):
    """The windows of the desktop, each there once."""

    NOTES = 0
    LOG = 1
    FILM = 2
    PLANET = 3


class Button(IntEnum):
    """What a click can start; in the menu only those from FULL_SCREEN on."""

    NONE = 0
    MENU = 1
    FULL_SCREEN = 2
    TONE = 3
    RECORD = 4
    OFFER = 5
    FREEZE = 6


PANEL_BUTTONS = (Button.MENU, Button.FULL_SCREEN, Button.TONE, Button.RECORD)
MENU_BUTTONS = (Button.FULL_SCREEN, Button.TONE, Button.RECORD, Button.OFFER, Button.FREEZE)


@dataclass(frozen=True, slots=True)
class Place(Structure):
    """Where a window's top left corner is."""

    kind: U8
    x: I16
    y: I16


@dataclass(frozen=True, slots=True)
class Square(Structure):
    """A square of one colour, 0xRRGGBB, above all windows."""

    x: U16
    y: U16
    colour: U32


@dataclass(frozen=True, slots=True)
class Scene(Structure):
    """All that the screen's pixels depend on, but for the seed."""

    width: U16
    height: U16
    frame: U32
    """Number in the stamp; it also moves the film."""
    seconds: U32
    """What the clock shows."""
    text: Annotated[Data, SizedBytes("H")]
    """The lines of the notes that are in view, with line feeds between them; the caret stands at the end."""
    log_lines: U32
    """How many lines have been written to the log window."""
    windows: Annotated[tuple[Place, ...], Array(Place, count="B")]
    """Each window once, the lowest first."""
    squares: Annotated[tuple[Square, ...], Array(Square, count="B")]
    menu_open: U8
    hover: U8
    """The `Button` under the pointer, as one of the panel's or, from 16 on, of the menu's."""
    film_fills: U8
    """Whether the film fills the screen."""
    locks: U8
    playing: U8
    muted: U8
    volume: U8
    recording: U8
    level: U8
    """How loud what is recorded is."""

    def check(self) -> None:
        """`ProtocolError` when this cannot be shown."""
        check_size(self.width, self.height)
        if sorted(place.kind for place in self.windows) != list(WindowKind):
            raise ProtocolError("a scene needs each window once")
        for flag in (self.menu_open, self.film_fills, self.playing, self.muted, self.recording):
            check_at_most(flag, 1, "a flag of a scene")
        check_at_most(len(self.squares), MAX_SQUARES, "the number of squares")
        check_text(bytes(self.text))
        check_at_most(self.hover, HOVER_MENU + max(Button), "what is under the pointer")
        check_at_most(self.locks, 7, "the lock keys")
        check_at_most(self.volume, MAX_LEVEL, "the volume")
        check_at_most(self.level, MAX_LEVEL, "the level")


HOVER_MENU = 16
"""Added to a `Button` of the menu."""


def check_size(width: int, height: int) -> None:
    """`ProtocolError` when no screen of the demo guest has this size."""
    if not (SMALLEST[0] <= width <= LARGEST[0] and SMALLEST[1] <= height <= LARGEST[1]):
        raise ProtocolError(f"the demo guest has no screen of {width}x{height}")


def check_text(text: bytes) -> None:
    """`ProtocolError` unless these are lines of letters that the font has."""
    if any(letter != 0x0A and not 0x20 <= letter < 0x7F for letter in set(text)):
        raise ProtocolError("the text of a saved guest holds what cannot be typed")
    if max(map(len, text.split(b"\n"))) > _LONGEST_LINE:
        raise ProtocolError("a line of a saved guest's text is too long")


def check_at_most(value: int, limit: int, what: str) -> None:
    """`ProtocolError` when a value of a saved state is too large."""
    if value > limit:
        raise ProtocolError(f"{what} is {value}, more than {limit}")
