"""How agent messages travel (dossier D.1): as a byte stream in AGENT_DATA, and in chunks on the guest's virtio port."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.agent import AgentMessage, type_of
from spicehop.wire.agent_constants import AGENT_PROTOCOL
from spicehop.wire.constants import AGENT_CHUNK_BYTES
from spicehop.wire.gathering import Gatherer
from spicehop.wire.layout import NOTHING, U32, U64, Data, Structure

DEFAULT_AGENT_LIMIT = 64 * 1024 * 1024
"""Largest agent message accepted unless the caller says otherwise, in bytes; a clipboard image can be that large."""


@dataclass(frozen=True, slots=True)
class AgentHeader(Structure):
    """What every agent message begins with."""

    protocol: U32
    type: U32
    opaque: U64
    size: U32


@dataclass(frozen=True, slots=True)
class ChunkHeader(Structure):
    """What every chunk on the virtio port begins with; `port` is an `AgentPort`."""

    port: U32
    size: U32


AGENT_HEADER_SIZE = AgentHeader.minimum_size()
CHUNK_HEADER_SIZE = ChunkHeader.minimum_size()


@dataclass(frozen=True, slots=True)
class AgentFrame:
    """One message as it came: its type and the bytes behind its header."""

    type: int
    body: memoryview


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of the virtio port."""

    port: int
    data: memoryview


def encode_agent_message(message: AgentMessage, *, capabilities: frozenset[int] = NOTHING) -> bytes:
    """Header and message, for a peer with which these capabilities are common."""
    body = message.encode(capabilities=capabilities)
    return AgentHeader(AGENT_PROTOCOL, type_of(message), 0, len(body)).encode() + body


def slices(message: Data, size: int = AGENT_CHUNK_BYTES) -> Iterator[memoryview]:
    """An encoded message in pieces that AGENT_DATA may carry; a piece never holds bytes of two messages."""
    if size < AGENT_HEADER_SIZE:
        raise StateError(f"the server needs the {AGENT_HEADER_SIZE} bytes of the header in the first slice")
    view = memoryview(message)
    for start in range(0, len(view), size):
        yield view[start : start + size]


def encode_chunk(port: int, data: Data) -> bytes:
    """A slice with its chunk header."""
    return ChunkHeader(port, len(data)).encode() + data


class AgentReader:
    """Puts agent messages together from slices. Feed it each AGENT_DATA; `ProtocolError` when the stream is broken."""

    def __init__(self, *, limit: int = DEFAULT_AGENT_LIMIT) -> None:
        self.limit = limit
        self._gatherer = Gatherer()

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete."""
        return self._gatherer.held

    def reset(self) -> None:
        """Forget an incomplete message, as when the agent disconnects."""
        self._gatherer = Gatherer()

    def feed(self, data: Data) -> list[AgentFrame]:
        """The messages that `data` completes."""
        view = self._gatherer.feed(data, AGENT_HEADER_SIZE)
        if view is None:
            return []
        frames: list[AgentFrame] = []
        position = 0
        needed = 0
        while len(view) - position >= AGENT_HEADER_SIZE:
            header = AgentHeader.decode(view[position : position + AGENT_HEADER_SIZE])
            if header.protocol != AGENT_PROTOCOL:
                raise ProtocolError(f"agent protocol {header.protocol} is not known")
            if header.size > self.limit:
                raise ProtocolError(f"an agent message of {header.size} bytes is larger than {self.limit}")
            end = position + AGENT_HEADER_SIZE + header.size
            if end > len(view):
                needed = end - position
                break
            frames.append(AgentFrame(header.type, view[position + AGENT_HEADER_SIZE : end]))
            position = end
        self._gatherer.keep(view[position:], needed)
        return frames


class ChunkReader:
    """Cuts the byte stream of the virtio port into chunks."""

    def __init__(self, *, limit: int = AGENT_CHUNK_BYTES) -> None:
        self.limit = limit
        self._gatherer = Gatherer()

    @property
    def pending(self) -> int:
        """Bytes of a chunk that is not complete."""
        return self._gatherer.held

    def feed(self, data: Data) -> list[Chunk]:
        """The chunks that `data` completes; `ProtocolError` when one announces more than the limit."""
        view = self._gatherer.feed(data, CHUNK_HEADER_SIZE)
        if view is None:
            return []
        chunks: list[Chunk] = []
        position = 0
        needed = 0
        while len(view) - position >= CHUNK_HEADER_SIZE:
            port, size = _CHUNK.unpack_from(view, position)
            if size > self.limit:
                raise ProtocolError(f"a chunk of {size} bytes is larger than {self.limit}")
            end = position + CHUNK_HEADER_SIZE + size
            if end > len(view):
                needed = end - position
                break
            chunks.append(Chunk(port, view[position + CHUNK_HEADER_SIZE : end]))
            position = end
        self._gatherer.keep(view[position:], needed)
        return chunks


_CHUNK = struct.Struct("<II")
