"""Moves between two `spicehop serve` that go wrong, or are hurried, under stock and own clients at work.

What is lost is counted by the guest's own log, as in test_serve_seamless.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from moving_load import (
    F7,
    FIRST_CODES,
    SECOND_CODES,
    SECOND_HELD,
    GtkWorker,
    OwnWorker,
    PourPlan,
    Worker,
    assert_shows_the_guest,
    frozen,
    settle,
    tap,
)
from waiting import until

import spicehop
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.moving_servers import Monitor, Move, MovingServers
from spicehop.demo.serial import read_serial

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
Report = Callable[[str, object], None]
CARRIERS = pytest.mark.parametrize("carrier", ["client", "direct"])
POUR = PourPlan(rate=500_000, piece=10_000)


class Crew:
    """Servers, and clients at work there."""

    def __init__(self, servers: MovingServers, folder: Path, start: StartGtkClient, stack: AsyncExitStack) -> None:
        self.servers = servers
        self.workers: list[Worker] = []
        self._folder = folder
        self._start = start
        self._stack = stack

    async def join(self, kind: str) -> Worker:
        """A client comes where the guest is, and works; the first pours into the port."""
        first, port = not self.workers, self.servers.here.port or 0
        mine = (FIRST_CODES,) if first else (SECOND_CODES, SECOND_HELD)
        worker: Worker
        if kind == "own":
            session = await self._stack.enter_async_context(spicehop.connect(f"spice://127.0.0.1:{port}"))
            worker = OwnWorker(session, *mine)
        else:
            client = await self._start(port, name=f"gtk-{len(self.workers)}")
            await client.wait_event("channel-event", kind="InputsChannel", what="opened")
            await client.wait_event("mark")
            await client.wait_event("agent", connected=True)
            if first:
                await client.wait_event("port", opened=True)
            worker = GtkWorker(client, self._folder, *mine)
        await asyncio.sleep(0.3)
        self.workers.append(worker)
        worker.begin(POUR if first else None)
        return worker

    async def begin_move(self, *, pause: bool, uri: str | None = None) -> Monitor:
        """`migrate`, up to where the guest stands still when it pauses there."""
        monitor = self.servers.here.monitor
        wanted = {"events": True, "pause-before-switchover": pause}
        listed = [{"capability": name, "state": state} for name, state in wanted.items()]
        await monitor.ask("migrate-set-capabilities", capabilities=listed)
        await monitor.ask("migrate", uri=uri or self.servers.next.uri)
        if pause:
            await monitor.event("MIGRATION", status="pre-switchover")
        return monitor

    def assert_moved(self, move: Move, carrier: str) -> None:
        """All of them, seamlessly."""
        assert move.outcomes == [("seamless", carrier, "moved")] * len(self.workers), move.clients


@asynccontextmanager
async def crew_at_work(folder: Path, start: StartGtkClient, carrier: str, *kinds: str) -> AsyncIterator[Crew]:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(MovingServers(folder, carrier=carrier))
        crew = Crew(servers, folder, start, stack)
        for kind in kinds:
            await crew.join(kind)
        await asyncio.sleep(0.3)
        yield crew


def forget(monitor: Monitor, workers: Sequence[Worker]) -> None:
    """What has been told of the move that was called off, so that the same can be awaited again."""
    monitor.events.clear()
    for worker in workers:
        if isinstance(worker, OwnWorker):
            assert len(worker.session.aborted_migrations) == 1
            worker.session.aborted_migrations.clear()


@CARRIERS
@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_cancelled_before_and_in_the_pause_and_then_moved(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, kind: str
) -> None:
    """The client links two targets in vain, the second time the guest has stood still already; the third is it."""
    async with crew_at_work(tmp_path, start_gtk_client, carrier, kind) as crew:
        (worker,) = crew.workers
        worker.down(worker.held)
        for paused in (False, True):
            await crew.servers.prepare()
            await crew.servers.invite()
            if paused:
                monitor = await crew.begin_move(pause=True)
                await asyncio.sleep(0.3)
            else:
                # Nobody accepts there, and the guest stays.
                monitor = await crew.begin_move(pause=False, uri=f"unix:{tmp_path / 'nobody'}")
            if paused:
                await monitor.ask("migrate_cancel")
            await monitor.event("MIGRATION", status="cancelled" if paused else "failed")
            await asyncio.sleep(0.3)
            await crew.servers.give_up()
            forget(monitor, crew.workers)
        move = await crew.servers.move()
        report("clients", move.clients)
        crew.assert_moved(move, carrier)
        worker.up(worker.held)
        account = await settle(crew.servers.logs, crew.workers)
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_the_target_dies_while_the_guest_stands_still(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, kind: str
) -> None:
    """The client is linked there. It stays, and goes to the next one; what it typed meanwhile is not lost."""
    async with crew_at_work(tmp_path, start_gtk_client, carrier, kind) as crew:
        await crew.servers.prepare()
        await crew.servers.invite()
        monitor = await crew.begin_move(pause=True)
        await asyncio.sleep(0.3)
        crew.servers.next.server.kill()
        await monitor.event("MIGRATION", status="failed")
        await asyncio.sleep(0.5)
        await crew.servers.give_up()
        forget(monitor, crew.workers)
        move = await crew.servers.move()
        report("clients", move.clients)
        crew.assert_moved(move, carrier)
        account = await settle(crew.servers.logs, crew.workers)
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
@pytest.mark.parametrize("when", ["when it is linked", "while the guest stands still"])
async def test_one_of_two_clients_is_killed(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, when: str
) -> None:
    """The other loses nothing and does not wait; keys that the dead one held are released in the guest."""
    async with crew_at_work(tmp_path, start_gtk_client, carrier, "spice-gtk", "spice-gtk") as crew:
        first, second = crew.workers
        assert isinstance(second, GtkWorker)
        second.down(second.held)
        await asyncio.sleep(0.2)

        async def kill() -> None:
            os.kill(second.client.pid, signal.SIGKILL)

        await crew.servers.prepare()
        await crew.servers.invite(sessions=2)
        if when == "when it is linked":
            await kill()
            move = await crew.servers.go()
        else:
            move = await crew.servers.go(hold=0.5, while_still=kill)
        report("clients", move.clients)
        report("s from completion to the end", f"{move.handed_over_at - move.completed_at:.3f}")
        assert ("seamless", carrier, "moved") in move.outcomes
        assert move.handed_over_at - move.completed_at < 2.0
        await asyncio.sleep(0.5)
        account = await settle(crew.servers.logs, [first])
        report("account", account)
        account.assert_nothing_lost()
        log = read_serial(crew.servers.logs)
        held = [event.value for event in log.keys if event.code == SECOND_HELD and event.value != 2]
        assert held == [1, 0], "the dead client's key is still held"


@CARRIERS
async def test_the_keys_of_a_stuck_client_are_let_go(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str
) -> None:
    """It is stopped by the system before the guest goes, and given up after 10 s; the other one works on."""
    async with crew_at_work(tmp_path, start_gtk_client, carrier, "spice-gtk", "spice-gtk") as crew:
        first, second = crew.workers
        assert isinstance(second, GtkWorker)
        second.down(second.held)
        await asyncio.sleep(0.2)
        await crew.servers.prepare()
        await crew.servers.invite(sessions=2)
        os.kill(second.client.pid, signal.SIGSTOP)
        try:
            move = await crew.servers.go()

            def held() -> list[int]:
                log = read_serial(crew.servers.logs)
                return [event.value for event in log.keys if event.code == SECOND_HELD and event.value != 2]

            await until(lambda: held() == [1, 0], "the stuck client's key is up", timeout=15)
            report("s from RESUME until the key was up", f"{time.monotonic() - move.resumed_at:.1f}")
        finally:
            os.kill(second.client.pid, signal.SIGKILL)
        account = await settle(crew.servers.logs, [first])
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
@pytest.mark.parametrize("when", ["when the target is named", "while the guest stands still"])
async def test_a_client_comes_while_the_guest_goes(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, when: str
) -> None:
    async with crew_at_work(tmp_path, start_gtk_client, carrier, "spice-gtk") as crew:
        await crew.servers.prepare()
        await crew.servers.invite()

        async def come() -> None:
            await crew.join("spice-gtk")

        if when == "when the target is named":
            await come()
            move = await crew.servers.go()
        else:
            move = await crew.servers.go(hold=0.5, while_still=come)
        report("clients", move.clients)
        crew.assert_moved(move, carrier)
        account = await settle(crew.servers.logs, crew.workers)
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
async def test_two_clients_come_at_the_same_moment(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str
) -> None:
    """One has the port and the microphone, and the other is not told of them: refused, they would spoil its move."""
    async with crew_at_work(tmp_path, start_gtk_client, carrier) as crew:
        port = crew.servers.here.port or 0
        clients = await asyncio.gather(*(start_gtk_client(port, name=f"gtk-{number}") for number in range(2)))
        for number, client in enumerate(clients):
            await client.wait_event("channel-event", kind="InputsChannel", what="opened")
            await client.wait_event("mark")
            mine = (SECOND_CODES, SECOND_HELD) if number else (FIRST_CODES,)
            crew.workers.append(GtkWorker(client, tmp_path, *mine))
        await asyncio.sleep(0.5)
        for worker in crew.workers:
            worker.begin(None)
        for _ in range(2):
            move = await crew.servers.move(sessions=2)
            report("clients", move.clients)
            crew.assert_moved(move, carrier)
        told = [event for client in clients for event in client.events if event.get("what", "").startswith("error")]
        assert told == []
        account = await settle(crew.servers.logs, crew.workers)
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
async def test_moves_in_a_hurry(start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str) -> None:
    """Stock and own client together; each move begins as soon as the one before has ended."""
    async with crew_at_work(tmp_path, start_gtk_client, carrier, "spice-gtk", "own") as crew:
        for _ in range(4):
            move = await crew.servers.move(sessions=2)
            crew.assert_moved(move, carrier)
        account = await settle(crew.servers.logs, crew.workers)
        report("account", account)
        account.assert_nothing_lost()
        tap(crew.workers[0], F7)
        await frozen(crew.servers.logs)
        for worker in crew.workers:
            await assert_shows_the_guest(worker, crew.servers.here, tmp_path)


@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_the_direct_link_is_closed_before_the_guest_goes(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, kind: str
) -> None:
    """The client is linked, and its state can still go through it; while the guest stands still likewise."""
    async with crew_at_work(tmp_path, start_gtk_client, "direct", kind) as crew:
        for hold in (None, 0.3):
            await crew.servers.prepare()
            await crew.servers.invite()
            monitor = crew.servers.here.monitor

            async def cut(monitor: Monitor = monitor) -> None:
                await monitor.ask("direct-link-close")
                await asyncio.sleep(0.1)

            if hold is None:
                await cut()
                move = await crew.servers.go()
            else:
                move = await crew.servers.go(hold=hold, while_still=cut)
            report("clients", move.clients)
            crew.assert_moved(move, "client")
        account = await settle(crew.servers.logs, crew.workers)
        report("account", account)
        account.assert_nothing_lost()
