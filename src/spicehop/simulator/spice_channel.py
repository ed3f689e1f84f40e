"""One channel of a model SPICE server, as libspice-server has it (dossier B, C1 to C3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from spicehop.errors import ProtocolError
from spicehop.simulator.guest import ModelGuest
from spicehop.simulator.network import End
from spicehop.wire import base, inputs, registry, vmc
from spicehop.wire.constants import ChannelType, Direction, MigrateFlag, channel_name
from spicehop.wire.framing import Frame, FrameReader, encode_frame
from spicehop.wire.layout import Message

if TYPE_CHECKING:
    from spicehop.simulator.spice import ModelClient

BOTH = MigrateFlag.NEED_FLUSH | MigrateFlag.NEED_DATA_TRANSFER
FLAGS: dict[int, int] = {
    ChannelType.MAIN: BOTH,
    ChannelType.DISPLAY: BOTH,
    ChannelType.INPUTS: BOTH,
    ChannelType.PORT: BOTH,
    ChannelType.CURSOR: 0,
    ChannelType.PLAYBACK: 0,
}
"""Flags of MIGRATE by channel (dossier C1.4)."""
QUEUE_LIMIT = 128
"""Messages queued for a port's device, beyond which its socket is not read (measured results, B3)."""


class PortDevice:
    """The device behind a port: a queue towards the guest. It moves bytes only while the machine runs here."""

    def __init__(self, guest: Callable[[], ModelGuest | None]) -> None:
        self._guest = guest
        self.queue: deque[bytes] = deque()
        self.stopped = False
        self.dropped = 0
        """Bytes that were in the queue when it was thrown away."""

    def write(self, data: bytes) -> None:
        """Bytes of a client's message."""
        self.queue.append(data)

    def pump(self, channel: ServerChannel | None) -> None:
        """Hand the queue to the guest, and what the guest wrote to `channel`."""
        guest = self._guest()
        if guest is None or not guest.running or self.stopped:
            return
        while self.queue:
            guest.port_written(self.queue.popleft())
        if channel is not None and not channel.waits_data and guest.port_unsent:
            channel.send(vmc.VmcData(bytes(guest.port_unsent)))
            guest.port_unsent.clear()

    def take(self) -> bytes:
        """What is queued, for MIGRATE_DATA."""
        data = b"".join(self.queue)
        self.queue.clear()
        return data

    def restore(self, data: bytes) -> None:
        """What came in MIGRATE_DATA goes first."""
        if data:
            self.queue.appendleft(data)

    def drop(self) -> None:
        """Throw the queue away: its client has gone without handing it over."""
        self.dropped += sum(map(len, self.queue))
        self.queue.clear()


class ServerChannel:
    """Reads a client's messages and sends the server's. What a message means for the session is `ModelClient`'s."""

    def __init__(self, client: ModelClient, kind: int, number: int, end: End) -> None:
        self.client = client
        self.kind = kind
        self.number = number
        self.name = channel_name(kind, number)
        self.end = end
        self.waits_data = False
        """A seamless target's channel: nothing but MIGRATE_DATA may come (dossier C1.4, 8)."""
        self.waits_flush = False
        self.told_to_migrate = False
        self.serial = 0
        self._reader = FrameReader(mini_header=True)
        self._frames: deque[Frame] = deque()
        end.owner = self

    def begin(self, rest: bytes, first: tuple[Message, ...]) -> None:
        """The channel is active: say hello and read."""
        for message in first:
            self.send(message)
        self.end.resume()
        if rest:
            self.data_received(self.end, rest)

    def send(self, message: Message) -> None:
        """Send a message."""
        number = registry.number_of(message, self.kind, Direction.FROM_SERVER)
        self.serial += 1
        self.end.send(encode_frame(number, message.encode(), mini_header=True))

    def data_received(self, end: End, data: bytes) -> None:
        """Bytes have come; a full device queue leaves the rest unread."""
        try:
            self._frames.extend(self._reader.feed(data))
        except ProtocolError as error:
            self.client.server.abort(f"{self.name}: {error}")
            return
        self.read_on()

    def read_on(self) -> None:
        """Handle what has been read, as far as the device takes it."""
        while self._frames and not self._full and not self.end.closed:
            frame = self._frames.popleft()
            self._handle(registry.decode(self.kind, Direction.FROM_CLIENT, frame.number, frame.body))
        if self._full:
            self.end.pause()
        elif not self.end.reading:
            self.end.resume()

    def connection_lost(self, end: End, reason: str) -> None:
        """The client, or the network, ended it."""
        self.client.channel_lost(self)

    def migrate(self) -> None:
        """Hand the channel over."""
        flags = FLAGS.get(self.kind, 0)
        self.told_to_migrate = True
        self.waits_flush = bool(flags & MigrateFlag.NEED_FLUSH)
        self.send(base.Migrate(flags))

    @property
    def _full(self) -> bool:
        return self.kind == ChannelType.PORT and len(self.client.server.device.queue) >= QUEUE_LIMIT

    def _handle(self, message: Message) -> None:
        server = self.client.server
        if self.waits_data and not isinstance(message, base.MigrateData):
            server.abort(f"{self.name}: {message.NAME} came before MIGRATE_DATA")
            return
        match message:
            case base.MigrateFlushMark():
                if not self.waits_flush:
                    server.abort(f"{self.name}: a flush mark came that nobody waits for")
                    return
                self.waits_flush = False
                data = server.device.take() if self.kind == ChannelType.PORT else b"state of " + self.name.encode()
                self.send(base.MigrateData(data))
            case base.MigrateData():
                if not self.waits_data:
                    server.abort(f"{self.name}: MIGRATE_DATA came that nobody waits for")
                    return
                self.waits_data = False
                if self.kind == ChannelType.PORT:
                    server.device.restore(bytes(message.data))
                    server.pump_soon()
                self.client.data_restored()
            case inputs.KeyDown():
                server.guest.key_down(message.code, here=server.has_guest)
            case inputs.KeyUp():
                code = message.code & ~(0x8000 if message.code > 0xFF else 0x80)
                server.guest.key_up(code, here=server.has_guest)
            case vmc.VmcData():
                server.device.write(bytes(message.data))
                server.pump_soon()
            case _:
                self.client.message_received(self, message)
