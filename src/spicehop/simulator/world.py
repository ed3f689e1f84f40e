"""A whole migration in a simulation: a guest, two QEMUs, a client at work, a conductor, and what may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from spicehop.channels.main import SCHEMES
from spicehop.channels.vmc import VmcChannel
from spicehop.migration.client import ClientState
from spicehop.migration.commands import Address
from spicehop.migration.conducting_events import Plan
from spicehop.migration.conducting_result import Outcome
from spicehop.migration.conducting_table import State
from spicehop.migration.session import ClientSession
from spicehop.simulator.clock import VirtualClock
from spicehop.simulator.coverage import prepare
from spicehop.simulator.drivers import QMP_LATENCY, ClientDriver, ConductorDriver, ManagedQemu
from spicehop.simulator.faults import FAULTS, OUT_OF_TURN
from spicehop.simulator.guest import ModelGuest
from spicehop.simulator.moments import Moment, awaited
from spicehop.simulator.network import Conditions, Network
from spicehop.simulator.qemu import MachineTimes, ModelQemu
from spicehop.simulator.spice import SpiceConfig
from spicehop.trace import MemorySink, Record, Trace
from spicehop.wire import main
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

HOST, FIRST_PORT = "127.0.0.1", 5901
PORT_KEY = (ChannelType.PORT, 1)
BEGIN = 1000.0
MOST_AT_ONCE = 5000
"""Steps at one moment that are no busy loop yet."""
MOST_VIOLATIONS = 5
"""A run with more of them is not gone on with."""
TIME_LIMIT = 240.0
"""Virtual seconds after which everything must have come to rest."""
CODES = tuple(range(1, 0x7F))
"""Keys that the user types, one after the other."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything about a run but its faults, drawn from a seed."""

    seed: int
    scheme: str = "seamless"
    """What the source offers and the client accepts: `seamless`, `semi-seamless` or `switch-host`."""
    targets: str = "alike"
    """How a target differs from its source; `TARGETS` has the names."""
    hops: int = 1
    """How many migrations, one after the other; each to a new QEMU."""
    conditions: Conditions = field(default_factory=Conditions)
    times: MachineTimes = field(default_factory=MachineTimes)
    key_interval: float = 0.02
    write_interval: float = 0.01
    largest_write: int = 1500
    work: float = 4.0
    """Seconds for which the user types and writes."""
    keep_source: bool = False
    """What the conductor was asked for, as in `Plan`."""
    require_links: bool = False
    time_limit: float = 600.0
    qmp_latency: float = QMP_LATENCY


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; `FAULTS` has the names."""

    name: str
    step: int = -1
    """At which step of the run; -1 when it goes by the time."""
    time: float = 0.0
    """Seconds since the run began."""
    moment: Moment | None = None
    """Counts when it is there, and neither step nor time does."""
    then: Fault | None = None
    """What goes wrong after that, at its moment."""

    def __str__(self) -> str:
        after = f", then {self.then}" if self.then is not None else ""
        if self.moment is not None:
            return f"{self.name} {self.moment}{after}"
        when = f"at step {self.step}" if self.step >= 0 else f"after {self.time:.3f} s"
        return f"{self.name} {when}{after}"


@dataclass(slots=True)
class Work:
    """What the user did."""

    presses: list[int] = field(default_factory=list)
    written: bytearray = field(default_factory=bytearray)
    held: dict[int, None] = field(default_factory=dict)


TARGETS: dict[str, Callable[[SpiceConfig], SpiceConfig]] = {
    "alike": lambda config: config,
    "without seamless": lambda config: replace(config, accepts_seamless=False),
    "without sound and cursor": lambda config: replace(config, channels=config.channels[:2] + config.channels[-1:]),
    "with another ticket": lambda config: replace(config, password="another"),
}
"""Name of a difference to what it makes of the source's configuration."""


