"""One channel of one client on its connection: the machine says what, the stream when."""

from __future__ import annotations

from typing import Protocol

from spicehop.channels.serving.channel import Failed, ServerChannel, ServerEvent
from spicehop.channels.serving.departing import DepartureStep
from spicehop.errors import ProtocolError
from spicehop.server.listener import AcceptedStream
from spicehop.transport.stream import Stream

QUEUE_PAUSE = 1024
"""Messages that wait for a client beyond which it is not read: what it asks for would only add to them."""
QUEUE_END = 16 * 1024
"""Messages that wait for a client beyond which its connection ends."""
WRITE_AT_ONCE = 64 * 1024
SENT_AHEAD = 64 * 1024
"""Bytes sent on a channel whose client has not come yet."""

ChannelKey = tuple[int, int]


class ChannelOwner(Protocol):
    """The session of a channel."""

    def happened(self, served: ServedChannel, events: list[ServerEvent], now: float) -> None:
        """The client said something."""

    def channel_gone(self, served: ServedChannel, reason: str) -> None:
        """The connection has ended."""

    def clock(self) -> float:
        """The server's time."""

    def wake(self) -> None:
        """Look after everything soon."""


class ServedChannel:
    """Carries bytes between a machine and its stream."""

    def __init__(self, machine: ServerChannel, stream: AcceptedStream, owner: ChannelOwner) -> None:
        self.machine = machine
        self.key: ChannelKey = (machine.kind, machine.channel_id)
        self.gone = False
        self.writable = True
        """Whether the system takes more at the moment."""
        self.held_up = False
        """Whether a device does not keep up with the client."""
        self.parked = False
        """Whether the client is not to be read before it has come over."""
        self._reads = False
        """Whether the last `pump` has found that the client is to be read."""
        self._ahead: int | None = None
        """Bytes that may still be sent to a client that is not here yet; None when it is."""
        self.stream = stream
        self._owner = owner
        stream.hand_to(self)

    def pump(self, now: float) -> None:
        """Write what can be written, and read or stop reading as fits."""
        machine = self.machine
        if self._reads and not (self.held_up or self.parked or self.gone) and machine.rests(now):
            return
        while self.writable and not self.gone and self._ahead != 0:
            frames = machine.drain(now, WRITE_AT_ONCE if self._ahead is None else self._ahead)
            if not frames:
                break
            self.stream.write_messages(frames)
            if self._ahead is not None:
                self._ahead = max(0, self._ahead - sum(map(len, frames)))
        if self.gone:
            return
        queued = machine.messages_queued
        if queued > QUEUE_END:
            self.fail(f"{machine.name}: the client takes nothing of {queued} messages")
        elif (self.parked or self.held_up or queued > QUEUE_PAUSE) and self.waits_to_be_read:
            self._reads = False
            self.stream.pause_reading()
        else:
            self._reads = True
            self.stream.resume_reading()

    @property
    def waits_to_be_read(self) -> bool:
        """Whether nothing more is taken from the client for now. A channel that leaves is read up to its flush mark."""
        if self.machine.departure is not DepartureStep.STAYING:
            return False
        return self.parked or self.held_up or self.machine.messages_queued > QUEUE_PAUSE

    def take_up(self, machine: ServerChannel) -> None:
        """Go on with another machine for the same channel."""
        self.machine = machine
        self.parked = self._reads = False

    def hold(self) -> None:
        """The client is not here yet: it is not read, and gets no more than it will find when it comes (dossier F)."""
        self.parked = True
        self._reads = False
        self._ahead = SENT_AHEAD
        self.stream.pause_reading()

    def let_go(self) -> None:
        """The client is here."""
        self.parked = False
        self._ahead = None
        if not self.gone:
            self.stream.resume_reading()

    def handle_timer(self, now: float) -> None:
        """What is due without anybody saying anything."""
        try:
            self.machine.handle_timer(now)
        except ProtocolError as error:
            self.fail(str(error))

    def fail(self, reason: str) -> None:
        """End the connection at once."""
        if not self.gone:
            self._leave(reason)
            self.stream.abort()

    def finish(self, reason: str) -> None:
        """End the connection when what was written has gone out."""
        if not self.gone:
            self._leave(reason)
            self.stream.finish()

    def _leave(self, reason: str) -> None:
        self.gone = True
        self._owner.channel_gone(self, reason)

    # -- told by the stream -----------------------------------------------------------------------------------------

    def connection_made(self, connection: int, stream: Stream) -> None:
        """It was open before it came here."""

    def data_received(self, connection: int, data: bytes) -> None:
        """Bytes have come."""
        if self.gone:
            return
        now = self._owner.clock()
        self._happened(self.machine.feed(data, now), now)

    def read_again(self, frames: bytes) -> None:
        """Messages that were passed on to another server are to be read here after all."""
        if not self.gone:
            now = self._owner.clock()
            self._happened(self.machine.read_again(frames, now), now)

    def _happened(self, events: list[ServerEvent], now: float) -> None:
        failed = events.pop() if events and isinstance(events[-1], Failed) else None
        if events:
            self._owner.happened(self, events, now)
        if isinstance(failed, Failed):
            self.fail(str(failed.error))
        self._owner.wake()

    def connection_lost(self, connection: int, reason: str) -> None:
        """The connection has ended."""
        if not self.gone:
            self._leave(reason)

    def writing_blocked(self, connection: int) -> None:
        """The system takes no more for now."""
        self.writable = False

    def writing_unblocked(self, connection: int) -> None:
        """The system takes more again."""
        self.writable = True
        self._owner.wake()
