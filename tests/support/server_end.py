"""The server's end of one channel, for tests: frames what it says, reads what the client wrote."""

from __future__ import annotations

from spicehop.channels.channel import ChannelEvent, ClientChannel, Received
from spicehop.channels.link import Linked
from spicehop.wire import registry
from spicehop.wire.constants import CommonCap, Direction
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities

COMMON = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER})


def capabilities(*bits: int, mini_header: bool = True) -> Capabilities:
    """What a server announces on a channel."""
    common = COMMON if mini_header else COMMON - {CommonCap.MINI_HEADER}
    return Capabilities(common, frozenset(bits))


class ServerEnd:
    """One connection of one channel as the server has it. Serials count what it says."""

    def __init__(self, kind: int, *bits: int, mini_header: bool = True) -> None:
        self.kind = kind
        self.mini_header = mini_header
        self.serial = 0
        self._capabilities = capabilities(*bits, mini_header=mini_header)
        self.reader = FrameReader(mini_header=mini_header)
        """Reads what the client sends."""

    def linked(self, *messages: Message) -> Linked:
        """The link that the client's channel begins on, with `messages` behind the link result."""
        return Linked(self._capabilities, self.mini_header, self.say(*messages))

    def say(self, *messages: Message) -> bytes:
        """The bytes of these messages."""
        return b"".join(self._framed(message) for message in messages)

    def _framed(self, message: Message) -> bytes:
        self.serial += 1
        number = registry.number_of(message, self.kind, Direction.FROM_SERVER)
        return encode_frame(number, message.encode(), mini_header=self.mini_header, serial=self.serial)

    def read(self, data: bytes) -> list[Message]:
        """The messages in what the client wrote; it must end with a whole one."""
        frames = self.reader.feed(data)
        assert self.reader.pending == 0, "the client wrote half a message"
        return [registry.decode(self.kind, Direction.FROM_CLIENT, one.number, one.body) for one in frames]

    def read_all(self, channel: ClientChannel, now: float = 0.0) -> list[Message]:
        """Everything the client writes now."""
        messages: list[Message] = []
        while data := channel.drain(now):
            messages += self.read(data)
        return messages


def received(events: list[ChannelEvent]) -> list[Message]:
    """The messages that a channel passed on."""
    return [event.message for event in events if isinstance(event, Received)]
