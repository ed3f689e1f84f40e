"""The demo guest under real QEMU: it boots, logs what it is sent, and goes on after a migration."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qemu.qmp import QMPClient

from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.keys import KeyPlan, SentKey, StandStill, charge, count_keys
from spicehop.demo.payload import clipboard_text, count_port, fnv1a
from spicehop.demo.qemu import QemuOptions, QemuProcess
from spicehop.demo.serial import SerialLog, read_serial
from spicehop.demo.stamp import read_stamp

pytestmark = pytest.mark.peers
StartQemu = Callable[[QemuOptions], Awaitable[QemuProcess]]
StartGtkClient = Callable[..., Awaitable[GtkClient]]


async def monitor(qemu: QemuProcess) -> QMPClient:
    client = QMPClient(qemu.options.name)
    await client.connect(str(qemu.qmp_paths[-1]))
    return client


async def send_key(qmp: QMPClient, name: str) -> None:
    await qmp.execute("send-key", {"keys": [{"type": "qcode", "data": name}], "hold-time": 10})


async def wait_log(hops: Sequence[QemuProcess], condition: Callable[[SerialLog], object], what: str) -> SerialLog:
    paths = [hop.serial_path for hop in hops]
    await hops[-1].wait_for(lambda: bool(condition(read_serial(paths))), what, 30)
    return read_serial(paths)


async def wait_migrated(source: QMPClient) -> None:
    for _ in range(600):
        if (await source.execute("query-migrate")).get("status") == "completed":  # type: ignore[union-attr]
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the migration was not completed in a minute")


async def picture(qmp: QMPClient, path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    await qmp.execute("screendump", {"filename": str(path), "format": "png"})
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("vga", ["qxl-vga", "VGA"])
async def test_the_guest_boots_draws_and_logs_keys(start_qemu: StartQemu, tmp_path: Path, vga: str) -> None:
    vm = await start_qemu(QemuOptions(vga=vga))
    await vm.wait_ready()
    qmp = await monitor(vm)
    try:
        for name in ("a", "b", "f6", "f7"):
            await send_key(qmp, name)
        log = await wait_log([vm], lambda log: log.is_frozen and len(log.keys) == 8, "freeze")
        assert [(event.code, event.value) for event in log.keys[:4]] == [(30, 1), (30, 0), (48, 1), (48, 0)]
        assert log.syncs == 1
        assert log.faults == ()
        await asyncio.sleep(0.5)  # the drawn frame still has to reach QEMU's surface
        frame = read_stamp(await picture(qmp, tmp_path / "screen.png"))
        assert frame == log.of("SCREEN", "frozen")[0].number("frame") - 1
    finally:
        await qmp.disconnect()


async def test_a_ticket_is_asked_for(start_qemu: StartQemu, start_gtk_client: StartGtkClient) -> None:
    vm = await start_qemu(QemuOptions(ticket="open sesame"))
    wrong = await start_gtk_client(vm.spice_port, name="wrong", password="wrong")
    await wrong.wait_event("channel-event", kind="MainChannel", what="error-auth")
    right = await start_gtk_client(vm.spice_port, name="right", password="open sesame")
    await right.wait_event("channel-event", kind="MainChannel", what="opened")


async def test_the_stock_client_types_streams_and_copies(
    start_qemu: StartQemu, start_gtk_client: StartGtkClient
) -> None:
    vm = await start_qemu(QemuOptions(guest_options={"clip": 5000}))
    await vm.wait_ready()
    client = await start_gtk_client(vm.spice_port)
    await client.wait_session()
    codes = KeyPlan().codes(50)
    client.send("keys", codes=codes, hz=50)
    client.send("stream", size=200_000, rate=400_000)
    await client.wait_event("typed")
    await client.wait_event("streamed")
    await wait_log([vm], lambda log: log.port_totals and log.port_totals[-1].size == 200_000, "read the port")
    await client.wait_for(lambda: len(client.echo) == 200_000, "the whole echo")
    client.send("offer", size=3000)
    client.send("key", code=63)
    text = await client.wait_event("clipboard")
    log = await wait_log([vm], lambda log: len(log.clipboard_texts) == 2, "take the clipboard")
    assert count_keys(codes, log).lost == 0
    assert count_port(200_000, client.echo, log.port_totals).is_complete
    assert text["checksum"] == fnv1a(clipboard_text(5000))
    assert {(one.received, one.size) for one in log.clipboard_texts} == {(True, 3000), (False, 5000)}
    assert next(one.checksum for one in log.clipboard_texts if one.received) == fnv1a(clipboard_text(3000))
    assert log.faults == ()


async def test_the_guest_goes_on_in_another_qemu(start_qemu: StartQemu) -> None:
    source = await start_qemu(QemuOptions(name="source"))
    target = await start_qemu(QemuOptions(name="target", incoming="defer"))
    await source.wait_ready()
    here, there = await monitor(source), await monitor(target)
    try:
        await there.execute("migrate-incoming", {"uri": target.migration_uri})
        await send_key(here, "a")
        await wait_log([source], lambda log: len(log.keys) == 2, "log the key")
        await here.execute("migrate", {"uri": target.migration_uri})
        await wait_migrated(here)
        await send_key(there, "b")
        log = await wait_log([source, target], lambda log: len(log.keys) == 4, "log the key at the target")
        assert [event.code for event in log.keys] == [30, 30, 48, 48]
        assert log.faults == ()
        assert target.serial_path.stat().st_size > 0
    finally:
        await here.disconnect()
        await there.disconnect()


async def test_a_qemu_that_cannot_start_says_why(start_qemu: StartQemu) -> None:
    with pytest.raises(Exception, match="no-such-device"):
        await start_qemu(QemuOptions(vga="no-such-device"))


START_AND_SLEEP = """
import asyncio, sys
from pathlib import Path
from spicehop.demo.guest_image import build_guest
from spicehop.demo.qemu import QemuOptions, QemuProcess

