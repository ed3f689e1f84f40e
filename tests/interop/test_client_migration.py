"""Our client at work in a guest that moves between real QEMUs: nothing of the session is lost, by the guest's account.

`SPICEHOP_REPEAT=20` makes the tests that repeat do it as often as docs/evidence.md says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from migration_lab import GRAB_CODE, Hop, Lab, in_flight, missing_records, repetitions, until
from relay import Relay

from spicehop.conductor import Options, migrate
from spicehop.demo.payload import clipboard_text, fnv1a
from spicehop.demo.qemu import QemuOptions
from spicehop.demo.serial import PRESSED, RELEASED
from spicehop.migration import commands as c
from spicehop.migration.conducting_result import Outcome
from spicehop.wire import main

pytestmark = pytest.mark.peers
Report = Callable[[str, object], None]


def milliseconds(values: list[float]) -> str:
    """Least, middle and most."""
    ordered = sorted(values)
    return " / ".join(f"{1000 * value:.0f}" for value in (ordered[0], ordered[len(ordered) // 2], ordered[-1])) + " ms"


@pytest.mark.parametrize("vga", ["qxl-vga", "VGA"])
async def test_a_session_moves_again_and_again(lab: Lab, report: Report, vga: str) -> None:
    """Under load, by our conductor; the picture is compared where the guest is in the end."""
    source = await lab.boot(QemuOptions(vga=vga))
    session = await lab.connect(source)
    load = await lab.start_load(session)
    hops: list[Hop] = []
    for number in range(repetitions(3 if vga == "qxl-vga" else 1)):
        target = await lab.incoming(listens=False)
        result = await migrate(Options(str(source.qemu.qmp_paths[0]), str(target.qemu.qmp_paths[0])))
        assert result.outcome is Outcome.MOVED, result.sentence
        outcome = await session.wait_for_migration(10, count=number + 1)
        hops.append(await lab.record(source, target, outcome))
        await lab.quit(source)
        source = target
    account = await lab.settle(load)
    await lab.freeze(session)
    apart = await lab.pixels_apart(session)
    report("migrations", len(hops))
    report("schemes", [hop.outcome.scheme for hop in hops])
    report("VM stood still", milliseconds([hop.resumed - hop.stopped for hop in hops]))
    report("STOP to all channels swapped", milliseconds([hop.outcome.finished - hop.stopped for hop in hops]))
    for name, value in account.figures.items():
        report(name, value)
    report("pixels apart", apart)
    account.assert_only_keys_of_libspice()
    assert [hop.outcome.scheme for hop in hops] == ["seamless"] * len(hops)
    assert {hop.outcome.reason for hop in hops} == {""}
    assert {channel.how for hop in hops for channel in hop.outcome.channels} == {"moved"}
    assert session.lost_channels == {}
    assert not session.closed
    assert apart == 0


def say(report: Report, figures: dict[str, object]) -> None:
    for name, value in figures.items():
        report(name, value)


@pytest.mark.parametrize("scheme", ["semi-seamless", "switch-host"])
async def test_schemes_that_hand_nothing_over(lab: Lab, report: Report, scheme: str) -> None:
    """They lose what C5 says and no more: what was under way on the port, and keys while the machine stood still."""
    source = await lab.boot(QemuOptions(seamless=scheme != "semi-seamless"))
    offered = ("switch-host",) if scheme == "switch-host" else ("seamless", "semi-seamless", "switch-host")
    session = await lab.connect(source, schemes=offered)
    load = await lab.start_load(session)
    hops: list[Hop] = []
    for _ in range(repetitions(1)):
        target = await lab.incoming()
        if scheme == "semi-seamless":
            await lab.invite(session, source, target)
        else:
            await lab.inform(source, target.qemu.spice_port)
        await asyncio.sleep(0.5)
        hops.append(await lab.move(session, source, target))
        await until(lambda: session.clipboard.available, "the agent is there again")
        await asyncio.sleep(1)
        await lab.quit(source)
        source = target
    account = await lab.settle(load, complete=False)
    await lab.freeze(session)
    apart = await lab.pixels_apart(session)
    lost = missing_records(load)
    windows = [in_flight(load, hop) for hop in hops]
    say(report, {"schemes": [hop.outcome.scheme for hop in hops], "reason": hops[0].outcome.reason})
    say(report, account.figures)
    say(report, {"port bytes in flight": sum(end - start for start, end in windows), "pixels apart": apart})
    assert {hop.outcome.scheme for hop in hops} == {scheme}
    assert {channel.how for hop in hops for channel in hop.outcome.channels} == {"restarted"}
    assert [at for at in lost if not any(start <= at < end for start, end in windows)] == []
    assert account.port.in_order
    assert account.port.duplicated == 0
    assert account.charged.ours == ()
    assert account.keys.duplicated == 0
    assert account.stuck_keys == []
    assert account.log.faults == ()
    assert session.lost_channels == {}
    assert not session.closed
    assert apart == 0


async def test_a_clipboard_under_way_to_the_guest(lab: Lab, report: Report) -> None:
    source = await lab.boot()
    session = await lab.connect(source)
    text = clipboard_text(20_000_000)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await lab.keep_copying(source)
    await lab.launch(source, target)
    await source.event("MIGRATION", status="active")
    left = []
    session.listeners.append(
        lambda event: (
            left.append(session.clipboard.queued)
            if isinstance(event, c.Noted) and (event.event, event.channel) == ("channel.migrate", "main:0")
            else None
        )
    )
    await session.clipboard.write(text.decode())
    await until(lambda: bool(lab.serial().of("AGENT", "clipboard-begins")), "the text is under way")
    await lab.stop_copying(source)
    hop = await lab.arrive(session, source, target, 1)
    await until(lambda: bool(lab.serial().clipboard_texts), "the guest has the text", 60)
    carried = next(channel.data_bytes for channel in hop.outcome.channels if channel.channel == "main:0")
    say(report, {"bytes of the text": len(text), "still queued at MIGRATE": left, "MIGRATE_DATA of main": carried})
    received = lab.serial().clipboard_texts[0]
    assert (received.size, received.checksum) == (len(text), fnv1a(text))
    assert hop.outcome.scheme == "seamless"
    assert 0 < left[0] < len(text)
    assert lab.serial().faults == ()


async def test_a_clipboard_under_way_from_the_guest(lab: Lab, report: Report) -> None:
    """In one chunk, as Linux agents write: several for a message can end libspice (reference results, B1).

    And at a pace: what the guest's queue holds at the stop, up to 4 MiB, QEMU throws away at the target when the guest
    writes on before the port is attached there, as a stock client shows that reads slowly.
    """
    size = 4_000_000
    source = await lab.boot(QemuOptions(guest_options={"clip": size, "pace": 8192}))
    session = await lab.connect(source)
    await until(lambda: session.clipboard.available, "the agent is there")
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await lab.tap(session, GRAB_CODE)
    await session.clipboard.wait_for_text()
    await lab.keep_copying(source)
    await lab.launch(source, target)
    await source.event("MIGRATION", status="active")
    before = after = 0

    def count(event: c.SessionEvent) -> None:
        nonlocal before, after
        if isinstance(event, c.MessageReceived) and isinstance(event.message, main.AgentData):
            if lab.noted("channel.migrate", "main:0"):
                after += len(event.message.data)
            else:
                before += len(event.message.data)

    session.listeners.append(count)
    reading = asyncio.ensure_future(session.clipboard.read(timeout=60))
    await until(lambda: before > 0, "the text is under way")
    await lab.stop_copying(source)
    hop = await lab.arrive(session, source, target, 1)
    text = await reading
    say(report, {"bytes of the text": size, "from the source": before, "from the target": after})
    assert text.encode() == clipboard_text(size)
    assert hop.outcome.scheme == "seamless"
    assert before > 0 < after
    assert lab.serial().faults == ()


async def test_a_key_held_over_the_migration(lab: Lab) -> None:
    source = await lab.boot()
    session = await lab.connect(source)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    with session.keyboard.hold("Ctrl"):
        await until(lambda: len(lab.serial().keys) == 1, "the guest sees the key")
        hop = await lab.move(session, source, target)
        await session.keyboard.press("c")
    await session.keyboard.press("d")
    await until(lambda: [key.code for key in lab.serial().keys][-2:] == [32, 32], "the guest sees the last key")
    keys = [(key.code, key.value) for key in lab.serial().keys if key.value in (PRESSED, RELEASED)]
    assert keys == [(29, PRESSED), (46, PRESSED), (46, RELEASED), (29, RELEASED), (32, PRESSED), (32, RELEASED)]
    assert hop.outcome.scheme == "seamless"


async def test_a_key_released_while_the_machine_stands_still(lab: Lab) -> None:
    """The source swallows the release; it is said again at the target, though it is longer ago than a second."""
    source = await lab.boot()
    session = await lab.connect(source)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    session.keyboard.down(0x1D)
    await until(lambda: len(lab.serial().keys) == 1, "the guest sees the key")
    await lab.pause_before_switchover(source)
    await lab.launch(source, target)
    await lab.paused(source)
    await asyncio.sleep(0.2)
    session.keyboard.up(0x1D)
    await asyncio.sleep(1.5)
    await lab.go_on(source)
    await lab.arrive(session, source, target, 1)
    await until(lambda: lab.serial().keys[-1].value == RELEASED, "the guest sees the release")
    assert {key.code for key in lab.serial().keys} == {29}
    released_in = target.qemu.serial_path.read_text()
    assert "code=29 value=0" in released_in


async def test_a_key_released_before_the_machine_runs_at_the_target(lab: Lab) -> None:
    """The target swallows what it is told until it runs, which on a busy host is late."""
    source = await lab.boot()
    session = await lab.connect(source)
    target = await lab.incoming()
    await target.ask("stop")  # it will not run when the machine has come
    await lab.invite(session, source, target)
    session.keyboard.down(0x1D)
    await until(lambda: len(lab.serial().keys) == 1, "the guest sees the key")
    await lab.launch(source, target)
    outcome = await session.wait_for_migration(20)
    session.keyboard.up(0x1D)
    await asyncio.sleep(1.0)
    assert await target.status() == "paused"
    await target.ask("cont")
    await lab.record(source, target, outcome)
    await until(lambda: lab.serial().keys[-1].value == RELEASED, "the guest sees the release")


async def test_a_machine_that_stands_still_for_long_with_the_port_in_use(lab: Lab, report: Report) -> None:
    """400 writes meet a stopped machine; libspice gives a channel up when more than 128 messages wait (B3)."""
    source = await lab.boot()
    session = await lab.connect(source)
    load = await lab.start_load(session)
    target = await lab.incoming()
    await lab.invite(session, source, target)
    await lab.pause_before_switchover(source)
    await lab.launch(source, target)
    await lab.paused(source)
    before = len(load.port_written)
    await asyncio.sleep(4)
    writes = len(load.port_written) - before
    await lab.go_on(source)
    hop = await lab.arrive(session, source, target, 1)
    await asyncio.sleep(1)
    account = await lab.settle(load)
    carried = next(channel.data_bytes for channel in hop.outcome.channels if channel.channel == "port:0")
    say(report, {"writes while it stood still": writes, "MIGRATE_DATA of the port": carried, **account.figures})
    assert writes > 128
    assert hop.outcome.scheme == "seamless"
    assert {channel.how for channel in hop.outcome.channels} == {"moved"}
    account.assert_only_keys_of_libspice()


async def test_a_long_way_between_client_and_servers(lab: Lab, report: Report) -> None:
    """50 ms each way, and the target under a name that only the client's `map_host` knows."""
    source = await lab.boot()
    here: Relay = await lab.enter(Relay(source.qemu.spice_port))
    here.delay = lab.latency = 0.05
    session = await lab.connect(source, here.port, map_host={"target.invalid": "127.0.0.1"})
    load = await lab.start_load(session)
    target = await lab.incoming()
    there: Relay = await lab.enter(Relay(target.qemu.spice_port))
    there.delay = 0.05
    await lab.invite(session, source, target, port=there.port, host="target.invalid")
    hop = await lab.move(session, source, target)
    await asyncio.sleep(1)
    account = await lab.settle(load)
    say(report, {"STOP to all channels swapped": milliseconds([hop.outcome.finished - hop.stopped])})
    say(report, account.figures)
    assert hop.outcome.scheme == "seamless"
    assert hop.outcome.target == f"127.0.0.1:{there.port}"
    account.assert_only_keys_of_libspice()
