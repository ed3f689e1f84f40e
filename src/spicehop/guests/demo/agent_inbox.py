"""What the guest's agent reads from its port: chunks, and the messages in them, without keeping long ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from spicehop.errors import ProtocolError
from spicehop.guests.demo.fnv import FNV_START, fnv1a
from spicehop.wire.agent_constants import AGENT_PROTOCOL, AgentMessageType, AgentPort
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, CHUNK_HEADER_SIZE, AgentHeader, ChunkHeader
from spicehop.wire.layout import U8, U32, Array, Data, SizedBytes, Structure

KEPT = 4096
"""Bytes of a message that are kept; of a longer one the rest is only counted and, for a clipboard, checked."""
LARGEST_MESSAGE = 2**28
LARGEST_CHUNK = 2**28


@dataclass(frozen=True, slots=True)
class Received:
    """A message that is complete."""

    port: int
    type: int
    size: int
    body: bytes
    """Its first `KEPT` bytes."""
    text_hash: int
    """FNV-1a of a clipboard's content."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The stream is not what the protocol allows."""

    text: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The header of a clipboard's content has come."""

    size: int


@dataclass(frozen=True, slots=True)
class MessageState(Structure):
    """Where the reader of one port stands in a message."""

    header: Annotated[Data, SizedBytes("B")]
    got: U32
    text_starts: U8
    text_hash: U32
    kept: Annotated[Data, SizedBytes("H")]


@dataclass(frozen=True, slots=True)
class InboxState(Structure):
    """Where the reader stands in the stream of chunks."""

    chunk_header: Annotated[Data, SizedBytes("B")]
    port: U32
    left: U32
    skips: U8
    """Whether the rest of the chunk is not read, because of a fault."""
    is_broken: U8
    """Whether nothing more is read, because chunks cannot be told apart any more."""
    readers: Annotated[tuple[MessageState, ...], Array(MessageState, count="B")]


class MessageReader:
    """Puts the messages of one port together."""

    def __init__(self, port: int, text_start: Callable[[], int]) -> None:
        self._port = port
        self._text_start = text_start
        self.reset()

    def reset(self) -> None:
        """Forget an incomplete message."""
        self._header = b""
        self._got = 0
        self._text_starts = 0
        self._text_hash = FNV_START
        self._kept = bytearray()

    def feed(self, data: memoryview) -> Iterator[Received | Begun | Fault]:
        """What these bytes bring; after a `Fault` the caller leaves out the rest of the chunk."""
        while len(data):
            if len(self._header) < AGENT_HEADER_SIZE:
                missing = AGENT_HEADER_SIZE - len(self._header)
                self._header += bytes(data[:missing])
                data = data[missing:]
                if len(self._header) < AGENT_HEADER_SIZE:
                    return
                header = AgentHeader.decode(self._header)
                if header.protocol != AGENT_PROTOCOL or header.size > LARGEST_MESSAGE:
                    self.reset()
                    yield Fault(f"message protocol {header.protocol} type {header.type} size {header.size}")
                    return
                self._text_starts = self._text_start()
                if header.type == AgentMessageType.CLIPBOARD:
                    yield Begun(header.size)
            header = AgentHeader.decode(self._header)
            part = data[: header.size - self._got]
            data = data[len(part) :]
            self._take(header.type, part)
            if self._got == header.size:
                done = Received(self._port, header.type, header.size, bytes(self._kept), self._text_hash)
                self.reset()
                yield done

    def _take(self, kind: int, part: memoryview) -> None:
        if len(self._kept) < KEPT:
            self._kept += part[: KEPT - len(self._kept)]
        if kind == AgentMessageType.CLIPBOARD:
            self._text_hash = fnv1a(part[max(0, self._text_starts - self._got) :], self._text_hash)
        self._got += len(part)

    def state(self) -> MessageState:
        return MessageState(self._header, self._got, self._text_starts, self._text_hash, bytes(self._kept))

    def restore(self, state: MessageState) -> None:
        """Go on where `state` was taken; it has been checked."""
        self._header, self._kept = bytes(state.header), bytearray(state.kept)
        self._got, self._text_starts, self._text_hash = state.got, state.text_starts, state.text_hash


