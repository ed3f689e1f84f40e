"""Reads a capture of stock peers: the bytes of each connection and the account that the recording relay gave of them.

A capture is a folder with, for each connection NN, `cNN-<server>.c2s` and `.s2c` (all bytes of one direction) and
`cNN.messages.txt`: a first line about the link, then a line for each message with time, direction, name and size.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spicehop.wire.framing import Frame, FrameReader
from spicehop.wire.link import HEADER_SIZE, LinkMessage, LinkReply, decode_header

TOP = Path(__file__).parents[2]
SUBSET = TOP / "tests" / "golden" / "reference-seamless"
WHOLE = TOP.parent / "shared" / "golden" / "reference-seamless"
"""The whole capture, where it is beside the repository."""

_FIRST = re.compile(r"(?P<number>\d+) (?P<server>\w+) (?P<channel>\w+):(?P<id>\d+) .*'channel_type': (?P<type>\d+)")
_OTHER_NAMES = {"PORT_INIT": "INIT", "PORT_EVENT": "EVENT"}
"""Names of the account that begin with the channel."""


@dataclass(frozen=True)
class Listed:
    """One message by the relay's account."""

    way: str
    name: str
    size: int


@dataclass(frozen=True)
class Stream:
    """One direction of a connection, cut up: what belongs to the link stage, and the messages."""

    link: bytes
    """Header and link message or reply."""
    before_messages: bytes
    """Auth word and ticket, or the link result."""
    frames: list[Frame]


@dataclass(frozen=True)
class Connection:
    """One connection of a capture."""

    folder: Path
    number: int
    server: str
    channel_type: int
    listed: list[Listed]

    def raw(self, way: str) -> bytes:
        """All bytes of one direction, `c2s` or `s2c`."""
        return (self.folder / f"c{self.number:02}-{self.server}.{way}").read_bytes()

    def stream(self, way: str) -> Stream:
        """One direction cut up. `AssertionError` when bytes are left over."""
        data = self.raw(way)
        end = HEADER_SIZE + decode_header(data[:HEADER_SIZE]).size
        start = end + (4 + 128 if way == "c2s" else 4)
        reader = FrameReader(mini_header=True)
        frames = reader.feed(data[start:])
        assert reader.pending == 0, f"{reader.pending} bytes at the end of {way} are not a message"
        return Stream(data[:end], data[end:start], frames)

    def link_message(self) -> LinkMessage:
        """What the client asked for."""
        return LinkMessage.decode(self.stream("c2s").link[HEADER_SIZE:])

    def link_reply(self) -> LinkReply:
        """What the server answered."""
        return LinkReply.decode(self.stream("s2c").link[HEADER_SIZE:])


def connections(folder: Path) -> Iterator[Connection]:
    """The connections of a capture, in order."""
    for account in sorted(folder.glob("c*.messages.txt")):
        first, *lines = account.read_text().splitlines()
        found = _FIRST.match(first)
        assert found is not None, f"{account} begins in an unknown way"
        listed = []
        for line in lines:
            _, way, name, size, _ = line.split()
            listed.append(Listed(way, _OTHER_NAMES.get(name, name), int(size)))
        yield Connection(folder, int(found["number"]), found["server"], int(found["type"]), listed)


def auth_word(stream: Stream) -> int:
    """The authentication mechanism that the client chose."""
    word: int = struct.unpack_from("<I", stream.before_messages)[0]
    return word
