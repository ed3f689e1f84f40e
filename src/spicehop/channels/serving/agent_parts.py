"""What the agent's hub knows of each client, and what of it moves to another server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from spicehop.channels.serving.agent_routing import MessageHead
from spicehop.errors import ProtocolError
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
        """Add a slice; small ones of a message that is stored are joined."""
        before = self.slices[-1] if self.slices else piece
        joined = before is not piece and piece.credited and before.credited and not before.last
        if joined and len(before.data) + len(piece.data) <= AGENT_CHUNK_BYTES:
            self.slices[-1] = Slice(before.data + piece.data, before.first, piece.last, True)
        else:
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

    def unwritten(self) -> tuple[list[bytes], int]:
        """Of the message that is being written: bytes that go to the device as they are, and how many follow."""
        rest = self.rest_of_message()
        left = sum(len(piece.data) for piece in rest if not piece.raw)
        return [piece.data for piece in rest if piece.raw], left + (0 if self.complete else self.left)


@dataclass(slots=True)
class AgentClient:
    """One client that has opened the stream."""

    tokens: int
    """Slices the client takes from the server."""
    inlet: Inlet = field(default_factory=Inlet)
    outlet: deque[bytes] = field(default_factory=deque)
    outlet_size: int = 0

    def give(self, piece: bytes, *, begins: bool) -> None:
        """A piece of a message for the client; small ones of a message are joined."""
        if not begins and self.outlet and len(self.outlet[-1]) + len(piece) <= AGENT_CHUNK_BYTES:
            self.outlet[-1] += piece
        else:
            self.outlet.append(piece)
        self.outlet_size += len(piece)


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
    monitors: agent.MonitorsConfig | None = None
    """What the client asks for, and the guest has not been told yet."""


@dataclass(frozen=True, slots=True)
class AgentDeviceState:
    """What is under way at the device: bytes read and not yet whole, and the message that is being written.

    Clients are named by their connection ids, which they keep when they move.
    """

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
    writer: int = 0
    """Whose message is being written when `writer_in_message`; 0 where it is the only client's."""
    writer_left: int = 0
    """Bytes of it that the device has not taken."""
    padding: int = 0
    """Zeros that the device gets for the rest of a message whose client is gone."""
    left_behind: tuple[bytes, ...] = ()
    """Bytes that the device gets as they are, before all else."""
    own: tuple[bytes, ...] = ()
    """Messages of the server to the agent."""
    targets: tuple[int, ...] | None = None
    """Who gets the message that is being read; None for the only client."""
    clients: tuple[int, ...] = ()
    """Who has opened the stream."""
    asked: tuple[tuple[int, int], ...] = ()
    """As in `Routes`, like the two that follow."""
    offered: tuple[tuple[int, int], ...] = ()
    transfers: tuple[tuple[int, int], ...] = ()


def check_messages(state: AgentClientState, *, within: bool, within_left: int) -> None:
    """`ProtocolError` when a client's slices would break the stream that it shares with others.

    They are whole messages but for the last, which the client goes on with, and for the first when the client is
    `within` one that is being written: of that `within_left` bytes are left, 0 where that is not known.
    """
    left = within_left
    is_known = not within or bool(within_left)
    for piece in state.slices:
        if piece.raw:
            return
        if piece.first is within:
            raise ProtocolError("a client's slices for the agent do not begin where its last message ended")
        if piece.first:
            left, is_known = AGENT_HEADER_SIZE + MessageHead.of(piece.data).size, True
        left -= len(piece.data)
        if is_known and (left < 0 or (left == 0) is not piece.last):
            raise ProtocolError("a client's slices for the agent are no whole message")
        within = not piece.last
    head = state.head
    if within:
        if head is None or state.dropped or (is_known and left != state.left):
            raise ProtocolError("a client does not go on with its message for the agent")
    elif head is not None and not state.dropped and (state.collected is None or not goes_whole(head)):
        raise ProtocolError("the beginning of a client's message for the agent is missing")


def goes_whole(head: MessageHead) -> bool:
    """Whether a client's message that is read here goes on as one slice, once it is whole."""
    fits = AGENT_HEADER_SIZE + head.size <= AGENT_CHUNK_BYTES
    return head.type == AgentMessageType.ANNOUNCE_CAPABILITIES or fits


@dataclass(frozen=True, slots=True)
class MonitorsWanted:
    """A client asks for monitors."""

    client: int
    message: agent.MonitorsConfig
