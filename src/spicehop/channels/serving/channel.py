"""What all channels of a server have in common: headers, serials, acknowledgement windows, pings (dossier A.7 to A.9).

A channel is one client's. It queues what it has to say as encoded messages and knows how many bytes that is; whoever
feeds it asks `room` first. Serials are given when a message is written, so what is queued can still go elsewhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from spicehop.channels.serving.delivery import Delivery, DeliveryState, Pinger
from spicehop.channels.serving.departing import DepartureInput, DepartureStep, step_after
from spicehop.channels.serving.media_clock import MediaClock
from spicehop.errors import ProtocolError
from spicehop.wire import base, registry
from spicehop.wire.constants import CommonCap, Direction, MigrateFlag, channel_name
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities

SERVER_COMMON = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.MINI_HEADER})
OUTGOING_LIMIT = 1024 * 1024
"""Bytes of a device that may wait for a client; while there are more the device is not read."""
MESSAGE_LIMIT = 64 * 1024
"""Largest message taken from a client on a channel that says nothing else, in bytes."""
FIRST_PING = 0.1
"""Seconds after which the first ping goes out."""
_NANOSECONDS = 1_000_000_000
FLUSH_MARK = 4
"""The number of MIGRATE_FLUSH_MARK on any channel (dossier B.0)."""
OF_THE_CONNECTION = frozenset({1, 2, 3, FLUSH_MARK})
"""With those of ACK_SYNC, ACK and PONG: they are about what was sent on this connection, and mean nothing, or something
else, to another server.
"""
_STAYING = DepartureStep.STAYING
_PARTING_WORDS = (base.Migrate(0), base.MigrateData(b""))


class ServerEvent:
    """Base of what a channel tells whoever works with it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Received(ServerEvent):
    """A message of the client for whoever works with the channel."""

    message: Message


@dataclass(frozen=True, slots=True)
class Flushed(ServerEvent):
    """The client has sent all that it sends here: the channel's state is complete."""


@dataclass(frozen=True, slots=True)
class CameLate(ServerEvent):
    """Whole messages of the client, with their headers, that came after the channel's state was saved."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed(ServerEvent):
    """What came cannot be handled; everything before it has been. The connection is to be closed."""

    error: ProtocolError


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that was made for the client and not written."""

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What a channel that goes on elsewhere begins with."""

    serial: int = 0
    delivery: DeliveryState = field(default_factory=DeliveryState)
    queued: tuple[QueuedMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """The client at the other end of a connection: what it announced, and how messages are framed."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    mini_header: bool = True
    local: bool = False
    """On the same machine: no pings, no measuring."""


