"""The guest agent's stream between one device and several clients (dossier D.1 to D.3).

Messages of several clients reach the agent only whole. While one client alone has opened the stream, its slices go
through as they come. With several, a message is stored until it is complete, up to `STORE_BYTES`; a longer one begins
when that much is there, and a client that then says nothing for `PATIENCE` while others wait loses the rest of it: the
agent gets zeros for it.

What the agent says goes to the client that it answers, where that can be told, else to all (`agent_routing`). A client
has tokens for what it sends, and gets them back as its slices leave here (dossier D.2).
"""

from __future__ import annotations

from collections import deque

from spicehop.channels.serving.agent_parts import (
    AgentClient,
    AgentClientState,
    AgentDeviceState,
    Inlet,
    MonitorsWanted,
    Slice,
    goes_whole,
)
from spicehop.channels.serving.agent_routing import (
    AgentFilter,
    MessageHead,
    Routes,
    rewritten_capabilities,
    without_physical_sizes,
)
from spicehop.errors import ProtocolError
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import CLIENT_TOKENS, UNLIMITED_TOKENS, AgentMessageType, AgentPort
from spicehop.wire.agent_stream import (
    AGENT_HEADER_SIZE,
    CHUNK_HEADER_SIZE,
    ChunkHeader,
    encode_agent_message,
    encode_chunk,
)
from spicehop.wire.constants import AGENT_CHUNK_BYTES
from spicehop.wire.layout import Message

STORE_BYTES = 1024 * 1024
"""Bytes of a client's message that are stored while several clients use the agent."""
PATIENCE = 10.0
"""Seconds that others wait for the rest of a message that has begun."""
TOKENS_AT_ONCE = 5
"""Tokens are given back in this number, as the reference does."""
CLIENT_BYTES = 1024 * 1024
"""Bytes of the agent that may wait for one client; while there are more the agent is not read."""
MAX_COLLECTED = 16 * 1024
"""Longest message that is read here as a whole: capabilities and monitors."""


