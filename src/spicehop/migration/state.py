"""A session's whole state: what its channels, its agent's stream and its client views go on with on another server.

    data = encode(SessionState(channels, views, agent))
    match decode(data):
        case SessionState() as state: ...
        case Refusal(reason): ...       # another scheme, and the reason for it

Each part is a section of an envelope, so that it can go whole over the direct link, or in parts with the channels
through the client: `collect` takes the sections of any number of envelopes. What comes is not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState
from spicehop.channels.serving.cursor import CursorState
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.main import MainState
from spicehop.channels.serving.pipe import PipeState
from spicehop.channels.serving.playback import PlaybackState
from spicehop.channels.serving.record import RecordState
from spicehop.channels.serving.smartcard import SmartcardState
from spicehop.errors import ProtocolError, StateError
from spicehop.migration import state_layouts as layouts
from spicehop.painting.state import ViewState
from spicehop.painting.state import check as check_view
from spicehop.wire import envelope
from spicehop.wire.base import Migrate, MigrateData, MigrateFlushMark
from spicehop.wire.constants import ChannelType
from spicehop.wire.direct_link import Flushed, LateBytes, SessionHanded, SessionRestored
from spicehop.wire.envelope import Envelope, Section
from spicehop.wire.layout import Data, Structure
from spicehop.wire.migration_data import LAYOUTS

ChannelKey = tuple[int, int]
ServingState = (
    MainState | DisplayState | InputsState | CursorState | PlaybackState | RecordState | PipeState | SmartcardState
)
"""The state of any channel."""
VERSION = 1
"""Of every section."""
MAIN: ChannelKey = (ChannelType.MAIN, 0)


class Kind(IntEnum):
    """The sections of a session's state."""

    MAIN = 1
    DISPLAY = 2
    VIEW = 3
    INPUTS = 4
    CURSOR = 5
    PLAYBACK = 6
    RECORD = 7
    PIPE = 8
    SMARTCARD = 9
    AGENT_CLIENT = 10
    AGENT_DEVICE = 11
    WINDOW = 12
    """A saved `GlzDictionary`, host to host alone: it has pixels."""
    CHANNELS = 13
    """Which channels are handed over, through the client with main: it may have linked others at the target."""


KNOWN: Mapping[int, int] = dict.fromkeys(Kind, VERSION)
"""What this server reads."""
REPLACEABLE = frozenset({Kind.CURSOR, Kind.PLAYBACK, Kind.RECORD, Kind.WINDOW, Kind.CHANNELS})
"""Without these the channel, or the window, begins anew, and nothing is lost; without CHANNELS all are awaited."""
_KINDS: Mapping[int, Kind] = {
    ChannelType.MAIN: Kind.MAIN,
    ChannelType.DISPLAY: Kind.DISPLAY,
    ChannelType.INPUTS: Kind.INPUTS,
    ChannelType.CURSOR: Kind.CURSOR,
    ChannelType.PLAYBACK: Kind.PLAYBACK,
    ChannelType.RECORD: Kind.RECORD,
    ChannelType.SMARTCARD: Kind.SMARTCARD,
    ChannelType.USBREDIR: Kind.PIPE,
    ChannelType.PORT: Kind.PIPE,
    ChannelType.WEBDAV: Kind.PIPE,
}


@dataclass(frozen=True, slots=True)
class AgentStates:
    """The agent's stream: what is under way with the client, and at the device."""

    client: AgentClientState
    device: AgentDeviceState


@dataclass(frozen=True, slots=True)
class SessionState:
    """One client's session, to go on elsewhere."""

    channels: Mapping[ChannelKey, ServingState]
    """By kind and number, the main channel among them."""
    views: Mapping[int, ViewState] = field(default_factory=dict)
    """By the number of the display channel."""
    agent: AgentStates | None = None
    windows: Mapping[int, bytes] = field(default_factory=dict)
    """By the number of the display channel: its GLZ window, or what of it has not gone ahead."""
    handed: frozenset[ChannelKey] | None = None
    """All channels whose state comes; None when that is not said."""
    kept: tuple[tuple[Section, str], ...] = ()
    """Sections that this server could not read and can do without, with the reason. They are not sent on: what they say
    grows old here.
    """

    @property
    def main(self) -> MainState:
        """The main channel's state."""
        state = self.channels.get(MAIN)
        if not isinstance(state, MainState):
            raise StateError("a session without a main channel has no state")
        return state


