"""What the agent says, read from its device in whatever pieces it comes: chunks, and the messages in them.

    for piece in reader.feed(data, targets_of): ...     # for `reader.targets`, which a message's head decides

A chunk may be as long as its message: spice-vdagentd sends each in one. A message goes on in slices of at most 2,048
bytes, but for one that is read here as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spicehop.channels.serving.agent_parts import AgentDeviceState
from spicehop.channels.serving.agent_routing import AgentFilter, MessageHead, rewritten_capabilities
from spicehop.errors import ProtocolError
from spicehop.wire.agent_constants import AgentMessageType, AgentPort
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, CHUNK_HEADER_SIZE, ChunkHeader
from spicehop.wire.constants import AGENT_CHUNK_BYTES

MAX_COLLECTED = 16 * 1024
"""Longest message that is read here as a whole: capabilities and monitors."""
_FIRST_WORD = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A slice of a message for the clients in `targets`; `begins` for the first of its message."""

    data: bytes
    targets: tuple[int, ...]
    begins: bool


class DeviceReader:
    """Where the reading of the device stands."""

    def __init__(self, rules: AgentFilter) -> None:
        self.targets: tuple[int, ...] = ()
        """Who gets the message that is being read."""
        self._rules = rules
        self._partial = b""
        self._chunk_left = 0
        self._chunk_port = 0
        self._chunk_open = False
        self._head: MessageHead | None = None
        self._left = 0
        self._begins = False
        self._collected: bytes | None = None

    def feed(self, data: bytes, targets_of: Callable[[MessageHead], tuple[int, ...]]) -> Iterator[Piece]:
        """Bytes of the device. `ProtocolError` for what the agent gets wrong; nothing can be read after that."""
        self._partial += data
        while self._next_part(targets_of):
            yield from self._part()

    def flush(self, targets_of: Callable[[MessageHead], tuple[int, ...]], *, lone: bool) -> Iterator[Piece]:
        """What is here of a message goes on, short as it is; what stays is the part of a header, at most.

        A message that several clients could get is not begun before it is known whose it is; `lone` when there is one.
        """
        if not self._chunk_left or self._chunk_open or self._chunk_port != AgentPort.CLIENT:
            return
        if self._head is None:
            if len(self._partial) < AGENT_HEADER_SIZE + (0 if lone else _FIRST_WORD):
                return
            self._begin_message(targets_of)
        if self._partial:
            yield from self._pass_on(min(self._left, self._chunk_left, len(self._partial)))

    def _next_part(self, targets_of: Callable[[MessageHead], tuple[int, ...]]) -> bool:
        """Whether `_part` has something to do; headers are read here."""
        while not self._chunk_left:
            if len(self._partial) < CHUNK_HEADER_SIZE:
                return False
            header = ChunkHeader.decode(self._partial[:CHUNK_HEADER_SIZE])
            self._partial = self._partial[CHUNK_HEADER_SIZE:]
            self._chunk_left, self._chunk_port = header.size, header.port
        if self._chunk_open:
            if len(self._partial) < AGENT_HEADER_SIZE:
                return False
            size = AGENT_HEADER_SIZE + MessageHead.of(self._partial).size
            self._chunk_left, self._chunk_open = min(size, AGENT_CHUNK_BYTES), False
        if self._chunk_port != AgentPort.CLIENT:
            return bool(self._partial)
        if self._head is None:
            if self._chunk_left < AGENT_HEADER_SIZE:
                raise ProtocolError("the agent's first chunk of a message is shorter than a header")
            if len(self._partial) < min(AGENT_HEADER_SIZE + _FIRST_WORD, self._chunk_left):
                return False
            self._begin_message(targets_of)
        if not self._left:
            raise ProtocolError("the agent's chunk goes on behind the end of its message")
        return len(self._partial) >= self._slice_size

    @property
    def _slice_size(self) -> int:
        return min(self._left, self._chunk_left, AGENT_CHUNK_BYTES)

    def _part(self) -> Iterator[Piece]:
        if self._chunk_port == AgentPort.CLIENT:
            yield from self._pass_on(self._slice_size)
        else:
            self._advance(min(self._chunk_left, len(self._partial)))

    def _begin_message(self, targets_of: Callable[[MessageHead], tuple[int, ...]]) -> None:
        head = MessageHead.of(self._partial)
        self._head, self._left, self._begins = head, AGENT_HEADER_SIZE + head.size, True
        self.targets = targets_of(head) if self._rules.lets_out(head.type) else ()
        if head.type == AgentMessageType.ANNOUNCE_CAPABILITIES and head.size <= MAX_COLLECTED:
            self._collected = b""

    def _pass_on(self, size: int) -> Iterator[Piece]:
        data = self._advance(size)
        self._left -= size
        whole = not self._left
        if self._collected is not None:
            self._collected += data
            data = rewritten_capabilities(self._collected, self._rules.removed, self._rules.added) if whole else b""
        if data:
            yield Piece(data, self.targets, self._begins)
            self._begins = False
        if whole:
            self._head, self._collected, self.targets = None, None, ()

    def _advance(self, size: int) -> bytes:
        taken, self._partial = self._partial[:size], self._partial[size:]
        self._chunk_left -= size
        return taken

    # -- state ------------------------------------------------------------------------------------------------------

    def state(self) -> AgentDeviceState:
        """How far it is; the caller adds what it knows of clients."""
        return AgentDeviceState(
            True,
            self._partial,
            self._chunk_left,
            self._chunk_port,
            self._head,
            self._left,
            False,
            self._chunk_open,
            self._head is not None and self._collected is None and not self.targets,
            self._collected,
        )

    def restore(self, state: AgentDeviceState, targets: tuple[int, ...]) -> None:
        """Go on where another server was."""
        self._partial, self._chunk_left, self._chunk_port = state.partial, state.chunk_left, state.chunk_port
        self._chunk_open = state.chunk_open
        self._head, self._left, self._collected = state.head, state.left, state.collected
        self._begins = state.collected is not None
        self.targets = () if state.head is None or state.dropped else targets
