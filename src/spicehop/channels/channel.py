"""What all channels of a client have in common: serials, acknowledgements, pings, hand-over (dossier A.7 to A.9, C1).

A channel outlives its connections. It owns what is queued and not yet written, so that a migration takes the queue to
the target: after MIGRATE only the flush mark still goes to the source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from spicehop.channels.link import Linked
from spicehop.errors import ProtocolError
from spicehop.wire import base, registry
from spicehop.wire.constants import CommonCap, Direction, MigrateFlag, channel_name
from spicehop.wire.framing import DEFAULT_LIMIT, Frame, FrameReader, encode_frame
from spicehop.wire.layout import Data, Message
from spicehop.wire.link import Capabilities

COMMON_CAPABILITIES = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER})
LIST_NUMBER = 8
WAIT_DEADLINE = 10.0
"""Seconds that a WAIT_FOR_CHANNELS may hold a channel up."""


class HandOver(Enum):
    """Where the channel stands in a seamless migration."""

    NONE = "None"
    AWAITING_DATA = "AwaitingMigrateData"
    READY = "ReadyToSwap"


@dataclass(frozen=True, slots=True)
class Received:
    """A message for whoever works with the channel."""

    message: Message


@dataclass(frozen=True, slots=True)
class MigrateReceived:
    """The source hands the channel over; MIGRATE_DATA follows when `with_data`."""

    flags: int
    with_data: bool


@dataclass(frozen=True, slots=True)
class SwapReady:
    """Nothing more comes from the source; `data` is what the target shall get, None when there is none."""

    data: bytes | None


@dataclass(frozen=True, slots=True)
class MustWait:
    """The channel handles nothing more until these channels have handled these serials."""

    channels: tuple[base.WaitFor, ...]


ChannelEvent = Received | MigrateReceived | SwapReady | MustWait


class ClientChannel:
    """One channel of a client session; the base of those with a job of their own."""

    def __init__(self, kind: int, channel_id: int) -> None:
        self.kind = kind
        self.channel_id = channel_id
        self.name = channel_name(kind, channel_id)
        self.server = Capabilities()
        self.hand_over = HandOver.NONE
        self.waits_for: tuple[base.WaitFor, ...] = ()
        self.wait_deadline: float | None = None
        self.messages_sent = 0
        self.bytes_received = 0
        self.observer: Callable[[Message, float], None] | None = None
        """Told of each queued message when it is written."""
        self._queue: deque[Message] = deque()
        self._replies: deque[Message] = deque()
        self._reader: FrameReader | None = None
        self._frames: deque[Frame] = deque()
        self._parts: deque[tuple[int, Data]] = deque()
        self._mini_header = True
        self._ack_window = 0
        self._since_ack = 0

    def own_capabilities(self) -> Capabilities:
        """What this side announces in the link message."""
        return Capabilities(COMMON_CAPABILITIES, self.channel_capabilities())

    def channel_capabilities(self) -> frozenset[int]:
        """The bits of this kind of channel."""
        return frozenset()

    @property
    def serial(self) -> int:
        """Serial of the last message that was handled."""
        return self._reader.serial - len(self._frames) - bool(self._parts) if self._reader is not None else 0

    # -- connections ------------------------------------------------------------------------------------------------

    def begin(self, linked: Linked, now: float, first: tuple[Message, ...] = ()) -> list[ChannelEvent]:
        """Start anew on a connection, at first or after a migration without hand-over of state."""
        self._connect(linked, serial=0)
        self.reset()
        self._queue.extendleft(reversed([*first, *self.opening_messages(now)]))
        return self.feed(linked.rest, now)

    def swap(self, linked: Linked, data: bytes | None, now: float) -> list[ChannelEvent]:
        """Go on at the target with the state that came through us; MIGRATE_DATA is the first message there."""
        self._connect(linked, serial=self._reader.serial if self._reader is not None else 0)
        first: list[Message] = [] if data is None else [base.MigrateData(data)]
        self._queue.extendleft(reversed(first + self.swap_messages(now)))
        return self.feed(linked.rest, now)

    def _connect(self, linked: Linked, serial: int) -> None:
        self.server = linked.capabilities
        self.hand_over = HandOver.NONE
        self.waits_for, self.wait_deadline = (), None
        self._reader = FrameReader(mini_header=linked.mini_header, limit=self.message_limit(), serial=serial)
        self._mini_header = linked.mini_header
        self._frames.clear()
        self._parts.clear()
        self._replies.clear()
        self._ack_window = self._since_ack = 0

    def detach(self) -> Linked:
        """What is needed to come back to the connection the channel leaves now."""
        rest = self._reader.take_rest() if self._reader is not None else b""
        return Linked(self.server, self._mini_header, rest)

    def return_to(self, linked: Linked, now: float) -> list[ChannelEvent]:
        """Go on at the source after the migration was called off; the server there never stopped counting."""
        self._connect(linked, serial=self._reader.serial if self._reader is not None else 0)
        self._queue.extendleft(reversed(self.swap_messages(now)))
        return self.feed(linked.rest, now)

    def resume(self) -> None:
        """The source keeps the channel after all."""
        self.hand_over = HandOver.NONE

    def disconnect(self) -> None:
        """The connection is gone; what is queued stays."""
        self._reader = None
        self._frames.clear()
        self._parts.clear()
        self._replies.clear()

    @property
    def connected(self) -> bool:
        """Whether the channel has a connection."""
        return self._reader is not None

    def message_limit(self) -> int:
        """Largest message accepted from the server, in bytes."""
        return DEFAULT_LIMIT

    def reset(self) -> None:
        """Forget what only the last server could use; called before `opening_messages`."""
        self._queue.clear()

    def opening_messages(self, now: float) -> list[Message]:
        """What goes out first on a new connection."""
        return []

    def swap_messages(self, now: float) -> list[Message]:
        """What goes out behind MIGRATE_DATA and before everything that is queued."""
        return []

    # -- receiving --------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> list[ChannelEvent]:
        """Take bytes of the present connection; `ProtocolError` when they cannot be."""
        if self._reader is None or self.hand_over is HandOver.READY:
            return []
        self.bytes_received += len(data)
        self._frames.extend(self._reader.feed(data))
        events: list[ChannelEvent] = []
        self._handle_frames(events, now)
        return events

    def proceed(self, now: float) -> list[ChannelEvent]:
        """Go on after a wait for other channels."""
        self.waits_for, self.wait_deadline = (), None
        events: list[ChannelEvent] = []
        self._handle_frames(events, now)
        return events

    def _handle_frames(self, events: list[ChannelEvent], now: float) -> None:
        while self._parts or self._frames:
            if not self._parts:
                self._split(self._frames.popleft())
            while self._parts and not self.waits_for and self.hand_over is not HandOver.READY:
                number, data = self._parts.popleft()
                self._handle(registry.decode(self.kind, Direction.FROM_SERVER, number, data), events, now)
            if self.hand_over is HandOver.READY:
                self._frames.clear()
                self._parts.clear()
            if self._parts or self.waits_for:
                break
            self._count_for_ack()

    def _split(self, frame: Frame) -> None:
        """Sub-messages come before the message that carries them (dossier A.7)."""
        parts = frame.sub_messages
        if frame.number == LIST_NUMBER:
            parts += base.MessageList.decode(frame.body).messages
        self._parts.extend((part.number, part.data) for part in parts)
        if frame.number != LIST_NUMBER:
            self._parts.append((frame.number, frame.body))

    def _handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        match message:
            case base.Ping():
                self._replies.append(base.Pong(message.id, message.timestamp))
            case base.SetAck():
                self._ack_window, self._since_ack = message.window, 0
                self._replies.append(base.AckSync(message.generation))
            case base.WaitForChannels():
                self.wait_for(message.channels, events, now)
            case base.Migrate():
                self._migrate(message.flags, events)
            case base.MigrateData():
                if self.hand_over is not HandOver.AWAITING_DATA:
                    raise ProtocolError(f"{self.name}: MIGRATE_DATA came without MIGRATE")
                self.hand_over = HandOver.READY
                events.append(SwapReady(bytes(message.data)))
            case _:
                self.handle(message, events, now)

    def wait_for(self, channels: tuple[base.WaitFor, ...], events: list[ChannelEvent], now: float) -> None:
        """Handle nothing more before these channels have come as far."""
        self.waits_for, self.wait_deadline = channels, now + WAIT_DEADLINE
        events.append(MustWait(channels))

    def _migrate(self, flags: int, events: list[ChannelEvent]) -> None:
        if self.hand_over is not HandOver.NONE:
            raise ProtocolError(f"{self.name}: MIGRATE came twice")
        with_data = bool(flags & MigrateFlag.NEED_DATA_TRANSFER)
        self._replies.clear()
        if flags & MigrateFlag.NEED_FLUSH:
            self._replies.append(base.MigrateFlushMark())
        events.append(MigrateReceived(flags, with_data))
        self.hand_over = HandOver.AWAITING_DATA if with_data else HandOver.READY
        if not with_data:
            events.append(SwapReady(None))

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        """Handle a message that is not of the base; the default passes it on."""
        events.append(Received(message))

    def _count_for_ack(self) -> None:
        if self._ack_window and self.hand_over is HandOver.NONE:
            self._since_ack += 1
            if self._since_ack >= self._ack_window:
                self._since_ack = 0
                self._replies.append(base.Ack())

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a message; it goes to whichever server has the channel when its turn comes."""
        self._queue.append(message)

    def drain(self, now: float, limit: int = 65536) -> bytes:
        """Bytes to write now, at most one message more than `limit`; empty when there is nothing to send."""
        if self._reader is None:
            return b""
        out = bytearray()
        while self._replies and len(out) < limit:
            out += self._encode(self._replies.popleft())
        while self.hand_over is HandOver.NONE and len(out) < limit:
            message = self._queue.popleft() if self._queue else self.next_message(now)
            if message is None:
                break
            self.message_written(message, now)
            if self.observer is not None:
                self.observer(message, now)
            out += self._encode(message)
        return bytes(out)

    def next_message(self, now: float) -> Message | None:
        """A message made on demand, when the queue is empty."""
        return None

    def message_written(self, message: Message, now: float) -> None:
        """A queued message is on its way."""

    def _encode(self, message: Message) -> bytes:
        number = registry.number_of(message, self.kind, Direction.FROM_CLIENT)
        self.messages_sent += 1
        return encode_frame(number, message.encode(), mini_header=self._mini_header, serial=self.messages_sent)

    # -- time -------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called at the latest."""
        return self.wait_deadline

    def handle_timer(self, now: float) -> None:
        """Raise `ProtocolError` when the server kept the channel waiting too long."""
        if self.wait_deadline is not None and now >= self.wait_deadline:
            raise ProtocolError(f"{self.name}: the other channels did not come up within {WAIT_DEADLINE:.0f} s")
