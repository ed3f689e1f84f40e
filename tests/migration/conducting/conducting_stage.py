"""Two model QEMUs and a virtual clock around the conducting machine: what its tests play on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from spicehop.migration import conducting
from spicehop.migration.conducting import Conducting
from spicehop.migration.conducting_events import (
    Begun,
    CancelRequested,
    Command,
    Event,
    EventReceived,
    Execute,
    FindingReported,
    Finished,
    Peer,
    PeerFacts,
    PeerLost,
    Plan,
    PortProbed,
    ProbePort,
    ProgressReported,
    RefusalReceived,
    ReplyReceived,
)
from spicehop.migration.conducting_result import Result
from spicehop.migration.conducting_table import State

SOURCE, TARGET = Peer.SOURCE, Peer.TARGET
FIRST, SECOND = 0x11111111, 0xF2222222
CHANNELS = ((1, 0), (2, 0), (3, 0), (4, 0))
SEAMLESS = PeerFacts(command_line=("qemu-system-x86_64", "-spice", "port=5900,seamless-migration=on"))
PLAIN = PeerFacts(command_line=("qemu-system-x86_64", "-spice", "port=5900"))
PLAN = Plan(source=SEAMLESS, target=PLAIN)


def signed(connection_id: int) -> int:
    """As QMP shows it."""
    return connection_id - (1 << 32) if connection_id >> 31 else connection_id


class ModelQemu:
    """The answers of one QEMU; tests change them as they like."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.status = "running" if peer is SOURCE else "inmigrate"
        self.links: dict[int, tuple[int, int, int]] = {}
        self.auth = "none"
        self.spice: dict[str, object] = {"enabled": True, "host": "192.0.2.1", "port": 5900}
        self.migration: dict[str, object] = {}
        self.version = {"major": 7, "minor": 2, "micro": 22}
        self.machine = "pc-i440fx-7.2-machine"
        self.commands: tuple[str, ...] = ("migrate",)

    def connect(self, connection_id: int, channels: tuple[tuple[int, int], ...] = CHANNELS) -> None:
        """A client is connected, without an event."""
        for kind, number in channels:
            self.links[40000 + len(self.links)] = (connection_id, kind, number)

    def client(self, port: int) -> dict[str, object]:
        """What QMP says of the client at `port`."""
        entry: dict[str, object] = {"host": "198.51.100.1", "port": str(port), "family": "ipv4"}
        if port in self.links:
            connection_id, kind, number = self.links[port]
            entry |= {"connection-id": signed(connection_id), "channel-type": kind, "channel-id": number, "tls": False}
        return entry

    def answer(self, command: str, arguments: Mapping[str, object]) -> object:
        """What a command returns."""
        if command == "query-status":
            return {"status": self.status, "running": self.status == "running"}
        if command == "query-spice":
            return {**self.spice, "auth": self.auth, "channels": [self.client(port) for port in self.links]}
        if command == "query-migrate":
            return dict(self.migration)
        if command == "query-version":
            return {"qemu": dict(self.version)}
        if command == "query-commands":
            return [{"name": name} for name in self.commands]
        if command == "qom-get":
            return self.machine
        if command == "migrate-incoming":
            self.migration["socket-address"] = [{"type": "inet", "host": "127.0.0.1", "port": "4444", "ipv4": True}]
        if command == "cont":
            self.status = "running"
        return {}


