"""`spicehop migrate` between two real QEMUs, with and without spice-gtk clients.

The machines have no guest, only the firmware: what is looked at here is where machine and sessions are in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import QMPClient

import spicehop
from spicehop.conductor import Conductor, Options, migrate
from spicehop.demo.gtk_client import GtkClient
from spicehop.errors import ConnectError
from spicehop.migration.conducting_events import Peer, StepReported
from spicehop.migration.conducting_result import Fate, Outcome, Result
from spicehop.trace import FileSink, MemorySink, Trace

pytestmark = pytest.mark.peers
HOST = "127.0.0.1"
SLOW = 20_000
"""Bytes a second: a machine of 256 MiB then needs long enough to be interrupted."""
StartGtkClient = Callable[..., Awaitable[GtkClient]]
CHANNELS = ("main:0", "display:0", "inputs:0", "cursor:0")


class Firmware:
    """A QEMU with nothing but its firmware; two monitors, one of them for the test itself."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, spice_port: int) -> None:
        self.folder = folder
        self.process = process
        self.spice_port = spice_port
        self.own = QMPClient("test")

    @property
    def qmp(self) -> str:
        return str(self.folder / "qmp")

    async def ask(self, command: str, **arguments: object) -> Any:
        if not self.own.greeting:
            await self.own.connect(str(self.folder / "own"))
        return await self.own.execute(command, arguments or None)

    async def status(self) -> str:
        return str((await self.ask("query-status"))["status"])

    async def channels(self) -> int:
        """How many channels are connected to it."""
        return len((await self.ask("query-spice"))["channels"])

    async def ended(self) -> int:
        async with asyncio.timeout(10):
            return await self.process.wait()


Start = Callable[..., Awaitable[Firmware]]


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait until something is so, 20 seconds at most."""
    for _ in range(400):
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


async def is_moving(qemu: Firmware) -> bool:
    return bool((await qemu.ask("query-migrate")).get("status") == "active")


def free_port() -> int:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def reserved_port(stack: AsyncExitStack) -> int:
    """A port for QEMU, meanwhile given to nobody else: two may bind one when both say that they share it."""
    holder = stack.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    return int(holder.getsockname()[1])


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start(incoming=..., seamless=..., spice=..., environment=..., arguments=...)`; all end with the test."""
    async with AsyncExitStack() as stack:

        async def launch(
            *,
            incoming: str = "",
            seamless: bool = True,
            spice: str = "disable-ticketing=on",
            memory: int = 64,
            environment: Mapping[str, str] | None = None,
            arguments: tuple[str, ...] = (),
        ) -> Firmware:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spicehop-")))
            port = reserved_port(stack)
            options = f"port={port},addr={HOST},seamless-migration={'on' if seamless else 'off'},{spice}"
            command = ["qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-m", str(memory), "-nodefaults"]
            command += ["-device", "qxl-vga", *(("-spice", options) if spice else ("-display", "none"))]
            for name in ("qmp", "own"):
                command += ["-qmp", f"unix:{folder / name},server=on,wait=off"]
            command += ["-incoming", incoming] if incoming else []
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *command, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )
            stack.push_async_callback(end, process)
            qemu = Firmware(folder, process, port)
            stack.push_async_callback(close, qemu)
            await until(lambda: (folder / "own").exists(), "its monitors")
            return qemu

        async def close(qemu: Firmware) -> None:
            with contextlib.suppress(Exception):
                await qemu.own.disconnect()

        async def end(process: asyncio.subprocess.Process) -> None:
            if process.returncode is None:
                process.kill()
            await process.wait()

        yield launch


async def connected(start_client: StartGtkClient, qemu: Firmware, **options: object) -> GtkClient:
    """A stock client with all its channels and the firmware's picture."""
    client = await start_client(qemu.spice_port, **options)
    for kind in ("MainChannel", "DisplayChannel", "InputsChannel", "CursorChannel"):
        await client.wait_event("channel-event", kind=kind, what="opened")
    await client.wait_event("surface", width=720)  # the firmware's text mode: no other follows
    await client.wait_event("mark")
    return client


def options(source: Firmware, target: Firmware, **more: Any) -> Options:
    return Options(source.qmp, target.qmp, **more)


