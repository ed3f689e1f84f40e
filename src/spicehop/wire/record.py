"""Messages of the record channel (dossier B.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import U8, U16, U32, Array, Message, Rest
from spicehop.wire.registry import from_client, from_server

RECORD = ChannelType.RECORD


@from_server(RECORD, 101)
@dataclass(frozen=True, slots=True)
class Start(Message):
    """The guest wants sound: channels, `AudioFormat`, samples a second."""

    channels: U32
    format: U16
    frequency: U32


@from_server(RECORD, 102)
@dataclass(frozen=True, slots=True)
class Stop(Message):
    """The guest wants no more sound."""


@from_server(RECORD, 103)
@dataclass(frozen=True, slots=True)
class Volume(Message):
    """The volume of each channel, 65535 is the loudest."""

    volumes: Annotated[tuple[int, ...], Array("H", count="B")]


@from_server(RECORD, 104)
@dataclass(frozen=True, slots=True)
class Mute(Message):
    """Whether recording is muted."""

    mute: U8


@from_client(RECORD, 101)
@dataclass(frozen=True, slots=True)
class RecordData(Message):
    """Recorded sound, DATA in the protocol."""

    time: U32
    data: Rest

    NAME = "DATA"


@from_client(RECORD, 102)
@dataclass(frozen=True, slots=True)
class Mode(Message):
    """The `AudioMode` of the data that follows; `data` is the codec's own."""

    time: U32
    mode: U16
    data: Rest = b""


@from_client(RECORD, 103)
@dataclass(frozen=True, slots=True)
class StartMark(Message):
    """The time at which recording has begun."""

    time: U32