def check_message_state(state: MessageState) -> None:
    """`ProtocolError` when no reader can stand there."""
    complete = len(state.header) == AGENT_HEADER_SIZE
    if len(state.header) > AGENT_HEADER_SIZE or (not complete and (state.got or len(state.kept))):
        raise ProtocolError("a saved agent stands in a message that has no header")
    if complete:
        header = AgentHeader.decode(state.header)
        if header.protocol != AGENT_PROTOCOL or header.size > LARGEST_MESSAGE or state.got >= header.size:
            raise ProtocolError("a saved agent stands in a message that cannot be")
        if len(state.kept) != min(state.got, KEPT) or state.text_starts not in (4, 8):
            raise ProtocolError("a saved agent has kept something else than the start of a message")


class AgentInbox:
    """Takes the bytes of the port."""

    def __init__(self, text_start: Callable[[], int]) -> None:
        self._chunk_header = b""
        self._port = 0
        self._left = 0
        self._skips = False
        self._is_broken = False
        self._readers = {port: MessageReader(port, text_start) for port in AgentPort}

    def forget(self, port: int) -> None:
        """An incomplete message of this port will not be finished."""
        self._readers[AgentPort(port)].reset()

    def feed(self, data: bytes) -> Iterator[Received | Begun | Fault]:
        """What these bytes bring, one after the other."""
        view = memoryview(data)
        while len(view) and not self._is_broken:
            if not self._left:
                missing = CHUNK_HEADER_SIZE - len(self._chunk_header)
                self._chunk_header += bytes(view[:missing])
                view = view[missing:]
                if len(self._chunk_header) == CHUNK_HEADER_SIZE:
                    yield from self._begin_chunk()
                continue
            part = view[: self._left]
            view = view[len(part) :]
            self._left -= len(part)
            if not self._skips:
                for event in self._readers[AgentPort(self._port)].feed(part):
                    self._skips = self._skips or isinstance(event, Fault)
                    yield event

    def _begin_chunk(self) -> Iterator[Fault]:
        header = ChunkHeader.decode(self._chunk_header)
        self._chunk_header, self._skips = b"", False
        if header.port not in (AgentPort.CLIENT, AgentPort.SERVER) or header.size > LARGEST_CHUNK:
            self._is_broken = True
            yield Fault(f"chunk port {header.port} size {header.size}")
        else:
            self._port, self._left = header.port, header.size

    def state(self) -> InboxState:
        readers = tuple(self._readers[port].state() for port in AgentPort)
        return InboxState(self._chunk_header, self._port, self._left, int(self._skips), int(self._is_broken), readers)

    def restore(self, state: InboxState) -> None:
        """Go on where `state` was taken; it has been checked."""
        self._chunk_header = bytes(state.chunk_header)
        self._port, self._left = state.port, state.left
        self._skips, self._is_broken = bool(state.skips), bool(state.is_broken)
        for port, reader in zip(AgentPort, state.readers, strict=True):
            self._readers[port].restore(reader)


def check_inbox_state(state: InboxState) -> None:
    """`ProtocolError` when no inbox can stand there."""
    if len(state.readers) != len(AgentPort) or len(state.chunk_header) >= CHUNK_HEADER_SIZE:
        raise ProtocolError("a saved agent stands nowhere in its stream")
    if state.left > LARGEST_CHUNK or max(state.skips, state.is_broken) > 1:
        raise ProtocolError("a saved agent stands in a chunk that cannot be")
    if state.port > AgentPort.SERVER or (state.left and (not state.port or len(state.chunk_header))):
        raise ProtocolError("a saved agent stands in a chunk of nobody")
    for reader in state.readers:
        check_message_state(reader)