class ServerChannel:
    """One channel to one client; the base of those with a job of their own."""

    ACK_WINDOW = 0
    """Messages that the client acknowledges together; 0 for no acknowledgements."""
    PING_INTERVAL: float | None = 300.0
    MESSAGE_LIMIT = MESSAGE_LIMIT

    def __init__(self, kind: int, channel_id: int, peer: Peer, now: float, state: ChannelState | None = None) -> None:
        state = state or ChannelState()
        self.kind = kind
        self.channel_id = channel_id
        self.name = channel_name(kind, channel_id)
        self.peer = peer
        self.delivery = Delivery(state.delivery)
        self.pinger = Pinger(None if peer.local else self.PING_INTERVAL, now + FIRST_PING, state.serial)
        # Counted on from the serial, so that a late answer to the server before is not taken for one to this server.
        self.serial = state.serial
        """Serial of the last message that was written."""
        self.bytes_queued = 0
        self.outgoing_limit = OUTGOING_LIMIT
        self.media_clock = MediaClock()
        """The server's takes the place of it."""
        self.departure = DepartureStep.STAYING
        """How far the channel is on its way to another server."""
        self._queue: deque[tuple[int, bytes]] = deque()
        self._held_back: deque[tuple[int, bytes]] = deque()
        self._parting = 0
        self._marks_called_off = 0
        """Flush marks that still come of a migration that the channel was called back from."""
        self._flags = 0
        self._forwards = False
        """Whether what the client says is another server's already."""
        self._reader = FrameReader(mini_header=peer.mini_header, limit=self.MESSAGE_LIMIT)
        self._generation = 0
        self._synced = False
        self._acknowledged = 0
        self._window_message = 0
        if self.ACK_WINDOW:
            self._generation = 1
            self.send(base.SetAck(self._generation, self.ACK_WINDOW))
        for message in state.queued:
            self._queue.append((message.number, message.body))
            self.bytes_queued += len(message.body)

    @classmethod
    def capabilities(cls) -> frozenset[int]:
        """The bits of this kind of channel that the server announces."""
        return frozenset()

    # -- what comes ------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> list[ServerEvent]:
        """Take bytes of the client. What cannot be handled ends the list with `Failed`."""
        events: list[ServerEvent] = []
        try:
            for frame in self._reader.feed(data):
                if self._forwards and frame.number not in OF_THE_CONNECTION:
                    mini = self.peer.mini_header
                    late = encode_frame(frame.number, frame.body, mini_header=mini, serial=frame.serial)
                    events.append(CameLate(late))
                    continue
                for part in frame.sub_messages:
                    self._message(part.number, part.data, events, now)
                self._message(frame.number, frame.body, events, now)
            if self._reader.failure is not None:
                raise self._reader.failure
        except ProtocolError as error:
            events.append(Failed(error))
        return events

    def read_again(self, frames: bytes, now: float) -> list[ServerEvent]:
        """Take whole messages that were passed on, and are to be read here after all (`CameLate`)."""
        events: list[ServerEvent] = []
        try:
            for frame in FrameReader(mini_header=self.peer.mini_header, limit=self.MESSAGE_LIMIT).feed(frames):
                self._message(frame.number, frame.body, events, now)
        except ProtocolError as error:
            events.append(Failed(error))
        return events

    def _message(self, number: int, body: bytes | memoryview, events: list[ServerEvent], now: float) -> None:
        message = registry.decode(self.kind, Direction.FROM_CLIENT, number, body)
        match message:
            case base.AckSync():
                self._synced = self._synced or message.generation == self._generation
            case base.Ack():
                self._ack_received(now)
            case base.Pong():
                self._pong_received(message, now)
            case base.MigrateFlushMark() if self._marks_called_off:
                self._marks_called_off -= 1
            case base.MigrateFlushMark() if self.departure is DepartureStep.AWAITING_FLUSH_MARK:
                last = not self._flags & MigrateFlag.NEED_DATA_TRANSFER
                self._depart(DepartureInput.FLUSH_MARK_LAST if last else DepartureInput.FLUSH_MARK)
                events.append(Flushed())
            case base.MigrateFlushMark() | base.MigrateData():
                raise ProtocolError(f"{self.name}: {message.NAME} came, and nothing is being migrated")
            case registry.Unknown():
                raise ProtocolError(f"{self.name}: a message with the unknown number {number}")
            case _:
                self.handle(message, events, now)

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        """Handle a message that is not of the base; the default passes it on."""
        events.append(Received(message))

    def _ack_received(self, now: float) -> None:
        if not self._synced:
            # A client that comes from another server, even one that begins anew, goes on counting what that has sent
            # until it handles SET_ACK.
            return
        self._acknowledged += self.ACK_WINDOW
        handled = self._window_message + self._acknowledged
        sent = self.delivery.messages_sent
        if handled >= sent + self.ACK_WINDOW:
            raise ProtocolError(f"{self.name}: the client acknowledges more messages than it was sent")
        # Clients differ in whether SET_ACK itself counts, so an answer may seem to be one ahead.
        self.delivery.handled(min(handled, sent), now)

    def _pong_received(self, message: base.Pong, now: float) -> None:
        trip = self.pinger.answered(message.id, now)
        if trip is not None:
            self.delivery.round_trip_measured(trip, now)
            self.delivery.handled(self.pinger.message, now)

    # -- what goes out ----------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a message."""
        self._put(self._queue if self.departure is DepartureStep.STAYING else self._held_back, message)

    def _put(self, queue: deque[tuple[int, bytes]], message: Message) -> None:
        body = message.encode()
        queue.append((registry.number_of(message, self.kind, Direction.FROM_SERVER), body))
        self.bytes_queued += len(body)

    @property
    def room(self) -> int:
        """Bytes that may still be queued for the client."""
        return max(0, self.outgoing_limit - self.bytes_queued)

    @property
    def messages_queued(self) -> int:
        """Messages that wait to be written."""
        return len(self._queue) + len(self._held_back)

    @property
    def blocked(self) -> bool:
        """Whether the client has to acknowledge before it gets more."""
        if not self._window_message:
            return False
        if self.departure is not _STAYING:
            # What is queued before MIGRATE is all that is left to say: part of a round trip less to wait.
            return False
        waiting = self.delivery.messages_sent - self._window_message - self._acknowledged
        return waiting > 2 * self.ACK_WINDOW

    @property
    def idle(self) -> bool:
        """Whether everything was written."""
        return not self._queue

    def rests(self, now: float) -> bool:
        """Whether there is nothing to write, and nothing that might be made: `drain` need not be asked."""
        return not self._queue and not self._held_back and self.departure is _STAYING and not self.pinger.due(now)

    def drain(self, now: float, limit: int = 64 * 1024) -> list[bytes]:
        """Messages to write now, each whole with its header; at most one more than `limit` bytes need."""
        if not self._queue and self.departure is _STAYING and not self.pinger.due(now):
            if not self.blocked:
                self.make_messages(now)
            if not self._queue:
                return []
        frames: list[bytes] = []
        size = 0
        while size < limit and not self.blocked:
            if self.departure is _STAYING:
                if self.pinger.due(now):
                    self.ping(now)
                self.make_messages(now)
            if not self._queue:
                break
            number, body = self._queue.popleft()
            self.bytes_queued -= len(body)
            self.serial += 1
            frame = encode_frame(number, body, mini_header=self.peer.mini_header, serial=self.serial)
            self.delivery.sent(len(frame), now)
            if self.ACK_WINDOW and not self._window_message:
                # The first message is SET_ACK; the client counts from the next one on.
                self._window_message = self.delivery.messages_sent
            frames.append(frame)
            size += len(frame)
        if not self._queue and self.departure in (DepartureStep.MIGRATE_QUEUED, DepartureStep.DATA_QUEUED):
            flush = self.departure is DepartureStep.MIGRATE_QUEUED and self._flags & MigrateFlag.NEED_FLUSH
            self._depart(DepartureInput.WRITTEN_FLUSH if flush else DepartureInput.WRITTEN_LAST)
        return frames

    def make_messages(self, now: float) -> None:
        """Queue what is best made at the last moment; called before each message that is written."""

    def ping(self, now: float, padding: bytes = b"") -> None:
        """Queue a ping behind everything that is queued; its answer says that the client has handled all of that."""
        ping_id = self.pinger.begin(now, self.delivery.messages_sent + len(self._queue) + 1)
        self.send(base.Ping(ping_id, int(now * _NANOSECONDS), padding))

    # -- to another server ------------------------------------------------------------------------------------------

    def hold_back(self, flags: int, *, at_once: bool = False) -> None:
        """What is made for the client from now on goes with the channel, which leaves with these `MigrateFlag`s. With
        `at_once` its state is saved now: what is not yet written goes too, and what comes is passed on (`CameLate`).
        """
        self._forwards = at_once
        self._flags = flags
        self._parting = 1 + bool(flags & MigrateFlag.NEED_DATA_TRANSFER)
        self._depart(DepartureInput.HELD_BACK)
        if at_once:
            self._held_back, self._queue = self._queue, self._held_back

    def migrate(self) -> None:
        """Tell the client to go, behind all that is to be written here."""
        self._depart(DepartureInput.MIGRATE_QUEUED)
        self._parting -= 1
        self._put(self._queue, base.Migrate(self._flags))

    def give_state(self, body: bytes) -> None:
        """The channel's state, for the client to carry: the last thing that is written here."""
        self._depart(DepartureInput.DATA_GIVEN)
        self._parting -= 1
        self._put(self._queue, base.MigrateData(body))

    def call_back(self) -> None:
        """The channel stays after all: what was held back is the client's again."""
        self._marks_called_off += self.departure is DepartureStep.AWAITING_FLUSH_MARK
        self._depart(DepartureInput.CALLED_BACK)
        parting = [registry.number_of(one, self.kind, Direction.FROM_SERVER) for one in _PARTING_WORDS]
        self._queue = deque(one for one in self._queue if one[0] not in parting)
        self._queue.extend(self._held_back)
        self._held_back = deque()
        self.bytes_queued = sum(len(body) for _, body in self._queue)
        self._parting = 0
        self._forwards = False

    def _depart(self, happened: DepartureInput) -> None:
        self.departure = step_after(self.departure, happened)

    # -- time and state ---------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When something is due although nothing comes."""
        if self.pinger.interval is None or self.pinger.outstanding:
            return None
        return self.pinger.next_ping

    def handle_timer(self, now: float) -> None:
        """Call when `next_deadline` has passed; raises `ProtocolError` when the client kept the channel waiting."""

    def channel_state(self) -> ChannelState:
        """What the same channel on another server begins with."""
        leaves = self.departure is not DepartureStep.STAYING
        serial = self.serial + (len(self._queue) + self._parting if leaves else 0)
        queued = tuple(QueuedMessage(number, body) for number, body in self._held_back)
        return ChannelState(serial, self.delivery.state(), queued)