class AgentHub:
    """Everything between the agent's device and the clients; they are known by numbers that the caller gives."""

    def __init__(self, rules: AgentFilter | None = None) -> None:
        self.rules = rules or AgentFilter()
        self.connected = False
        """Whether an agent is there."""
        self.trouble = ""
        """Why the agent is not listened to any more; empty while it is."""
        self._clients: dict[int, AgentClient] = {}
        self._routes = Routes()
        self._writer: int | None = None
        self._writer_in_message = False
        self._writer_idle_since: float | None = None
        self._left_behind: deque[bytes] = deque()
        self._padding = 0
        self._own: deque[bytes] = deque()
        self._partial = b""
        self._chunk_left = 0
        self._chunk_port = 0
        self._chunk_open = False
        self._head: MessageHead | None = None
        self._left = 0
        self._targets: tuple[int, ...] = ()
        self._collected: bytes | None = None
        self._events: deque[MonitorsWanted] = deque()

    # -- the agent comes and goes -----------------------------------------------------------------------------------

    def opened(self) -> None:
        """An agent is there: every client begins anew with it."""
        self._forget()
        self.connected, self.trouble = True, ""

    def closed(self) -> None:
        """The agent is gone: nothing of the stream is left."""
        self._forget()
        self.connected = False

    def _forget(self) -> None:
        self._clients.clear()
        self._routes = Routes()
        self._writer, self._writer_in_message, self._writer_idle_since, self._padding = None, False, None, 0
        self._left_behind.clear()
        self._own.clear()
        self._partial, self._chunk_left, self._chunk_open = b"", 0, False
        self._head, self._left, self._targets, self._collected = None, 0, (), None

    # -- clients ----------------------------------------------------------------------------------------------------

    def client_started(self, client: int, tokens: int) -> bool:
        """A client opens the stream and takes `tokens` slices; True when it is the first one."""
        if not self.connected or client in self._clients:
            return False
        first = not self._clients
        self._clients[client] = AgentClient(tokens)
        return first

    def client_left(self, client: int) -> bool:
        """A client is gone; True when it was the last one."""
        gone = self._clients.pop(client, None)
        if gone is None:
            return False
        self._routes.forget(client)
        if self._writer == client:
            if self._writer_in_message:
                rest = gone.inlet.rest_of_message()
                self._left_behind.extend(piece.data for piece in rest if piece.raw)
                self._padding = sum(len(piece.data) for piece in rest if not piece.raw) + (
                    gone.inlet.left if not gone.inlet.complete else 0
                )
            self._writer, self._writer_in_message, self._writer_idle_since = None, False, None
        if not self._clients:
            self._own.append(encode_agent_message(agent.ClientDisconnected()))
        return not self._clients

    def started(self, client: int) -> bool:
        """Whether a client has opened the stream."""
        return client in self._clients

    def tokens_received(self, client: int, tokens: int) -> None:
        """A client takes more slices."""
        known = self._clients.get(client)
        if known is not None:
            known.tokens = min(known.tokens + tokens, UNLIMITED_TOKENS)

    def data_received(self, client: int, data: bytes) -> None:
        """A slice of a client; `ProtocolError` when it breaks the rules. Before AGENT_START it goes nowhere."""
        known = self._clients.get(client)
        if known is None:
            return
        inlet = known.inlet
        if inlet.tokens == 0:
            raise ProtocolError("the client sends to the agent without a token")
        inlet.tokens -= 1
        first = inlet.head is None
        if first:
            inlet.head = MessageHead.of(data)
            inlet.left = AGENT_HEADER_SIZE + inlet.head.size
            inlet.dropped = not self.rules.lets_in(inlet.head.type)
            inlet.collected = b"" if self._is_read_here(inlet.head) else None
        assert inlet.head is not None
        if len(data) > inlet.left:
            raise ProtocolError("a slice for the agent holds bytes of two messages")
        inlet.left -= len(data)
        last = inlet.left == 0
        if inlet.collected is not None:
            inlet.collected += data
        if inlet.dropped:
            inlet.owed += 1
        elif inlet.collected is not None and goes_whole(inlet.head):
            inlet.owed += 1
            if last:
                inlet.put(Slice(self._rewritten(inlet.head, inlet.collected), True, True, True))
        else:
            credited = len(self._clients) > 1 and inlet.size <= STORE_BYTES
            inlet.owed += credited
            inlet.put(Slice(data, first, last, credited))
        if last:
            self._message_complete(client, inlet)
            inlet.head, inlet.collected, inlet.dropped = None, None, False

    def _is_read_here(self, head: MessageHead) -> bool:
        read = (AgentMessageType.MONITORS_CONFIG, AgentMessageType.ANNOUNCE_CAPABILITIES)
        return head.type in read and head.size <= MAX_COLLECTED

    def _rewritten(self, head: MessageHead, message: bytes) -> bytes:
        if head.type == AgentMessageType.MONITORS_CONFIG:
            return without_physical_sizes(message)
        return rewritten_capabilities(message, self.rules.removed, 0)

    def _message_complete(self, client: int, inlet: Inlet) -> None:
        assert inlet.head is not None
        if inlet.dropped:
            return
        self._routes.client_said(client, inlet.head)
        if inlet.collected is not None and inlet.head.type == AgentMessageType.MONITORS_CONFIG:
            body = inlet.collected[AGENT_HEADER_SIZE:]
            wanted = agent.MonitorsConfig.decode(body)
            self._events.append(MonitorsWanted(client, wanted))

    def next_event(self) -> MonitorsWanted | None:
        """What the server must know of the clients' messages, in order."""
        return self._events.popleft() if self._events else None

    # -- towards the agent ------------------------------------------------------------------------------------------

    def next_chunk(self, now: float) -> bytes:
        """What to offer to the device, with its chunk header; call `chunk_taken` when it has taken it."""
        if self._left_behind:
            return self._left_behind[0]
        if self._padding:
            return encode_chunk(AgentPort.CLIENT, bytes(min(self._padding, AGENT_CHUNK_BYTES)))
        if not self._writer_in_message and self._own:
            return encode_chunk(AgentPort.SERVER, self._own[0])
        inlet = self._next_inlet(now)
        return inlet.slices[0].chunk() if inlet is not None else b""

    def _next_inlet(self, now: float) -> Inlet | None:
        if self._writer is not None and self._writer_in_message:
            inlet = self._clients[self._writer].inlet
            if inlet.slices:
                self._writer_idle_since = None
                return inlet
            if self._writer_idle_since is None:
                self._writer_idle_since = now
            return None
        for client, known in tuple(self._clients.items()):
            if self._may_begin(known.inlet):
                # Whoever writes goes to the end of the line.
                self._clients[client] = self._clients.pop(client)
                self._writer = client
                return known.inlet
        return None

    def _may_begin(self, inlet: Inlet) -> bool:
        if not inlet.slices:
            return False
        return bool(inlet.complete) or len(self._clients) == 1 or inlet.size > STORE_BYTES

    def chunk_taken(self) -> None:
        """The device has taken what `next_chunk` offered."""
        if self._left_behind:
            self._left_behind.popleft()
        elif self._padding:
            self._padding -= min(self._padding, AGENT_CHUNK_BYTES)
        elif not self._writer_in_message and self._own:
            self._own.popleft()
        elif self._writer is not None:
            inlet = self._clients[self._writer].inlet
            piece = inlet.pop()
            inlet.owed += not piece.credited
            self._writer_in_message = not piece.last

    def next_deadline(self) -> float | None:
        """When the others have waited long enough for a message that has begun."""
        if self._writer_idle_since is None or not self._others_wait:
            return None
        return self._writer_idle_since + PATIENCE

    @property
    def _others_wait(self) -> bool:
        return any(known.inlet.complete for client, known in self._clients.items() if client != self._writer)

    def handle_timer(self, now: float) -> None:
        """Call when `next_deadline` has passed."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline or self._writer is None:
            return
        inlet = self._clients[self._writer].inlet
        self._padding, inlet.dropped = inlet.left, True
        self._writer, self._writer_in_message, self._writer_idle_since = None, False, None

    # -- from the agent ---------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """Bytes to read from the device now: none without a client, or while one of them has too much waiting."""
        if not self._clients or self.trouble:
            return 0
        fullest = max(known.outlet_size for known in self._clients.values())
        return max(0, min(CLIENT_BYTES - fullest, 16 * AGENT_CHUNK_BYTES))

    def full_clients(self) -> tuple[int, ...]:
        """Clients for which nothing more may wait."""
        return tuple(client for client, known in self._clients.items() if known.outlet_size >= CLIENT_BYTES)

    def device_data(self, data: bytes) -> None:
        """Bytes of the device. What the agent gets wrong ends its stream (`trouble`), not the clients'."""
        if self.trouble:
            return
        self._partial += data
        try:
            while self._take_from_device():
                pass
        except ProtocolError as error:
            self.trouble = str(error)
            self._partial = b""

    def _take_from_device(self) -> bool:
        """Chunks may be as long as their messages: spice-vdagentd sends each message in one."""
        if not self._chunk_left:
            if len(self._partial) < CHUNK_HEADER_SIZE:
                return False
            header = ChunkHeader.decode(self._partial[:CHUNK_HEADER_SIZE])
            self._partial = self._partial[CHUNK_HEADER_SIZE:]
            self._chunk_left, self._chunk_port = header.size, header.port
            return True
        if self._chunk_open:
            if len(self._partial) < AGENT_HEADER_SIZE:
                return False
            size = AGENT_HEADER_SIZE + MessageHead.of(self._partial).size
            self._chunk_left, self._chunk_open = min(size, AGENT_CHUNK_BYTES), False
        if self._chunk_port != AgentPort.CLIENT:
            taken = min(self._chunk_left, len(self._partial))
            self._advance_chunk(taken)
            return bool(taken)
        if self._head is None:
            if self._chunk_left < AGENT_HEADER_SIZE:
                raise ProtocolError("the agent's first chunk of a message is shorter than a header")
            if len(self._partial) < AGENT_HEADER_SIZE + 1 and len(self._partial) < self._chunk_left:
                return False
            self._begin_message()
        size = min(self._left, self._chunk_left, AGENT_CHUNK_BYTES)
        if len(self._partial) < size:
            return False
        if size == 0:
            raise ProtocolError("the agent's chunk goes on behind the end of its message")
        piece = self._advance_chunk(size)
        self._left -= size
        self._give(piece)
        if not self._left:
            self._end_message()
        return True

    def _advance_chunk(self, size: int) -> bytes:
        taken, self._partial = self._partial[:size], self._partial[size:]
        self._chunk_left -= size
        return taken

    def _begin_message(self) -> None:
        head = MessageHead.of(self._partial)
        self._head, self._left = head, AGENT_HEADER_SIZE + head.size
        self._targets = self._routes.targets(head, tuple(self._clients)) if self.rules.lets_out(head.type) else ()
        if head.type == AgentMessageType.ANNOUNCE_CAPABILITIES and head.size <= MAX_COLLECTED:
            self._collected = b""

    def _give(self, piece: bytes) -> None:
        if self._collected is not None:
            self._collected += piece
            return
        for client in self._targets:
            known = self._clients.get(client)
            if known is not None:
                known.outlet.append(piece)
                known.outlet_size += len(piece)

    def _end_message(self) -> None:
        if self._collected is not None:
            message = rewritten_capabilities(self._collected, self.rules.removed, self.rules.added)
            self._collected = None
            self._give(message)
        self._head, self._targets = None, ()

    # -- towards the clients ----------------------------------------------------------------------------------------

    def next_message(self, client: int) -> Message | None:
        """What the main channel of a client says next for the agent: tokens, then slices as far as it takes them."""
        known = self._clients.get(client)
        if known is None:
            return None
        inlet = known.inlet
        if inlet.owed >= TOKENS_AT_ONCE:
            tokens, inlet.owed = inlet.owed, 0
            inlet.tokens += tokens
            return main.AgentToken(tokens)
        if not known.outlet or not known.tokens:
            return None
        if known.tokens != UNLIMITED_TOKENS:
            known.tokens -= 1
        piece = known.outlet.popleft()
        known.outlet_size -= len(piece)
        return main.AgentData(piece)

    def has_message(self, client: int) -> bool:
        """Whether `next_message` has something."""
        known = self._clients.get(client)
        if known is None:
            return False
        return known.inlet.owed >= TOKENS_AT_ONCE or bool(known.outlet and known.tokens)

    # -- state ------------------------------------------------------------------------------------------------------

    def client_state(self, client: int) -> AgentClientState:
        """What is under way with one client."""
        known = self._clients.get(client)
        if known is None:
            return AgentClientState(False, 0, CLIENT_TOKENS, 0, (), None, 0, False, None, ())
        inlet = known.inlet
        return AgentClientState(
            True,
            known.tokens,
            inlet.tokens,
            inlet.owed,
            tuple(inlet.slices),
            inlet.head,
            inlet.left,
            inlet.dropped,
            inlet.collected,
            tuple(known.outlet),
        )

    def device_state(self) -> AgentDeviceState:
        """What is under way at the device."""
        return AgentDeviceState(
            self.connected,
            self._partial,
            self._chunk_left,
            self._chunk_port,
            self._head,
            self._left,
            self._writer_in_message,
            self._chunk_open,
            self._head is not None and self._collected is None and not self._targets,
            self._collected,
        )

    def restore(self, client: int, state: AgentClientState, device: AgentDeviceState) -> None:
        """Go on with the one client of another server."""
        self._forget()
        self.connected = device.connected
        self._partial, self._chunk_left, self._chunk_port = device.partial, device.chunk_left, device.chunk_port
        self._chunk_open = device.chunk_open
        self._head, self._left, self._collected = device.head, device.left, device.collected
        if not state.started:
            self._left_behind.extend(piece.data for piece in state.slices if piece.raw)
            return
        inlet = Inlet(tokens=state.inlet_tokens, owed=state.owed, head=state.head, left=state.left)
        inlet.dropped, inlet.collected = state.dropped, state.collected
        for piece in state.slices:
            inlet.put(piece)
        size = sum(len(piece) for piece in state.outlet)
        self._clients[client] = AgentClient(state.tokens, inlet, deque(state.outlet), size)
        self._targets = (client,) if self._head is not None and not device.dropped else ()
        if device.writer_in_message:
            self._writer, self._writer_in_message = client, True
