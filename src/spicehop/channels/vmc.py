"""Byte pipes of a client: port, usbredir and webdav (dossier B.8).

Writes are gathered into few large messages. libspice reads at most 128 queued messages of such a channel; with more of
them the flush mark of a migration is never read, and after 10 s the channel is closed (reference results, B3). So the
number of messages that can wait at a stopped VM is bounded, and their size is not.
"""

from __future__ import annotations

from collections import deque

from spicehop.channels.channel import ChannelEvent, ClientChannel, Received
from spicehop.errors import ProtocolError
from spicehop.wire import vmc
from spicehop.wire.constants import ChannelType, PortEvent
from spicehop.wire.layout import Message

MAX_MESSAGE_BYTES = 256 * 1024
MESSAGES_AT_ONCE = 64
"""Messages that may go out one after the other; full again whenever the guest sends something."""
MESSAGES_PER_SECOND = 10.0
MESSAGES_PER_SECOND_MIGRATING = 4.0
"""From MIGRATE_BEGIN on the VM may stand still: 64 at once and 12 s of these stay below 128."""


class VmcChannel(ClientChannel):
    """A byte stream in both directions, with the bytes counted."""

    def __init__(self, kind: int, channel_id: int) -> None:
        super().__init__(kind, channel_id)
        self.port_name = ""
        self.opened = kind == ChannelType.USBREDIR
        self.migrating = False
        self.bytes_accepted = 0
        self.bytes_written = 0
        self.bytes_delivered = 0
        self._outgoing: deque[bytes] = deque()
        self._allowance = float(MESSAGES_AT_ONCE)
        self._allowance_time = 0.0

    @property
    def bytes_queued(self) -> int:
        """Bytes that were accepted from the caller and not yet written to a server."""
        return self.bytes_accepted - self.bytes_written

    def write(self, data: bytes) -> None:
        """Queue bytes for the guest."""
        if data:
            self._outgoing.append(data)
            self.bytes_accepted += len(data)

    def reset(self) -> None:
        super().reset()
        self._allowance = float(MESSAGES_AT_ONCE)

    def next_message(self, now: float) -> Message | None:
        if not self._outgoing:
            return None
        self._refill(now)
        if self._allowance < 1:
            return None
        self._allowance -= 1
        parts: list[bytes] = []
        size = 0
        while self._outgoing and size < MAX_MESSAGE_BYTES:
            part = self._outgoing.popleft()
            room = MAX_MESSAGE_BYTES - size
            if len(part) > room:
                self._outgoing.appendleft(part[room:])
                part = part[:room]
            parts.append(part)
            size += len(part)
        self.bytes_written += size
        return vmc.VmcData(b"".join(parts))

    def _refill(self, now: float) -> None:
        rate = MESSAGES_PER_SECOND_MIGRATING if self.migrating else MESSAGES_PER_SECOND
        self._allowance = min(MESSAGES_AT_ONCE, self._allowance + (now - self._allowance_time) * rate)
        self._allowance_time = now

    def next_deadline(self) -> float | None:
        deadline = super().next_deadline()
        if self._outgoing and self.connected and self._allowance < 1:
            rate = MESSAGES_PER_SECOND_MIGRATING if self.migrating else MESSAGES_PER_SECOND
            due = self._allowance_time + (1 - self._allowance) / rate
            return due if deadline is None else min(due, deadline)
        return deadline

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        match message:
            case vmc.VmcData():
                self.bytes_delivered += len(message.data)
                self._allowance, self._allowance_time = float(MESSAGES_AT_ONCE), now
            case vmc.VmcCompressedData():
                raise ProtocolError(f"{self.name}: compressed data came, which was not offered")
            case vmc.PortInit():
                self.port_name = bytes(message.name).decode("utf-8", "replace")
                self.opened = bool(message.opened)
            case vmc.PortEventMessage():
                if message.event in (PortEvent.OPENED, PortEvent.CLOSED):
                    self.opened = message.event == PortEvent.OPENED
            case _:
                pass
        events.append(Received(message))
