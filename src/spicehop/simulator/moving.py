"""Our own clients, servers and conductor in a simulation: guests move from server to server, with their sessions.

    world = MovingWorld(Journey(seed=7, clients=2), make_host).run()

Nothing here decides anything of the protocol: servers come from `make_host`, clients are `ClientSession`s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random

from spicehop.channels.vmc import VmcChannel
from spicehop.migration.arriving import FOLLOW_SECONDS, STATE_SECONDS, ArrivingState
from spicehop.migration.client import ClientState
from spicehop.migration.commands import Address
from spicehop.migration.conducting_events import Plan
from spicehop.migration.conducting_result import Outcome
from spicehop.migration.session import ClientSession
from spicehop.simulator.chaperon import Chaperon
from spicehop.simulator.clock import VirtualClock
from spicehop.simulator.coverage import prepare
from spicehop.simulator.drivers import ClientDriver, ConductorDriver
from spicehop.simulator.hosts import HOST, Host, HostSetup, MakeHost
from spicehop.simulator.mishaps import MISHAPS
from spicehop.simulator.moments import Moment, awaited
from spicehop.simulator.network import Conditions, Connection, Network
from spicehop.simulator.texts import is_whole, numbered_text
from spicehop.trace import MemorySink, Record, Trace
from spicehop.wire.agent_constants import ClipboardType
from spicehop.wire.constants import ChannelType

FIRST_PORT = 5901
PORT_KEY = (ChannelType.PORT, 0)
INPUTS_KEY = (ChannelType.INPUTS, 0)
STRANGER = 90
"""Its number; the hosts of a journey are few."""
BEGIN = 1000.0
MOST_AT_ONCE = 20_000
"""Steps at one moment that are no busy loop yet."""
MOST_VIOLATIONS = 5
"""A run with more of them is not gone on with."""
TIME_LIMIT = 240.0
"""Virtual seconds after which every conductor must have ended."""
BEGIN_HOP = (0.5, 0.7)
"""Seconds from the begin between which the first migration begins."""
REST = 45.0
"""Virtual seconds for everything to come to rest after the last conductor has ended: longer than any deadline."""
CODES_EACH = 30
"""Keys of one user; each has keys of its own."""
TEST_PIECES = 15
"""Of the network's largest pieces so many measure a client's link."""
MOST_KEPT = 16 * 1024 * 1024
"""Bytes that a server may keep for clients; they are not given so many."""
LOOK_SECONDS = 0.5
"""How often clients that come are looked at."""
MOST_COMING = {
    ArrivingState.PARTLY_HERE.value: STATE_SECONDS + 1.5,
    ArrivingState.FOLLOWING.value: FOLLOW_SECONDS + 1.5,
}
"""By how far a client is that comes, for how many seconds it may be so."""
CLIENT_MUST_END = frozenset(
    {ClientState.LINKING_TARGET, ClientState.SWITCHING, ClientState.AWAITING_TARGET_INIT, ClientState.SWITCHING_HOST}
)
"""States that a client may not stay in for ever."""


@dataclass(frozen=True, slots=True)
class Journey:
    """Everything about a run but its faults, drawn from a seed."""

    seed: int
    clients: int = 1
    late: int = 0
    """Clients that come while the first migration runs, beside the others."""
    direct: bool = False
    """Whether the servers have a direct link."""
    seamless: bool = True
    hops: int = 1
    conditions: Conditions = field(default_factory=Conditions)
    pause: float = -1.0
    """Seconds for which management keeps the guest before the switch-over; below 0 a conductor manages."""
    key_interval: float = 0.02
    write_interval: float = 0.02
    largest_write: int = 1500
    offer_interval: float = 0.4
    text_size: int = 3000
    work: float = 1.5
    """Seconds for which users work, for each hop."""
    bandwidth: int = 0
    """Bytes a second for the guest, which makes its way long; 0 for as many as there can be."""
    late_until: float = 1.4
    """Seconds from the begin until which late clients come."""
    certificates: bool = True
    """Whether the servers know each other on the direct link."""

    def __str__(self) -> str:
        carrier = "direct link" if self.direct else "through the client"
        scheme = "seamless" if self.seamless else "semi-seamless"
        late = f" and {self.late} late" if self.late else ""
        pause = f", {self.pause:.2f} s before the switch-over" if self.pause >= 0 else ""
        return f"seed {self.seed}: {self.clients}{late} clients, {self.hops} hops, {scheme}, {carrier}{pause}"


@dataclass(frozen=True, slots=True)
class Mishap:
    """One thing that goes wrong; `MISHAPS` has the names."""

    name: str
    step: int = -1
    """At which step of the run; -1 when it goes by the time."""
    time: float = 0.0
    """Seconds since the run began."""
    moment: Moment | None = None
    """Counts when it is there, and neither step nor time does."""
    after_begin: float = -1.0
    """Seconds since the first migration began; counts unless below 0."""
    then: Mishap | None = None
    """What goes wrong after that, at its moment."""

    def __str__(self) -> str:
        after = f", then {self.then}" if self.then is not None else ""
        if self.moment is not None:
            return f"{self.name} {self.moment}{after}"
        when = f"at step {self.step}" if self.step >= 0 else f"after {self.time:.3f} s"
        if self.after_begin >= 0:
            when = f"{self.after_begin:.4f} s after the migration began"
        return f"{self.name} {when}{after}"


def journey(seed: int) -> Journey:
    """One at random: networks from good to bad, one to four clients, both carriers."""
    random = Random(seed)
    latency = random.choice((0.0002, 0.001, 0.01, 0.05))
    largest_piece = random.choice((200, 1500, 20_000, 20_000))
    return Journey(
        seed,
        random.choice((1, 1, 1, 1, 1, 1, 2, 2, 3, 4)),
        random.choice((0, 0, 0, 0, 0, 0, 0, 1, 2)),
        random.random() < 0.5,
        random.random() < 0.9,
        random.choice((1, 1, 1, 1, 1, 1, 2, 3)),
        Conditions(latency, latency * random.random(), random.choice((1, largest_piece)), largest_piece),
        random.choice((-1.0, -1.0, -1.0, 0.0, 0.3, 1.5)),
        random.choice((0.04, 0.12)),
        random.choice((0.04, 0.12)),
        random.choice((40, 2 * largest_piece)),
        random.choice((0.1, 0.4)),
        random.choice((10, 2 * largest_piece)),
        random.uniform(0.9, 1.6),
        bandwidth=random.choice((0, 0, 0, 0, 100_000, 400_000)),
    )


class User:
    """One client and who works with it."""

    def __init__(self, world: MovingWorld, number: int, *, late: bool) -> None:
        self.number = number
        self.late = late
        self.session = ClientSession(Address(*world.hosts[0].address))
        self.driver = ClientDriver(self.session, world.network, world.trace(f"client {number + 1}"), "", self._look)
        self.presses: list[int] = []
        self.written = bytearray()
        self.held: dict[int, None] = {}
        self.offers = 0
        """Texts that were offered to the guest."""
        self.requests = 0
        """Texts of the guest that were asked for."""
        self.fault = ""
        self.opened_at: float | None = None
        """When the first server had let it in."""
        self._world = world
        self._random = Random(world.journey.seed * 31 + number)
        self._codes = range(1 + number * CODES_EACH, 1 + (number + 1) * CODES_EACH)
        self._seen = 0

    def start(self) -> None:
        """Connect, and work from a moment later."""
        self._world.begun.append(self)
        self.driver.start()
        clock = self._world.clock
        clock.after(0.35, self._press)
        clock.after(0.35, self._write)
        clock.after(0.4, self._offer)

    @property
    def answers(self) -> int:
        """Texts of the guest that came."""
        return self.session.main.agent.receptions

    @property
    def whole(self) -> bool:
        """Whether the session has gone on without a break: every scheme was seamless."""
        schemes = all(outcome.scheme == "seamless" for outcome in self.driver.outcomes)
        return schemes and not self.session.ended

    @property
    def whole_input(self) -> bool:
        """The same for keys."""
        return self.whole and INPUTS_KEY not in self.session.lost

    @property
    def _works(self) -> bool:
        return self._world.clock.now < self._world.works_until and not self.session.ended

    def _press(self) -> None:
        inputs = self.session.inputs
        if not self._works:
            for code in tuple(self.held):
                self._release(code)
            return
        interval = self._world.journey.key_interval
        if inputs is not None:
            code = self._codes[len(self.presses) % CODES_EACH]
            self.presses.append(code)
            self.held[code] = None
            inputs.key_down(code)
            self.driver.pump()
            self._world.clock.after(interval * self._random.uniform(0.2, 5), lambda: self._release(code))
        self._world.clock.after(interval, self._press)

    def _release(self, code: int) -> None:
        if code in self.held and self.session.inputs is not None and not self.session.ended:
            del self.held[code]
            self.session.inputs.key_up(code)
            self.driver.pump()

    def _write(self) -> None:
        port = self.session.channels.get(PORT_KEY)
        if not self._works:
            return
        if isinstance(port, VmcChannel) and PORT_KEY not in self.session.lost:
            data = self._random.randbytes(self._random.randint(1, self._world.journey.largest_write))
            self.written += data
            port.write(data)
            self.driver.pump()
        self._world.clock.after(self._world.journey.write_interval, self._write)

    def _offer(self) -> None:
        agent = self.session.main.agent
        if not self._works:
            return
        if agent.has_clipboard:
            if ClipboardType.UTF8_TEXT in agent.offered and self._random.random() < 0.5:
                self.requests += 1
                agent.request_text()
            else:
                self.offers += 1
                agent.offer_text(numbered_text(self.offers, self._random.randint(0, self._world.journey.text_size)))
            self.driver.pump()
        interval = self._world.journey.offer_interval
        self._world.clock.after(interval * self._random.uniform(0.5, 1.5), self._offer)

    @property
    def is_astray(self) -> bool:
        """Whether it has come to a server whose guest had moved on, and is there: nobody sends it after the guest."""
        if self.driver.outcomes or self.session.ended or self.opened_at is None:
            return False
        return self.opened_at > self._world.left_at.get(self._world.hosts[0].name, float("inf"))

    def _look(self, deadline: float | None) -> None:
        agent = self.session.main.agent
        if self.opened_at is None and self.session.opened:
            self.opened_at = self._world.clock.now
        if agent.receptions != self._seen:
            self._seen = agent.receptions
            if agent.received and not is_whole(agent.received):
                self.fault = self.fault or f"text {self.answers} of the guest is not whole"
        if self.session.state in CLIENT_MUST_END and deadline is None:
            self._world.violated(f"client {self.number + 1} waits in {self.session.state.value} without a deadline")


class MovingWorld:
    """Builds a journey and runs it. `violations` is what must not have happened, in sentences."""

    def __init__(self, journey: Journey, make_host: MakeHost, mishap: Mishap | None = None) -> None:
        prepare()
        self.journey = journey
        self.mishap = mishap
        self.violations: list[str] = []
        self.charges: list[str] = []
        """What has gone wrong."""
        self.cut_connections: set[Connection] = set()
        """Those on which bytes may have been lost."""
        self.clock = VirtualClock(BEGIN)
        self.random = Random(journey.seed)
        self.network = Network(self.clock, self.random, journey.conditions)
        self.works_until = BEGIN + 0.35 + journey.work * journey.hops
        self.last_running: Host | None = None
        """Who has the guest that lives on."""
        self.left_at: dict[str, float] = {}
        """By host, when its guest has stopped there; not of a host where it runs."""
        self.said: dict[str, str] = {}
        """By host, the status of the guest's migration that it told management last."""
        self.completed_at: dict[str, float] = {}
        """By host, when it has told that of its guest's last migration."""
        self.handed_over_at: dict[str, float] = {}
        """By host, when it has told that its sessions have left."""
        self.died_at: dict[str, float] = {}
        self.begun: list[User] = []
        self.conductors: list[ConductorDriver] = []
        self._make_host = make_host
        self._sink = MemorySink()
        self._conductor_trace = self.trace("conductor")
        self.hosts = [self._start_host(incoming=False)]
        self.users = [User(self, number, late=number >= journey.clients) for number in range(self._clients)]
        self.chaperons: list[Chaperon] = []
        self._coming_since: dict[tuple[str, int, str], float] = {}
        self.strangers: list[Host] = []
        """Servers that are no part of the journey and call the target."""
        self.strangers_heard: list[tuple[float, object]] = []
        """When each had called, and what it was answered."""
        self.went_wrong: list[tuple[str, float]] = []
        """Each mishap, and when."""
        self.moved_by_others = False
        """Whether somebody else has told the source to migrate."""
        self._prepare_hop()

    @property
    def _clients(self) -> int:
        return min(4, self.journey.clients + self.journey.late)

    def trace(self, party: str) -> Trace:
        """A trace for one party of the run."""
        return Trace(party, lambda: self.clock.now, self._sink)

    @property
    def records(self) -> list[Record]:
        """The run's timeline."""
        return self._sink.records

    def _start_host(self, *, incoming: bool, name: str = "") -> Host:
        number = len(self.hosts) if incoming else 0
        number, name = (STRANGER, name) if name else (number, f"host {number}")
        host = self._make_host(
            HostSetup(
                name,
                (HOST, FIRST_PORT + number),
                self.network,
                self.trace(name),
                incoming=incoming,
                seamless=self.journey.seamless,
                accepts_unannounced=self.journey.pause >= 0,
                knows_source=self.journey.certificates,
                text_size=self.journey.text_size,
                net_test_bytes=min(256_000, TEST_PIECES * self.journey.conditions.largest_piece),
                works_until=self.works_until,
                changed=self.check,
            )
        )
        host.listeners.append(partial(self._host_said, name))
        host.on_death.append(partial(self._host_ended, name))
        return host

    def _host_said(self, name: str, event: str, data: Mapping[str, object]) -> None:
        if event == "MIGRATION":
            self.said[name] = str(data.get("status"))
            if self.said[name] == "completed":
                self.completed_at[name] = self.clock.now
        elif event == "SPICE_MIGRATE_COMPLETED":
            self.handed_over_at[name] = self.clock.now

    def _host_ended(self, name: str, why: str) -> None:
        self.died_at[name] = self.clock.now
        self.trace(name).record("host.ended", reason=why)

    def _prepare_hop(self) -> None:
        """Start the next target, and whoever manages the way there."""
        self.hosts.append(self._start_host(incoming=True))
        plan = Plan(seamless=self.journey.seamless)
        driver = ConductorDriver(plan, self.source, self.target, self.network, self._conductor_trace, self.check)
        self.conductors.append(driver)

    def _begin_hop(self) -> None:
        if self.mishap is not None and self.mishap.after_begin >= 0 and len(self.conductors) == 1:
            self.clock.after(self.mishap.after_begin, partial(self._go_wrong, self.mishap))
        if self.journey.bandwidth and self.source.alive:
            limits = {"max-bandwidth": self.journey.bandwidth, "downtime-limit": 10}
            self.source.perform("migrate-set-parameters", limits, lambda answer: None)
        if self.journey.direct:
            self._link_directly(self._manage)
        else:
            self._manage()

    def _manage(self, answer: object = None) -> None:
        if self.journey.pause < 0:
            self.conductor.start()
        else:
            chaperon = Chaperon(self, self.source, self.target)
            self.chaperons.append(chaperon)
            chaperon.start()

    def _link_directly(self, then: Callable[[object], None]) -> None:
        """As the conductor's shell does; when it fails the migration goes on without."""
        place = self.link_place
        source, target = self.source, self.target
        waits = True

        def go_on(answer: object) -> None:
            nonlocal waits
            if waits:
                waits = False
                then(answer)

        def listening(answer: object) -> None:
            if isinstance(answer, Exception) or not source.alive:
                go_on(answer)
            else:
                source.perform("direct-link-connect", place, go_on)

        def closed(answer: object) -> None:
            if target.alive:
                target.perform("direct-link-listen", place, listening)
            else:
                go_on(answer)

        for host in (source, target):
            host.on_death.append(go_on)  # who is dead answers nothing
        if source.alive:
            source.perform("direct-link-close", {}, closed)  # its own, as the target of an earlier migration
        else:
            go_on(None)

    def _hop_on(self) -> None:
        """Once a migration has gone well, the next one may follow. Who is on its way then would come to a server that
        the guest has left already, which nobody can tell it.
        """
        if self.hop_over and self._moved and all(self._is_home(user) for user in self.begun):
            self._prepare_hop()
            self.clock.after(0.2, self._begin_hop)

    def _is_home(self, user: User) -> bool:
        """Whether a client is where the guest is now, or nowhere any more."""
        session = user.session
        there = session.address.port == self.target.address[1] and session.state not in CLIENT_MUST_END
        return session.ended or there

    @property
    def link_place(self) -> Mapping[str, str]:
        """Where the target waits for the direct link."""
        return {"address": f"unix:/{self.target.name.replace(' ', '-')}"}

    @property
    def _moved(self) -> bool:
        if self.journey.pause >= 0:
            return self.chaperons[-1].moved
        result = self.conductor.result
        return result is not None and result.outcome is Outcome.MOVED

    @property
    def hop_over(self) -> bool:
        """Whether the present migration has ended, in whatever way."""
        if self.journey.pause < 0:
            return self.conductor.result is not None
        return len(self.chaperons) == len(self.conductors) and self.chaperons[-1].over

    @property
    def outcome(self) -> str:
        """How the last migration went."""
        if self.journey.pause >= 0:
            return self.chaperons[-1].outcome if self.chaperons else ""
        result = self.conductors[-1].result
        return result.outcome.value if result is not None else ""

    @property
    def source(self) -> Host:
        """The host that the present migration leaves."""
        return self.hosts[-2]

    @property
    def target(self) -> Host:
        """The host that the present migration goes to."""
        return self.hosts[-1]

    @property
    def conductor(self) -> ConductorDriver:
        """The present migration's conductor."""
        return self.conductors[-1]

    # -- running ------------------------------------------------------------------------------------------------

    def run(self) -> MovingWorld:
        """Run until everything has come to rest, or must have."""
        first = self.mishap
        then = first.then if first is not None else None
        with (
            awaited(first.moment if first is not None else None, partial(self._goes_wrong_soon, first)),
            awaited(then.moment if then is not None else None, partial(self._goes_wrong_soon, then), self._went_wrong),
        ):
            return self._run()

    def _run(self) -> MovingWorld:
        for user in self.users:
            least, most = (0.5, self.journey.late_until) if user.late else (0.0, 0.1)
            self.clock.after(self.random.uniform(least, most), user.start)
        self.clock.after(self.random.uniform(*BEGIN_HOP), self._begin_hop)
        mishap = self.mishap
        if mishap is not None and mishap.step < 0 and mishap.moment is None and mishap.after_begin < 0:
            self.clock.after(mishap.time, partial(self._go_wrong, mishap))
        limit = BEGIN + TIME_LIMIT
        rest: float | None = None
        next_look, hurried = 0.0, 0
        clock, hops = self.clock, self.journey.hops
        while (coming := clock.next_time) is not None and coming <= (rest or limit):
            if mishap is not None and clock.steps == mishap.step >= 0:
                self._go_wrong(mishap)
            before = clock.now
            if coming >= next_look:
                self._check_arrivals(coming)
                next_look = coming + LOOK_SECONDS
            clock.step()
            if clock.steps % 256 == 0:
                self._check_memory()
            if rest is None and len(self.conductors) < hops:
                self._hop_on()
            hurried = hurried + 1 if clock.now == before else 0
            if hurried > MOST_AT_ONCE:
                self.violated(f"something is done over and over at {clock.now - BEGIN:.6f} s")
                return self
            if len(self.violations) > MOST_VIOLATIONS:
                return self
            if rest is None and clock.now > self.works_until and self.hop_over:
                rest = clock.now + REST
        if rest is None and (coming is not None or not self.hop_over):
            self.violated(f"something still goes on after {TIME_LIMIT:g} s")
        return self

    def _went_wrong(self) -> bool:
        return self.mishap is not None and self.mishap.name in self.charges

    def _goes_wrong_soon(self, mishap: Mishap | None, wait: float) -> None:
        if mishap is not None:
            self.clock.after(wait, partial(self._go_wrong, mishap))

    def _go_wrong(self, mishap: Mishap) -> None:
        self.trace("fault").record(f"fault.{mishap.name.replace(' ', '-')}")
        self.charges.append(mishap.name)
        self.went_wrong.append((mishap.name, self.clock.now))
        MISHAPS[mishap.name](self)

    # -- what must hold at every moment -------------------------------------------------------------------------

    def check(self) -> None:
        """Called when a guest begins to run or stops, a process fails or ends, or a conductor has done something."""
        running = [host for host in self.hosts if host.runs]
        if len(running) > 1:
            self.violated(f"the guest runs at {' and at '.join(host.name for host in running)}")
        if self.last_running is not None and self.last_running not in running:
            self.left_at.setdefault(self.last_running.name, self.clock.now)
        for host in running:
            self.last_running = host
            self.left_at.pop(host.name, None)
        for host in (*self.hosts, *self.strangers):
            for fault in host.loop.faults:
                self.violated(f"{host.name}: {fault}")
        if self.conductors and self.conductor.waits_for_ever:
            self.violated(f"the conductor waits in {self.conductor.machine.state.value} without a deadline")

    def _check_arrivals(self, until: float) -> None:
        """Who comes by halves is sent away some time; nothing happens before `until`."""
        seen = {
            (host.name, number, state): self._coming_since.get((host.name, number, state), self.clock.now)
            for host in self.hosts
            if host.alive
            for number, state in host.coming().items()
        }
        self._coming_since = seen
        for (name, _, state), since in seen.items():
            if until - since > MOST_COMING.get(state, float("inf")):
                self.violated(f"a client comes to {name}, and is {state} for {until - since:.1f} s")

    def _check_memory(self) -> None:
        for host in self.hosts:
            if host.alive and host.kept() > MOST_KEPT:
                self.violated(f"{host.name} keeps {host.kept()} bytes for clients")

    def violated(self, sentence: str) -> None:
        """Note what must not be."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    # -- what may go wrong --------------------------------------------------------------------------------------

    def cut(self, kind: int, server: Host) -> None:
        """The network drops the connections of a kind of channel to a server; both ends learn it at once."""
        for end in server.ends(kind):
            self._drop(end.connection)

    def fade(self, kind: int, server: Host) -> None:
        """The network carries nothing more on these connections; each end learns it later."""
        for end in server.ends(kind):
            self._fade(end.connection)

    def stall(self, kind: int, server: Host, seconds: float) -> None:
        """Nothing arrives on these connections for a while."""
        for end in server.ends(kind):
            end.connection.stall(seconds)

    def deafen(self, kind: int, server: Host, seconds: float) -> None:
        """The clients do not read these connections for a while, and go on to write: what is for them fills up."""
        for end in server.ends(kind):
            end.peer.pause()
            self.clock.after(seconds, end.peer.resume)

    def stall_any(self, seconds: float) -> None:
        """Nothing arrives on one connection for a while."""
        alive = [one for one in self.network.connections if not one.gone and not one.near.closed]
        if alive:
            self.random.choice(alive).stall(seconds)

    def between_hosts(self, what: str) -> None:
        """Something happens to the connections between the servers: the guest's, and the direct link."""
        names = {host.name for host in self.hosts}
        for connection in self.network.connections:
            if connection.near.name not in names or connection.gone:
                continue
            is_link = not connection.address[1]  # at a path
            if what.startswith("link") != is_link:
                continue
            match what.partition(" ")[2]:
                case "cut":
                    self._drop(connection)
                case "cut for good":
                    self.network.refusing.add(connection.address)
                    self._drop(connection)
                case "fade":
                    self._fade(connection)
                case "die":
                    self.cut_connections.add(connection)
                    connection.die_silently(60, 60)
                case "stall":
                    connection.stall(self.random.choice((1.0, 5.0, 13.0, 35.0)))

    def _drop(self, connection: Connection) -> None:
        self.cut_connections.add(connection)
        connection.reset("the network dropped the connection")

    def _fade(self, connection: Connection) -> None:
        self.cut_connections.add(connection)
        connection.die_silently(self.random.uniform(0.5, 25), self.random.uniform(0.5, 25))

    def call_as_stranger(self) -> None:
        """A server that nobody has asked makes a direct link to the target."""
        stranger = self._start_host(incoming=True, name="stranger")
        self.strangers.append(stranger)
        now = self.clock.now
        heard = self.strangers_heard.append
        stranger.perform("direct-link-connect", self.link_place, lambda answer: heard((now, answer)))

    def cancel(self) -> None:
        """The user of the conductor wants the migration undone."""
        if self.journey.pause < 0:
            self.conductor.cancel()
        elif self.chaperons:
            self.chaperons[-1].cancel()
