"""Messages of the playback channel (dossier B.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import U8, U16, U32, Array, Message, Rest
from spicehop.wire.registry import from_server

PLAYBACK = ChannelType.PLAYBACK


@from_server(PLAYBACK, 101)
@dataclass(frozen=True, slots=True)
class PlaybackData(Message):
    """Sound to play at a time of the multimedia clock in ms, DATA in the protocol."""

    multi_media_time: U32
    data: Rest

    NAME = "DATA"


@from_server(PLAYBACK, 102)
@dataclass(frozen=True, slots=True)
class Mode(Message):
    """The `AudioMode` of the data that follows; `data` is the codec's own."""

    time: U32
    mode: U16
    data: Rest = b""


@from_server(PLAYBACK, 103)
@dataclass(frozen=True, slots=True)
class Start(Message):
    """Sound begins: channels, `AudioFormat`, samples a second and the time of the first."""

    channels: U32
    format: U16
    frequency: U32
    time: U32


@from_server(PLAYBACK, 104)
@dataclass(frozen=True, slots=True)
class Stop(Message):
    """Sound ends."""


@from_server(PLAYBACK, 105)
@dataclass(frozen=True, slots=True)
class Volume(Message):
    """The volume of each channel, 65535 is the loudest."""

    volumes: Annotated[tuple[int, ...], Array("H", count="B")]


@from_server(PLAYBACK, 106)
@dataclass(frozen=True, slots=True)
class Mute(Message):
    """Whether sound is muted."""

    mute: U8


@from_server(PLAYBACK, 107)
@dataclass(frozen=True, slots=True)
class Latency(Message):
    """The least delay of sound, in ms, that fits the video."""

    latency: U32
