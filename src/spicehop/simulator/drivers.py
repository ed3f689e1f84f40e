"""The product's machines on the virtual clock: thin adapters, as `client` and `conductor` are for real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from spicehop.migration import commands as c
from spicehop.migration.commands import ChannelKey
from spicehop.migration.conducting import Conducting
from spicehop.migration.conducting_events import (
    Begun,
    CancelRequested,
    Command,
    Event,
    EventReceived,
    Execute,
    Finished,
    Peer,
    PeerLost,
    Plan,
    PortProbed,
    ProbePort,
    RefusalReceived,
    ReplyReceived,
    StepReported,
)
from spicehop.migration.conducting_result import Result
from spicehop.migration.conducting_table import State
from spicehop.migration.session import ClientSession
from spicehop.simulator.clock import Appointment, VirtualClock
from spicehop.simulator.link import TICKET_SIZE, model_ticket
from spicehop.simulator.network import Connection, End, Network
from spicehop.simulator.qemu import ModelQemu, ModelRefusal
from spicehop.trace import Trace
from spicehop.wire import inputs, registry, vmc
from spicehop.wire.constants import ChannelType, Direction, MigrateFlag, channel_name
from spicehop.wire.framing import Frame, FrameReader
from spicehop.wire.layout import Message
from spicehop.wire.link import HEADER_SIZE, U32_WORD, LinkMessage, decode_header

QMP_LATENCY = 0.0005
"""Seconds from a QMP command to its execution, and from there to its answer, unless it is said otherwise."""
UNFLUSHED = frozenset({ChannelType.CURSOR, ChannelType.PLAYBACK, ChannelType.RECORD})
"""Channels that libspice-server tells to go without waiting for an answer (dossier C1.4)."""
MIGRATE, MIGRATE_DATA = 1, 2
"""The numbers of these messages on any channel (dossier B.0)."""


@dataclass(frozen=True, slots=True)
class Handed:
    """Port bytes, or a key press, that a connection was given."""

    connection: Connection
    start: int = 0
    """Which byte of all that were sent is the first."""
    size: int = 0
    key: int = 0
    time: float = 0.0


class SentStream:
    """What one connection of the client carried, read back from the bytes that were sent."""

    def __init__(self) -> None:
        self._kind = 0
        self._before = b""
        self._reader: FrameReader | None = None

    def messages(self, data: bytes) -> list[Message]:
        """Port data and key presses that `data` completes."""
        if self._reader is None:
            self._before += data
            if len(self._before) < HEADER_SIZE:
                return []
            asked = HEADER_SIZE + decode_header(self._before[:HEADER_SIZE]).size
            linked = asked + U32_WORD.size + TICKET_SIZE
            if len(self._before) < linked:
                return []
            self._kind = LinkMessage.decode(self._before[HEADER_SIZE:asked]).channel_type
            self._reader, data = FrameReader(mini_header=True), self._before[linked:]
        if self._kind not in (ChannelType.PORT, ChannelType.INPUTS) or not data:
            return []
        frames = self._reader.feed(data)
        said = (registry.decode(self._kind, Direction.FROM_CLIENT, frame.number, frame.body) for frame in frames)
        return [message for message in said if isinstance(message, vmc.VmcData | inputs.KeyDown)]


class HeardOrder:
    """Whether servers say things in the order that stock clients need when a session leaves them (dossier C1.4):
    nothing follows MIGRATE on a channel but MIGRATE_DATA, and main goes when all others have been told to go.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._readers: dict[int, FrameReader] = {}
        self._before: dict[int, bytes] = {}
        self._told: dict[int, int] = {}
        """By connection, the flags of its MIGRATE."""
        self._going: set[ChannelKey] = set()

    def heard(self, connection: int, data: bytes, connected: Callable[[], Mapping[ChannelKey, int]]) -> None:
        """Bytes have come; `connected` tells the connections that the session's channels have now."""
        reader = self._readers.get(connection)
        if reader is None:
            before = self._before[connection] = self._before.get(connection, b"") + data
            if len(before) < HEADER_SIZE:
                return
            linked = HEADER_SIZE + decode_header(before[:HEADER_SIZE]).size + U32_WORD.size
            if len(before) < linked:
                return
            reader = self._readers[connection] = FrameReader(mini_header=True)
            data = before[linked:]
        frames = reader.feed(data)
        if not frames:
            return
        channels = connected()
        for key, number in channels.items():
            if number == connection:
                for frame in frames:
                    self._message(connection, key, frame, channels)

    def begin_anew(self) -> None:
        """The migration is over, or MIGRATE_CANCEL has come: what was told counts no more."""
        self._told.clear()
        self._going.clear()

    def _message(self, connection: int, key: ChannelKey, frame: Frame, channels: Mapping[ChannelKey, int]) -> None:
        if connection in self._told:
            wanted = self._told.pop(connection) & MigrateFlag.NEED_DATA_TRANSFER
            if frame.number != MIGRATE_DATA or not wanted:
                self.faults.append(f"message {frame.number} follows MIGRATE on {channel_name(*key)}")
        elif frame.number == MIGRATE:
            self._told[connection] = int.from_bytes(frame.body[:4], "little")
            self._going.add(key)
            if key[0] == ChannelType.MAIN:
                early = [channel_name(*one) for one in channels if one not in self._going and one[0] not in UNFLUSHED]
                if early:
                    self.faults.append(f"main is told to go before {', '.join(early)}")


