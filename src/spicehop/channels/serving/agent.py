"""The guest agent's stream between one device and several clients (dossier D.1 to D.3).

Messages of several clients reach the agent only whole. While one client alone has opened the stream, its slices go
through as they come. With several, a message is stored until it is complete, up to `STORE_BYTES`; a longer one begins
when that much is there, and a client that then says nothing for `PATIENCE` while others wait loses the rest of it: the
agent gets zeros for it.

What the agent says goes to the client that it answers, where that can be told, else to all (`agent_routing`). A client
has tokens for what it sends, and gets them back as its slices leave here (dossier D.2).

When the guest moves, its clients follow one by one, in any order, and bring what was under way: each its own, and all
the same of the device. The first to come says where reading and writing go on (`resume`). What is then read for those
who are still to come is kept for them, and a message that one of them has half written waits for the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from spicehop.channels.serving.agent_parts import (
    AgentClient,
    AgentClientState,
    AgentDeviceState,
    Inlet,
    MonitorsWanted,
    Slice,
    check_messages,
    goes_whole,
)
from spicehop.channels.serving.agent_reading import MAX_COLLECTED, DeviceReader, Piece
from spicehop.channels.serving.agent_routing import (
    AgentFilter,
    MessageHead,
    Routes,
    rewritten_capabilities,
    without_physical_sizes,
)
from spicehop.errors import ProtocolError, StateError
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import CLIENT_TOKENS, UNLIMITED_TOKENS, AgentMessageType, AgentPort
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, encode_agent_message, encode_chunk
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
ARRIVAL_SECONDS = 15.0
"""Once the guest runs here, clients that it had elsewhere have this long to come: a source ends after 10."""
ANYONE = 0
"""The one client of a server that does not name it."""


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
        self._asked_before: tuple[tuple[int, int], ...] = ()
        self._writer: int | None = None
        self._writer_in_message = False
        self._writer_idle_since: float | None = None
        self._left_behind: deque[bytes] = deque()
        self._padding = 0
        self._own: deque[bytes] = deque()
        self._reader = DeviceReader(self.rules)
        self._events: deque[MonitorsWanted] = deque()
        self._departed: list[int] = []
        self._expected: set[int] = set()
        """Clients that will come from another server, by the numbers that they have here."""
        self._resumed = False
        self._awaited: dict[int, AgentClient] = {}
        """Clients of the stream that was resumed which are not here yet, by their names below zero."""
        self._given_up: set[int] = set()
        self._writer_left = 0
        self._waiting_since: float | None = None

    # -- the agent comes and goes -----------------------------------------------------------------------------------

    def opened(self) -> None:
        """An agent is there: every client begins anew with it."""
        self._forget()
        self.connected, self.trouble = True, ""

    def closed(self) -> None:
        """The agent is gone: nothing of the stream is left, nor of one that clients have yet to bring."""
        if self.connected:
            self._expected.clear()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Another guest is here, or will be: its agent is not the one that was here. Expected clients still are."""
        self._forget()
        self.connected = False

    def _forget(self) -> None:
        self._clients.clear()
        self._routes = Routes()
        self._writer, self._writer_in_message, self._writer_idle_since, self._padding = None, False, None, 0
        self._left_behind.clear()
        self._own.clear()
        self._reader = DeviceReader(self.rules)
        self._departed.clear()
        self._resumed, self._awaited, self._writer_left = False, {}, 0
        self._given_up.clear()

    # -- clients ----------------------------------------------------------------------------------------------------

    def client_started(self, client: int, tokens: int) -> bool:
        """A client opens the stream and takes `tokens` slices; True when it is the first one."""
        if not self.connected or client in self._clients:
            return False
        first = not self._clients and not self._awaited
        self._clients[client] = AgentClient(tokens)
        self._credit_waiting()
        return first

    def _credit_waiting(self) -> None:
        """With several clients a message waits until it is whole: give back the tokens of what came before there were
        several, else its client could never send the rest.
        """
        if len(self._clients) + len(self._awaited) < 2:
            return
        for known in self._clients.values():
            inlet = known.inlet
            if inlet.size <= STORE_BYTES:
                inlet.owed += sum(not piece.credited for piece in inlet.slices)
                inlet.slices = deque(replace(piece, credited=True) for piece in inlet.slices)

    def client_left(self, client: int) -> bool:
        """A client is gone; True when it was the last one."""
        gone = self._clients.pop(client, None)
        if gone is None:
            return False
        self._routes.forget(client)
        if self._writer == client and self._writer_in_message:
            self._fill_up(*gone.inlet.unwritten())
        elif self._writer == client:
            self._writer = None
        return self._nobody_left()

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
            self._note(MonitorsWanted(client, wanted))

    def _note(self, event: MonitorsWanted) -> None:
        """Of what a client wants only the last counts."""
        self._events = deque(one for one in self._events if one.client != event.client)
        self._events.append(event)

    def next_event(self) -> MonitorsWanted | None:
        """What the server must know of the clients' messages, in order."""
        return self._events.popleft() if self._events else None

    # -- towards the agent ------------------------------------------------------------------------------------------

    def next_chunk(self, now: float) -> bytes:
        """What to offer to the device, with its chunk header; call `chunk_taken` when it has taken it."""
        if self.waits:
            return b""
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
            known = self._clients.get(self._writer)
            if known is None:
                return None  # it is on its way here, or elsewhere
            inlet = known.inlet
            if inlet.slices:
                self._writer_idle_since = None
                return inlet
            if self._writer_idle_since is None:
                self._writer_idle_since = now
            return None
        for client, known in tuple(self._clients.items()):
            if not self._departed and self._may_begin(known.inlet):
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
        """When the others have waited long enough for a message that has begun, or for a client that is to come."""
        if self._waiting_since is not None:
            return self._waiting_since + ARRIVAL_SECONDS
        if self._writer_idle_since is None or not self._others_wait:
            return None
        return self._writer_idle_since + PATIENCE

    @property
    def _others_wait(self) -> bool:
        return any(known.inlet.complete for client, known in self._clients.items() if client != self._writer)

    def handle_timer(self, now: float) -> int | None:
        """Call when `next_deadline` has passed; what it says of clients that are to come is for `late`. Returns the
        client whose message has been cut short, for it should hear so.
        """
        since, client = self._writer_idle_since, self._writer
        if since is None or not self._others_wait or now < since + PATIENCE or client is None:
            return None
        inlet = self._clients[client].inlet
        inlet.dropped = True
        self._fill_up((), inlet.left)
        return client

    # -- from the agent ---------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """Bytes to read from the device now: none without a client, or while one of them has too much waiting."""
        listeners = [*self._clients.values(), *self._awaited.values()]
        if not listeners or self.trouble or self.waits:
            return 0
        fullest = max([known.outlet_size for known in listeners])
        return max(0, min(CLIENT_BYTES - fullest, 16 * AGENT_CHUNK_BYTES))

    def full_clients(self) -> tuple[int, ...]:
        """Clients for which nothing more may wait."""
        return tuple(client for client, known in self._clients.items() if known.outlet_size >= CLIENT_BYTES)

    def device_data(self, data: bytes) -> None:
        """Bytes of the device. What the agent gets wrong ends its stream (`trouble`), not the clients'."""
        if self.trouble:
            return
        self._give(self._reader.feed(data, self._targets_of))

    def flush_partial(self) -> None:
        """What has been read of a message and makes no whole slice goes on all the same: clients are about to leave,
        and libspice's migration data has no place for it.
        """
        self._give(self._reader.flush(self._targets_of, lone=len(self._clients) == 1))

    def _give(self, pieces: Iterator[Piece]) -> None:
        try:
            for piece in pieces:
                for client in piece.targets:
                    known = self._clients.get(client) or self._awaited.get(client)
                    if known is not None:
                        known.give(piece.data, begins=piece.begins)
        except ProtocolError as error:
            self.trouble = str(error)

    def _targets_of(self, head: MessageHead) -> tuple[int, ...]:
        return self._routes.targets(head, (*self._clients, *self._awaited))

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

    # -- to another server ------------------------------------------------------------------------------------------

    def client_state(self, client: int) -> AgentClientState:
        """What is under way with one client."""
        known = self._clients.get(client)
        if known is None:
            return AgentClientState(False, 0, CLIENT_TOKENS, 0, (), None, 0, False, None, ())
        inlet = known.inlet
        monitors = [event.message for event in self._events if event.client == client]
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
            monitors[-1] if monitors else None,
        )

    def device_state(self, names: Mapping[int, int] | None = None) -> AgentDeviceState:
        """What is under way at the device, with the clients' connection ids by their numbers; without `names` the
        numbers are names. What a client without a name has begun is filled up at the target.
        """

        def name(client: int) -> int | None:
            return -client if client < 0 else client if names is None else names.get(client)

        def named(clients: Iterable[int]) -> tuple[int, ...]:
            return tuple([one for one in map(name, clients) if one])

        def table(entries: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
            return tuple([(key, one) for key, client in entries if (one := name(client))])

        writer, left, padding = 0, 0, self._padding
        if self._writer is not None and self._writer_in_message:
            known = self._clients.get(self._writer)
            writer = name(self._writer) or 0
            left = self._writer_left if known is None else known.inlet.unwritten()[1]
            if not writer and self._writer != ANYONE:
                padding, left = padding + left, 0
        anyone = ANYONE in self._awaited
        return replace(
            self._reader.state(),
            connected=self.connected,
            writer_in_message=self._writer_in_message and bool(writer or self._writer == ANYONE),
            writer=writer,
            writer_left=left,
            padding=padding,
            left_behind=tuple(self._left_behind),
            own=tuple(self._own),
            targets=None if anyone else named(self._reader.targets),
            clients=named((*self._clients, *self._departed, *self._awaited)),
            asked=table(self._routes.waiting()),
            offered=table(self._routes.offered.items()),
            transfers=table(self._routes.transfers.items()),
        )

    def departed(self, client: int) -> None:
        """A client has gone to another server with its state: the agent hears nothing of that, and gets nothing more
        from here before all is begun anew.
        """
        gone = self._clients.pop(client, None)
        if gone is None:
            return
        self._events = deque(event for event in self._events if event.client != client)
        self._departed.append(client)
        if self._writer == client and self._writer_in_message:
            self._writer_left = gone.inlet.unwritten()[1]

    # -- from another server ----------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether nothing is read or written, because the first of the clients that come must say where that stands."""
        return bool(self._expected) and not self._resumed

    @property
    def resumed(self) -> bool:
        """Whether this is the stream of another server, that goes on here."""
        return self._resumed

    def expect(self, client: int) -> None:
        """A client will come from another server."""
        self._expected.add(client)

    def gave_up(self, client: int, name: int = 0) -> bool:
        """A client will not come with state, though it may come; with its connection id it is as if it had left at the
        server before. True when nobody is left of those that the agent knew.
        """
        was_expected = client in self._expected
        self._expected.discard(client)
        if name:
            self._given_up.add(name)
        if -name in self._awaited and (name or was_expected):
            return self._lost(-name)
        # Clients were to come, and nobody came who could say how far the stream was.
        nobody_came = was_expected and not self._expected and not self._resumed
        return nobody_came and self.connected and self._nobody_left()

    def resume(self, device: AgentDeviceState) -> None:
        """Go on with the stream of another server, whose clients arrive one after the other. Call it before the first
        does, and before anything is read or written here.
        """
        self._resumed, self.connected, self.trouble = True, device.connected, ""
        lone = device.targets is None and not device.clients
        self._awaited = {ANYONE: AgentClient(0)} if lone else {-name: AgentClient(0) for name in device.clients}
        self._reader.restore(device, (ANYONE,) if device.targets is None else tuple(-name for name in device.targets))
        self._writer = -device.writer if device.writer_in_message else None
        self._writer_in_message, self._writer_left = device.writer_in_message, device.writer_left
        self._left_behind, self._padding = deque(device.left_behind), device.padding
        self._own = deque(device.own)
        self._asked_before = device.asked
        asked: dict[int, list[int]] = {}
        for key, name in device.asked:
            asked.setdefault(key, []).append(-name)
        for key, waiting in self._routes.asked.items():
            asked.setdefault(key, []).extend(waiting)
        self._routes.asked = asked
        for table, entries in ((self._routes.offered, device.offered), (self._routes.transfers, device.transfers)):
            here = dict(table)
            table.clear()
            table.update({key: -name for key, name in entries} | here)
        if self._writer is not None and self._writer not in self._awaited:
            self._fill_up((), self._writer_left)
        for name in tuple(self._given_up):
            if -name in self._awaited:
                self._lost(-name)

    def asked_later(self, name: int, device: AgentDeviceState) -> None:
        """A client brings what is under way at the device, too, and its part was made later than that of the first:
        what it had asked for in between is not known yet. Call it before `client_arrived`.
        """
        before = [one for one in self._asked_before if one[1] == name]
        for one in device.asked:
            if one in before:
                before.remove(one)
            elif one[1] == name:
                self._routes.asked.setdefault(one[0], []).append(-name)

    def can_arrive(self, client: int, name: int) -> bool:
        """Whether a client is expected, and was not given up meanwhile under its connection id."""
        return client in self._expected and name not in self._given_up

    def client_arrived(self, client: int, name: int, state: AgentClientState) -> None:
        """A client that was expected is here with what was under way there; `name` is its connection id.
        `ProtocolError` when its state contradicts the stream's.
        """
        if client not in self._expected:
            raise StateError(f"nobody expects the client {client}")
        key = -name if -name in self._awaited else ANYONE
        writes = self._writer_in_message and self._writer == key
        if state.started:
            check_messages(state, within=writes, within_left=self._writer_left if writes else 0)
        self._expected.discard(client)
        waiting = self._awaited.pop(key, None)
        if not state.started:
            self._left_behind.extend(piece.data for piece in state.slices if piece.raw)
            if writes:
                self._fill_up((), self._writer_left)
            return
        inlet = Inlet(tokens=state.inlet_tokens, owed=state.owed, head=state.head, left=state.left)
        inlet.dropped, inlet.collected = state.dropped, state.collected
        for piece in state.slices:
            inlet.put(piece)
        outlet = deque((*state.outlet, *(waiting.outlet if waiting is not None else ())))
        self._clients[client] = AgentClient(state.tokens, inlet, outlet, sum(map(len, outlet)))
        self._credit_waiting()
        self._routes.rename(key, client)
        self._reader.targets = tuple([client if one == key else one for one in self._reader.targets])
        if writes:
            self._writer = client
        if state.monitors is not None:
            self._note(MonitorsWanted(client, state.monitors))

    def restore(self, client: int, state: AgentClientState, device: AgentDeviceState) -> None:
        """Go on with the one client of another server."""
        self._forget()
        self.expect(client)
        self.resume(device)
        self.client_arrived(client, client, state)

    def late(self, now: float, *, running: bool) -> bool:
        """Whether clients that should be here have had all their time; `running` when the guest is here. Call
        `give_up` then.
        """
        if not self._expected and not self._awaited:
            self._waiting_since = None
            return False
        if self._waiting_since is None and running:
            self._waiting_since = now
        return self._waiting_since is not None and now >= self._waiting_since + ARRIVAL_SECONDS

    def give_up(self) -> bool:
        """Nobody else comes; True when with that nobody is left."""
        self._waiting_since = None
        last = [self._lost(key) for key in tuple(self._awaited)]
        last += [self.gave_up(client) for client in tuple(self._expected)]
        return any(last)

    def _lost(self, key: int) -> bool:
        del self._awaited[key]
        self._given_up.add(-key)
        self._routes.forget(key)
        self._reader.targets = tuple([one for one in self._reader.targets if one != key])
        if self._writer == key and self._writer_in_message:
            self._fill_up((), self._writer_left)
        return self._nobody_left()

    def _fill_up(self, rest: Iterable[bytes], left: int) -> None:
        """Whose message is being written is gone."""
        self._left_behind.extend(rest)
        self._padding += left
        self._writer, self._writer_in_message, self._writer_idle_since = None, False, None

    def _nobody_left(self) -> bool:
        """Tell the agent when there is no client any more."""
        if self._clients or self._awaited or self._departed or self.waits:
            return False
        farewell = encode_agent_message(agent.ClientDisconnected())
        if farewell not in self._own:
            self._own.append(farewell)
        return True
