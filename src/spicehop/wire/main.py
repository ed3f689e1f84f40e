"""Messages of the main channel (dossier B.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import (
    U8,
    U16,
    U32,
    U64,
    Array,
    Data,
    FixedBytes,
    Message,
    PointedBytes,
    Rest,
    SizedBytes,
    Structure,
)
from spicehop.wire.registry import from_client, from_server

MAIN = ChannelType.MAIN
NO_PORT = frozenset({0, 65535})
"""Port values that mean 'none': QEMU writes an absent port as 65535 (dossier C7)."""


@from_server(MAIN, 101)
@dataclass(frozen=True, slots=True)
class MigrateBegin(Message):
    """Connect to the target at this address (text without the NUL); the session will go there."""

    port: U16
    tls_port: U16
    host: Annotated[Data, PointedBytes(terminated=True)]
    cert_subject: Annotated[Data, PointedBytes()] = b""


@from_server(MAIN, 102)
@dataclass(frozen=True, slots=True)
class MigrateCancel(Message):
    """The migration will not take place."""


@from_server(MAIN, 103)
@dataclass(frozen=True, slots=True)
class Init(Message):
    """First message to a new session; `session_id` is the connection id of the other links."""

    session_id: U32
    display_channels_hint: U32
    supported_mouse_modes: U32
    current_mouse_mode: U32
    agent_connected: U32
    agent_tokens: U32
    multi_media_time: U32
    ram_hint: U32


@dataclass(frozen=True, slots=True)
class ChannelId(Structure):
    """A channel that the server offers."""

    type: U8
    id: U8


@from_server(MAIN, 104)
@dataclass(frozen=True, slots=True)
class ChannelsList(Message):
    """Channels to connect; later lists add to the first."""

    channels: Annotated[tuple[ChannelId, ...], Array(ChannelId, count="I")]


@from_server(MAIN, 105)
@dataclass(frozen=True, slots=True)
class MouseMode(Message):
    """Mouse modes the server supports now, and the one in force."""

    supported: U16
    current: U16


@from_server(MAIN, 106)
@dataclass(frozen=True, slots=True)
class MultiMediaTime(Message):
    """The server's clock for sound and video, in ms."""

    time: U32


@from_server(MAIN, 107)
@dataclass(frozen=True, slots=True)
class AgentConnected(Message):
    """The guest's agent is there; sent to clients without AGENT_CONNECTED_TOKENS."""


@from_server(MAIN, 108)
@dataclass(frozen=True, slots=True)
class AgentDisconnected(Message):
    """The guest's agent is gone."""

    error: U32


@from_server(MAIN, 109)
@from_client(MAIN, 107)
@dataclass(frozen=True, slots=True)
class AgentData(Message):
    """A slice of the agent stream, from a client at most 2,048 bytes."""

    data: Rest


@from_server(MAIN, 110)
@from_client(MAIN, 108)
@dataclass(frozen=True, slots=True)
class AgentToken(Message):
    """The receiver may send this many more AGENT_DATA."""

    tokens: U32


@from_server(MAIN, 111)
@dataclass(frozen=True, slots=True)
class MigrateSwitchHost(Message):
    """Leave, and start a new session at this address."""

    port: U16
    tls_port: U16
    host: Annotated[Data, PointedBytes(terminated=True)]
    cert_subject: Annotated[Data, PointedBytes()] = b""


@from_server(MAIN, 112)
@from_client(MAIN, 109)
@dataclass(frozen=True, slots=True)
class MigrateEnd(Message):
    """Semi-seamless: go over to the target; to the target: the client has come over."""


@from_server(MAIN, 113)
@dataclass(frozen=True, slots=True)
class Name(Message):
    """The VM's name."""

    name: Annotated[Data, SizedBytes("I", terminated=True)]


@from_server(MAIN, 114)
@dataclass(frozen=True, slots=True)
class Uuid(Message):
    """The VM's UUID."""

    uuid: Annotated[Data, FixedBytes(16)]


@from_server(MAIN, 115)
@dataclass(frozen=True, slots=True)
class AgentConnectedTokens(Message):
    """The guest's agent is there and the client may send this many AGENT_DATA."""

    tokens: U32


@from_server(MAIN, 116)
@dataclass(frozen=True, slots=True)
class MigrateBeginSeamless(Message):
    """As MIGRATE_BEGIN, and the source can hand over its state in this version."""

    port: U16
    tls_port: U16
    host: Annotated[Data, PointedBytes(terminated=True)]
    cert_subject: Annotated[Data, PointedBytes()] = b""
    source_version: U32 = 1


@from_server(MAIN, 117)
@dataclass(frozen=True, slots=True)
class MigrateDstSeamlessAck(Message):
    """The target will restore state."""


@from_server(MAIN, 118)
@dataclass(frozen=True, slots=True)
class MigrateDstSeamlessNack(Message):
    """The target cannot restore state; the migration goes on semi-seamless."""


@from_client(MAIN, 101)
@dataclass(frozen=True, slots=True)
class ClientInfo(Message):
    """Obsolete; no server reads it."""

    cache_size: U64


@from_client(MAIN, 102)
@dataclass(frozen=True, slots=True)
class MigrateConnected(Message):
    """The client is connected to the target, without state hand-over."""


@from_client(MAIN, 103)
@dataclass(frozen=True, slots=True)
class MigrateConnectError(Message):
    """The client could not connect to the target."""


@from_client(MAIN, 104)
@dataclass(frozen=True, slots=True)
class AttachChannels(Message):
    """Asks for CHANNELS_LIST."""


@from_client(MAIN, 105)
@dataclass(frozen=True, slots=True)
class MouseModeRequest(Message):
    """Asks for a mouse mode."""

    mode: U16


@from_client(MAIN, 106)
@dataclass(frozen=True, slots=True)
class AgentStart(Message):
    """Opens the agent stream; the server may send `tokens` AGENT_DATA."""

    tokens: U32


@from_client(MAIN, 110)
@dataclass(frozen=True, slots=True)
class MigrateDstDoSeamless(Message):
    """Asks the target to restore state of this version."""

    source_version: U32


@from_client(MAIN, 111)
@dataclass(frozen=True, slots=True)
class MigrateConnectedSeamless(Message):
    """The client is connected to the target, which will restore state."""


@from_client(MAIN, 112)
@dataclass(frozen=True, slots=True)
class QualityIndicator(Message):
    """An opaque report. Servers that announce LINK_STATEMENT read a `LinkStatement` in it, others nothing."""

    data: Rest


@dataclass(frozen=True, slots=True)
class LinkStatement(Structure):
    """What a client knows of its link: the round trip in microseconds, and bytes a second towards it."""

    round_trip: U32
    rate: U64