class ClientDriver:
    """Carries out what a `ClientSession` says, on the model network."""

    def __init__(
        self,
        session: ClientSession,
        network: Network,
        trace: Trace,
        password: str,
        checked: Callable[[float | None], None],
    ) -> None:
        self.session = session
        self.port_sent = bytearray()
        """Port payload in the order in which it was handed to connections, whatever became of those."""
        self.port_received = bytearray()
        self.handed: list[Handed] = []
        """The same and key presses, piece by piece."""
        self.outcomes: list[c.MigrationOutcome] = []
        self.ended: c.SessionEnded | None = None
        self._network = network
        self._clock: VirtualClock = network.clock
        self._trace = trace
        self._password = password
        self._checked = checked
        self.order = HeardOrder()
        self._ends: dict[int, End] = {}
        self._numbers: dict[End, int] = {}
        self._streams: dict[int, SentStream] = {}
        self._wanted: set[int] = set()
        self._timer: Appointment | None = None

    def start(self) -> None:
        """Connect."""
        self.session.start(self._clock.now)
        self.pump()

    def pump(self) -> None:
        """Carry out all commands there are."""
        while (command := self.session.next_command(self._clock.now)) is not None:
            self._carry_out(command)
        deadline = self.session.next_deadline()
        if self._timer is None or self._timer.time != deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None if deadline is None else self._clock.at(deadline, self._timer_due)
        self._checked(deadline)

    def _timer_due(self) -> None:
        self._timer = None
        self.session.handle_timer(self._clock.now)
        self.pump()

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.Connect(connection, address):
                self._wanted.add(connection)
                self._network.connect(
                    "client",
                    (address.host, address.port),
                    partial(self._made, connection),
                    partial(self._failed, connection),
                )
            case c.Send(connection, data):
                end = self._ends.get(connection)
                stream = self._streams.get(connection)
                if end is not None and stream is not None:
                    self._note_sent(end, stream.messages(data))
                    end.send(data)
                    if not end.writable:
                        self.session.writing_blocked(connection)
            case c.EncryptTicket(connection, _):
                self.session.ticket_encrypted(connection, model_ticket(self._password))
            case c.PauseReading(connection):
                self._ends[connection].pause() if connection in self._ends else None
            case c.ResumeReading(connection):
                self._ends[connection].resume() if connection in self._ends else None
            case c.Finish(connection) | c.Abort(connection):
                self._close(connection, at_once=isinstance(command, c.Abort))
            case c.Emit(event):
                self._told(event)

    def say(self, connection: int, data: bytes) -> None:
        """Send what the session does not say."""
        if connection in self._ends:
            self._ends[connection].send(data)

    def _note_sent(self, end: End, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, vmc.VmcData):
                self.handed.append(Handed(end.connection, len(self.port_sent), len(message.data), time=self._clock.now))
                self.port_sent += message.data
            elif isinstance(message, inputs.KeyDown):
                self.handed.append(Handed(end.connection, key=message.code, time=self._clock.now))

    def _made(self, connection: int, end: End) -> None:
        if connection not in self._wanted:
            end.close()
            return
        self._ends[connection] = end
        self._numbers[end] = connection
        self._streams[connection] = SentStream()
        end.owner = self
        end.on_writable = partial(self._writable, connection)
        self.session.connection_made(connection, self._clock.now)
        self.pump()

    def _failed(self, connection: int, reason: str) -> None:
        self._wanted.discard(connection)
        self.session.connection_lost(connection, reason, self._clock.now)
        self.pump()

    def _writable(self, connection: int) -> None:
        self.session.writing_unblocked(connection)
        self.pump()

    def _close(self, connection: int, *, at_once: bool) -> None:
        self._wanted.discard(connection)
        end = self._ends.pop(connection, None)
        if end is not None:
            del self._numbers[end]
            if at_once:
                end.connection.reset("reset by the client", by=end)
            else:
                end.finish()
        self.session.connection_lost(connection, "closed", self._clock.now)

    def data_received(self, end: End, data: bytes) -> None:
        """Bytes from a server."""
        if end in self._numbers:
            connection = self._numbers[end]
            self.order.heard(connection, data, self._connected)
            self.session.data_received(connection, data, self._clock.now)
            self.pump()

    def _connected(self) -> dict[ChannelKey, int]:
        return {key: link.id for key in self.session.channels if (link := self.session.current(key)) is not None}

    def connection_lost(self, end: End, reason: str) -> None:
        """A connection ended."""
        connection = self._numbers.pop(end, None)
        if connection is not None:
            del self._ends[connection]
            self.session.connection_lost(connection, reason, self._clock.now)
            self.pump()

    def _told(self, event: c.SessionEvent) -> None:
        match event:
            case c.MessageReceived(key, message) if key[0] == ChannelType.PORT and isinstance(message, vmc.VmcData):
                self.port_received += message.data
            case c.MigrationAborted():
                self.order.begin_anew()
            case c.MigrationFinished(outcome):
                self.order.begin_anew()
                self.outcomes.append(outcome)
            case c.SessionEnded(error):
                self.ended = event
                self._record("session.closed", "", {"reason": str(error or "")})
            case c.Noted(name, channel, detail):
                self._record(name, channel, detail)
            case _:
                pass

    def _record(self, name: str, channel: str, detail: Mapping[str, Any]) -> None:
        self._trace.record(
            name, session=self.session.connection_id, channel=channel, generation=self.session.generation, **detail
        )