def drawn(seed: int) -> Situation:
    """A situation at random: networks from good to bad, machines from quick to slow, mostly seamless."""
    random = Random(seed)
    latency = random.choice((0.0002, 0.001, 0.01, 0.05))
    largest_piece = random.choice((40, 1500, 20000))
    return Situation(
        seed,
        random.choice(("seamless", "seamless", "seamless", "semi-seamless", "switch-host")),
        random.choice(("alike",) * 6 + tuple(TARGETS)),
        random.choice((1, 1, 1, 2, 3)),
        Conditions(latency, latency * random.random(), random.choice((1, 40)), largest_piece),
        MachineTimes(
            random.uniform(0.05, 1.5), random.uniform(0, 0.016), random.uniform(0.002, 0.05), random.uniform(0.001, 0.2)
        ),
        largest_write=random.choice((40, 2 * largest_piece, 4 * largest_piece)),
        key_interval=random.choice((0.02, 0.06, 0.1)),
        write_interval=random.choice((0.01, 0.05, 0.1)),
    )


class World:
    """Builds a situation and runs it. `violations` is what must not have happened, in sentences."""

    def __init__(self, situation: Situation, fault: Fault | None = None) -> None:
        prepare()
        self.situation = situation
        self.fault = fault
        self.violations: list[str] = []
        self.charges: list[str] = []
        """What may have cost bytes or keys: faults, and a scheme that carries no state."""
        self.last_link: float | None = None
        """When the present target's last channel was linked before the machine moved."""
        self.resumed_at: float | None = None
        """When the machine has begun to run at the present target."""
        self.moved_by_others = False
        self.went_wrong: list[tuple[str, State, float]] = []
        """Each fault, in which state it met the conductor, and when."""
        self.clock = VirtualClock(BEGIN)
        self.random = Random(situation.seed)
        self.network: Network = Network(self.clock, self.random, situation.conditions)
        self.guest = ModelGuest()
        self.work = Work()
        self._sink = MemorySink()
        self._trace = Trace("conductor", lambda: self.clock.now, self._sink)
        self._machines: dict[str, ModelQemu] = {}
        seamless = situation.scheme == "seamless"
        self._config = SpiceConfig(seamless=seamless, password="ticket")
        self.qemus = [self._qemu(self._config, incoming=False)]
        schemes = ("switch-host",) if situation.scheme == "switch-host" else SCHEMES
        self.session = ClientSession(Address(*self.qemus[0].address), schemes=schemes)
        self.client = ClientDriver(self.session, self.network, self._trace.for_party("client"), "ticket", self._look)
        self.conductors: list[ConductorDriver] = []
        self._prepare_hop()
        if situation.scheme != "seamless":
            self.charges.append(f"the scheme is {situation.scheme}")
        if situation.targets != "alike":
            self.charges.append(f"a target {situation.targets}")

    def _qemu(self, config: SpiceConfig, *, incoming: bool) -> ModelQemu:
        number = len(self.qemus) if incoming else 0
        qemu = ModelQemu(
            f"host {number}",
            (HOST, FIRST_PORT + number),
            self.network,
            self.random,
            self.guest,
            config,
            self.situation.times,
            self._machines,
            incoming=incoming,
        )
        qemu.listeners.append(lambda event, data: self._check_machines())
        qemu.on_death.append(lambda why: self._check_machines())
        return qemu

    def _prepare_hop(self) -> None:
        """Start the next target, and a conductor for the way there."""
        self.qemus.append(self._qemu(TARGETS[self.situation.targets](self._config), incoming=True))
        self.last_link = self.resumed_at = None
        self.target.listeners.append(partial(self._target_said, self.target))
        plan = Plan(
            seamless=self._config.seamless,
            ticket="ticket",
            keep_source=self.situation.keep_source,
            require_links=self.situation.require_links,
            time_limit=self.situation.time_limit,
        )
        source, target = ManagedQemu(self.source), ManagedQemu(self.target)
        checked, latency = self._check_conductor, self.situation.qmp_latency
        self.conductors.append(ConductorDriver(plan, source, target, self.network, self._trace, checked, latency))

    def _target_said(self, target: ModelQemu, event: str, data: Mapping[str, object]) -> None:
        if event == "SPICE_INITIALIZED" and target is self.target and not self.conductor.machine.memory.linked:
            self.last_link = self.clock.now
        if event == "RESUME" and target is self.target:
            self.resumed_at = self.clock.now

    def _hop_on(self) -> None:
        """Once a migration has gone well, the next one may follow."""
        result = self.conductor.result
        if result is not None and result.outcome is Outcome.MOVED and len(self.conductors) < self.situation.hops:
            self._prepare_hop()
            self.clock.after(0.2, self.conductor.start)

    @property
    def source(self) -> ModelQemu:
        """The QEMU that the present migration leaves."""
        return self.qemus[-2]

    @property
    def target(self) -> ModelQemu:
        """The QEMU that the present migration goes to."""
        return self.qemus[-1]

    @property
    def conductor(self) -> ConductorDriver:
        """The present migration's conductor."""
        return self.conductors[-1]

    @property
    def undisturbed(self) -> bool:
        """Whether nothing goes wrong, and the conductor has all the time that it wants."""
        return self.fault is None and self.situation.time_limit == Plan().time_limit

    @property
    def records(self) -> list[Record]:
        """The run's timeline."""
        return self._sink.records

    # -- running ------------------------------------------------------------------------------------------------

    def run(self) -> World:
        """Run until everything has come to rest, or must have."""
        first = self.fault
        then = first.then if first is not None else None
        with (
            awaited(first.moment if first is not None else None, partial(self._goes_wrong_soon, first)),
            awaited(then.moment if then is not None else None, partial(self._goes_wrong_soon, then), self._went_wrong),
        ):
            self._run()
        self._check_machines()  # a process that was dead already can still abort
        return self

    def _run(self) -> None:
        self.client.start()
        self.clock.after(0.6, self._begin_work)
        self.clock.after(1.2 + self.random.random() * 0.3, self.conductor.start)
        if self.fault is not None and self.fault.step < 0 and self.fault.moment is None:
            self.clock.after(self.fault.time, partial(self._go_wrong, self.fault))
        clock, fault, hops = self.clock, self.fault, self.situation.hops
        limit = clock.now + TIME_LIMIT
        hurried = 0
        while (coming := clock.next_time) is not None and coming <= limit:
            if fault is not None and clock.steps == fault.step >= 0:
                self._go_wrong(fault)
            before = clock.now
            clock.step()
            if len(self.conductors) < hops:
                self._hop_on()
            hurried = hurried + 1 if clock.now == before else 0
            if hurried > MOST_AT_ONCE:
                self._violated(f"something is done over and over at {clock.now - BEGIN:.6f} s")
                return
            if len(self.violations) > MOST_VIOLATIONS:
                return
        if clock.next_time is not None:
            self.violations.append(f"something still goes on after {TIME_LIMIT:g} s")

    def _went_wrong(self) -> bool:
        return self.fault is not None and self.fault.name in self.charges

    def _goes_wrong_soon(self, fault: Fault | None, wait: float) -> None:
        if fault is not None:
            self.clock.after(wait, partial(self._go_wrong, fault))

    def _go_wrong(self, fault: Fault) -> None:
        self._trace.for_party("fault").record(f"fault.{fault.name.replace(' ', '-')}")
        self.charges.append(fault.name)
        self.went_wrong.append((fault.name, self.conductor.machine.state, self.clock.now))
        (FAULTS | OUT_OF_TURN)[fault.name](self)

    def _begin_work(self) -> None:
        self._press()
        self._write()

    @property
    def _works(self) -> bool:
        return self.clock.now < BEGIN + 0.6 + self.situation.work and not self.session.ended

    def _press(self) -> None:
        inputs = self.session.inputs
        if not self._works or inputs is None:
            self._release_all()
            return
        code = CODES[len(self.work.presses) % len(CODES)]
        self.work.presses.append(code)
        self.work.held[code] = None
        inputs.key_down(code)
        self.client.pump()
        self.clock.after(self.situation.key_interval * self.random.uniform(0.2, 0.8), lambda: self._release(code))
        self.clock.after(self.situation.key_interval, self._press)

    def _release(self, code: int) -> None:
        if code in self.work.held and self.session.inputs is not None and not self.session.ended:
            del self.work.held[code]
            self.session.inputs.key_up(code)
            self.client.pump()

    def _release_all(self) -> None:
        for code in tuple(self.work.held):
            self._release(code)

    def _write(self) -> None:
        port = self.session.channels.get(PORT_KEY)
        if not self._works:
            return
        if isinstance(port, VmcChannel) and not self.session.ended:
            data = self.random.randbytes(self.random.randint(1, self.situation.largest_write))
            self.work.written += data
            port.write(data)
            self.client.pump()
        self.clock.after(self.situation.write_interval, self._write)

    # -- what must hold at every moment -------------------------------------------------------------------------

    def _look(self, deadline: float | None) -> None:
        if deadline is None and self.session.state in _MUST_END:
            self._violated(f"the client waits in {self.session.state.value} without a deadline")

    def _check_conductor(self) -> None:
        """Called when the conductor has done something."""
        conductor = self.conductor
        if conductor.begun and conductor.result is None and conductor.machine.next_deadline() is None:
            self._violated(f"the conductor waits in {conductor.machine.state.value} without a deadline")

    def _check_machines(self) -> None:
        """Called when a QEMU has said something, as each does when its machine begins to run, or has died."""
        running = 0
        for qemu in self.qemus:
            running += qemu.runs
            if running > 1:
                self._violated("the machine runs at two hosts")
            if qemu.spice.aborted:
                self._violated(f"{qemu.name} aborted: {qemu.spice.aborted}")

    def _violated(self, sentence: str) -> None:
        if sentence not in self.violations:
            self.violations.append(sentence)

    # -- what may go wrong --------------------------------------------------------------------------------------

    def cut(self, kind: int, server: ModelQemu) -> None:
        """The network drops a channel's connection to a server."""
        for client in server.spice.clients:
            for key, channel in tuple(client.channels.items()):
                if key[0] == kind:
                    channel.end.connection.reset("the network dropped the connection")

    def fade(self, kind: int, server: ModelQemu) -> None:
        """The network carries nothing more on a channel's connection to a server, and gives up much later."""
        for client in server.spice.clients:
            for key, channel in client.channels.items():
                if key[0] == kind:
                    channel.end.connection.die_silently(20, 20)

    def stall_channel(self, kind: int, server: ModelQemu, seconds: float) -> None:
        """Nothing arrives on a channel's connection to a server for a while."""
        for client in server.spice.clients:
            for key, channel in client.channels.items():
                if key[0] == kind:
                    channel.end.connection.stall(seconds)

    def stall(self, seconds: float) -> None:
        """Nothing arrives on one connection for a while."""
        alive = [one for one in self.network.connections if not one.gone and not one.near.closed]
        if alive:
            self.random.choice(alive).stall(seconds)

    def say(self, message: Message) -> None:
        """The source says something on its main channel, whenever that is."""
        for client in self.source.spice.clients:
            client.tell(message)

    def begin_message(self) -> Message:
        """What tells clients of the target."""
        host, port = self.target.address[0].encode(), self.target.address[1]
        if self.situation.scheme == "seamless":
            return main.MigrateBeginSeamless(port, 0, host)
        return main.MigrateBegin(port, 0, host)

    def tell_again(self) -> None:
        """Management tells the clients once more where to go."""
        self.source.spice.migrate_connect(*self.target.address)


_MUST_END = frozenset(
    {ClientState.LINKING_TARGET, ClientState.SWITCHING, ClientState.AWAITING_TARGET_INIT, ClientState.SWITCHING_HOST}
)
"""States that a client may not stay in for ever; in the others the session works."""


def steps_of(situation: Situation) -> int:
    """How many steps the situation has without a fault."""
    return World(situation).run().clock.steps


def with_scheme(situation: Situation, scheme: str) -> Situation:
    """The same situation, another scheme."""
    return replace(situation, scheme=scheme)