async def at_step(options: Options, step: str, action: Callable[[Conductor], object]) -> Result:
    """Migrate, and do something when a step begins."""
    conductor: Conductor

    def watch(report: object) -> None:
        if isinstance(report, StepReported) and report.step == step:
            action(conductor)

    conductor = Conductor(options, progress=watch)
    async with asyncio.timeout(60):
        return await conductor.run()


def marks(client: GtkClient) -> int:
    """How often a server has begun to show the client a screen (MARK): after a seamless migration it goes on."""
    return sum(event["event"] == "mark" for event in client.events)


async def test_a_stock_client_moves_seamlessly(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start()
    client = await connected(start_gtk_client, source)
    target = await start(incoming="defer")
    before = marks(client)
    sink = MemorySink()
    result = await migrate(options(source, target), trace=Trace("conductor", time.monotonic, sink))
    assert result.sentence == "The machine runs at the target; 1 session is there too. The source has ended."
    assert result.outcome is Outcome.MOVED
    assert result.findings == ()
    assert result.sessions[0].fate is Fate.SAME_ID
    assert tuple(result.sessions[0].channels) == CHANNELS
    assert await source.ended() == 0
    assert await target.status() == "running"
    assert await target.channels() == 4
    assert marks(client) == before
    assert client.seen("disconnected") is None
    assert client.returncode is None
    told = [(record.party, record.event) for record in sink.records]
    for entry in (
        ("source", "qmp.client_migrate_info"),
        ("target", "qmp.SPICE_INITIALIZED"),
        ("conductor", "conductor.linked"),
        ("source", "qmp.STOP"),
        ("target", "qmp.RESUME"),
        ("source", "qmp.SPICE_MIGRATE_COMPLETED"),
        ("conductor", "conductor.finished"),
    ):
        assert entry in told
    assert told.index(("conductor", "conductor.linked")) < told.index(("source", "qmp.migrate"))


async def test_a_stock_client_moves_semi_seamlessly(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start(seamless=False)
    client = await connected(start_gtk_client, source)
    before = marks(client)
    target = await start(incoming=f"tcp:{HOST}:0")
    result = await migrate(options(source, target))
    assert result.outcome is Outcome.MOVED
    assert result.sessions[0].fate is Fate.SEMI_SEAMLESS
    assert [finding.code for finding in result.findings] == ["seamless-off"]
    assert await target.channels() == 4
    await client.wait_for(lambda: marks(client) == before + 1, "the new MARK")
    assert client.returncode is None


@pytest.mark.parametrize(
    ("seamless", "schemes", "fate"),
    [
        (True, ("seamless", "semi-seamless", "switch-host"), Fate.SEAMLESS),
        (False, ("seamless", "semi-seamless", "switch-host"), Fate.SEMI_SEAMLESS),
        (True, ("switch-host",), Fate.SWITCH_HOST),
    ],
)
async def test_our_own_clients_trace_tells_the_scheme(
    start: Start, tmp_path: Path, seamless: bool, schemes: tuple[str, ...], fate: Fate
) -> None:
    source = await start(seamless=seamless)
    path = tmp_path / "client.jsonl"
    with Trace("client", time.monotonic, FileSink(path)) as trace:
        async with spicehop.connect(f"spice://{HOST}:{source.spice_port}", schemes=schemes, trace=trace) as session:
            target = await start(incoming="defer")
            result = await migrate(options(source, target, client_trace=path))
            assert result.outcome is Outcome.MOVED
            assert [one.fate for one in result.sessions] == [fate]
            assert [migration.scheme for migration in session.migrations] == [fate.value]
            assert bool(result.sessions[0].reason) is (fate is not Fate.SEAMLESS)
    assert await target.status() == "running"


async def test_two_clients_would_kill_the_source(start: Start, start_gtk_client: StartGtkClient) -> None:
    several = {"SPICE_DEBUG_ALLOW_MC": "1"}
    source = await start(environment=several)
    clients = [await connected(start_gtk_client, source, name=name) for name in ("one", "two")]
    target = await start(incoming="defer", environment=several)
    result = await migrate(options(source, target))
    assert (result.outcome, result.code) == (Outcome.REFUSED, "several-clients")
    assert await source.status() == "running"
    assert await source.channels() == 8
    assert await target.status() == "inmigrate"
    assert [client.returncode for client in clients] == [None, None]


async def test_two_clients_move_without_seamless(start: Start, start_gtk_client: StartGtkClient) -> None:
    several = {"SPICE_DEBUG_ALLOW_MC": "1"}
    source = await start(environment=several, seamless=False)
    for name in ("one", "two"):
        await connected(start_gtk_client, source, name=name)
    target = await start(incoming="defer", environment=several, seamless=False)
    result = await migrate(options(source, target))
    assert result.outcome is Outcome.MOVED
    assert len(result.sessions) == 2
    assert await target.channels() == 8


async def test_cancelled_while_the_machine_moves(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start(memory=256)
    client = await connected(start_gtk_client, source)
    target = await start(incoming="defer", memory=256)
    result = await at_step(
        options(source, target, max_bandwidth=SLOW),
        "migrating",
        lambda conductor: asyncio.get_running_loop().call_later(0.8, conductor.cancel),
    )
    assert (result.outcome, result.code) == (Outcome.ROLLED_BACK, "cancelled")
    assert result.sentence == "Cancelled. The machine runs at the source; 1 session is there too."
    assert await source.status() == "running"
    assert await source.channels() == 4
    assert client.returncode is None


async def test_a_cancelled_task_goes_back_first(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start(memory=256)
    await connected(start_gtk_client, source)
    target = await start(incoming="defer", memory=256)
    task = asyncio.create_task(migrate(options(source, target, max_bandwidth=SLOW)))
    await until(lambda: is_moving(source), "the migration")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await source.ask("query-migrate"))["status"] == "cancelled"
    assert await source.channels() == 4


async def test_the_time_limit(start: Start) -> None:
    source, target = await start(memory=256), await start(incoming="defer", memory=256)
    result = await migrate(options(source, target, max_bandwidth=SLOW, time_limit=1.5))
    assert (result.outcome, result.code) == (Outcome.ROLLED_BACK, "time-limit")
    assert await source.status() == "running"


async def test_the_target_is_killed_before_the_switch_over(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start(memory=256)
    client = await connected(start_gtk_client, source)
    target = await start(incoming="defer", memory=256)
    result = await at_step(
        options(source, target, max_bandwidth=SLOW),
        "migrating",
        lambda _: asyncio.get_running_loop().call_later(0.8, target.process.kill),
    )
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.code in ("target-lost", "migration-failed")
    assert result.sentence.endswith("The machine runs at the source; 1 session is there too.")
    assert await source.status() == "running"
    assert client.returncode is None


async def test_the_target_is_killed_after_the_switch_over(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start()
    await connected(start_gtk_client, source)
    target = await start(incoming="defer")
    result = await at_step(options(source, target), "handing-over", lambda _: target.process.kill())
    assert (result.outcome, result.code) == (Outcome.UNVERIFIED, "target-lost-after-switch")
    assert "the source holds the machine as it was at the switch-over" in result.sentence
    assert source.process.returncode is None
    assert await source.status() == "postmigrate"


async def test_the_source_is_killed_after_the_switch_over(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start()
    await connected(start_gtk_client, source)
    target = await start(incoming="defer")
    result = await at_step(options(source, target), "handing-over", lambda _: source.process.kill())
    # Whether the client had handed over by then is a matter of milliseconds; the machine is safe in any case.
    assert result.outcome in (Outcome.MOVED, Outcome.MOVED_WITH_LOSS)
    assert "The machine runs at the target" in result.sentence
    assert await target.status() == "running"


async def test_nobody_listens_where_clients_would_be_sent(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start()
    client = await connected(start_gtk_client, source)
    target = await start(incoming="defer")
    closed = f"{HOST}:{free_port()}"
    result = await migrate(options(source, target, spice=closed))
    assert (result.outcome, result.code) == (Outcome.REFUSED, "target-unreachable")
    assert f"Nobody answers at {closed}, where clients would be sent (Connection refused)" in result.sentence
    unseen = await migrate(options(source, target, spice=closed, probe=False, require_links=True))
    assert (unseen.outcome, unseen.code) == (Outcome.ROLLED_BACK, "not-linked")
    assert await source.channels() == 4
    # The same target serves for the attempt that follows.
    moved = await migrate(options(source, target))
    assert moved.outcome is Outcome.MOVED
    assert moved.sessions[0].connection_id == result.sessions[0].connection_id
    assert client.seen("disconnected") is None


async def test_tickets(start: Start, start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    source = await start(spice="password=open")
    await connected(start_gtk_client, source, password="open")
    target = await start(incoming="defer", spice="")
    assert (await migrate(options(source, target))).code == "target-spice-off"
    target = await start(incoming="defer", spice="agent-mouse=on")
    assert (await migrate(options(source, target))).code == "ticket-missing"
    wrong = await migrate(options(source, target, ticket="closed", require_links=True))
    assert wrong.code == "not-linked"
    assert "the ticket may be a wrong one" in wrong.sentence
    file = tmp_path / "ticket"
    file.write_text("open\n")
    right = await migrate(options(source, target, ticket_file=file))
    assert right.outcome is Outcome.MOVED


async def test_a_target_started_with_minus_s_runs_on(start: Start) -> None:
    source, target = await start(), await start(incoming="defer", arguments=("-S",))
    result = await migrate(options(source, target, keep_source=True))
    assert result.outcome is Outcome.MOVED
    assert [finding.code for finding in result.findings] == ["no-clients"]
    assert await target.status() == "running"
    assert await source.status() == "postmigrate"


async def test_what_cannot_be_done_is_said_before(start: Start) -> None:
    source, other, target = await start(), await start(), await start(incoming="defer")
    assert (await migrate(options(source, other))).code == "target-not-incoming"
    assert (await migrate(options(target, source))).code == "source-incoming"
    wild = await start(incoming="defer", spice="disable-ticketing=on,addr=0.0.0.0")
    assert (await migrate(options(source, wild))).code == "target-wildcard"
    assert await source.status() == "running"
    assert await target.status() == "inmigrate"


async def test_monitors_that_do_not_answer(start: Start, tmp_path: Path) -> None:
    source, target = await start(), await start(incoming="defer")
    with pytest.raises(ConnectError, match=r"the target's QMP monitor at .* does not answer: No such file"):
        await migrate(Options(source.qmp, str(tmp_path / "none")))
    other = QMPClient("other")
    await other.connect(target.qmp)
    try:
        with pytest.raises(ConnectError, match="does not greet; another program may be using it"):
            await migrate(options(source, target))
    finally:
        await other.disconnect()


async def run_command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spicehop.cli.app", "migrate", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_prints_one_object(start: Start, start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    source = await start()
    await connected(start_gtk_client, source)
    target = await start(incoming="defer")
    command = await run_command(source.qmp, target.qmp, "--json", "--trace", str(tmp_path / "trace"))
    out, err = await asyncio.wait_for(command.communicate(), 60)
    assert (command.returncode, err) == (0, b"")
    told = json.loads(out)
    assert told["outcome"] == "moved"
    assert told["sessions"][0]["scheme"] == "same-connection-id"
    assert told["stopped_ms"] > 0
    assert b"conductor.finished" in (tmp_path / "trace").read_bytes()


async def test_ctrl_c_goes_back(start: Start, start_gtk_client: StartGtkClient) -> None:
    source = await start(memory=256)
    await connected(start_gtk_client, source)
    target = await start(incoming="defer", memory=256)
    command = await run_command(source.qmp, target.qmp, "--max-bandwidth", str(SLOW))
    try:
        await until(lambda: is_moving(source), "the migration")
        command.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(command.communicate(), 30)
    finally:
        if command.returncode is None:
            command.kill()
            await command.wait()
    assert command.returncode == 1
    assert "spicehop: Cancelled. The machine runs at the source; 1 session is there too." in err.decode().splitlines()
    assert out.decode().splitlines()[0].endswith(": stayed")
    assert await source.status() == "running"
    assert await source.channels() == 4


def test_the_peers_of_the_plan_are_named_as_in_traces() -> None:
    assert [peer.value for peer in Peer] == ["source", "target"]
