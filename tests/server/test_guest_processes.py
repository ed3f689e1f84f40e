"""The demo guest moves between `spicehop serve` processes, which share nothing but sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from waiting import until

import spicehop
from spicehop.conductor import Options, migrate
from spicehop.conductor.qmp import QmpAddress, QmpPeer
from spicehop.demo.serial import read_serial
from spicehop.demo.server_process import ServerProcess
from spicehop.migration.conducting_result import Outcome

INCOMING = ("--incoming", "defer")
ENDLESS = {"max-bandwidth": 1000, "downtime-limit": 0}
"""With these the migration of a guest that runs does not come to an end."""


class Monitor:
    """A control connection, and the events it has told."""

    def __init__(self, path: str) -> None:
        self.events: list[str] = []
        self._path = path
        self._peer = QmpPeer("server", QmpAddress(path=path))

    async def __aenter__(self) -> Monitor:
        await self._peer.connect()
        self._listening = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(self, *what: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._peer.close()

    async def _listen(self) -> None:
        async for name, data in self._peer.events():
            self.events.append(str(data.get("status", name)) if name == "MIGRATION" else name)

    async def __call__(self, command: str, **arguments: object) -> dict[str, object]:
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        answer = await self._peer.execute(command, named)
        return answer if isinstance(answer, dict) else {"": answer}

    async def switch(self, *capabilities: str) -> None:
        await self(
            "migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in capabilities]
        )

    async def status(self) -> object:
        return (await self("query-status"))["status"]

    async def migration(self) -> object:
        return (await self("query-migrate")).get("status")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self("send-key", keys=[{"type": "qcode", "data": key}], hold_time=1)

    async def happened(self, event: str) -> None:
        await until(lambda: event in self.events, timeout=20)

    def kill(self) -> None:
        """End the server's process as a crash does."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self._path)
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        os.kill(struct.unpack("3i", credentials)[0], signal.SIGKILL)


def server(folder: Path, *arguments: str) -> ServerProcess:
    folder.mkdir()
    return ServerProcess(folder, arguments=("--size", "640x480", *arguments))


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Monitor, Monitor, str]]:
    """A source, a target that waits, and where it waits."""
    async with (
        server(tmp_path / "a") as a,
        server(tmp_path / "b", *INCOMING) as b,
        Monitor(a.control) as source,
        Monitor(b.control) as target,
    ):
        for monitor in (source, target):
            await monitor.switch("events", "return-path")
        await target("migrate-incoming", uri="tcp:127.0.0.1:0")
        addresses = (await target("query-migrate"))["socket-address"]
        assert isinstance(addresses, list)
        yield source, target, f"tcp:127.0.0.1:{addresses[0]['port']}"


async def test_it_moves_there_and_back(tmp_path: Path) -> None:
    pictures = []

    async def look(monitor: Monitor, name: str) -> None:
        path = tmp_path / name
        await monitor("screendump", filename=str(path))
        pictures.append(path.read_bytes())

    async with server(tmp_path / "a") as a, server(tmp_path / "b", *INCOMING) as b:
        async with Monitor(a.control) as monitor:
            await monitor.press("a", "b", "f7")  # F7 freezes the picture
            await until(lambda: "frozen" in a.guest_log.read_text())
            await look(monitor, "a.ppm")
        there = await migrate(Options(a.control, b.control))
        async with Monitor(b.control) as monitor:
            await monitor.press("c")
            await until(lambda: " key n=6 " in b.guest_log.read_text())
            await look(monitor, "b.ppm")
        path = str(tmp_path / "move")
        async with server(tmp_path / "c", "--incoming", f"unix:{path}") as c:
            back = await migrate(Options(b.control, c.control))
            async with Monitor(c.control) as monitor:
                await look(monitor, "c.ppm")
                await monitor.press("d", "f7")
                await until(lambda: "drawing" in c.guest_log.read_text())
                assert await monitor.status() == "running"
            log = read_serial([a.guest_log, b.guest_log, c.guest_log])
    for result in (there, back):
        assert result.outcome is Outcome.MOVED
        assert result.source_ended
        assert result.timing.handed_over is not None
    assert pictures[0] == pictures[1] == pictures[2]
    assert log.faults == ()
    assert [key.code for key in log.keys if key.value == 1] == [30, 48, 65, 46, 32, 65]


async def test_events_and_run_states_are_qemus(tmp_path: Path) -> None:
    """In the order that a QEMU 7.2 has told them; it also tells MIGRATION_PASS."""
    async with pair(tmp_path) as (source, target, uri):
        await source.switch("pause-before-switchover")
        await source("migrate", uri=uri)
        await source.happened("pre-switchover")
        assert source.events == ["setup", "active", "STOP", "pre-switchover"]
        assert (await source.status(), await target.status()) == ("finish-migrate", "inmigrate")
        assert (await source.migration(), await target.migration()) == ("pre-switchover", "active")
        await source("migrate-continue", state="pre-switchover")
        await source.happened("completed")
        await target.happened("completed")
        assert source.events[4:] == ["device", "completed"]
        assert target.events == ["setup", "active", "RESUME", "completed"]
        assert (await source.status(), await target.status()) == ("postmigrate", "running")
        figures = await source("query-migrate")
        assert {"status", "setup-time", "downtime", "total-time", "ram"} == figures.keys()
        assert await target("query-migrate") == {"status": "completed"}


