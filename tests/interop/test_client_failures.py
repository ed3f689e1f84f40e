"""Migrations of real QEMUs that go wrong under our working client: where each ends, and what the client says of it.

The states are those of dossier C3, or better: the reference loses the session wherever the source does, cannot reach a
target again, and never comes back from a target that it was sent to by mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from migration_lab import Lab, Load, Machine, in_flight, missing_records, until
from relay import Relay

from spicehop.client import Session
from spicehop.demo.qemu import free_port
from spicehop.errors import ConnectError, ConnectionLost
from spicehop.migration import travel
from spicehop.migration.client import ClientState

pytestmark = pytest.mark.peers
Report = Callable[[str, object], None]


async def begin(lab: Lab) -> tuple[Machine, Session, Load]:
    source = await lab.boot()
    session = await lab.connect(source)
    return source, session, await lab.start_load(session)


async def copying(lab: Lab, source: Machine, target: Machine) -> None:
    """A migration that goes on until something ends it."""
    await lab.keep_copying(source)
    await lab.launch(source, target)
    await source.event("MIGRATION", status="active")
    await asyncio.sleep(0.5)


async def assert_unharmed(lab: Lab, source: Machine, session: Session, load: Load, report: Report) -> None:
    """The session goes on where it was, with nothing lost, and the next migration is a seamless one."""
    assert session.core.state is ClientState.SETTLED
    assert str(session.server) == source.server
    assert session.migrations == []
    assert await source.status() == "running"
    await lab.copy_as_usual(source)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    hop = await lab.move(session, source, target)
    account = await lab.settle(load)
    report("account", account.figures)
    account.assert_only_keys_of_libspice()
    assert (hop.outcome.scheme, hop.outcome.reason) == ("seamless", "")
    assert session.lost_channels == {}


async def assert_arrived(lab: Lab, hop_windows: list[tuple[int, int]], load: Load, report: Report) -> None:
    """The session is at the target without its state: nothing is lost but what was under way."""
    session = load.session
    await asyncio.sleep(1)
    account = await lab.settle(load, complete=False)
    report("account", account.figures)
    assert [at for at in missing_records(load) if not any(start <= at < end for start, end in hop_windows)] == []
    assert account.port.duplicated == 0
    assert account.port.in_order
    assert account.charged.ours == ()
    assert account.keys.duplicated == 0
    assert account.stuck_keys == []
    assert session.lost_channels == {}
    assert not session.closed


async def test_a_migration_that_is_cancelled(lab: Lab, report: Report) -> None:
    source, session, load = await begin(lab)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await copying(lab, source, target)
    await source.ask("migrate_cancel")
    await until(lambda: bool(session.aborted_migrations), "the client hears of it")
    report("said", session.aborted_migrations)
    assert session.aborted_migrations == ["the source cancelled the migration"]
    await assert_unharmed(lab, source, session, load, report)


async def test_a_target_that_dies_before_the_switch_over(lab: Lab, report: Report) -> None:
    source, session, load = await begin(lab)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await copying(lab, source, target)
    target.qemu.kill()
    await until(lambda: bool(session.aborted_migrations), "the client hears of it")
    report("said", session.aborted_migrations)
    await assert_unharmed(lab, source, session, load, report)


async def test_a_target_that_dies_after_the_switch_over(lab: Lab, report: Report) -> None:
    """The machine is gone with it, and so is the session: it ends at once and says where it was."""
    source, session, _ = await begin(lab)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await lab.launch(source, target)
    await session.wait_for_migration(30)
    target.qemu.kill()
    with pytest.raises(ConnectionLost) as lost:
        async with asyncio.timeout(10):
            await session.wait_closed()
    report("said", str(lost.value))
    assert session.closed
    assert target.server in str(lost.value)


async def test_a_source_that_dies_before_it_hands_over(lab: Lab, report: Report) -> None:
    """The machine runs at the target and the client is linked there: the reference loses the session, we do not."""
    source = await lab.boot()
    relay: Relay = await lab.enter(Relay(source.qemu.spice_port))
    session = await lab.connect(source, relay.port)
    load = await lab.start_load(session)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await lab.pause_before_switchover(source)
    await lab.launch(source, target)
    await lab.paused(source)
    relay.hold()  # what the source says at the end stays here
    await lab.go_on(source)
    await source.event("MIGRATION", status="completed")
    source.qemu.kill()
    await source.qemu.wait()
    relay.cut()
    outcome = await session.wait_for_migration(30)
    report("said", (outcome.scheme, outcome.reason))
    hop = await lab.record(source, target, outcome, source_lives=False)
    assert outcome.scheme == "switch-host"
    assert outcome.reason.startswith("the source was lost: ")
    await assert_arrived(lab, [in_flight(load, hop)], load, report)


async def test_a_source_that_dies_at_any_moment_of_handing_over(lab: Lab, report: Report) -> None:
    source, session, load = await begin(lab)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await lab.launch(source, target)
    await source.event("MIGRATION", status="completed")
    source.qemu.kill()
    outcome = await session.wait_for_migration(30)
    report("said", (outcome.scheme, outcome.reason))
    hop = await lab.record(source, target, outcome, source_lives=False)
    await assert_arrived(lab, [in_flight(load, hop)], load, report)
    assert outcome.scheme in ("seamless", "switch-host")


async def test_a_target_that_refuses_links_for_good(lab: Lab, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source cannot be kept from sending the client there; it tries for a time, then the session ends."""
    monkeypatch.setattr(travel, "SWITCH_HOST_DEADLINE", 2.5)
    source, session, load = await begin(lab)
    target = await lab.incoming()
    port = free_port()
    await lab.inform(source, port)
    await until(lambda: bool(lab.noted("migration.connect-error")), "the client cannot reach it")
    await asyncio.sleep(0.5)
    assert not session.closed
    assert len(load.echo) > 0
    await lab.launch(source, target)
    with pytest.raises(ConnectError) as lost:
        async with asyncio.timeout(30):
            await session.wait_closed()
    report("said", str(lost.value))
    assert str(lost.value).startswith(f"the session was lost: 127.0.0.1:{port} cannot be used")
    assert "connection refused" in str(lost.value)