async def main():
    async with QemuProcess(build_guest(), QemuOptions(), Path(sys.argv[1])) as vm:
        print(vm.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_qemu_ends_when_its_python_is_killed(tmp_path: Path) -> None:
    python = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START_AND_SLEEP, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert python.stdout is not None
    pid = int(await asyncio.wait_for(python.stdout.readline(), 30))
    assert is_running(pid)
    python.kill()
    await python.wait()
    for _ in range(100):
        if not is_running(pid):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"QEMU {pid} lives on")


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return "qemu-system" in status and ") Z " not in status


async def test_the_judge_at_a_plain_migration_of_the_stock_client(
    start_qemu: StartQemu, start_gtk_client: StartGtkClient
) -> None:
    """The reference against itself: nothing of ours but the guest, and the account of what it loses.

    Keys are lost from shortly before the source stops until the target runs and the channel has moved, in either order:
    the stock client sends on at once when its channel has moved, and QEMU drops what comes before it runs.
    """
    source = await start_qemu(QemuOptions(name="source"))
    target = await start_qemu(QemuOptions(name="target", incoming="defer"))
    await source.wait_ready()
    here, there = await monitor(source), await monitor(target)
    try:
        client = await start_gtk_client(source.spice_port, fatal_criticals=False)
        await client.wait_session()
        channels = len((await here.execute("query-spice"))["channels"])  # type: ignore[index, call-overload, arg-type]
        await there.execute("migrate-incoming", {"uri": target.migration_uri})
        codes = KeyPlan().codes(150)
        client.send("keys", codes=codes, hz=50)
        client.send("stream", size=160_000, rate=64_000)
        with there.listener("SPICE_INITIALIZED") as arrived:
            info = {"protocol": "spice", "hostname": "127.0.0.1", "port": target.spice_port}
            await here.execute("client_migrate_info", info)
            async with asyncio.timeout(20):
                for _ in range(channels):
                    await arrived.get()
        with here.listener(("STOP", "SPICE_MIGRATE_COMPLETED")) as events, there.listener("RESUME") as resumed:
            await here.execute("migrate", {"uri": target.migration_uri})
            async with asyncio.timeout(30):
                stopped_at, moved_at = moment(await events.get()), moment(await events.get())
                still = StandStill("stock", stopped_at, max(moved_at, moment(await resumed.get())))
        await client.wait_event("typed")
        await client.wait_event("streamed")
        log = await wait_log([source, target], lambda log: log.port_totals[-1].size == 160_000, "read the port")
        await client.wait_for(lambda: len(client.echo) == 160_000, "the whole echo")
    finally:
        await here.disconnect()
        await there.disconnect()
    assert client.seen("disconnected") is None
    assert [one for one in client.criticals if "c->name == NULL" not in one] == []
    assert log.faults == ()
    assert count_port(160_000, client.echo, log.port_totals).is_complete
    pressed = [one["t"] for one in client.events if one["event"] == "pressed"]
    sent = [SentKey(code, at, "stock", at + 0.01, "stock") for code, at in zip(codes, pressed, strict=True)]
    count = count_keys(codes, log)
    assert count.duplicated == 0
    assert charge(count, sent, [still]).ours == ()


def moment(event: Mapping[str, Any]) -> float:
    """CLOCK_MONOTONIC of QEMU's own stamp of an event."""
    stamp = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
    return float(stamp - time.time() + time.monotonic())
