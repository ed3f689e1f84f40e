"""What a relay has captured of a connection without TLS, cut into messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay import TO_CLIENT, TO_SERVER, Passage

from spicehop.wire.constants import ChannelType, Direction, channel_name
from spicehop.wire.drawing import DrawCopy
from spicehop.wire.framing import FrameReader
from spicehop.wire.image import FromCache, Image, SurfaceImage
from spicehop.wire.layout import Message
from spicehop.wire.link import HEADER_SIZE, LinkMessage, decode_header
from spicehop.wire.registry import decode, name_of

TICKET_BYTES = 4 + 128
RESULT_BYTES = 4


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """One message, and when its last byte came to the relay."""

    at: float
    name: str
    size: int
    number: int
    channel: int
    body: bytes
    from_server: bool

    def decoded(self) -> Message:
        """It, read."""
        way = Direction.FROM_SERVER if self.from_server else Direction.FROM_CLIENT
        return decode(self.channel, way, self.number, self.body)


@dataclass(frozen=True, slots=True)
class CapturedConnection:
    """One connection."""

    channel: int
    channel_id: int
    connection_id: int
    passage: Passage
    messages: tuple[CapturedMessage, ...]

    @property
    def name(self) -> str:
        return channel_name(self.channel, self.channel_id)

    def sent(self, *, after: float = 0.0) -> list[CapturedMessage]:
        """What the server said."""
        return [message for message in self.messages if message.from_server and message.at > after]


def read_captures(folder: Path, name: str, passages: list[Passage]) -> Iterator[CapturedConnection]:
    """The connections of a relay of that name, with those that never said who they are left out."""
    for passage in passages:
        ways = {}
        for way in (TO_SERVER, TO_CLIENT):
            path = folder / f"{name}-{passage.number}.{way}"
            ways[way] = path.read_bytes() if path.exists() else b""
        try:
            first = ways[TO_SERVER]
            end = HEADER_SIZE + decode_header(first[:HEADER_SIZE]).size
            link = LinkMessage.decode(first[HEADER_SIZE:end])
            back = HEADER_SIZE + decode_header(ways[TO_CLIENT][:HEADER_SIZE]).size
        except Exception:
            continue
        starts = {TO_SERVER: end + TICKET_BYTES, TO_CLIENT: back + RESULT_BYTES}
        found: list[CapturedMessage] = []
        for way, data in ways.items():
            found += _messages(passage, way, data[starts[way] :], starts[way], link.channel_type)
        found.sort(key=lambda message: message.at)
        yield CapturedConnection(link.channel_type, link.channel_id, link.connection_id, passage, tuple(found))


def _messages(passage: Passage, way: str, data: bytes, start: int, channel: int) -> Iterator[CapturedMessage]:
    reader = FrameReader(mini_header=True)
    direction = Direction.FROM_SERVER if way == TO_CLIENT else Direction.FROM_CLIENT
    times = _Times(passage, way)
    place = start
    for frame in reader.feed(data):
        place += 6 + len(frame.body)
        name = name_of(channel, direction, frame.number)
        yield CapturedMessage(
            times.of(place), name, len(frame.body), frame.number, channel, bytes(frame.body), way == TO_CLIENT
        )


class _Times:
    """When the byte before an offset came."""

    def __init__(self, passage: Passage, way: str) -> None:
        self._pieces = iter([(at, size) for at, piece_way, size in passage.chunks if piece_way == way])
        self._end = 0
        self._at = 0.0

    def of(self, offset: int) -> float:
        while self._end < offset:
            self._at, size = next(self._pieces)
            self._end += size
        return self._at


def image_of(message: CapturedMessage) -> Image | None:
    """The image that a message draws, if it draws one; of ours no other draws any."""
    word = message.decoded()
    return word.source if isinstance(word, DrawCopy) else None


def sends_pixels(message: CapturedMessage) -> bool:
    """Whether there are pixels in it, and not only the name of something that the client has."""
    image = image_of(message)
    if image is None:
        return message.name.startswith("STREAM_DATA")
    return not isinstance(image.payload, FromCache | SurfaceImage)


def drawn(connection: CapturedConnection, *, after: float = 0.0) -> list[CapturedMessage]:
    """The server's messages that carry or show pixels."""
    assert connection.channel == ChannelType.DISPLAY
    return [one for one in connection.sent(after=after) if one.name.startswith(("DRAW_", "STREAM_DATA", "COPY_BITS"))]
