"""What the guest's agent writes to its port: messages in chunks, a long clipboard only while it is read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

from spicehop.errors import ProtocolError
from spicehop.guests.demo.fnv import fnv1a
from spicehop.wire.agent_constants import AgentPort
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, ChunkHeader
from spicehop.wire.layout import U8, U32, Array, Data, SizedBytes, Structure

MAX_WAITING = 1024
"""Messages that may wait; more are not written."""
LARGEST_TEXT = 2**28
_LINE = 14
_HEADER = 8


def numbered_text(start: int, size: int) -> bytes:
    """`size` bytes from `start` on of the lines `clip 00000000`, `clip 00000001`, ..."""
    first, last = start // _LINE, -(-(start + size) // _LINE)
    lines = b"".join(b"clip %08d\n" % (number % 100_000_000) for number in range(first, last))
    return lines[start - first * _LINE :][:size]


@lru_cache(maxsize=4)
def numbered_hash(size: int) -> int:
    """FNV-1a of the first `size` bytes of the numbered text."""
    value = fnv1a(b"")
    for start in range(0, size, 2**20):
        value = fnv1a(numbered_text(start, min(2**20, size - start)), value)
    return value


@dataclass(frozen=True, slots=True)
class Outgoing(Structure):
    """A message on its way."""

    head: Annotated[Data, SizedBytes("H")]
    """The message, or what of it stands before the numbered text."""
    text_size: U32
    """Bytes of the numbered text that follow."""
    chunk: U32
    """Most bytes of the message in one chunk."""
    given: U32
    """Bytes already read, chunk headers included."""
    is_clipboard: U8

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.head) + self.text_size

    @property
    def length(self) -> int:
        """Bytes of all its chunks."""
        return self.size + _HEADER * -(-self.size // self.chunk)

    def check(self) -> None:
        """`ProtocolError` when no message can be so."""
        if len(self.head) < AGENT_HEADER_SIZE or self.text_size > LARGEST_TEXT or self.is_clipboard > 1:
            raise ProtocolError("a saved agent writes a message that cannot be")
        if not AGENT_HEADER_SIZE <= self.chunk <= LARGEST_TEXT * 2 or self.given >= self.length:
            raise ProtocolError("a saved agent writes chunks that cannot be")

    def part(self, start: int, limit: int) -> bytes:
        """At most `limit` bytes of the chunks from `start` on, none of a second chunk."""
        index, inside = divmod(start, self.chunk + _HEADER)
        first = index * self.chunk
        size = min(self.chunk, self.size - first)
        if inside < _HEADER:
            return ChunkHeader(AgentPort.CLIENT, size).encode()[inside : inside + limit]
        position = first + inside - _HEADER
        end = min(first + size, position + limit)
        part = bytes(self.head[position:end])
        text = max(0, position - len(self.head))
        return part + numbered_text(text, end - position - len(part)) if len(part) < end - position else part


class AgentOutbox:
    """Messages that the agent writes, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Outgoing] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, head: bytes, chunk: int, *, text_size: int = 0, is_clipboard: bool = False) -> bool:
        """Write a message in chunks of at most `chunk` bytes, 0 for one; False when too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(Outgoing(head, text_size, chunk or len(head) + text_size, 0, int(is_clipboard)))
        return True

    def take(self, limit: int) -> tuple[bytes, list[Outgoing]]:
        """At most `limit` bytes, and the messages that end with them."""
        parts: list[bytes] = []
        done: list[Outgoing] = []
        while limit > 0 and self._waiting:
            message = self._waiting[0]
            part = message.part(message.given, limit)
            parts.append(part)
            limit -= len(part)
            self._waiting[0] = message = replace(message, given=message.given + len(part))
            if message.given == message.length:
                done.append(self._waiting.popleft())
        return b"".join(parts), done

    def state(self) -> tuple[Outgoing, ...]:
        return tuple(self._waiting)

    def restore(self, state: tuple[Outgoing, ...]) -> None:
        """Go on where `state` was taken; it has been checked."""
        self._waiting = deque(replace(message, head=bytes(message.head)) for message in state)


WaitingMessages = Annotated[tuple[Outgoing, ...], Array(Outgoing, count="H")]
"""The outbox in a saved state."""
