"""Our server as a process of a simulation: all of it but sockets, TLS and RSA, on a `ProcessLoop`.

It is `simulator.hosts.MakeHost`. What `spicehop serve` does in `server.running` is done here in the same order.
"""

from __future__ import annotations

from asyncio import Task
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache, partial
from socket import socket
from typing import cast

from spicehop.demo.simulated_guest import SimulatedGuest
from spicehop.errors import OperationError, SpicehopError, StateError
from spicehop.migration.leaving_table import LeavingState
from spicehop.server import ServerOptions, SpiceServer
from spicehop.server.arrivals import ArrivalDesk
from spicehop.server.control import ControlRequest
from spicehop.server.control_bridge import ServerControl
from spicehop.server.control_commands import Commands
from spicehop.server.control_target import ControlEvent
from spicehop.server.direct_link import DirectLinkDoor
from spicehop.server.direct_link_keeper import TAKEN, UNKNOWN_URI, DirectLinkKeeper
from spicehop.server.link_identity import LinkIdentity, PeerCertificate
from spicehop.server.session_link import SessionLink
from spicehop.server.tickets import TicketKey
from spicehop.server.uri import Address, format_uri, parse_uri
from spicehop.simulator.hosts import HostSetup
from spicehop.simulator.loop import EndTransport, ProcessLoop
from spicehop.simulator.network import End
from spicehop.wire.direct_link import Side


@cache
def _key() -> TicketKey:
    """One for all: nobody needs a password here, and making one takes long."""
    return TicketKey()


@cache
def _identity() -> LinkIdentity:
    """Nobody shows it."""
    return LinkIdentity()


