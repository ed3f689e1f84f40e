"""Messages of the inputs channel (dossier B.3)."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import I32, U8, U16, U32, Message, Rest
from spicehop.wire.registry import from_client, from_server

INPUTS = ChannelType.INPUTS


@from_server(INPUTS, 101)
@dataclass(frozen=True, slots=True)
class Init(Message):
    """The guest's lock keys, `KeyboardModifier`."""

    modifiers: U16


@from_server(INPUTS, 102)
@from_client(INPUTS, 103)
@dataclass(frozen=True, slots=True)
class KeyModifiers(Message):
    """Lock keys, `KeyboardModifier`: the guest's, or those the client wants."""

    modifiers: U16


@from_server(INPUTS, 111)
@dataclass(frozen=True, slots=True)
class MouseMotionAck(Message):
    """Four motions have been handled."""


@from_client(INPUTS, 101)
@dataclass(frozen=True, slots=True)
class KeyDown(Message):
    """Up to four bytes of AT set 1, low byte first."""

    code: U32


@from_client(INPUTS, 102)
@dataclass(frozen=True, slots=True)
class KeyUp(Message):
    """As KEY_DOWN, the last byte with bit 7 set."""

    code: U32


@from_client(INPUTS, 104)
@dataclass(frozen=True, slots=True)
class KeyScancode(Message):
    """Raw AT set 1 bytes, any number of keys."""

    codes: Rest


@from_client(INPUTS, 111)
@dataclass(frozen=True, slots=True)
class MouseMotion(Message):
    """A relative movement in server mouse mode."""

    dx: I32
    dy: I32
    buttons: U16


@from_client(INPUTS, 112)
@dataclass(frozen=True, slots=True)
class MousePosition(Message):
    """An absolute position in client mouse mode."""

    x: U32
    y: U32
    buttons: U16
    display_id: U8


@from_client(INPUTS, 113)
@dataclass(frozen=True, slots=True)
class MousePress(Message):
    """A button goes down; `buttons` is the mask after it."""

    button: U8
    buttons: U16


@from_client(INPUTS, 114)
@dataclass(frozen=True, slots=True)
class MouseRelease(Message):
    """A button goes up; `buttons` is the mask after it."""

    button: U8
    buttons: U16
