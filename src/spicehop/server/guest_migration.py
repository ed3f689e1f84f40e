"""Moves a server's guest to another server, or takes one in, with QEMU's semantics (dossier C7).

Two servers know nothing of each other but the connection on which the guest goes, so that it may be trusted as far as
that connection: as with QEMU's, `tcp:` is for a network in which nobody else listens or connects.

Where this differs from QEMU: a target whose guest could not be taken in goes on waiting, and the way back is always
used.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from spicehop.errors import ConnectError, OperationError, SpicehopError
from spicehop.migration.arrival import Arrival
from spicehop.migration.departure import Departure
from spicehop.migration.guest_moves import CancelRequested, ConnectionEnded, ContinueRequested, MoveSettings
from spicehop.migration.leaving import ClientTarget
from spicehop.server.client_handover import ClientHandover
from spicehop.server.control_migration import CAPABILITIES
from spicehop.server.control_target import ControlEvent
from spicehop.server.guest_mover import GuestMover
from spicehop.server.held_keys import Held, held_by
from spicehop.server.left_behind import take_leftovers, with_leftovers
from spicehop.server.private_socket import PrivateSocket, system_reason
from spicehop.server.run_state import RunAction, RunInput, RunState, RunStates
from spicehop.server.server import SpiceServer
from spicehop.server.uri import Address, parse_uri

IN_PROGRESS = frozenset({"setup", "active", "pre-switchover", "device", "cancelling"})


@runtime_checkable
class Drafting(Protocol):
    """A guest that can tell its state while it runs, so that most of it goes ahead."""

    def draft(self) -> bytes:
        """Its state as of now; what becomes of it later is not in it."""


class GuestMigration:
    """Implements `MigrationControl`, and keeps the guest's run state. `tell` gets every event."""

    def __init__(
        self,
        server: SpiceServer,
        tell: Callable[[ControlEvent], None],
        *,
        incoming: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.run_states = RunStates(RunState.INMIGRATE if incoming else RunState.PRELAUNCH)
        self.settings = MoveSettings()
        self.handover = ClientHandover(server, tell, wall_clock)
        self._server = server
        self._tell_all = tell
        self._incoming = incoming
        if incoming:
            server.input_gate.close()
        self._capabilities = dict.fromkeys(CAPABILITIES, False)
        self._held: Held = {}
        """What clients held down in the guest when it stopped."""
        self._leaving: GuestMover | None = None
        self._coming: GuestMover | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None
        self._opening = False
        self._place: PrivateSocket | None = None
        self._addresses: list[dict[str, object]] = []

    # -- management ---------------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """QMP's run state."""
        self.run_states.notice(running=self._server.guest.running)
        return self.run_states.state.value

    def run(self) -> None:
        """Management wants the guest to run; `OperationError` while it is about to leave."""
        self._step(RunInput.CONT)

    def stop(self) -> None:
        """Management wants the guest to stand still."""
        self._step(RunInput.STOP)

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """By name, all there are."""
        return self._capabilities

    def change_capabilities(self, wanted: Mapping[str, bool]) -> None:
        """Switch these; not while a guest moves."""
        if self._is_moving:
            raise OperationError("There's a migration process in progress")
        self._capabilities.update(wanted)

    def change_settings(self, settings: MoveSettings) -> None:
        """Take them from now on, in a migration that is under way too."""
        self.settings = settings
        if self._leaving is not None and isinstance(self._leaving.machine, Departure):
            self._leaving.machine.settings = self._settings()

    def name_client_target(self, target: ClientTarget) -> None:
        """Where clients are sent when the guest has moved; counts for the next migration.

        `OperationError` while clients are on their way after a guest that has moved.
        """
        if self.handover.guest_is_gone:
            raise OperationError("The guest has moved, and its clients are on their way")
        self.handover.begin(target)

    def announce_clients(self, connection_ids: Sequence[int]) -> None:
        """Which clients will come from another server; takes the place of what was announced before."""
        self._server.expected.announce(connection_ids)

    def describe(self) -> Mapping[str, object]:
        """What query-migrate answers."""
        answer: dict[str, object] = {}
        if self._addresses:
            answer["socket-address"] = self._addresses
        if self._coming is not None:
            answer |= _failure(self._coming)
        leaving = self._leaving
        if leaving is not None and isinstance(leaving.machine, Departure):
            answer |= _failure(leaving)
            if leaving.status not in ("setup", "failed", "cancelled"):
                answer |= _figures(leaving.machine, self._server.clock())
        return answer

    def migrate(self, uri: str) -> None:
        """Begin to send the guest there; what becomes of it is told by events and by `describe`."""
        if self.status == "inmigrate":
            raise OperationError("Guest is waiting for an incoming migration")
        if self.status == "postmigrate":
            raise OperationError("Can't migrate the vm that was paused due to previous migration")
        if self._is_moving:
            raise OperationError("There's a migration process in progress")
        address = parse_uri(uri, "Parameter 'uri' expects a valid migration protocol")
        mover = GuestMover(
            Departure(self._server.guest.name, self._settings(), self._server.clock()), self, self._server.clock
        )
        self._leaving = mover
        mover.begin()
        self._connecting = asyncio.get_running_loop().create_task(_connect(mover, address))

    async def await_guest(self, uri: str) -> None:
        """Wait for a guest there. A guest that could not be taken in does not end that."""
        if not self._incoming:
            raise OperationError("'-incoming' was not specified on the command line")
        if self._listener is not None or self._opening or self.status != "inmigrate":
            raise OperationError("The incoming migration has already been started")
        address = parse_uri(uri, f"unknown migration protocol: {uri}")
        self._opening = True
        try:
            self._listener, self._place = await _listen(self._accept, address)
        finally:
            self._opening = False
        self._addresses = [_described(one) for one in self._listener.sockets]
        self._announce("setup")

    def cancel(self) -> None:
        """Keep the guest, if it has not gone."""
        if self._leaving is not None and self._is_moving:
            if self._connecting is not None:
                self._connecting.cancel()
            self._leaving.feed(CancelRequested())

    def go_on(self, status: str) -> None:
        """Go on from the status `pre-switchover`."""
        now = self._leaving.status if self._leaving is not None else "none"
        if status != now or status != "pre-switchover" or self._leaving is None:
            raise OperationError(f"Migration not in expected state: {now}")
        self._leaving.feed(ContinueRequested(self._state()))

    async def close(self) -> None:
        """The server ends: nothing moves any more."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        for mover in (self._leaving, self._coming):
            if mover is not None:
                mover.close()
        self._close_listener()

    # -- for movers ---------------------------------------------------------------------------------------------------

    def draft(self) -> bytes:
        """Part of `GuestKeeper`."""
        guest = self._server.guest
        return guest.draft() if isinstance(guest, Drafting) else b""

    def stand(self) -> tuple[bytes, bool]:
        """Part of `GuestKeeper`."""
        ran = self._server.guest.running
        self._server.input_gate.close()
        self._step(RunInput.SWITCH_OVER)
        self._held = {**self._server.arrivals.held.awaited, **held_by(self._server.sessions)}
        state = self._state()
        if not self._capabilities["pause-before-switchover"]:
            # Behind what is sent of the guest, for which the clients wait.
            asyncio.get_running_loop().call_soon(self.handover.switch_over)
        return state, ran

    def let_run_again(self, *, ran: bool) -> None:
        """Part of `GuestKeeper`."""
        self._step(RunInput.STAYS_RUNNING if ran else RunInput.STAYS_STILL)
        if not ran:
            self._server.input_gate.open()

    def let_go(self) -> None:
        """Part of `GuestKeeper`."""
        self._step(RunInput.MOVED)
        self._server.arrivals.guest_went()

    def load(self, state: bytes) -> str:
        """Part of `GuestKeeper`."""
        try:
            server = self._server
            server.guest.load(take_leftovers(state, server.devices, server.input_gate, server.arrivals.held))
        except SpicehopError as error:
            return str(error)
        self._server.agent.guest_came()
        self._server.wake()
        return ""

    def run_arrived(self, *, ran: bool) -> None:
        """Part of `GuestKeeper`."""
        runs = ran and self.run_states.will_run
        self._step(RunInput.CAME_RUNNING if runs else RunInput.CAME_STILL)
        self._server.arrivals.guest_came()

    def stand_still(self) -> None:
        """Part of `GuestKeeper`."""
        self._server.input_gate.close()  # it will run again, here or at the source
        self._step(RunInput.IN_DOUBT)

    def status_changed(self, mover: GuestMover, status: str) -> None:
        """Part of `GuestKeeper`."""
        self._announce(status)
        if mover is self._coming:
            if status == "active":
                self._server.arrivals.guest_comes()
            if status == "completed" or (status == "failed" and self.status != "inmigrate"):
                self._close_listener()  # a guest is here
        elif status == "device":
            self.handover.switch_over()
        elif status == "completed":
            self.handover.guest_moved()
        elif status in ("failed", "cancelled"):
            self.handover.guest_stays()

    # -- inner things -------------------------------------------------------------------------------------------------

    def _state(self) -> bytes:
        """The guest's, which stands still, and what goes with it."""
        server = self._server
        # What a client held that has ended meanwhile is among what it has left.
        awaited = server.arrivals.held.awaited
        here = {session.connection_id for session in server.sessions} | awaited.keys()
        return with_leftovers(
            server.guest.save(),
            server.devices,
            server.input_gate,
            {one: releases for one, releases in self._held.items() if one in here},
        )

    @property
    def _is_moving(self) -> bool:
        movers = (self._leaving, self._coming)
        return any(mover is not None and not mover.machine.over for mover in movers)

    def _settings(self) -> MoveSettings:
        settings = self.settings
        pause = self._capabilities["pause-before-switchover"]
        return MoveSettings(settings.max_bandwidth, settings.downtime_limit, pause_before_switchover=pause)

    def _step(self, happened: RunInput) -> None:
        self.run_states.notice(running=self._server.guest.running)
        match self.run_states.step(happened):
            case RunAction.RUN:
                self._server.run_guest()
                self._tell_all(ControlEvent("RESUME"))
            case RunAction.STOP:
                self._server.stop_guest()
                self._tell_all(ControlEvent("STOP"))
            case _:
                pass

    def _announce(self, status: str) -> None:
        if self._capabilities["events"]:
            self._tell_all(ControlEvent("MIGRATION", {"status": status}))

    def _accept(self) -> asyncio.Protocol:
        if self._is_moving or self.status != "inmigrate":
            return _Refused()
        mover = GuestMover(Arrival(self._server.guest.name, self._server.clock()), self, self._server.clock)
        self._coming = mover
        return mover

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._place is not None:
            self._place.remove()
        self._listener = self._place = None
        self._addresses = []


class _Refused(asyncio.Protocol):
    """A connection that is of no use now."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _connect(mover: GuestMover, address: Address) -> None:
    loop = asyncio.get_running_loop()
    try:
        if isinstance(address, Path):
            where = str(address)
            await loop.create_unix_connection(lambda: mover, where)
        else:
            where = f"{address[0]}:{address[1]}"
            await loop.create_connection(lambda: mover, address[0] or "127.0.0.1", address[1])
    except OSError as error:
        mover.feed(ConnectionEnded(f"Failed to connect to '{where}': {system_reason(error)}", closed=True))
    except UnicodeError:
        mover.feed(ConnectionEnded(f"Failed to connect to '{where}': this is no host's name", closed=True))


async def _listen(
    accept: Callable[[], asyncio.Protocol], address: Address
) -> tuple[asyncio.Server, PrivateSocket | None]:
    loop = asyncio.get_running_loop()
    if isinstance(address, Path):
        place = PrivateSocket(address)
        return await loop.create_unix_server(accept, sock=place.bind()), place
    try:
        return await loop.create_server(accept, address[0] or None, address[1]), None
    except UnicodeError:
        raise ConnectError(f"Failed to listen at '{address[0]}:{address[1]}': this is no host's name") from None
    except OSError as error:
        raise ConnectError(f"Failed to listen at '{address[0]}:{address[1]}': {system_reason(error)}") from None


def _described(listening: socket.socket) -> dict[str, object]:
    """An address as query-migrate lists it."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return {"type": "unix", "path": name}
    family = "ipv6" if listening.family == socket.AF_INET6 else "ipv4"
    return {"type": "inet", "host": name[0], "port": str(name[1]), family: True}


def _failure(mover: GuestMover) -> dict[str, object]:
    if mover.status == "none":
        return {}
    answer: dict[str, object] = {"status": mover.status}
    if mover.status == "failed":
        answer["error-desc"] = mover.machine.error
    return answer


def _figures(machine: Departure, now: float) -> dict[str, object]:
    """The numbers of a migration, in QEMU's form: milliseconds, bytes, pages."""
    figures = machine.figures
    end = figures.finished if figures.finished is not None else now
    seconds = end - figures.began
    page = 4096
    answer: dict[str, object] = {
        "total-time": round(seconds * 1000),
        "setup-time": round(((figures.connected or figures.began) - figures.began) * 1000),
        "ram": {
            "total": figures.total,
            "remaining": max(0, figures.remaining),
            "transferred": figures.transferred,
            "normal": figures.pages,
            "normal-bytes": figures.pages * page,
            "page-size": page,
            "dirty-sync-count": figures.passes,
            "mbps": round(figures.transferred * 8 / seconds / 1e6, 3) if seconds > 0 else 0,
        },
    }
    if figures.finished is None:
        answer["expected-downtime"] = machine.settings.downtime_limit
    elif figures.stopped is not None:
        answer["downtime"] = round((figures.finished - figures.stopped) * 1000)
    return answer
