"""The conductor's shell: options, two monitors that are played, reports and traces."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from monitors import Pair

from spicehop.conductor import Conductor, Options, migrate
from spicehop.conductor.run import spice_address
from spicehop.errors import MigrationError, OperationError, UsageError
from spicehop.migration import conducting
from spicehop.migration.conducting_events import SpiceAddress
from spicehop.migration.conducting_result import Fate, Outcome
from spicehop.trace import FileSink, MemorySink, Trace


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("desk", SpiceAddress("desk")),
        ("desk:5900", SpiceAddress("desk", 5900)),
        ("desk:5900:5901", SpiceAddress("desk", 5900, 5901)),
        ("desk::5901", SpiceAddress("desk", None, 5901)),
        ("desk:0:5901", SpiceAddress("desk", None, 5901)),
        ("[2001:db8::1]:5900", SpiceAddress("2001:db8::1", 5900)),
        ("[::1]", SpiceAddress("::1")),
    ],
)
def test_spice_addresses(text: str, address: SpiceAddress) -> None:
    assert spice_address(text) == address


@pytest.mark.parametrize("text", [":5900", "desk:x", "desk:70000", "desk:1:2:3", "[::1]5", "spice://desk", "desk:-1"])
def test_no_spice_addresses(text: str) -> None:
    with pytest.raises(UsageError):
        spice_address(text)


def test_options_become_a_plan(tmp_path: Path) -> None:
    ticket = tmp_path / "ticket"
    ticket.write_text("open sesame\nmore\n")
    plan = Options("a", "b", spice="desk:1", ticket_file=ticket, max_bandwidth=5, keep_source=True).plan()
    assert (plan.spice, plan.ticket, plan.max_bandwidth, plan.keep_source) == (
        SpiceAddress("desk", 1),
        "open sesame",
        5,
        True,
    )
    assert "sesame" not in repr(plan)
    assert "sesame" not in repr(Options("a", "b", ticket="sesame"))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"time_limit": 0.0}, UsageError),
        ({"max_bandwidth": 0}, UsageError),
        ({"downtime_limit": -1}, UsageError),
        ({"uri": "exec:cat"}, UsageError),
        ({"ticket": ""}, UsageError),
        ({"ticket": "x" * 61}, UsageError),
        ({"ticket_file": Path("absent")}, OperationError),
    ],
)
def test_options_that_cannot_be_used(changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        Options("a", "b", **changes).plan()  # type: ignore[arg-type]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(conducting, "SETTLE_TIME", 0.05)
    return Pair(tmp_path)


def options(pair: Pair, **more: object) -> Options:
    return Options(str(pair.source.path), str(pair.target.path), probe=False, seamless=True, **more)  # type: ignore[arg-type]


async def test_a_migration_with_its_reports_and_its_trace(pair: Pair) -> None:
    sink = MemorySink()
    reports: list[object] = []
    async with pair, asyncio.timeout(10):
        result = await migrate(
            options(pair, ticket="open sesame"), progress=reports.append, trace=Trace("conductor", time.monotonic, sink)
        )
    assert result.outcome is Outcome.MOVED
    assert result.sessions[0].connection_id == 2**32 - 5
    assert "set_password" in pair.target.commands
    assert "sesame" not in repr(reports) + repr(sink.records)
    linked = next(record for record in sink.records if record.event == "qmp.SPICE_INITIALIZED")
    assert (linked.party, linked.session, linked.channel) == ("target", 2**32 - 5, "main:0")
    moved = next(record for record in sink.records if record.event == "qmp.MIGRATION")
    assert (moved.party, moved.detail["status"]) == ("source", "completed")
    times = [record.time for record in sink.records]
    assert times == sorted(times)


async def test_the_clients_trace_decides(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "client.jsonl"
    client = Trace("client", time.monotonic, FileSink(path))
    client.record("migration.done", session=3, scheme="semi-seamless", reason="an earlier one")

    def told() -> object:
        client.record("migration.done", session=3, scheme="seamless")
        return pair.quit()

    pair.source.answers["quit"] = told
    async with pair, asyncio.timeout(10):
        result = await migrate(options(pair, ticket="x", client_trace=path))
    client.close()
    assert result.sessions[0].fate is Fate.SEAMLESS


async def test_a_client_trace_that_cannot_be_read_is_a_warning(pair: Pair, tmp_path: Path) -> None:
    async with pair, asyncio.timeout(10):
        result = await migrate(options(pair, ticket="x", client_trace=tmp_path / "none"))
    assert result.outcome is Outcome.MOVED
    assert result.sessions[0].fate is Fate.SAME_ID
    assert result.findings[-1].code == "client-trace"


async def test_cancelled_before_it_begins(pair: Pair) -> None:
    async with pair, asyncio.timeout(10):
        conductor = Conductor(options(pair, ticket="x"))
        conductor.cancel()
        result = await conductor.run()
    assert (result.outcome, result.code) == (Outcome.ROLLED_BACK, "cancelled")


async def test_abandoned_in_the_middle(pair: Pair) -> None:
    pair.source.answers["migrate"] = {}
    async with pair, asyncio.timeout(10):
        conductor = Conductor(options(pair, ticket="x"))
        pair.source.answers["migrate"] = lambda: conductor.abandon() or {}
        with pytest.raises(MigrationError, match="Left in the middle"):
            await conductor.run()
    assert "migrate_cancel" not in pair.source.commands


async def test_a_source_that_dies_is_noticed(pair: Pair) -> None:
    pair.source.answers["client_migrate_info"] = lambda: pair.source.hang_up() or {}
    async with pair, asyncio.timeout(10):
        result = await migrate(options(pair, ticket="x"))
    assert (result.outcome, result.code) == (Outcome.UNVERIFIED, "source-lost")
