"""What the agent's hub knows of each client, and what of it moves to another server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from spicehop.channels.serving.agent_routing import MessageHead
from spicehop.wire import agent
from spicehop.wire.agent_constants import CLIENT_TOKENS, AgentMessageType, AgentPort
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, encode_chunk
from spicehop.wire.constants import AGENT_CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of one message; `first` and `last` say where in it."""

    data: bytes
    first: bool
    last: bool
    credited: bool = False
    """Whether its token has been given back."""
    raw: bool = False
    """Bytes for the device as they are, chunk headers among them: libspice's migration data has nothing else."""

    def chunk(self) -> bytes:
        """What the device gets."""
        return self.data if self.raw else encode_chunk(AgentPort.CLIENT, self.data)


@dataclass(slots=True)
class Inlet:
    """One client's messages on their way to the agent."""

    slices: deque[Slice] = field(default_factory=deque)
    size: int = 0
    complete: int = 0
    """Messages that are here up to their last byte."""
    head: MessageHead | None = None
    """The message that the client is sending; None between two messages."""
    left: int = 0
    dropped: bool = False
    """What is left of it goes nowhere."""
    collected: bytes | None = None
    """A message that is read here before it goes on."""
    tokens: int = CLIENT_TOKENS
    """Slices the client may still send."""
    owed: int = 0
    """Tokens to be given back."""

    def put(self, piece: Slice) -> None:
        """Add a slice."""
        self.slices.append(piece)
        self.size += len(piece.data)
        self.complete += piece.last

    def pop(self) -> Slice:
        """Take the first slice."""
        piece = self.slices.popleft()
        self.size -= len(piece.data)
        self.complete -= piece.last
        return piece

    def rest_of_message(self) -> list[Slice]:
        """The slices of the first message, as far as they are here."""
        rest: list[Slice] = []
        for piece in self.slices:
            rest.append(piece)
            if piece.last:
                break
        return rest


@dataclass(slots=True)
class AgentClient:
    """One client that has opened the stream."""

    tokens: int
    """Slices the client takes from the server."""
    inlet: Inlet = field(default_factory=Inlet)
    outlet: deque[bytes] = field(default_factory=deque)
    outlet_size: int = 0


@dataclass(frozen=True, slots=True)
class AgentClientState:
    """What is under way between one client and the agent."""

    started: bool
    tokens: int
    inlet_tokens: int
    owed: int
    slices: tuple[Slice, ...]
    head: MessageHead | None
    left: int
    dropped: bool
    collected: bytes | None
    outlet: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AgentDeviceState:
    """What is under way at the device: bytes read and not yet whole, and the message that is being written."""

    connected: bool
    partial: bytes
    chunk_left: int
    chunk_port: int
    head: MessageHead | None
    left: int
    writer_in_message: bool
    chunk_open: bool = False
    """How long the chunk is was lost with libspice as the source: it ends with its message, or after 2,048 bytes of it.
    Then `chunk_left` is the most that it can be.
    """
    dropped: bool = False
    """What is left of the message goes to no client."""
    collected: bytes | None = None
    """A message that is read here before it goes on."""


def goes_whole(head: MessageHead) -> bool:
    """Whether a client's message that is read here goes on as one slice, once it is whole."""
    fits = AGENT_HEADER_SIZE + head.size <= AGENT_CHUNK_BYTES
    return head.type == AgentMessageType.ANNOUNCE_CAPABILITIES or fits


@dataclass(frozen=True, slots=True)
class MonitorsWanted:
    """A client asks for monitors."""

    client: int
    message: agent.MonitorsConfig
