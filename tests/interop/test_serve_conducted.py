"""`spicehop migrate` between two `spicehop serve` with stock clients; the target lets in only who was announced."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from spicehop.conductor import Options, migrate
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.moving_servers import Monitor
from spicehop.demo.serial import read_serial
from spicehop.demo.server_process import ServerProcess
from spicehop.migration import conducting, preflight
from spicehop.migration.conducting_events import StepReported
from spicehop.migration.conducting_result import Fate, Outcome
from spicehop.trace import read

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
CODES = [0x1E, 0x30, 0x2E, 0x20]
OTHER_CODES = [0x12, 0x21, 0x22, 0x23]


@asynccontextmanager
async def servers(folder: Path, *, seamless: str) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """A source, and a target that waits for its guest and its clients."""
    async with AsyncExitStack() as stack:
        started = []
        for name, incoming in (("a", ()), ("b", ("--incoming", "defer"))):
            place = folder / name
            place.mkdir()
            server = ServerProcess(place, arguments=("--seamless-migration", seamless, *incoming))
            started.append(await stack.enter_async_context(server))
        yield started[0], started[1]


async def conduct(source: ServerProcess, target: ServerProcess, *options: str) -> tuple[int, dict[str, Any]]:
    """The command line's exit code and what it says with `--json`."""
    command = (sys.executable, "-m", "spicehop", "migrate", source.control, target.control, "--json", *options)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, json.loads(said)


def doors(server: ServerProcess) -> list[str]:
    """What the server's trace says of clients that did not come as they should."""
    seen = ("server.migration-refused", "server.unannounced-migration-accepted")
    return [record.event for record in read(server.trace) if record.event in seen]


async def typed(client: GtkClient, server: ServerProcess, codes: list[int]) -> None:
    """The client types, and the guest at this server has all of it."""
    client.send("keys", codes=codes, hz=100)

    def all_released() -> bool:
        released = {key.code for key in read_serial([server.guest_log]).keys if key.value == 0}
        return released >= set(codes)

    await until(all_released, f"the guest has {codes}")


def marks(client: GtkClient) -> int:
    """How often its picture has begun."""
    return sum(event["event"] == "mark" for event in client.events)


async def begun_anew(client: GtkClient, before: int) -> None:
    """The client has its picture again; before its inputs channel has begun spice-gtk drops keys."""
    await client.wait_for(lambda: marks(client) > before, "the picture again")


def channel_events(client: GtkClient) -> int:
    return sum(event["event"] == "channel-event" for event in client.events)


def presses(*servers: ServerProcess) -> list[int]:
    log = read_serial([server.guest_log for server in servers])
    assert log.faults == ()
    return [key.code for key in log.keys if key.value == 1]


@pytest.mark.parametrize(
    ("seamless", "link", "scheme", "carrier"),
    [
        ("off", "auto", "semi-seamless", ""),
        ("on", "off", "seamless", "client"),
        ("on", "auto", "seamless", "direct"),
    ],
)
@pytest.mark.parametrize("clients", [1, 2])
async def test_clients_go_over_because_they_were_announced(
    start_gtk_client: StartGtkClient, tmp_path: Path, seamless: str, link: str, scheme: str, carrier: str, clients: int
) -> None:
    async with servers(tmp_path, seamless=seamless) as (source, target):
        sets = (CODES, OTHER_CODES)[:clients]
        there = []
        for number, codes in enumerate(sets):
            client = await start_gtk_client(source.port, name=f"gtk-{number}")
            await client.wait_event("channel-event", kind="InputsChannel", what="opened")
            await client.wait_event("mark")
            await typed(client, source, codes)
            there.append(client)
        before = [channel_events(client) for client in there]
        shown = [marks(client) for client in there]
        code, said = await conduct(source, target, "--direct-link", link)
        assert (code, said["outcome"], said["source_ended"]) == (0, "moved", True), said
        assert [(one["scheme"], one["carrier"]) for one in said["sessions"]] == [(scheme, carrier)] * clients
        fates = {fate for one in said["sessions"] for fate in one["channels"].values()}
        assert fates == {"moved" if scheme == "seamless" else "new"}
        for client, codes, number in zip(there, sets, shown, strict=True):
            if scheme != "seamless":
                await begun_anew(client, number)
            await typed(client, target, codes)
        assert [channel_events(client) for client in there] == before
        assert not any(client.criticals for client in there)
        assert doors(target) == []
        assert presses(source, target) == [code for codes in sets for code in codes] * 2


async def test_a_client_that_was_not_announced_is_refused_and_connects_anew(
    start_gtk_client: StartGtkClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a management that knows nothing of announcements."""
    monkeypatch.setattr(preflight, "ANNOUNCE", "unheard-of")
    monkeypatch.setattr(conducting, "LINK_LIMIT", 3.0)
    async with servers(tmp_path, seamless="off") as (source, target):
        client = await start_gtk_client(source.port)
        await client.wait_session()
        await typed(client, source, CODES)
        shown = marks(client)
        result = await migrate(Options(source.control, target.control, direct_link="off"))
        assert result.outcome is Outcome.MOVED
        assert [(one.fate, one.reason) for one in result.sessions] == [
            (Fate.SWITCH_HOST, "the client could not link the target")
        ]
        assert "server.migration-refused" in doors(target)
        await begun_anew(client, shown)
        await typed(client, target, CODES)
        assert not client.criticals
        assert presses(source, target) == CODES * 2


async def test_a_client_that_connects_while_the_guest_moves_goes_over_too(
    start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """The guest cannot finish before it is there."""
    moving = asyncio.Event()

    def watch(report: object) -> None:
        if isinstance(report, StepReported) and report.step == "migrating":
            moving.set()

    async with servers(tmp_path, seamless="on") as (source, target), Monitor("source", source.control) as monitor:
        first = await start_gtk_client(source.port, name="first")
        await first.wait_session()
        options = Options(source.control, target.control, direct_link="off", max_bandwidth=1000, downtime_limit=0)
        work = asyncio.ensure_future(migrate(options, progress=watch))
        await asyncio.wait_for(moving.wait(), 20)
        second = await start_gtk_client(source.port, name="second")
        await second.wait_event("channel-event", kind="InputsChannel", what="opened")
        await until(lambda: source.trace.read_text().count('"LinkedSeamless"') == 2, "both are linked")
        await monitor.ask("migrate-set-parameters", max_bandwidth=0, downtime_limit=300)
        result = await work
        assert result.outcome is Outcome.MOVED
        assert [(one.fate, one.carrier) for one in result.sessions] == [(Fate.SEAMLESS, "client")] * 2
        assert doors(target) == []
        await typed(first, target, CODES)
        await typed(second, target, OTHER_CODES)
        assert not first.criticals + second.criticals
