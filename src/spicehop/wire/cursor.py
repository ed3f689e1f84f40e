"""Messages of the cursor channel (dossier B.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.constants import ChannelType
from spicehop.wire.display_constants import CursorFlag
from spicehop.wire.geometry import Point16
from spicehop.wire.layout import U8, U16, U64, Message, Nested, Rest, Structure, When, lacks
from spicehop.wire.registry import from_server

CURSOR = ChannelType.CURSOR


@dataclass(frozen=True, slots=True)
class CursorHeader(Structure):
    """A cursor's cache id, `CursorType`, size and hot spot in pixels."""

    unique: U64
    type: U8
    width: U16
    height: U16
    hot_x: U16
    hot_y: U16


@dataclass(frozen=True, slots=True)
class Cursor(Structure):
    """A cursor's shape; `flags` are `CursorFlag`. FROM_CACHE has a header and no data, NONE has neither."""

    flags: U16 = CursorFlag.NONE
    header: Annotated[CursorHeader | None, When(lacks("flags", CursorFlag.NONE), Nested(CursorHeader))] = None
    data: Rest = b""


@from_server(CURSOR, 101)
@dataclass(frozen=True, slots=True)
class Init(Message):
    """First message: the cursor as it is now."""

    position: Point16
    trail_length: U16
    trail_frequency: U16
    visible: U8
    cursor: Cursor


@from_server(CURSOR, 102)
@dataclass(frozen=True, slots=True)
class Reset(Message):
    """Forget the cursor and the cache."""


@from_server(CURSOR, 103)
@dataclass(frozen=True, slots=True)
class Set(Message):
    """A new shape, place and visibility."""

    position: Point16
    visible: U8
    cursor: Cursor


@from_server(CURSOR, 104)
@dataclass(frozen=True, slots=True)
class Move(Message):
    """A new place."""

    position: Point16


@from_server(CURSOR, 105)
@dataclass(frozen=True, slots=True)
class Hide(Message):
    """The cursor is not visible."""


@from_server(CURSOR, 106)
@dataclass(frozen=True, slots=True)
class Trail(Message):
    """How the cursor's trail looks."""

    length: U16
    frequency: U16


@from_server(CURSOR, 107)
@dataclass(frozen=True, slots=True)
class InvalOne(Message):
    """Drop one shape from the cache."""

    id: U64


@from_server(CURSOR, 108)
@dataclass(frozen=True, slots=True)
class InvalAll(Message):
    """Empty the cache."""