async def test_it_can_be_cancelled_and_tried_again(tmp_path: Path) -> None:
    async with pair(tmp_path) as (source, target, uri):
        await source("migrate-set-parameters", **ENDLESS)
        await source("migrate", uri=uri)
        await source.happened("active")
        await source("migrate_cancel")
        await source.happened("cancelled")
        await target.happened("failed")
        assert source.events == ["setup", "active", "cancelling", "cancelled"]
        assert (await source.status(), await target.status()) == ("running", "inmigrate")
        assert await source("query-migrate") == {"status": "cancelled"}
        await source.switch("pause-before-switchover")
        await source("migrate-set-parameters", max_bandwidth=0)
        await source("migrate", uri=uri)
        await source.happened("pre-switchover")
        await source("migrate_cancel")
        await until(lambda: source.events.count("cancelled") == 2)
        assert source.events[-4:] == ["pre-switchover", "cancelling", "RESUME", "cancelled"]
        assert (await source.status(), await target.status()) == ("running", "inmigrate")
        unpaused = [{"capability": "pause-before-switchover", "state": False}]
        await source("migrate-set-capabilities", capabilities=unpaused)
        await source("migrate", uri=uri)
        await target.happened("completed")
        assert (await source.status(), await target.status()) == ("postmigrate", "running")


async def test_a_target_that_is_killed_before_leaves_the_guest_at_the_source(tmp_path: Path) -> None:
    async with pair(tmp_path) as (source, target, uri):
        await source.switch("pause-before-switchover")
        await source("migrate", uri=uri)
        await source.happened("pre-switchover")
        target.kill()
        await source.happened("failed")
        await source.happened("RESUME")
        assert await source.status() == "running"
        failed = await source("query-migrate")
        assert failed == {"status": "failed", "error-desc": "the target has closed the connection"}


async def test_a_target_that_is_killed_after_leaves_a_guest_that_can_go_on(tmp_path: Path) -> None:
    async with pair(tmp_path) as (source, target, uri):
        await source("migrate", uri=uri)
        await source.happened("completed")
        target.kill()
        assert await source.status() == "postmigrate"
        await source("cont")
        assert await source.status() == "running"


async def test_the_conductor_cancels_and_goes_back_when_the_target_dies(tmp_path: Path) -> None:
    async with (
        server(tmp_path / "a") as a,
        server(tmp_path / "b", *INCOMING) as b,
        Monitor(a.control) as source,
        Monitor(b.control) as target,
    ):
        await source("migrate-set-parameters", **ENDLESS)
        work = asyncio.ensure_future(migrate(Options(a.control, b.control)))
        await source.happened("active")
        target.kill()
        result = await work
        assert result.outcome is Outcome.ROLLED_BACK
        assert await source.status() == "running"


async def test_a_client_is_sent_after_the_guest(tmp_path: Path) -> None:
    """Switch-host: it connects anew, and types on. The source says so when nobody is left."""
    async with server(tmp_path / "a") as a, server(tmp_path / "b", *INCOMING) as b:
        async with spicehop.connect(a.url) as session, Monitor(a.control) as source, Monitor(b.control) as target:
            await session.keyboard.type("ab")
            await until(lambda: " key n=3 " in a.guest_log.read_text())
            host, _, port = b.url.removeprefix("spice://").partition(":")
            await source("client_migrate_info", protocol="spice", hostname=host, port=int(port))
            path = tmp_path / "move"
            await target("migrate-incoming", uri=f"unix:{path}")
            await source("migrate", uri=f"unix:{path}")
            await session.wait_for_migration(timeout=20)
            await source.happened("SPICE_MIGRATE_COMPLETED")
            assert (await source("query-spice"))["migrated"] is True
            assert (await source("query-spice"))["channels"] == []
            await session.keyboard.type("cd")
            await until(lambda: " key n=7 " in b.guest_log.read_text(), timeout=20)
            assert [one.scheme for one in session.migrations] == ["switch-host"]
        log = read_serial([a.guest_log, b.guest_log])
    assert log.faults == ()
    assert [key.code for key in log.keys if key.value == 1] == [30, 48, 46, 32]


async def test_a_client_is_not_sent_after_a_guest_that_stays(tmp_path: Path) -> None:
    async with server(tmp_path / "a") as a, spicehop.connect(a.url) as session, Monitor(a.control) as source:
        await source.switch("events")
        await source("client_migrate_info", protocol="spice", hostname="127.0.0.1", port=1)
        await source("migrate", uri=f"unix:{tmp_path / 'nobody'}")
        await source.happened("failed")
        await session.keyboard.type("a")
        await until(lambda: " key n=1 " in a.guest_log.read_text())
        assert "SPICE_MIGRATE_COMPLETED" not in source.events
