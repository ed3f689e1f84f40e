"""What all channels of a client have in common: serials, acknowledgements, pings, hand-over (dossier A.7 to A.9, C1).

A channel outlives its connections. It owns what is queued and not yet written, so that a migration takes the queue to
the target: after MIGRATE only the flush mark still goes to the source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
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
MAX_REPLIES = 4096
"""Answers a server may have asked for without reading any."""


class HandOver(Enum):
    """Where the channel stands in a seamless migration."""

    NONE = "None"
    AWAITING_DATA = "AwaitingMigrateData"
    READY = "ReadyToSwap"


_STAYS = HandOver.NONE


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


@dataclass(frozen=True, slots=True)
class Failed:
    """What came next cannot be handled; everything before it has been. The connection is of no more use."""

    error: ProtocolError


ChannelEvent = Received | MigrateReceived | SwapReady | MustWait | Failed


@dataclass(slots=True)
class Connection:
    """What a channel knows of one connection; kept while a migration can still bring the channel back to it."""

    server: Capabilities
    mini_header: bool
    reader: FrameReader
    frames: deque[Frame] = field(default_factory=deque)
    """Messages that have come and are not yet handled."""
    parts: deque[tuple[int, Data]] = field(default_factory=deque)
    """What is not yet handled of the message in hand: its sub-messages and itself."""
    first: deque[Message] = field(default_factory=deque)
    """What only this server shall hear, before everything else."""
    replies: deque[Message] = field(default_factory=deque)
    ack_window: int = 0
    since_ack: int = 0
    ignores_data: bool = False
    """A hand-over was called off here: MIGRATE_DATA may still come and means nothing."""

    @property
    def serial(self) -> int:
        """Serial of the last message that was handled."""
        return self.reader.serial - len(self.frames) - bool(self.parts)


class ClientChannel:
    """One channel of a client session; the base of those with a job of their own."""

    def __init__(self, kind: int, channel_id: int) -> None:
        self.kind = kind
        self.channel_id = channel_id
        self.name = channel_name(kind, channel_id)
        self.hand_over = HandOver.NONE
        self.waits_for: tuple[base.WaitFor, ...] = ()
        self.wait_deadline: float | None = None
        self.messages_sent = 0
        self.bytes_received = 0
        self.observer: Callable[[Message, float], None] | None = None
        """Told of each queued message when it is written."""
        self._queue: deque[Message] = deque()
        self._connection: Connection | None = None
        self._after_wait: Message | None = None
        self._flush_due = False

    def own_capabilities(self) -> Capabilities:
        """What this side announces in the link message."""
        return Capabilities(COMMON_CAPABILITIES, self.channel_capabilities())

    def channel_capabilities(self) -> frozenset[int]:
        """The bits of this kind of channel."""
        return frozenset()

    @property
    def server(self) -> Capabilities:
        """What the present server announced."""
        return self._connection.server if self._connection is not None else Capabilities()

    @property
    def serial(self) -> int:
        """Serial of the last message that was handled; 0 without a connection."""
        return self._connection.serial - (self._after_wait is not None) if self._connection is not None else 0

    # -- connections ------------------------------------------------------------------------------------------------

    def begin(self, linked: Linked, now: float, first: tuple[Message, ...] = ()) -> list[ChannelEvent]:
        """Start anew on a connection, at first or after a migration without hand-over of state."""
        connection = self._connect(linked, serial=0)
        self.reset()
        connection.first += [*first, *self.opening_messages(now)]
        return self.feed(linked.rest, now)

    def swap(self, linked: Linked, data: bytes | None, now: float) -> list[ChannelEvent]:
        """Go on at the target with the state that came through us; MIGRATE_DATA is the first message there."""
        connection = self._connect(linked, serial=self.serial)
        if data is not None:
            connection.first.append(base.MigrateData(data))
        connection.first += self.swap_messages(now)
        return self.feed(linked.rest, now)

    def _connect(self, linked: Linked, serial: int) -> Connection:
        reader = FrameReader(mini_header=linked.mini_header, limit=self.message_limit(), serial=serial)
        self._leave_connection()
        self._connection = Connection(linked.capabilities, linked.mini_header, reader)
        return self._connection

    def _leave_connection(self) -> None:
        self._connection = None
        self.hand_over, self._flush_due = HandOver.NONE, False
        self.waits_for, self.wait_deadline, self._after_wait = (), None, None

    def detach(self) -> Connection | None:
        """The present connection, for `return_to` in case the migration is called off; follow with `swap`."""
        return self._connection

    def return_to(self, connection: Connection, data: bytes, now: float) -> list[ChannelEvent]:
        """Go on at the source after the migration was called off, with `data` that has come there meanwhile.

        The server there never stopped counting: serials and acknowledgements go on where they were.
        """
        self._leave_connection()
        self._connection = connection
        connection.ignores_data = False
        connection.first = deque(self.swap_messages(now))
        return self.feed(data, now)

    def resume(self, now: float) -> list[ChannelEvent]:
        """The source keeps the channel after all; MIGRATE_DATA that is under way will be ignored."""
        if self._connection is None or self.hand_over is HandOver.NONE:
            return []
        self._connection.ignores_data = self.hand_over is HandOver.AWAITING_DATA
        self.hand_over = HandOver.NONE
        return self.feed(b"", now)

    def disconnect(self) -> None:
        """The connection is gone; what is queued stays."""
        self._leave_connection()

    @property
    def connected(self) -> bool:
        """Whether the channel has a connection."""
        return self._connection is not None

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
        """Take bytes of the present connection. What cannot be handled ends the list with `Failed`."""
        connection = self._connection
        if connection is None:
            return []
        self.bytes_received += len(data)
        with suppress(ProtocolError):  # the reader keeps it until what came before has been handled
            connection.frames.extend(connection.reader.feed(data))
        return self._handle_frames(connection, now)

    def proceed(self, now: float) -> list[ChannelEvent]:
        """Go on after a wait for other channels."""
        message, self._after_wait = self._after_wait, None
        self.waits_for, self.wait_deadline = (), None
        if self._connection is None:
            return []
        events: list[ChannelEvent] = [Received(message)] if message is not None else []
        return events + self._handle_frames(self._connection, now)

    def _handle_frames(self, connection: Connection, now: float) -> list[ChannelEvent]:
        events: list[ChannelEvent] = []
        try:
            while not self._held_up and (connection.parts or connection.frames):
                if not connection.parts:
                    self._split(connection, connection.frames.popleft())
                while connection.parts and not self._held_up:
                    number, data = connection.parts.popleft()
                    self._handle(registry.decode(self.kind, Direction.FROM_SERVER, number, data), events, now)
                if not connection.parts:
                    self._count_for_ack(connection)
            if connection.reader.failure is not None and not self._held_up:
                raise connection.reader.failure
        except ProtocolError as error:
            events.append(Failed(error))
        return events

    @property
    def _held_up(self) -> bool:
        return bool(self.waits_for) or self.hand_over is HandOver.READY

    def _split(self, connection: Connection, frame: Frame) -> None:
        """Sub-messages come before the message that carries them (dossier A.7)."""
        parts = frame.sub_messages
        if frame.number == LIST_NUMBER:
            parts += base.MessageList.decode(frame.body).messages
        connection.parts.extend((part.number, part.data) for part in parts)
        if frame.number != LIST_NUMBER:
            connection.parts.append((frame.number, frame.body))

    def _handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        match message:
            case base.Ping():
                self._reply(base.Pong(message.id, message.timestamp))
            case base.SetAck():
                self._set_ack(message)
            case base.WaitForChannels():
                self.wait_for(message.channels, events, now)
            case base.Migrate():
                self._migrate(message.flags, events)
            case base.MigrateData():
                self._migrate_data(bytes(message.data), events)
            case _:
                self.handle(message, events, now)

    def wait_for(
        self, channels: tuple[base.WaitFor, ...], events: list[ChannelEvent], now: float, then: Message | None = None
    ) -> None:
        """Handle nothing more before these channels have come as far; report `then` when they have."""
        if channels:
            self.waits_for, self.wait_deadline, self._after_wait = channels, now + WAIT_DEADLINE, then
            events.append(MustWait(channels))
        elif then is not None:
            events.append(Received(then))

    def _migrate(self, flags: int, events: list[ChannelEvent]) -> None:
        assert self._connection is not None
        if self.hand_over is not HandOver.NONE:
            raise ProtocolError(f"{self.name}: MIGRATE came twice")
        if any(isinstance(message, base.MigrateData) for message in self._connection.first):
            raise ProtocolError(f"{self.name}: MIGRATE came from a server that has not been given the channel's state")
        with_data = bool(flags & MigrateFlag.NEED_DATA_TRANSFER)
        self._flush_due = bool(flags & MigrateFlag.NEED_FLUSH)
        self._connection.ignores_data = False
        events.append(MigrateReceived(flags, with_data))
        self.hand_over = HandOver.AWAITING_DATA if with_data else HandOver.READY
        if not with_data:
            events.append(SwapReady(None))

    def _migrate_data(self, data: bytes, events: list[ChannelEvent]) -> None:
        assert self._connection is not None
        if self.hand_over is HandOver.AWAITING_DATA:
            self.hand_over = HandOver.READY
            events.append(SwapReady(data))
        elif self._connection.ignores_data:
            self._connection.ignores_data = False
        else:
            raise ProtocolError(f"{self.name}: MIGRATE_DATA came without MIGRATE")

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        """Handle a message that is not of the base; the default passes it on."""
        events.append(Received(message))

    def delivered(self, message: Message) -> None:
        """A message that the channel passed on has reached whoever works with the channel."""

    def _set_ack(self, message: base.SetAck) -> None:
        assert self._connection is not None
        self._connection.ack_window, self._connection.since_ack = message.window, 0
        self._reply(base.AckSync(message.generation))

    def _count_for_ack(self, connection: Connection) -> None:
        if connection.ack_window:
            connection.since_ack += 1
            if connection.since_ack >= connection.ack_window:
                connection.since_ack = 0
                self._reply(base.Ack())

    def _reply(self, message: Message) -> None:
        assert self._connection is not None
        if len(self._connection.replies) >= MAX_REPLIES:
            raise ProtocolError(f"{self.name}: the server reads none of {MAX_REPLIES} answers that it asked for")
        self._connection.replies.append(message)

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a message; it goes to whichever server has the channel when its turn comes."""
        self._queue.append(message)

    @property
    def waiting(self) -> bool:
        """Whether there is anything for `take`, now or later."""
        return bool(self._queue)

    def drain(self, now: float, limit: int = 65536) -> bytes:
        """Bytes to write now, at most one message more than `limit`; empty when there is nothing to send."""
        connection = self._connection
        if connection is None or not (self.waiting or connection.replies or connection.first or self._flush_due):
            return b""
        message = self._next_to_write(connection, now)
        if message is None:
            return b""
        out = bytearray()
        while message is not None:
            number = registry.number_of(message, self.kind, Direction.FROM_CLIENT)
            self.messages_sent += 1
            out += encode_frame(number, message.encode(), mini_header=connection.mini_header, serial=self.messages_sent)
            message = self._next_to_write(connection, now) if len(out) < limit else None
        return bytes(out)

    def _next_to_write(self, connection: Connection, now: float) -> Message | None:
        """After MIGRATE the flush mark and nothing else; at the target MIGRATE_DATA before any answer (dossier C1)."""
        if self._flush_due:
            self._flush_due = False
            return base.MigrateFlushMark()
        if self.hand_over is not _STAYS:
            return None
        if connection.replies and not connection.first:
            return connection.replies.popleft()
        if connection.first:
            message: Message | None = connection.first.popleft()
        else:
            message = self.take(now)
        if message is not None:
            self.message_written(message, now)
            if self.observer is not None:
                self.observer(message, now)
        return message

    def take(self, now: float) -> Message | None:
        """What is written next; None when nothing may be now, and then `next_deadline` says when to ask again."""
        return self._queue.popleft() if self._queue else self.next_message(now)

    def next_message(self, now: float) -> Message | None:
        """A message made on demand, when the queue is empty."""
        return None

    def message_written(self, message: Message, now: float) -> None:
        """A queued message is on its way."""

    # -- time -------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called at the latest, or `drain` may have something that is held back now."""
        if self._connection is None or self.hand_over is not _STAYS:
            return self.wait_deadline
        write = self.next_write()
        if write is None or self.wait_deadline is None:
            return self.wait_deadline if write is None else write
        return min(write, self.wait_deadline)

    def next_write(self) -> float | None:
        """When there will be something to write that is held back now; None when nothing is held back."""
        return None

    def handle_timer(self, now: float) -> None:
        """Raise `ProtocolError` when the server kept the channel waiting too long."""
        if self.wait_deadline is not None and now >= self.wait_deadline:
            raise ProtocolError(f"{self.name}: the other channels did not come up within {WAIT_DEADLINE:.0f} s")
