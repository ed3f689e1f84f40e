"""Byte pipes of a server: port, usbredir, webdav, and what the smartcard channel shares with them (dossier B.8).

Client to device: what the device has not taken waits here, counted; beyond `incoming_limit` the client is not read.
Device to client: `room` says how much may be read from the device; nothing that was read is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spicehop.channels.serving.channel import ChannelState, Peer, Received, ServerChannel, ServerEvent
from spicehop.errors import ProtocolError
from spicehop.wire import vmc
from spicehop.wire.constants import ChannelType, PortEvent
from spicehop.wire.layout import Message

INCOMING_LIMIT = 1024 * 1024
"""Bytes of a client that may wait for a device that runs."""
INCOMING_LIMIT_STANDING = 32 * 1024 * 1024
"""Bytes of a client that may wait for a guest that stands still."""
INCOMING_MOST = 192 * 1024 * 1024
"""Bytes of a client that may wait at all: one that leaves is read up to its flush mark, with all that it and the
systems between have queued. As much can move.
"""
WRITE_BYTES = 16 * 1024
"""Bytes offered to a device at once: it takes all of them or none."""
READ_BYTES = 64 * 1024
"""Bytes taken from a device for one message."""
WEBDAV_PORT = "org.spice-space.webdav.0"


class PieceQueue:
    """Bytes in order, given out in pieces that a device takes whole or not at all."""

    def __init__(self, data: bytes = b"") -> None:
        self._pieces: deque[bytes] = deque()
        self.size = 0
        self.append(data)

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        if data:
            self._pieces.append(data)
            self.size += len(data)

    def first(self) -> bytes:
        """The next piece, at most `WRITE_BYTES`; call `taken` when it is gone. Empty when there is nothing."""
        if not self._pieces:
            return b""
        if len(self._pieces[0]) > WRITE_BYTES:
            view = memoryview(self._pieces.popleft())
            starts = range(0, len(view), WRITE_BYTES)
            self._pieces.extendleft(bytes(view[start : start + WRITE_BYTES]) for start in reversed(starts))
        return self._pieces[0]

    def taken(self) -> int:
        """The first piece is gone; returns its size."""
        size = len(self._pieces.popleft())
        self.size -= size
        return size

    def take_over(self, other: PieceQueue) -> None:
        """Add all that another one holds; it holds nothing then."""
        self._pieces.extend(other._pieces)
        self.size += other.size
        other._pieces.clear()
        other.size = 0

    def content(self) -> bytes:
        """All that is held."""
        return b"".join(self._pieces)


@dataclass(frozen=True, slots=True)
class PipeState:
    """What a pipe that goes on elsewhere begins with; `incoming` has no other owner."""

    channel: ChannelState
    opened: bool
    incoming: bytes
    bytes_accepted: int
    bytes_delivered: int
    bytes_sent: int


class ServerPipe(ServerChannel):
    """A device's byte stream in both directions, with the bytes counted."""

    MESSAGE_LIMIT = 32 * 1024 * 1024

    def __init__(self, kind: int, channel_id: int, peer: Peer, now: float, state: PipeState | None = None) -> None:
        super().__init__(kind, channel_id, peer, now, state.channel if state else None)
        self._opened = state.opened if state else False
        self.incoming = PieceQueue(state.incoming if state else b"")
        """What the device has not taken."""
        self.bytes_accepted = state.bytes_accepted if state else 0
        """Bytes of the client that came here."""
        self.bytes_delivered = state.bytes_delivered if state else 0
        """Bytes of them that the device has taken."""
        self.bytes_sent = state.bytes_sent if state else 0
        """Bytes of the device that were queued for the client."""

    def state(self) -> PipeState:
        """What a later server needs."""
        return PipeState(
            self.channel_state(),
            self._opened,
            self.incoming.content(),
            self.bytes_accepted,
            self.bytes_delivered,
            self.bytes_sent,
        )

    def begin(self, name: str, *, opened: bool) -> None:
        """Name the port to a new client; usbredir has no such message."""
        self._opened = opened
        if self.kind in (ChannelType.PORT, ChannelType.WEBDAV):
            self.send(vmc.PortInit(name.encode(), int(opened)))

    def opened(self, *, opened: bool) -> None:
        """Something in the guest has opened or closed the port; said when it changes."""
        if opened != self._opened:
            self._opened = opened
            if self.kind in (ChannelType.PORT, ChannelType.WEBDAV):
                self.send(vmc.PortEventMessage(PortEvent.OPENED if opened else PortEvent.CLOSED))

    # -- from the client --------------------------------------------------------------------------------------------

    @property
    def bytes_held(self) -> int:
        """Bytes of the client that the device has not taken."""
        return self.bytes_accepted - self.bytes_delivered

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        match message:
            case vmc.VmcData():
                self.accept(bytes(message.data))
            case vmc.VmcCompressedData():
                raise ProtocolError(f"{self.name}: compressed data came, which was not offered")
            case _:
                events.append(Received(message))

    def accept(self, data: bytes) -> None:
        """Take bytes for the device."""
        self.incoming.append(data)
        self.bytes_accepted += len(data)

    def next_piece(self) -> bytes:
        """What to offer to the device; call `piece_taken` when it has taken it. Empty when there is nothing."""
        return self.incoming.first()

    def piece_taken(self) -> None:
        """The device has taken the piece."""
        self.bytes_delivered += self.incoming.taken()

    # -- from the device --------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """Bytes to read from the device now."""
        return min(self.room, READ_BYTES)

    def deliver(self, data: bytes) -> None:
        """Queue bytes of the device."""
        if data:
            self.bytes_sent += len(data)
            self.send(vmc.VmcData(data))
