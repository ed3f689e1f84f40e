"""A channel of a client that is about to come over from another server: linked, and silent (dossier C1.3, C2.2).

What is sent on it too early, a stock client takes for an error. What comes on the main channel says how the client
comes; on the others the state that the client carries comes first, and everything behind it is for the channel's own
machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.serving.channel import Failed, Peer, ServerChannel, ServerEvent
from spicehop.channels.serving.pipe import INCOMING_MOST
from spicehop.errors import ProtocolError
from spicehop.wire import base, main, registry
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.framing import FrameReader, encode_frame

LARGEST_MAIN_STATE = 16 * 1024 * 1024
LARGEST_OTHER_STATE = 4 * 1024 * 1024
LARGEST_STATE = INCOMING_MOST + LARGEST_OTHER_STATE
"""Of a device's channel, whose state has all the bytes that the device has not taken."""
_DEVICES = (ChannelType.USBREDIR, ChannelType.PORT, ChannelType.WEBDAV)


@dataclass(frozen=True, slots=True)
class SeamlessAsked(ServerEvent):
    """The client wants to bring its channels' state; `source_version` is the source's migration protocol."""

    source_version: int


@dataclass(frozen=True, slots=True)
class CameWithoutState(ServerEvent):
    """The client is here and begins anew (semi-seamless)."""


@dataclass(frozen=True, slots=True)
class StateCame(ServerEvent):
    """The channel's state, as the client carried it. `ParkedChannel.rest` is what came behind it."""

    body: bytes


class ParkedChannel(ServerChannel):
    """Stands in for a channel's machine until that is made from its state."""

    PING_INTERVAL = None

    def __init__(self, kind: int, channel_id: int, peer: Peer, now: float) -> None:
        super().__init__(kind, channel_id, peer, now)
        self.rest = b""
        """What came behind the word that ends the waiting."""
        self._said = False
        limit = LARGEST_STATE if kind in _DEVICES else LARGEST_OTHER_STATE
        if kind == ChannelType.MAIN:
            limit = LARGEST_MAIN_STATE
        self._reader = FrameReader(mini_header=peer.mini_header, limit=limit)

    def feed(self, data: bytes, now: float) -> list[ServerEvent]:
        if self._said:
            self.rest += data
            return []
        events: list[ServerEvent] = []
        try:
            frames = self._reader.feed(data)
            for place, frame in enumerate(frames):
                event = self._read(frame.number, frame.body)
                events.append(event)
                if not isinstance(event, SeamlessAsked):
                    self._said = True
                    mini = self.peer.mini_header
                    behind = [
                        encode_frame(one.number, one.body, mini_header=mini, serial=one.serial)
                        for one in frames[place + 1 :]
                    ]
                    self.rest = b"".join(behind) + self._reader.take_rest()
                    break
        except ProtocolError as error:
            events.append(Failed(error))
        return events

    def _read(self, number: int, body: memoryview) -> ServerEvent:
        message = registry.decode(self.kind, Direction.FROM_CLIENT, number, body)
        match message:
            case base.MigrateData():
                return StateCame(bytes(message.data))
            case main.MigrateDstDoSeamless() if self.kind == ChannelType.MAIN:
                return SeamlessAsked(message.source_version)
            case main.MigrateEnd() if self.kind == ChannelType.MAIN:
                return CameWithoutState()
            case _:
                raise ProtocolError(f"{self.name}: message {number} came, and the client is not here yet")