class SimulatedServer:
    """A `SpiceServer` with its guest and its control commands; a `simulator.hosts.Host`."""

    def __init__(self, setup: HostSetup) -> None:
        self.name = setup.name
        self.address = setup.address
        self.loop = ProcessLoop(setup.name, setup.network)  # type: ignore[abstract]
        self.death = ""
        self.listeners: list[Callable[[str, Mapping[str, object]], None]] = []
        self.on_death: list[Callable[[str], None]] = []
        self.guest = SimulatedGuest(
            offer_seconds=setup.offer_seconds,
            text_size=setup.text_size,
            works_until=setup.works_until,
            changed=setup.changed,
        )
        self.loop.on_fault = setup.changed
        self._setup = setup
        self.loop.call(self._make)
        self.loop.run(self._serve(), self._ended)

    def _make(self) -> None:
        setup = self._setup
        clock = self.loop.time
        options = ServerOptions(
            host=setup.address[0],
            port=setup.address[1],
            run_guest=not setup.incoming,
            compression="lz",
            frames_per_second=20,
            net_test_bytes=setup.net_test_bytes,
            seamless_migration=setup.seamless,
            accept_unannounced=setup.accepts_unannounced,
        )
        self.server = server = SpiceServer(self.guest, options, trace=setup.trace, clock=clock)
        server._keys._shared = _key()
        server.rehearse = lambda *, again=False: None  # type: ignore[method-assign]  # real processors' time
        server.sessions.random_bits = setup.network.random.getrandbits
        server.arrivals = ArrivalDesk(server, clock)
        self.control = control = ServerControl(server, wall_clock=clock, trace=setup.trace, incoming=setup.incoming)
        control.direct_link = _SocketlessKeeper(self.loop, lambda: self.guest.name, clock, setup)
        SessionLink(control.direct_link, leaving=control.migration.handover, arriving=server.arrivals)
        control.listen(self._tell)
        self._commands = Commands(control, _Surroundings(clock))

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.server)
            stack.push_async_callback(self.control.direct_link.close, "the server ends")
            stack.push_async_callback(self.control.migration.close)
            try:
                await self.control.wait_ended()
            except GeneratorExit:  # it was killed, and the simulation is over
                stack.pop_all()
                raise

    def _ended(self, task: Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.loop.call_exception_handler({"message": "the server failed", "exception": error})
        self.die("quit")

    def _tell(self, event: ControlEvent) -> None:
        for listener in tuple(self.listeners):
            listener(event.name, event.data or {})

    # -- for the simulator --------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.loop.alive

    @property
    def runs(self) -> bool:
        """Whether the guest runs here."""
        return self.alive and self.guest.running

    def perform(self, command: str, arguments: Mapping[str, object], answered: Callable[[object], None]) -> None:
        """Do a control command; `answered` gets what it returns, or the `SpicehopError` that refuses it."""
        request = ControlRequest(command, arguments, {})
        self.loop.run(self._commands.perform(request), partial(self._performed, answered))

    def _performed(self, answered: Callable[[object], None], task: Task[object]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            answered(task.result())
        elif isinstance(error, SpicehopError) and not isinstance(error, StateError):
            answered(error)
        else:
            self.loop.call_exception_handler({"message": "a command failed", "exception": error})
            answered(OperationError(str(error)))

    def die(self, why: str) -> None:
        """The process ends."""
        if self.alive:
            self.death = why
            self.loop.kill()
            self._setup.changed()
            for told in tuple(self.on_death):
                told(why)

    def unfinished(self) -> list[str]:
        """What is still under way, in words; nothing when the server is at rest."""
        handover, migration = self.control.migration.handover, self.control.migration
        # Clients that are linked wait for management, and work here meanwhile.
        ready = (LeavingState.LINKED, LeavingState.LINKED_SEAMLESS, LeavingState.UNLINKED)
        waits = handover.target is not None
        leaving = [one.state for one in handover._leaving.values() if not (waits and one.state in ready)]
        found = [f"a client is {state.value}" for state in leaving]
        found += ["a client waits for an offer's answer" for _ in handover._offered]
        found += ["a client is to follow the guest" for _ in handover._stragglers]
        for mover in (migration._leaving, migration._coming):
            if mover is not None and not mover.machine.over:
                found.append(f"the guest's {type(mover.machine).__name__.lower()} is {mover.machine.state.value}")
        for session in self.server.sessions:
            if session.arriving and session.arrival is not None and self.guest.running:
                found.append(f"a client that comes is {session.arrival.state.value}")
            if session.standing:
                found.append("a session stands still")
        if self.server.input_gate._held and self.guest.running:
            found.append(f"{len(self.server.input_gate._held)} events of input are held from a guest that runs")
        return found

    def failures(self) -> list[str]:
        """What tasks have raised that only a fault of ours raises; nobody may have asked them."""
        errors = [one.exception() for one in tuple(self.loop.tasks) if one.done() and not one.cancelled()]
        return [f"a task has failed: {error}" for error in errors if isinstance(error, StateError)]

    def kept(self) -> int:
        """Things that the server keeps for clients: events, messages, sessions."""
        held = len(self.server.input_gate._held)
        queued = sum(machine.bytes_queued for session in self.server.sessions for machine in session.machines())
        return held * 16 + queued

    def coming(self) -> dict[int, str]:
        """Clients on their way here."""
        sessions = [one for one in self.server.sessions if one.arrival is not None and not one.ended]
        return {one.number: one.arrival.state.value for one in sessions if one.arrival is not None}

    def ends(self, kind: int) -> list[End]:
        """The connections of that kind of channel."""
        found = []
        for session in self.server.sessions:
            for served in (*session.channels.values(), *session.parked.values()):
                transport = served.stream._transport
                if served.key[0] == kind and isinstance(transport, EndTransport):
                    found.append(transport.end)
        return found


class _Surroundings:
    """What commands need of the control socket's shell."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.wall_clock = clock

    def press(self, numbers: list[int], hold: float) -> None:
        """Nobody types here by the control socket."""


class _SocketlessDoor(DirectLinkDoor):
    """Listens in the model network."""

    def __init__(self, loop: ProcessLoop, name: str, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        super().__init__(name, clock, _identity(), changed)
        self._loop = loop
        self.knows_source = True

    @property
    def _knows_source(self) -> bool:
        return self.knows_source  # as if by its certificate

    async def open(self, address: Address, certificate: PeerCertificate | None = None) -> Address:
        """Listen there; there are no certificates."""
        self._address = address
        self._loop.listen_at(str(address), self._come)
        return address

    async def close(self, reason: str) -> None:
        self._loop.close_door((str(self._address), 0))
        await super().close(reason)

    def _come(self, end: End) -> None:
        task = self._loop.create_task(self._let_in(cast(socket, end), ""))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)


class _SocketlessKeeper(DirectLinkKeeper):
    """The keeper, with a door in the model network."""

    def __init__(
        self, loop: ProcessLoop, name: Callable[[], str], clock: Callable[[], float], setup: HostSetup
    ) -> None:
        super().__init__(name, clock, trace=setup.trace)
        self._made_identity = _identity()
        self._loop = loop
        self._knows_source = setup.knows_source

    async def listen(self, address: str, certificate: str | None) -> str:
        """Be the target."""
        if self._end is not None:
            raise OperationError(TAKEN)
        self._side = Side.TARGET
        self._end = door = _SocketlessDoor(self._loop, self._name(), self._clock, self._noticed)
        door.refused = self._refused
        door.knows_source = self._knows_source
        return format_uri(await door.open(parse_uri(address, UNKNOWN_URI)))