class Stage:
    """The machine, two model QEMUs and a clock that jumps to the next thing that happens.

    `chart` has what was done, without the queries. `on[command]` is called when a command is carried out.
    """

    def __init__(self, plan: Plan = PLAN, *, sessions: tuple[int, ...] = (FIRST,)) -> None:
        self.machine = Conducting(plan)
        self.now = 100.0
        self.source, self.target = ModelQemu(SOURCE), ModelQemu(TARGET)
        self.qemus = {SOURCE: self.source, TARGET: self.target}
        for one in sessions:
            self.source.connect(one)
        self.chart: list[str] = []
        self.findings: list[str] = []
        self.progress: list[ProgressReported] = []
        self.executed: list[Execute] = []
        self.on: dict[str, Callable[[], None]] = {
            "client_migrate_info": self.link_all,
            "migrate": self.migrate,
            "quit": lambda: self.lose(SOURCE),
        }
        self.refused: dict[tuple[Peer, str], str] = {}
        self.mute: set[tuple[Peer, str]] = set()
        self.lost: set[Peer] = set()
        self.probe_failure: str | None = ""
        self.result: Result | None = None
        self.handed_over: dict[str, object] = {}
        """The data of SPICE_MIGRATE_COMPLETED."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # what happens

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen after a time."""
        self._count += 1
        self._agenda.append((self.now + seconds, self._count, action))

    def event(self, peer: Peer, name: str, after: float = 0.0, **data: object) -> None:
        """Let a QEMU tell of something."""
        self.later(after, lambda: self.feed(EventReceived(peer, name, data)))

    def lose(self, peer: Peer, after: float = 0.0) -> None:
        """Let a QEMU's monitor end."""

        def end() -> None:
            self.lost.add(peer)
            self.feed(PeerLost(peer))

        self.later(after, end)

    def cancel(self, after: float = 0.0) -> None:
        """Let the user cancel."""
        self.later(after, lambda: self.feed(CancelRequested()))

    def link(self, connection_id: int, *, peer: Peer = TARGET, after: float = 0.01, took: float = 0.03) -> None:
        """Let a client's channels arrive at a QEMU, with the events that QEMU sends."""
        qemu = self.qemus[peer]
        for kind, number in CHANNELS:
            port = 50000 + len(qemu.links) + self._count

            def accept(port: int = port) -> None:
                self.feed(EventReceived(peer, "SPICE_CONNECTED", {"client": qemu.client(port)}))

            def initialize(port: int = port, kind: int = kind, number: int = number) -> None:
                qemu.links[port] = (connection_id, kind, number)
                self.feed(EventReceived(peer, "SPICE_INITIALIZED", {"client": qemu.client(port)}))

            self.later(after, accept)
            self.later(after + took, initialize)

    def unlink(self, connection_id: int, *, peer: Peer = SOURCE) -> None:
        """A client's channels end at a QEMU."""
        qemu = self.qemus[peer]
        for port in [port for port, link in qemu.links.items() if link[0] == connection_id]:
            client = qemu.client(port)
            del qemu.links[port]
            self.feed(EventReceived(peer, "SPICE_DISCONNECTED", {"client": client}))

    def link_all(self) -> None:
        """Every client does as it is told."""
        for connection_id in dict.fromkeys(link[0] for link in self.source.links.values()):
            self.link(connection_id)

    def migrate(self) -> None:
        """A migration that succeeds, or one to nowhere that fails."""
        if self.executed[-1].arguments["uri"] == conducting.NOWHERE:
            self.event(SOURCE, "MIGRATION", status="failed")
            return
        self.event(SOURCE, "MIGRATION", status="active")
        self.event(SOURCE, "STOP", after=1.0)
        self.later(1.01, self.arrive)

    def arrive(self) -> None:
        """The machine is at the target; clients leave the source, which then says so."""
        self.source.status, self.target.status = "postmigrate", "running"
        self.event(TARGET, "RESUME")
        self.event(SOURCE, "MIGRATION", status="completed")
        for connection_id in {link[0] for link in self.source.links.values()}:
            self.later(0.005, lambda connection_id=connection_id: self.unlink(connection_id))
        self.event(SOURCE, "SPICE_MIGRATE_COMPLETED", after=0.006, **self.handed_over)

    # how it runs

    def feed(self, event: Event) -> None:
        if self.result is None:
            self._carry_out(self.machine.feed(event, self.now))

    def _carry_out(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case Execute():
                    self._execute(command)
                case ProbePort(host, port):
                    self.chart.append(f"probe {host}:{port}")
                    if self.probe_failure is not None:
                        failure = self.probe_failure
                        self.later(0.001, lambda failure=failure: self.feed(PortProbed(failure)))
                case FindingReported(finding):
                    self.findings.append(finding.code)
                case ProgressReported():
                    self.progress.append(command)
                case Finished(result):
                    self.result = result

    def _execute(self, command: Execute) -> None:
        self.executed.append(command)
        peer, name = command.peer, command.command
        if not name.startswith("query-") and name != "qom-get":
            self.chart.append(f"{peer.value} {name}")
        if peer in self.lost or (peer, name) in self.mute:
            return
        refusal = self.refused.get((peer, name))
        if refusal is not None:
            self.later(0.001, lambda: self.feed(RefusalReceived(command.request, refusal)))
            return

        def reply() -> None:
            if peer not in self.lost:
                self.feed(ReplyReceived(command.request, self.qemus[peer].answer(name, command.arguments)))

        self.later(0.001, reply)
        if name in self.on:
            self.on[name]()

    def step(self) -> bool:
        """Let the next thing happen; False when nothing would ever happen again."""
        deadline = self.machine.next_deadline()
        due = min(self._agenda, default=None, key=lambda entry: entry[:2])
        if due is None and deadline is None:
            return False
        if due is not None and (deadline is None or due[0] <= deadline):
            self._agenda.remove(due)
            self.now = max(self.now, due[0])
            due[2]()
        else:
            assert deadline is not None
            self.now = max(self.now, deadline)
            self._carry_out(self.machine.handle_timer(self.now))
        return True

    def begin(self) -> None:
        self.feed(Begun())

    def run(self) -> Result:
        """Begin and run to the end."""
        self.begin()
        for _ in range(10_000):
            if self.result is not None:
                return self.result
            assert self.step(), f"the machine waits for ever in {self.machine.state}"
        raise AssertionError("it does not end")

    def run_until(self, state: State) -> None:
        """Begin and run until a state is reached."""
        self.begin()
        while self.machine.state is not state:
            assert self.result is None, self.result
            assert self.step()


PREPARED = [
    "probe 192.0.2.1:5900",
    "target migrate-set-capabilities",
    "source migrate-set-capabilities",
    "target migrate-incoming",
]
TOLD = [*PREPARED, "source client_migrate_info"]
LAUNCHED = [*TOLD, "source migrate"]