class Managed(Protocol):
    """A server as management sees it."""

    listeners: list[Callable[[str, Mapping[str, object]], None]]
    """Told each event."""
    on_death: list[Callable[[str], None]]

    @property
    def alive(self) -> bool:
        """Whether its process runs."""

    def perform(self, command: str, arguments: Mapping[str, object], answered: Callable[[object], None]) -> None:
        """Do a command; `answered` gets what it returns, or the error that refuses it."""


class ManagedQemu:
    """A model QEMU so."""

    def __init__(self, qemu: ModelQemu) -> None:
        self._qemu = qemu
        self.listeners = qemu.listeners
        self.on_death = qemu.on_death

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._qemu.alive

    def perform(self, command: str, arguments: Mapping[str, object], answered: Callable[[object], None]) -> None:
        """Do a command, at once."""
        try:
            answered(self._qemu.execute(command, arguments))
        except ModelRefusal as refusal:
            answered(refusal)


class ConductorDriver:
    """Carries out what the conducting machine says, on two servers."""

    def __init__(
        self,
        plan: Plan,
        source: Managed,
        target: Managed,
        network: Network,
        trace: Trace,
        checked: Callable[[], None],
        latency: float = QMP_LATENCY,
    ) -> None:
        self.machine = Conducting(plan)
        self.result: Result | None = None
        self.finished_at: float | None = None
        self._latency = latency
        self._hangs_until = dict.fromkeys(Peer, 0.0)
        self._refuses: set[Peer] = set()
        self._peers = {Peer.SOURCE: source, Peer.TARGET: target}
        self._reachable = set(Peer)
        self._network = network
        self._clock: VirtualClock = network.clock
        self._trace = trace
        self._checked = checked
        self._timer: Appointment | None = None
        for peer, qemu in self._peers.items():
            qemu.listeners.append(partial(self._happened, peer))
            qemu.on_death.append(partial(self._died, peer))

    @property
    def begun(self) -> bool:
        """Whether it has been started."""
        return self.machine.state is not State.NOT_BEGUN

    @property
    def waits_for_ever(self) -> bool:
        """Whether nothing but somebody else's word would end what it waits for."""
        return self.begun and self.result is None and self.machine.next_deadline() is None

    def start(self) -> None:
        """Begin; a QEMU that is gone already is noticed at once."""
        self.feed(Begun())
        for peer in Peer:
            if peer not in self._reachable:
                self.feed(PeerLost(peer))

    def cancel(self) -> None:
        """Ctrl-C."""
        if self.begun:
            self.feed(CancelRequested())

    def lose(self, peer: Peer, reason: str = "its QMP connection ended") -> None:
        """The QMP connection to a QEMU ends."""
        if peer in self._reachable:
            self._reachable.discard(peer)
            if self.begun:
                self._clock.after(self._latency, lambda: self.feed(PeerLost(peer, reason)))

    def hang(self, peer: Peer, seconds: float) -> None:
        """A QEMU does nothing for its QMP connection for a while, and then all at once."""
        self._hangs_until[peer] = max(self._hangs_until[peer], self._clock.now + seconds)

    def refuse(self, peer: Peer) -> None:
        """A QEMU answers the next command by an error."""
        self._refuses.add(peer)

    def feed(self, event: Event) -> None:
        """Tell the machine, and do what it says."""
        if self.result is None:
            self._carry_out(self.machine.feed(event, self._clock.now))

    def _carry_out(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case Execute():
                    self._trace.for_party(command.peer.value).record(f"qmp.{command.command}")
                    self._later(command.peer, partial(self._execute, command))
                case ProbePort(host, port):
                    answers = self._network.answers((host, port))
                    probed = PortProbed("" if answers else "connection refused")
                    answered = self._clock.now + 2 * self._network.conditions.latency
                    hangs_until = self._network.hanging.get((host, port), 0.0)
                    self._clock.at(max(answered, hangs_until), partial(self.feed, probed))
                case StepReported(step, sentence):
                    self._trace.record(f"conductor.{step}", sentence=sentence)
                case Finished(result):
                    self.result = result
                    self.finished_at = self._clock.now
                case _:
                    pass
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.machine.next_deadline() if self.result is None else None
        self._timer = None if deadline is None else self._clock.at(deadline, self._timer_due)
        self._checked()

    def _timer_due(self) -> None:
        if self.result is None:
            self._carry_out(self.machine.handle_timer(self._clock.now))

    def _execute(self, command: Execute) -> None:
        qemu = self._peers[command.peer]
        if not qemu.alive or command.peer not in self._reachable:
            return
        if command.peer in self._refuses:
            self._refuses.discard(command.peer)
            self._performed(command, ModelRefusal("not now"))
        else:
            qemu.perform(command.command, command.arguments, partial(self._performed, command))

    def _later(self, peer: Peer, action: Callable[[], None]) -> None:
        self._clock.at(max(self._clock.now + self._latency, self._hangs_until[peer]), action)

    def _performed(self, command: Execute, value: object) -> None:
        answer: Event
        if isinstance(value, Exception):
            answer = RefusalReceived(command.request, str(value))
        else:
            answer = ReplyReceived(command.request, value)
        self._later(command.peer, partial(self._deliver, command.peer, answer))

    def _happened(self, peer: Peer, event: str, data: Mapping[str, object]) -> None:
        status = data.get("status")
        detail: dict[str, Any] = {"status": status} if isinstance(status, str) else {}
        self._trace.for_party(peer.value).record(f"qmp.{event}", **detail)
        self._later(peer, partial(self._deliver, peer, EventReceived(peer, event, data)))

    def _deliver(self, peer: Peer, event: Event) -> None:
        if peer in self._reachable and self.begun:
            self.feed(event)

    def _died(self, peer: Peer, why: str) -> None:
        self._trace.for_party(peer.value).record("qmp.disconnected", reason=why)
        self.lose(peer)
