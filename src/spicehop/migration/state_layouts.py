"""The frozen states of channels as bytes: one layout for each, with `of` to make it and `state` to read it back.

The bytes may come through a client, so `state` checks every number before it makes something of it; `ProtocolError` is
all that bad bytes raise. Later versions of a layout append fields: bytes behind the last one are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState, Slice
from spicehop.channels.serving.agent_reading import MAX_COLLECTED
from spicehop.channels.serving.agent_routing import MAX_MESSAGE, MAX_TRANSFERS, MAX_WAITING, MessageHead
from spicehop.channels.serving.channel import ChannelState, QueuedMessage
from spicehop.channels.serving.cursor import CursorState
from spicehop.channels.serving.delivery import DeliveryState
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import (
    ButtonsChanged,
    InputEvent,
    InputsState,
    KeyCame,
    PointerMoved,
    PointerPlaced,
    key_bytes,
)
from spicehop.channels.serving.main import MainState
from spicehop.channels.serving.pipe import INCOMING_MOST, PipeState
from spicehop.channels.serving.playback import PlaybackState
from spicehop.channels.serving.record import RecordState
from spicehop.channels.serving.smartcard import MAX_DATA, SmartcardState
from spicehop.errors import ProtocolError, StateError
from spicehop.wire.agent import MonitorsConfig
from spicehop.wire.agent_constants import CLIENT_TOKENS
from spicehop.wire.constants import AudioMode, MouseMode
from spicehop.wire.direct_link import Channels
from spicehop.wire.display import Init
from spicehop.wire.layout import I32, I64, U8, U16, U32, U64, Array, Data, SizedBytes, Structure, Switch

_NO_TRIP = 2**32 - 1
_NO_RATE = 2**64 - 1
_MICROSECONDS = 1_000_000
_MOST = 2**62  # of what is counted on, so that counting goes on
MOST_KEYS = 256
MOST_SHAPES = 65_535
MOST_SPEAKERS = 32
MOST_FREQUENCY = 384_000
MOST_QUEUED = 65_536
"""Messages of one channel that were not written."""
MOST_QUEUED_BYTES = 64 * 1024 * 1024
MOST_WAITING = 65_536
"""Pieces of input that came while the guest stood still."""
MOST_CLIENTS = 1024
_SELECTIONS = 3
_MOST_OWN = 256 * 1024
_LOCKS = 7
_MOST_BUTTONS = 0xFFFF
_MOST_SCANCODES = 4
_LATEST = 2**52  # microseconds since 1970; beyond that a float has not all of them
_AGENT_HEADER = 20
_MOST_SLICE = MAX_COLLECTED + 1024
_MOST_PIECE = 64 * 1024


def _check(is_right: bool, what: str) -> None:
    if not is_right:
        raise ProtocolError(f"the state of a session has {what} that cannot be")


def _flag(value: int, what: str) -> bool:
    _check(value <= 1, what)
    return bool(value)


@dataclass(frozen=True, slots=True)
class QueuedPart(Structure):
    """A `QueuedMessage`."""

    number: U16
    body: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class ChannelPart(Structure):
    """What all channels have."""

    serial: U64
    round_trip: U32
    """Microseconds."""
    rate: U64
    """Bytes a second."""
    queued: Annotated[tuple[QueuedPart, ...], Array(QueuedPart)]

    @classmethod
    def of(cls, state: ChannelState) -> Self:
        trip, rate = state.delivery.round_trip, state.delivery.rate
        if len(state.queued) > MOST_QUEUED or sum(len(one.body) for one in state.queued) > MOST_QUEUED_BYTES:
            raise StateError(f"{len(state.queued)} messages wait for the client: too much to move")
        return cls(
            state.serial,
            _NO_TRIP if trip is None else min(max(round(trip * _MICROSECONDS), 0), _NO_TRIP - 1),
            _NO_RATE if rate is None else min(max(round(rate), 0), _NO_RATE - 1),
            tuple([QueuedPart(one.number, one.body) for one in state.queued]),
        )

    def state(self) -> ChannelState:
        _check(self.serial < _MOST, "a serial")
        size = sum(len(one.body) for one in self.queued)
        _check(len(self.queued) <= MOST_QUEUED and size <= MOST_QUEUED_BYTES, "an amount of queued messages")
        trip = None if self.round_trip == _NO_TRIP else self.round_trip / _MICROSECONDS
        delivery = DeliveryState(trip, None if self.rate == _NO_RATE else float(self.rate))
        queued = [QueuedMessage(one.number, bytes(one.body)) for one in self.queued]
        return ChannelState(self.serial, delivery, tuple(queued))


def _microseconds(seconds: float) -> int:
    return min(max(round(seconds * _MICROSECONDS), 0), _LATEST)


def _seconds(microseconds: int) -> float:
    _check(microseconds <= _LATEST, "a time")
    return microseconds / _MICROSECONDS


@dataclass(frozen=True, slots=True)
class ChannelsPart(Structure):
    """Which channels of a session are handed over."""

    channels: Channels


@dataclass(frozen=True, slots=True)
class MainPart(Structure):
    """A `MainState`."""

    channel: ChannelPart
    connection_id: U32
    mouse_mode: U32
    supported_mouse_modes: U32
    listed: U8
    media_time: U32
    saved_at: U64
    """Microseconds since 1970."""

    @classmethod
    def of(cls, state: MainState) -> Self:
        return cls(
            ChannelPart.of(state.channel),
            state.connection_id,
            state.mouse_mode,
            state.supported_mouse_modes,
            int(state.listed),
            state.media_time,
            _microseconds(state.saved_at),
        )

    def state(self) -> MainState:
        _check(self.mouse_mode in (MouseMode.SERVER, MouseMode.CLIENT), "a mouse mode")
        _check(self.supported_mouse_modes & ~(MouseMode.SERVER | MouseMode.CLIENT) == 0, "mouse modes")
        _check(self.connection_id != 0, "a connection id")
        return MainState(
            self.channel.state(),
            self.connection_id,
            self.mouse_mode,
            self.supported_mouse_modes,
            _flag(self.listed, "a flag"),
            self.media_time,
            _seconds(self.saved_at),
        )


@dataclass(frozen=True, slots=True)
class DisplayPart(Structure):
    """A `DisplayState`; without INIT all of it is 0."""

    channel: ChannelPart
    has_init: U8
    cache_id: U8
    cache_pixels: I64
    dictionary_id: U8
    window_pixels: I32
    media_time: U32
    saved_at: U64
    """As in `MainPart`."""

    @classmethod
    def of(cls, state: DisplayState) -> Self:
        init = state.init or Init(0, 0, 0, 0)
        return cls(
            ChannelPart.of(state.channel),
            int(state.init is not None),
            init.pixmap_cache_id,
            init.pixmap_cache_size,
            init.glz_dictionary_id,
            init.glz_window_size,
            state.media_time,
            _microseconds(state.saved_at),
        )

    def state(self) -> DisplayState:
        _check(self.cache_pixels >= 0 and self.window_pixels >= 0, "cache sizes")
        init = Init(self.cache_id, self.cache_pixels, self.dictionary_id, self.window_pixels)
        return DisplayState(
            self.channel.state(),
            init if _flag(self.has_init, "a flag") else None,
            self.media_time,
            _seconds(self.saved_at),
        )


@dataclass(frozen=True, slots=True)
class KeyPart(Structure):
    """A `KeyCame`."""

    scancodes: Annotated[Data, SizedBytes("B")]

    def event(self) -> InputEvent:
        _check(0 < len(self.scancodes) <= _MOST_SCANCODES, "a key that waits")
        return KeyCame(bytes(self.scancodes))


@dataclass(frozen=True, slots=True)
class MotionPart(Structure):
    """A `PointerMoved`."""

    dx: I32
    dy: I32
    buttons: U16

    def event(self) -> InputEvent:
        return PointerMoved(self.dx, self.dy, self.buttons)


@dataclass(frozen=True, slots=True)
class PlacePart(Structure):
    """A `PointerPlaced`."""

    display: U8
    x: I32
    y: I32
    buttons: U16

    def event(self) -> InputEvent:
        _check(self.x >= 0 and self.y >= 0, "a place of the pointer")
        return PointerPlaced(self.display, self.x, self.y, self.buttons)


@dataclass(frozen=True, slots=True)
class ButtonsPart(Structure):
    """A `ButtonsChanged`."""

    buttons: U16

    def event(self) -> InputEvent:
        return ButtonsChanged(self.buttons)


@dataclass(frozen=True, slots=True)
class NoEventPart(Structure):
    """Of a kind that is not known."""

    def event(self) -> InputEvent:
        raise ProtocolError("the state of a session has input of an unknown kind")


_EVENTS: dict[int, type[Structure]] = {1: KeyPart, 2: MotionPart, 3: PlacePart, 4: ButtonsPart}


@dataclass(frozen=True, slots=True)
class EventPart(Structure):
    """An `InputEvent`."""

    kind: U8
    event: Annotated[KeyPart | MotionPart | PlacePart | ButtonsPart | NoEventPart, Switch("kind", _EVENTS, NoEventPart)]

    @classmethod
    def of(cls, event: InputEvent) -> Self:
        match event:
            case KeyCame():
                return cls(1, KeyPart(event.scancodes))
            case PointerMoved():
                return cls(2, MotionPart(event.dx, event.dy, event.buttons))
            case PointerPlaced():
                return cls(3, PlacePart(event.display, event.x, event.y, event.buttons))
            case ButtonsChanged():
                return cls(4, ButtonsPart(event.buttons))


@dataclass(frozen=True, slots=True)
class WaitingPart(Structure):
    """`InputEvent`s that wait for the guest, of clients that are gone."""

    waiting: Annotated[tuple[EventPart, ...], Array(EventPart)]

    @classmethod
    def of(cls, events: tuple[InputEvent, ...]) -> Self:
        return cls(tuple([EventPart.of(one) for one in events]))

    def events(self) -> tuple[InputEvent, ...]:
        _check(len(self.waiting) <= MOST_WAITING, "an amount of input that waits")
        return tuple([one.event.event() for one in self.waiting])


@dataclass(frozen=True, slots=True)
class ClientHeldPart(Structure):
    """What lets go of all that one client holds down in the guest."""

    connection_id: U32
    releases: Annotated[tuple[EventPart, ...], Array(EventPart, count="H")]


@dataclass(frozen=True, slots=True)
class HeldPart(Structure):
    """The same of all clients."""

    clients: Annotated[tuple[ClientHeldPart, ...], Array(ClientHeldPart)]

    @classmethod
    def of(cls, held: Mapping[int, tuple[InputEvent, ...]]) -> Self:
        parts = {key: tuple([EventPart.of(one) for one in events]) for key, events in held.items()}
        return cls(tuple([ClientHeldPart(key, events) for key, events in parts.items()]))

    def held(self) -> dict[int, tuple[InputEvent, ...]]:
        return {one.connection_id: tuple([part.event.event() for part in one.releases]) for one in self.clients}


@dataclass(frozen=True, slots=True)
class InputsPart(Structure):
    """An `InputsState`; keys are scan codes as in KEY_DOWN."""

    channel: ChannelPart
    held_keys: Annotated[tuple[int, ...], Array("I", count="H")]
    buttons: U32
    motions: U32
    locks: U32
    scan: Annotated[Data, SizedBytes("B")]
    waiting: Annotated[tuple[EventPart, ...], Array(EventPart)]

    @classmethod
    def of(cls, state: InputsState) -> Self:
        if len(state.waiting) > MOST_WAITING:
            raise StateError(f"{len(state.waiting)} pieces of input wait: too many to move")
        keys = tuple([int.from_bytes(key, "little") for key in state.held_keys])
        channel, waiting = ChannelPart.of(state.channel), tuple([EventPart.of(one) for one in state.waiting])
        return cls(channel, keys, state.buttons, state.motions, state.locks, state.scan, waiting)

    def state(self) -> InputsState:
        keys = tuple([key_bytes(code) for code in self.held_keys])
        _check(len(keys) <= MOST_KEYS and len(set(keys)) == len(keys) and b"" not in keys, "held keys")
        _check(self.buttons <= _MOST_BUTTONS and self.locks <= _LOCKS, "buttons or lock keys")
        _check(self.motions < 4 and len(self.scan) < 4, "movements or a key")
        _check(len(self.waiting) <= MOST_WAITING, "an amount of input that waits")
        waiting = tuple([one.event.event() for one in self.waiting])
        channel = self.channel.state()
        return InputsState(channel, keys, self.buttons, self.motions, self.locks, bytes(self.scan), waiting)


@dataclass(frozen=True, slots=True)
class CursorPart(Structure):
    """A `CursorState`."""

    channel: ChannelPart
    x: I32
    y: I32
    visible: U8
    shape: U64
    cached: Annotated[tuple[int, ...], Array("Q", count="H")]

    @classmethod
    def of(cls, state: CursorState) -> Self:
        x, y, visible, shape = state.shown
        return cls(ChannelPart.of(state.channel), x, y, int(visible), shape, state.cached)

    def state(self) -> CursorState:
        _check(len(set(self.cached)) == len(self.cached), "a pointer's shape twice, or one")
        shown = (self.x, self.y, _flag(self.visible, "a flag"), self.shape)
        return CursorState(self.channel.state(), shown, tuple(self.cached))


def _format(channels: int, frequency: int) -> tuple[int, int] | None:
    if not channels:
        return None
    _check(channels <= MOST_SPEAKERS and 0 < frequency <= MOST_FREQUENCY, "a sound format")
    return channels, frequency


@dataclass(frozen=True, slots=True)
class PlaybackPart(Structure):
    """A `PlaybackState`; 0 channels for silence."""

    channel: ChannelPart
    mode: U16
    channels: U32
    frequency: U32
    volume: Annotated[tuple[int, ...], Array("H", count="B")]
    muted: U8

    @classmethod
    def of(cls, state: PlaybackState) -> Self:
        channels, frequency = state.playing or (0, 0)
        channel = ChannelPart.of(state.channel)
        return cls(channel, state.mode, channels, frequency, state.volume, int(state.muted))

    def state(self) -> PlaybackState:
        _check(self.mode in (0, *AudioMode), "a sound mode")
        _check(len(self.volume) <= MOST_SPEAKERS, "volumes")
        playing = _format(self.channels, self.frequency)
        muted = _flag(self.muted, "a flag")
        return PlaybackState(self.channel.state(), self.mode, playing, tuple(self.volume), muted)


@dataclass(frozen=True, slots=True)
class RecordPart(Structure):
    """A `RecordState`; 0 channels when nothing is recorded."""

    channel: ChannelPart
    mode: U16
    channels: U32
    frequency: U32

    @classmethod
    def of(cls, state: RecordState) -> Self:
        return cls(ChannelPart.of(state.channel), state.mode, *(state.recording or (0, 0)))

    def state(self) -> RecordState:
        _check(self.mode in tuple(AudioMode), "a sound mode")
        return RecordState(self.channel.state(), self.mode, _format(self.channels, self.frequency))


@dataclass(frozen=True, slots=True)
class PipePart(Structure):
    """A `PipeState`: port, usbredir, webdav, and what is under a smartcard channel."""

    channel: ChannelPart
    opened: U8
    incoming: Annotated[Data, SizedBytes("I")]
    bytes_delivered: U64
    bytes_sent: U64

    @classmethod
    def of(cls, state: PipeState) -> Self:
        channel = ChannelPart.of(state.channel)
        return cls(channel, int(state.opened), state.incoming, state.bytes_delivered, state.bytes_sent)

    def state(self) -> PipeState:
        _check(len(self.incoming) <= INCOMING_MOST, "an amount of bytes for a device")
        _check(max(self.bytes_delivered, self.bytes_sent) < _MOST, "a count of bytes")
        return PipeState(
            self.channel.state(),
            _flag(self.opened, "a flag"),
            bytes(self.incoming),
            self.bytes_delivered + len(self.incoming),
            self.bytes_delivered,
            self.bytes_sent,
        )


@dataclass(frozen=True, slots=True)
class SmartcardPart(Structure):
    """A `SmartcardState`."""

    pipe: PipePart
    has_reader: U8
    partial: Annotated[Data, SizedBytes("I")]

    @classmethod
    def of(cls, state: SmartcardState) -> Self:
        return cls(PipePart.of(state.pipe), int(state.has_reader), state.partial)

    def state(self) -> SmartcardState:
        _check(len(self.partial) <= MAX_DATA + 64, "a part of a card's message")
        return SmartcardState(self.pipe.state(), _flag(self.has_reader, "a flag"), bytes(self.partial))


@dataclass(frozen=True, slots=True)
class HeadPart(Structure):
    """A message that is under way, or none: then `there` is 0 and so is the rest; `left` are bytes of it to come."""

    there: U8
    type: U32
    size: U32
    first_word: U32
    left: U32

    @classmethod
    def of(cls, head: MessageHead | None, left: int) -> Self:
        if head is None:
            return cls(0, 0, 0, 0, left)
        return cls(1, head.type, head.size, head.first_word, left)

    def head(self) -> MessageHead | None:
        if not _flag(self.there, "a flag"):
            _check(not self.left, "the rest of no message")
            return None
        _check(self.size <= MAX_MESSAGE and self.left <= self.size + _AGENT_HEADER, "a length of a message")
        return MessageHead(self.type, self.size, self.first_word)


@dataclass(frozen=True, slots=True)
class SlicePart(Structure):
    """A `Slice`."""

    data: Annotated[Data, SizedBytes("H")]
    first: U8
    last: U8
    credited: U8
    raw: U8

    @classmethod
    def of(cls, one: Slice) -> Self:
        return cls(one.data, int(one.first), int(one.last), int(one.credited), int(one.raw))

    def slice(self) -> Slice:
        _check(len(self.data) <= _MOST_SLICE and max(self.first, self.last, self.credited, self.raw) <= 1, "a slice")
        return Slice(bytes(self.data), bool(self.first), bool(self.last), bool(self.credited), bool(self.raw))


@dataclass(frozen=True, slots=True)
class Piece(Structure):
    """Bytes of the agent for the client."""

    data: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class AgentClientPart(Structure):
    """An `AgentClientState`."""

    started: U8
    tokens: U32
    inlet_tokens: U32
    owed: U32
    slices: Annotated[tuple[SlicePart, ...], Array(SlicePart, count="H")]
    head: HeadPart
    dropped: U8
    has_collected: U8
    collected: Annotated[Data, SizedBytes("I")]
    outlet: Annotated[tuple[Piece, ...], Array(Piece, count="H")]
    monitors: Annotated[Data, SizedBytes("I")]
    """A MONITORS_CONFIG, or nothing."""

    @classmethod
    def of(cls, state: AgentClientState) -> Self:
        slices = [SlicePart.of(one) for one in state.slices]
        return cls(
            int(state.started),
            state.tokens,
            state.inlet_tokens,
            state.owed,
            tuple(slices),
            HeadPart.of(state.head, state.left),
            int(state.dropped),
            int(state.collected is not None),
            state.collected or b"",
            tuple([Piece(data) for data in state.outlet]),
            b"" if state.monitors is None else state.monitors.encode(),
        )

    def state(self) -> AgentClientState:
        slices = [one.slice() for one in self.slices]
        spent = sum(not one.credited for one in slices)
        _check(self.inlet_tokens + self.owed + spent <= CLIENT_TOKENS, "tokens")
        head = self.head.head()
        collects = _flag(self.has_collected, "a flag")
        _check(len(self.collected) <= (_MOST_SLICE if collects else 0), "a message that is read")
        _check(all(len(piece.data) <= _MOST_PIECE for piece in self.outlet), "a piece of a message")
        dropped = _flag(self.dropped, "a flag")
        _check(head is not None or not (collects or dropped), "a part of no message")
        _check(len(self.monitors) <= MAX_COLLECTED, "an amount of monitors")
        return AgentClientState(
            _flag(self.started, "a flag"),
            self.tokens,
            self.inlet_tokens,
            self.owed,
            tuple(slices),
            head,
            self.head.left,
            dropped,
            bytes(self.collected) if collects else None,
            tuple([bytes(piece.data) for piece in self.outlet]),
            MonitorsConfig.decode(self.monitors) if self.monitors else None,
        )


@dataclass(frozen=True, slots=True)
class RoutePart(Structure):
    """Which client something is for."""

    key: U32
    client: U32


@dataclass(frozen=True, slots=True)
class AgentDevicePart(Structure):
    """An `AgentDeviceState`."""

    connected: U8
    partial: Annotated[Data, SizedBytes("I")]
    chunk_left: U32
    chunk_port: U32
    head: HeadPart
    writer_in_message: U8
    chunk_open: U8
    dropped: U8
    has_collected: U8
    collected: Annotated[Data, SizedBytes("I")]
    writer: U32
    writer_left: U32
    padding: U32
    left_behind: Annotated[tuple[Piece, ...], Array(Piece, count="H")]
    own: Annotated[tuple[Piece, ...], Array(Piece, count="H")]
    has_targets: U8
    targets: Annotated[tuple[int, ...], Array("I", count="H")]
    clients: Annotated[tuple[int, ...], Array("I", count="H")]
    asked: Annotated[tuple[RoutePart, ...], Array(RoutePart, count="H")]
    offered: Annotated[tuple[RoutePart, ...], Array(RoutePart, count="H")]
    transfers: Annotated[tuple[RoutePart, ...], Array(RoutePart, count="H")]

    @classmethod
    def of(cls, state: AgentDeviceState) -> Self:
        return cls(
            int(state.connected),
            state.partial,
            state.chunk_left,
            state.chunk_port,
            HeadPart.of(state.head, state.left),
            int(state.writer_in_message),
            int(state.chunk_open),
            int(state.dropped),
            int(state.collected is not None),
            state.collected or b"",
            state.writer,
            state.writer_left,
            state.padding,
            _pieces(state.left_behind),
            _pieces(state.own),
            int(state.targets is not None),
            state.targets or (),
            state.clients,
            _routes(state.asked),
            _routes(state.offered),
            _routes(state.transfers),
        )

    def state(self) -> AgentDeviceState:
        _check(len(self.partial) <= _MOST_PIECE, "a part of an agent's message")
        head, collects = self.head.head(), _flag(self.has_collected, "a flag")
        dropped = _flag(self.dropped, "a flag")
        _check(len(self.collected) <= (_MOST_SLICE if collects else 0), "a message of the agent that is read")
        _check(head is not None or not (collects or dropped), "a part of no message of the agent")
        _check(max(self.writer_left, self.padding) <= MAX_MESSAGE + _AGENT_HEADER, "the rest of an agent's message")
        pieces = (*self.left_behind, *self.own)
        _check(sum(len(piece.data) for piece in pieces) <= _MOST_OWN, "an amount of bytes for the agent")
        named = _flag(self.has_targets, "a flag")
        names = (*self.targets, *self.clients, *(one.client for one in (*self.asked, *self.offered, *self.transfers)))
        _check(0 not in names and (named or not self.targets), "a client without a name")
        _check(max(len(self.targets), len(self.clients)) <= MOST_CLIENTS, "an amount of clients")
        fits = len(self.asked) <= _SELECTIONS * MAX_WAITING and len(self.offered) <= _SELECTIONS
        _check(fits and len(self.transfers) <= MAX_TRANSFERS, "an amount of answers")
        return AgentDeviceState(
            _flag(self.connected, "a flag"),
            bytes(self.partial),
            self.chunk_left,
            self.chunk_port,
            head,
            self.head.left,
            _flag(self.writer_in_message, "a flag"),
            _flag(self.chunk_open, "a flag"),
            dropped,
            bytes(self.collected) if collects else None,
            self.writer,
            self.writer_left,
            self.padding,
            tuple([bytes(piece.data) for piece in self.left_behind]),
            tuple([bytes(piece.data) for piece in self.own]),
            tuple(self.targets) if named else None,
            tuple(self.clients),
            tuple([(one.key, one.client) for one in self.asked]),
            tuple([(one.key, one.client) for one in self.offered]),
            tuple([(one.key, one.client) for one in self.transfers]),
        )


def _pieces(data: tuple[bytes, ...]) -> tuple[Piece, ...]:
    return tuple([Piece(one) for one in data])


def _routes(entries: tuple[tuple[int, int], ...]) -> tuple[RoutePart, ...]:
    return tuple([RoutePart(key, client) for key, client in entries])
