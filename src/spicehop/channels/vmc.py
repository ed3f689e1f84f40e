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
LARGEST_MESSAGE = 256 * 1024 * 1024
"""Of a server: MIGRATE_DATA has all that the device has not taken."""
MESSAGES_AT_ONCE = 64
"""Messages that may go out one after the other; full again whenever the guest sends something."""
MESSAGES_PER_SECOND = 10.0

# From MIGRATE_BEGIN on the VM may stand still, and what the guest said before may still be on its way. When that comes
# within 1.4 s of the stop, at most 40 + 2.4 s * 20 + 9.6 s * 4 < 127 messages are sent in the 12 s from the stop.
MESSAGES_AT_ONCE_MIGRATING = 40
MESSAGES_PER_SECOND_TALKING = 20.0
MESSAGES_PER_SECOND_SILENT = 4.0
TALK_MEMORY = 1.0
"""Seconds for which a guest that has sent something counts as talking."""
_ROUNDING = 1e-9


class VmcChannel(ClientChannel):
    """A byte stream in both directions, with the bytes counted."""

    def __init__(self, kind: int, channel_id: int) -> None:
        super().__init__(kind, channel_id)
        self.port_name = ""
        self.opened = kind == ChannelType.USBREDIR
        self.bytes_accepted = 0
        self.bytes_written = 0
        self.bytes_delivered = 0
        self._outgoing: deque[memoryview] = deque()
        self._migrating = False
        self._hurries = False
        self._allowance = float(MESSAGES_AT_ONCE)
        self._allowance_time = 0.0
        self._talking_until = 0.0

    def message_limit(self) -> int:
        return LARGEST_MESSAGE

    @property
    def migrating(self) -> bool:
        """Whether the VM may stop at any time."""
        return self._migrating

    @migrating.setter
    def migrating(self, value: bool) -> None:
        self._migrating = value
        self._allowance = min(self._allowance, self._most_at_once)

    @property
    def bytes_queued(self) -> int:
        """Bytes that were accepted from the caller and not yet written to a server."""
        return self.bytes_accepted - self.bytes_written

    def write(self, data: bytes) -> None:
        """Queue bytes for the guest."""
        if data:
            self._outgoing.append(memoryview(data))
            self.bytes_accepted += len(data)

    def hurry(self) -> None:
        """Let everything go out at once: the session ends."""
        self._hurries = True

    def reset(self) -> None:
        super().reset()
        self._allowance = self._most_at_once

    @property
    def waiting(self) -> bool:
        return bool(self._outgoing or self._queue)

    def next_message(self, now: float) -> Message | None:
        if not self._outgoing:
            return None
        self._refill(now)
        if not self._allowed:
            return None
        self._allowance -= 1
        parts: list[memoryview] = []
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

    # -- how often --------------------------------------------------------------------------------------------------

    @property
    def _allowed(self) -> bool:
        return self._hurries or self._allowance >= 1 - _ROUNDING

    @property
    def _most_at_once(self) -> float:
        return float(MESSAGES_AT_ONCE_MIGRATING if self._migrating else MESSAGES_AT_ONCE)

    def _rates(self) -> tuple[float, float]:
        """Messages a second while the guest talks, and while it is silent."""
        if self._migrating:
            return MESSAGES_PER_SECOND_TALKING, MESSAGES_PER_SECOND_SILENT
        return MESSAGES_PER_SECOND, MESSAGES_PER_SECOND

    def _refill(self, now: float) -> None:
        talking, silent = self._rates()
        elapsed = now - self._allowance_time
        talked = min(max(self._talking_until - self._allowance_time, 0.0), elapsed)
        self._allowance += talked * talking + (elapsed - talked) * silent
        self._allowance = min(self._allowance, self._most_at_once)
        self._allowance_time = now

    def _due(self) -> float:
        """When the next message may go out."""
        talking, silent = self._rates()
        missing = 1 - self._allowance
        talk = max(self._talking_until - self._allowance_time, 0.0)
        if missing <= talk * talking:
            return self._allowance_time + missing / talking
        return self._allowance_time + talk + (missing - talk * talking) / silent

    def next_write(self) -> float | None:
        return self._due() if self._outgoing and not self._allowed else None

    # -- the channel ------------------------------------------------------------------------------------------------

    def handle(self, message: Message, events: list[ChannelEvent], now: float) -> None:
        match message:
            case vmc.VmcData():
                self._guest_talked(now)
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

    def delivered(self, message: Message) -> None:
        if isinstance(message, vmc.VmcData):
            self.bytes_delivered += len(message.data)

    def _guest_talked(self, now: float) -> None:
        self._refill(now)
        self._talking_until = now + TALK_MEMORY
        if not self._migrating:
            self._allowance = float(MESSAGES_AT_ONCE)
