"""Servers in memory for a `ClientSession`: a test says what they say, and reads what they hear.

    stage = Stage()
    source, target = stage.server("source"), stage.server("target")
    stage.open(source)
    source.say("main:0", main.MigrateCancel())
    assert source.heard("main:0") == []

Servers carry out the link stage by themselves unless told to refuse, drop or ignore a channel. `stage.chart()` is what
has happened since it was last asked for, one line for each message in either direction:

    source > main:0    MIGRATE
    main:0 > source    MIGRATE_FLUSH_MARK
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from server_end import ServerEnd

from spicehop.migration import commands as c
from spicehop.migration.client import ClientState
from spicehop.migration.commands import Address, ChannelKey, name_of
from spicehop.migration.session import ClientSession
from spicehop.wire import main, vmc
from spicehop.wire.constants import ChannelType, LinkResult, MainCap, MouseMode
from spicehop.wire.layout import Message
from spicehop.wire.link import HEADER_SIZE, U32_WORD, LinkMessage, LinkReply, decode_header

TICKET_BYTES = 128
SESSION_ID = 4711
CHANNELS = ("display:0", "inputs:0", "cursor:0", "port:1")
MAIN_BITS = (MainCap.SEAMLESS_MIGRATE, MainCap.SEMI_SEAMLESS_MIGRATE, MainCap.AGENT_CONNECTED_TOKENS)
KINDS = {kind.name.lower(): int(kind) for kind in ChannelType}
WAITING = (
    ClientState.LINKING_TARGET,
    ClientState.SWITCHING,
    ClientState.AWAITING_TARGET_INIT,
    ClientState.SWITCHING_HOST,
)


def key_of(name: str) -> ChannelKey:
    """The key of a channel by its name, for example `port:1`."""
    kind, _, number = name.partition(":")
    return KINDS[kind], int(number)


class Connection:
    """One connection as a server has it, from the link stage on."""

    def __init__(self, stage: Stage, server: Server, number: int) -> None:
        self.number = number
        self.server = server
        self.message: LinkMessage | None = None
        self.end: ServerEnd | None = None
        self.closed = False
        self.reading = True
        self.heard: list[Message] = []
        self.unread = bytearray()
        """What the client has not read, because it paused."""
        self._stage = stage
        self._buffer = b""

    @property
    def name(self) -> str:
        """The channel's name."""
        assert self.message is not None
        return name_of((self.message.channel_type, self.message.channel_id))

    def send(self, data: bytes) -> None:
        """Hand bytes to the client, unless it has paused."""
        if self.closed:
            return
        if self.reading:
            self._stage.session.data_received(self.number, data, self._stage.now)
        else:
            self.unread += data

    def resume(self) -> None:
        """The client reads again."""
        self.reading = True
        data = bytes(self.unread)
        self.unread.clear()
        if data:
            self.send(data)

    def receive(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.end is not None:
            for message in self.end.read(data):
                self.heard.append(message)
                if isinstance(message, vmc.VmcData):
                    self._stage.port_sent += message.data
                self._stage.lines.append(f"{self.name} > {self.server.name}    {message.NAME}")
            return
        self._buffer += data
        if self.message is None:
            self._read_message()
        if self.message is not None and len(self._buffer) >= U32_WORD.size + TICKET_BYTES:
            self._buffer = b""
            self._answer_ticket()

    def _read_message(self) -> None:
        size = decode_header(self._buffer[:HEADER_SIZE]).size
        assert len(self._buffer) == HEADER_SIZE + size
        self.message, self._buffer = LinkMessage.decode(self._buffer[HEADER_SIZE:]), b""
        if self.name in self.server.silent:
            return
        if self.name in self.server.drops:
            self.close("reset by the peer")
        elif self.name in self.server.garbles:
            self.send(b"garbage in place of a reply")
        else:
            self.send(LinkReply(LinkResult.OK, b"key", self.server.end(self.name).linked().capabilities).encode())

    def _answer_ticket(self) -> None:
        result = self.server.refuses.get(self.name, LinkResult.OK)
        if result == LinkResult.OK:
            self.end = self.server.end(self.name)
            self.server.connections[self.name] = self
        self.send(U32_WORD.pack(result))
        if result != LinkResult.OK:
            self.close("the peer closed it")

    def close(self, reason: str = "the peer closed it") -> None:
        """End the connection from the server's side."""
        if not self.closed:
            self.closed = True
            self._stage.session.connection_lost(self.number, reason, self._stage.now)


class Server:
    """One server, as good or bad as its sets say; channel names as in `main:0`."""

    def __init__(
        self, stage: Stage, name: str, address: Address, *, mini_header: bool, main_bits: Iterable[int]
    ) -> None:
        self.name = name
        self.address = address
        self.mini_header = mini_header
        self.main_bits = tuple(main_bits)
        self.connections: dict[str, Connection] = {}
        """The last connection of each channel."""
        self.reachable = True
        self.silent: set[str] = set()
        self.drops: set[str] = set()
        self.garbles: set[str] = set()
        self.refuses: dict[str, int] = {}
        self._stage = stage

    def end(self, name: str) -> ServerEnd:
        """A new connection's end of a channel."""
        bits = self.main_bits if name == "main:0" else ()
        return ServerEnd(key_of(name)[0], *bits, mini_header=self.mini_header)

    def say(self, name: str, *messages: Message) -> None:
        """Say messages on a channel, in one piece."""
        connection = self.connections[name]
        assert connection.end is not None
        for message in messages:
            self._stage.lines.append(f"{self.name} > {name}    {message.NAME}")
        connection.send(connection.end.say(*messages))
        self._stage.run()

    def say_raw(self, name: str, data: bytes) -> None:
        """Send bytes on a channel."""
        self.connections[name].send(data)
        self._stage.run()

    def heard(self, name: str) -> list[Message]:
        """What the client has said on a channel since this was last asked."""
        connection = self.connections.get(name)
        if connection is None:
            return []
        heard, connection.heard = connection.heard, []
        return heard

    def heard_names(self, name: str) -> list[str]:
        """The names of what `heard` gives."""
        return [message.NAME for message in self.heard(name)]

    def close(self, name: str) -> None:
        """Close a channel's connection."""
        self.connections[name].close()
        self._stage.run()

    def die(self) -> None:
        """Close every connection and take no more."""
        self.reachable = False
        for connection in self._stage.connections_of(self):
            connection.close("reset by the peer")
        self._stage.run()

    @property
    def open_channels(self) -> set[str]:
        """Names of the channels that are open here."""
        return {name for name, connection in self.connections.items() if not connection.closed}


class Stage:
    """A client session, its servers and a clock."""

    def __init__(self, **options: object) -> None:
        self.now = 100.0
        self.session = ClientSession(Address("source", 1), **options)  # type: ignore[arg-type]
        self.servers: dict[tuple[str, int], Server] = {}
        self.events: list[c.SessionEvent] = []
        self.lines: list[str] = []
        self.port_sent = bytearray()
        """Port bytes in the order in which they reached a server, whichever."""
        self._connections: dict[int, Connection] = {}
        self._running = False
        self._ready: deque[tuple[int, Address]] = deque()

    def server(
        self, name: str, port: int = 1, *, mini_header: bool = True, main_bits: Iterable[int] = MAIN_BITS
    ) -> Server:
        """A server that listens at `name` and `port`."""
        server = Server(self, name, Address(name, port), mini_header=mini_header, main_bits=main_bits)
        self.servers[name, port] = server
        return server

    def connections_of(self, server: Server) -> list[Connection]:
        """The open connections of a server, in any stage."""
        return [one for one in self._connections.values() if one.server is server and not one.closed]

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Carry out what the session wants until there is nothing more."""
        if self._running:
            return
        self._running = True
        try:
            for _ in range(100_000):
                command = self.session.next_command(self.now)
                if command is None and not self._ready:
                    return
                if command is None:
                    self._open(*self._ready.popleft())
                else:
                    self._carry_out(command)
                self._check()
            raise AssertionError("the session never comes to rest")
        finally:
            self._running = False

    def _check(self) -> None:
        if self.session.state in WAITING:
            assert self.session.next_deadline() is not None, f"no deadline in {self.session.state}"

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.Connect(number, address):
                self._ready.append((number, address))
            case c.Send(number, data):
                connection = self._connections.get(number)
                if connection is not None and not connection.closed:
                    connection.receive(data)
            case c.EncryptTicket(number, _):
                self.session.ticket_encrypted(number, bytes(TICKET_BYTES))
            case c.PauseReading(number):
                if number in self._connections:
                    self._connections[number].reading = False
            case c.ResumeReading(number):
                if number in self._connections:
                    self._connections[number].resume()
            case c.Finish(number) | c.Abort(number):
                self._finish(number)
            case c.Emit(event):
                self.events.append(event)

    def _open(self, number: int, address: Address) -> None:
        server = self.servers.get((address.host, address.port))
        if server is None or not server.reachable:
            self.session.connection_lost(number, "connection refused", self.now)
            return
        self._connections[number] = Connection(self, server, number)
        self.session.connection_made(number, self.now)

    def _finish(self, number: int) -> None:
        self._ready = deque(one for one in self._ready if one[0] != number)
        connection = self._connections.get(number)
        if connection is not None:
            if connection.message is not None:
                self.lines.append(f"{connection.name} leaves {connection.server.name}")
            connection.closed = True
        self.session.connection_lost(number, "closed", self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the session up whenever it wants."""
        end = self.now + seconds
        for _ in range(10_000):
            due = self.session.next_deadline()
            if due is None or due > end:
                self.now = end
                self.session.handle_timer(self.now)
                self.run()
                return
            self.now = max(self.now, due)
            self.session.handle_timer(self.now)
            self.run()
        raise AssertionError(f"the session wants to be woken again and again at {self.now}")

    # -- shortcuts --------------------------------------------------------------------------------------------------

    def open(self, server: Server, channels: Iterable[str] = CHANNELS) -> None:
        """Open the session at a server that has these channels besides main."""
        self.session.start(self.now)
        self.run()
        self.greet(server, channels)
        self.chart()

    def greet(self, server: Server, channels: Iterable[str] = CHANNELS, *, tokens: int = 10) -> None:
        """Have a server say INIT and, when asked, name its channels."""
        server.say("main:0", main.Init(SESSION_ID, 1, MouseMode.SERVER, MouseMode.SERVER, 0, tokens, 0, 0))
        assert "ATTACH_CHANNELS" in server.heard_names("main:0")
        self.list_channels(server, channels)
        for name in channels:
            if name.startswith("port"):
                server.say(name, vmc.PortInit(b"org.example." + name.encode(), 1))
            server.heard(name)

    def list_channels(self, server: Server, channels: Iterable[str]) -> None:
        """Have a server name channels."""
        server.say("main:0", main.ChannelsList(tuple(main.ChannelId(*key_of(name)) for name in channels)))

    def chart(self) -> list[str]:
        """What has been said and heard since this was last asked."""
        lines, self.lines = self.lines, []
        return lines

    def told(self, kind: type[c.SessionEvent]) -> list[c.SessionEvent]:
        """The events of a class so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def outcomes(self) -> list[c.MigrationOutcome]:
        """The migrations so far."""
        return [event.outcome for event in self.events if isinstance(event, c.MigrationFinished)]

    @property
    def aborted(self) -> list[str]:
        """Why each migration that did not take place did not."""
        return [event.reason for event in self.events if isinstance(event, c.MigrationAborted)]

    @property
    def lost(self) -> list[tuple[str, bool]]:
        """Each lost channel, and whether it is being linked again."""
        return [(name_of(event.key), event.restoring) for event in self.events if isinstance(event, c.ChannelLost)]

    @property
    def ended(self) -> c.SessionEnded | None:
        """How the session ended."""
        return next((event for event in self.events if isinstance(event, c.SessionEnded)), None)