@dataclass(frozen=True, slots=True)
class Refusal:
    """The session cannot go on with what came, though nothing of it is broken."""

    reason: str


class _Encodable(Protocol):
    def encode(self) -> bytes: ...


def prepare() -> None:
    """Make the layouts that states need; else the first session that moves waits some milliseconds for them, and its
    guest stands still meanwhile.
    """
    parts: list[type[Structure]] = [
        one for one in vars(layouts).values() if isinstance(one, type) and issubclass(one, Structure)
    ]
    parts += [ViewState, *LAYOUTS.values(), Migrate, MigrateData, MigrateFlushMark]
    parts += [LateBytes, Flushed, SessionHanded, SessionRestored]
    for part_class in parts:
        if part_class is not Structure:
            _ = part_class.layout().reader


def sections(
    state: SessionState, *, view_bytes: int | None = None, encoded_views: Mapping[int, bytes] | None = None
) -> list[Section]:
    """All parts of a state; a view has at most `view_bytes` where that can be, for all views together.
    `encoded_views` are the bytes of views that are encoded already.
    """
    found = [_section(_KINDS[key[0]], key, _encoded(one)) for key, one in sorted(state.channels.items())]
    for number, view in sorted(state.views.items()):
        data = (encoded_views or {}).get(number)
        if data is None:
            data = view.encode() if view_bytes is None else view.encode_within(view_bytes // len(state.views))
        found.append(_section(Kind.VIEW, (ChannelType.DISPLAY, number), data))
    found += [_section(Kind.WINDOW, (ChannelType.DISPLAY, number), data) for number, data in state.windows.items()]
    if state.handed is not None:
        channels = layouts.ChannelsPart(tuple(sorted(state.handed)))
        found.append(_section(Kind.CHANNELS, MAIN, channels.encode()))
    if state.agent is not None:
        client = layouts.AgentClientPart.of(state.agent.client).encode()
        device = layouts.AgentDevicePart.of(state.agent.device).encode()
        found.append(_section(Kind.AGENT_CLIENT, MAIN, client))
        found.append(_section(Kind.AGENT_DEVICE, MAIN, device))
    return found


def encode(state: SessionState, *, limit: int = envelope.MAX_BYTES) -> bytes:
    """The state in one envelope of at most `limit` bytes; views give up digests for that.

    `StateError` when that is not enough, or when there is no main channel: then the session moves in another way.
    """
    _ = state.main
    whole = sections(state)
    size = envelope.OVERHEAD + sum(envelope.SECTION_OVERHEAD + len(section.data) for section in whole)
    if size > limit and state.views:
        views = sum(len(section.data) for section in whole if section.kind == Kind.VIEW)
        whole = sections(state, view_bytes=max(0, limit - (size - views)))
    return envelope.encode(whole, limit=limit)


def decode(data: Data, *, limit: int = envelope.MAX_BYTES) -> SessionState | Refusal:
    """The state in an envelope. `ProtocolError` when the bytes are broken or contradict each other."""
    return collect(envelope.decode(data, limit=limit))


def collect(*envelopes: Envelope) -> SessionState | Refusal:
    """The state in several envelopes, in any order. `ProtocolError` when they contradict each other."""
    for one in envelopes:
        if one.refusal:
            return Refusal(one.refusal)
    together = [section for one in envelopes for section in one.sections]
    if len({section.key for section in together}) < len(together):
        raise ProtocolError("the state of a session has a part twice")
    state = part(Envelope(tuple(together)))
    if isinstance(state, Refusal):
        return state
    if MAIN not in state.channels or any(kind == ChannelType.MAIN for kind, number in state.channels if number):
        raise ProtocolError("the state of a session needs one main channel")
    return state


def part(one: Envelope) -> SessionState | Refusal:
    """What one envelope has of a session's state; it need not have a main channel. `ProtocolError` as in `collect`."""
    if one.refusal:
        return Refusal(one.refusal)
    parts = envelope.sort(one, KNOWN)
    if parts.reason:
        return Refusal(parts.reason)
    return _assembled(parts.readable, parts.kept)


def _assembled(readable: Iterable[Section], kept: tuple[tuple[Section, str], ...]) -> SessionState:
    channels: dict[ChannelKey, ServingState] = {}
    views: dict[int, ViewState] = {}
    windows: dict[int, bytes] = {}
    handed: frozenset[ChannelKey] | None = None
    client: AgentClientState | None = None
    device: AgentDeviceState | None = None
    for section in readable:
        key = (section.channel, section.channel_id)
        match section.kind:
            case Kind.VIEW:
                views[section.channel_id] = _view(section)
            case Kind.WINDOW:
                windows[section.channel_id] = section.data
            case Kind.CHANNELS:
                handed = frozenset(layouts.ChannelsPart.decode(section.data).channels)
            case Kind.AGENT_CLIENT:
                client = layouts.AgentClientPart.decode(section.data).state()
            case Kind.AGENT_DEVICE:
                device = layouts.AgentDevicePart.decode(section.data).state()
            case _:
                if _KINDS.get(section.channel) != section.kind:
                    raise ProtocolError(f"channel {section.channel} cannot have state of kind {section.kind}")
                channels[key] = _DECODERS[Kind(section.kind)](section.data)
    for number in views:
        if (ChannelType.DISPLAY, number) not in channels:
            raise ProtocolError("the state of a session has a view of a display that is not there")
    if (client is None) is not (device is None):
        raise ProtocolError("the state of a session has half of the agent's")
    agent = AgentStates(client, device) if client is not None and device is not None else None
    return SessionState(channels, views, agent, windows, handed, kept)


def _section(kind: Kind, key: ChannelKey, data: bytes) -> Section:
    return Section(kind, VERSION, VERSION, data, *key, obligatory=kind not in REPLACEABLE)


def _view(section: Section) -> ViewState:
    view = ViewState.decode(section.data)
    check_view(view)
    if section.channel != ChannelType.DISPLAY or view.display_id != section.channel_id:
        raise ProtocolError("a view belongs to another display than its section")
    return view


def _encoded(state: ServingState) -> bytes:
    """The layout's bytes."""
    part: _Encodable
    match state:
        case MainState():
            part = layouts.MainPart.of(state)
        case DisplayState():
            part = layouts.DisplayPart.of(state)
        case InputsState():
            part = layouts.InputsPart.of(state)
        case CursorState():
            part = layouts.CursorPart.of(state)
        case PlaybackState():
            part = layouts.PlaybackPart.of(state)
        case RecordState():
            part = layouts.RecordPart.of(state)
        case PipeState():
            part = layouts.PipePart.of(state)
        case SmartcardState():
            part = layouts.SmartcardPart.of(state)
    return part.encode()


_DECODERS: Mapping[Kind, Callable[[bytes], ServingState]] = {
    Kind.MAIN: lambda data: layouts.MainPart.decode(data).state(),
    Kind.DISPLAY: lambda data: layouts.DisplayPart.decode(data).state(),
    Kind.INPUTS: lambda data: layouts.InputsPart.decode(data).state(),
    Kind.CURSOR: lambda data: layouts.CursorPart.decode(data).state(),
    Kind.PLAYBACK: lambda data: layouts.PlaybackPart.decode(data).state(),
    Kind.RECORD: lambda data: layouts.RecordPart.decode(data).state(),
    Kind.PIPE: lambda data: layouts.PipePart.decode(data).state(),
    Kind.SMARTCARD: lambda data: layouts.SmartcardPart.decode(data).state(),
}