async def test_a_target_that_refuses_links_for_a_time(lab: Lab, report: Report) -> None:
    source, session, load = await begin(lab)
    target = await lab.incoming()
    relay: Relay = await lab.enter(Relay(target.qemu.spice_port))
    await relay.refuse()
    await lab.inform(source, relay.port)
    await until(lambda: bool(lab.noted("migration.connect-error")), "the client cannot reach it")
    await lab.launch(source, target)
    await until(lambda: bool(lab.noted("migration.switch-host")), "the client is sent there")
    await asyncio.sleep(1.5)
    await relay.accept()
    outcome = await session.wait_for_migration(30)
    report("said", (outcome.scheme, outcome.reason))
    hop = await lab.record(source, target, outcome)
    assert outcome.scheme == "switch-host"
    assert "connection refused" in outcome.reason
    await assert_arrived(lab, [in_flight(load, hop)], load, report)


@pytest.mark.parametrize("linked", ["nothing", "main"])
async def test_links_to_the_target_that_are_cut(lab: Lab, report: Report, linked: str) -> None:
    """The client stays at the source and says so; another target takes it seamlessly."""
    source, session, load = await begin(lab)
    target = await lab.incoming()
    relay: Relay = await lab.enter(Relay(target.qemu.spice_port))
    if linked == "nothing":
        relay.hold()
    else:
        relay.delay = 0.1
    await lab.inform(source, relay.port)
    if linked == "nothing":
        await until(lambda: len(relay.passages) == 1, "the client links main")
        await asyncio.sleep(0.2)
    else:
        await until(lambda: bool(lab.noted("migration.target-linked")), "the client has linked main")
    relay.cut()
    await until(lambda: bool(lab.noted("migration.connect-error")), "the client says that it cannot")
    reason = lab.detail("migration.connect-error", "reason")
    report("said", reason)
    assert reason.startswith("the client could not use the target: ")
    other = await lab.incoming()
    await lab.invite(session, source, other)
    hop = await lab.move(session, source, other)
    account = await lab.settle(load)
    report("account", account.figures)
    account.assert_only_keys_of_libspice()
    assert (hop.outcome.scheme, hop.outcome.reason) == ("seamless", "")


async def test_links_that_are_slower_than_the_migration(lab: Lab, report: Report) -> None:
    """The machine is gone before the client is ready: it goes after it at once, where spice-gtk hears of it late."""
    source, session, load = await begin(lab)
    target = await lab.incoming()
    relay: Relay = await lab.enter(Relay(target.qemu.spice_port))
    relay.connect_delay = 4.0
    await lab.inform(source, relay.port)
    await lab.launch(source, target)
    await until(lambda: bool(lab.noted("migration.switch-host")), "the client is sent there")
    relay.connect_delay = 0.5
    outcome = await session.wait_for_migration(30)
    report("said", (outcome.scheme, outcome.reason))
    hop = await lab.record(source, target, outcome)
    assert outcome.scheme == "switch-host"
    assert outcome.reason
    await assert_arrived(lab, [in_flight(load, hop)], load, report)


@pytest.mark.parametrize("pause", [0.0, 0.5])
async def test_a_second_target_named_before_the_first_is_reached(lab: Lab, report: Report, pause: float) -> None:
    """The second replaces the first, whether the first is linked already or not."""
    source, session, load = await begin(lab)
    first = await lab.incoming()
    second = await lab.incoming()
    await lab.inform(source, first.qemu.spice_port)
    await asyncio.sleep(pause)
    await lab.inform(source, second.qemu.spice_port)
    await until(
        lambda: session.core.state is ClientState.READY_SEAMLESS and _target_of(session) == second.server,
        "the client has linked the second",
    )
    hop = await lab.move(session, source, second)
    account = await lab.settle(load)
    report("account", account.figures)
    account.assert_only_keys_of_libspice()
    assert (hop.outcome.scheme, hop.outcome.reason, hop.outcome.target) == ("seamless", "", second.server)
    await until(lambda: _is_empty(first), "the first is left")


async def _is_empty(machine: Machine) -> bool:
    return await machine.channels() == 0


def _target_of(session: Session) -> str:
    target = session.core.travel.target
    return str(target.address) if target is not None else ""
