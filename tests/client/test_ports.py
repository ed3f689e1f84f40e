"""Ports as byte streams: reading, writing, back-pressure in both directions, and what an end means."""

from __future__ import annotations

import asyncio

import pytest
from fake_server import FakeServer

from spicehop import connect
from spicehop.client import ports as ports_module
from spicehop.client.ports import Ports
from spicehop.errors import ConnectionLost, StateError
from spicehop.wire import base, main, vmc

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("tidy")]
NAME = "org.example.port:1"


async def settled(server: FakeServer, channel: str = "port:1") -> None:
    """Everything that the server has said on the channel has been handled."""
    count = len([one for one in server.channels[channel].heard if isinstance(one, base.Pong)])
    server.say(channel, base.Ping(1, 1))
    await server.hear(channel, base.Pong, count=count + 1)


async def test_bytes_both_ways() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports[NAME]
        assert (port.name, port.opened, port.sent, port.received) == (NAME, True, 0, 0)
        port.write(b"to the guest")
        await server.hear("port:1", vmc.VmcData)
        assert server.port_bytes() == b"to the guest"
        server.say("port:1", vmc.VmcData(b"from "), vmc.VmcData(b"the guest"))
        await settled(server)
        assert await port.read(3) == b"fro"
        assert await port.read() == b"m the guest"
        assert (port.sent, port.received, port.queued) == (12, 14, 0)


async def test_a_read_waits_for_the_first_byte() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        reading = asyncio.create_task(session.ports[NAME].read())
        await asyncio.sleep(0.01)
        assert not reading.done()
        server.say("port:1", vmc.VmcData(b"x"))
        assert await reading == b"x"


async def test_a_read_can_be_cancelled_without_losing_anything() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports[NAME]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await port.read()
        server.say("port:1", vmc.VmcData(b"x"))
        assert await port.read() == b"x"


async def test_a_read_of_nothing_is_the_callers_mistake() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with pytest.raises(StateError):
            await session.ports[NAME].read(0)


async def test_drain_waits_until_little_is_queued_and_is_woken_by_writing_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server says nothing in the meantime."""
    monkeypatch.setattr(ports_module, "DRAIN_BYTES", 100_000)
    async with FakeServer() as server, connect(server.url) as session:
        server.reads = False
        await asyncio.sleep(0.03)
        port = session.ports[NAME]
        for _ in range(90):
            port.write(bytes(100_000))
        draining = asyncio.create_task(port.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        server.reads = True
        async with asyncio.timeout(5):
            await draining
        assert port.queued <= 100_000


async def test_drain_with_nothing_queued_does_not_wait() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        async with asyncio.timeout(1):
            await session.ports[NAME].drain()


async def test_a_port_that_nobody_reads_is_not_read_from_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "UNREAD_BYTES", 100_000)
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports[NAME]
        total = 0
        for _ in range(400):
            server.say("port:1", vmc.VmcData(bytes(50_000)))
            total += 50_000
        await settled(server, "main:0")
        await asyncio.sleep(0.05)
        assert port.received < total
        read = 0
        async with asyncio.timeout(10):
            while read < total:
                read += len(await port.read())
        assert read == port.received == total


async def test_a_port_that_nobody_reads_still_migrates(monkeypatch: pytest.MonkeyPatch) -> None:
    """MIGRATE is behind what nobody has read."""
    monkeypatch.setattr(ports_module, "UNREAD_BYTES", 100_000)
    async with FakeServer() as first, FakeServer() as second, connect(first.url) as session:
        port = session.ports[NAME]
        first.say("main:0", main.MigrateBeginSeamless(second.port, 0, b"127.0.0.1", b"", 1))
        await second.hear("main:0", main.MigrateDstDoSeamless)
        second.say("main:0", main.MigrateDstSeamlessAck())
        await first.hear("main:0", main.MigrateConnectedSeamless)
        for _ in range(300):
            first.say("port:1", vmc.VmcData(bytes(50_000)))
        await asyncio.sleep(0.05)
        assert port.received < 15_000_000
        for name in ("port:1", "display:0", "inputs:0", "main:0"):
            first.say(name, base.Migrate(3))
        for name in ("port:1", "display:0", "inputs:0", "main:0"):
            await first.hear(name, base.MigrateFlushMark)
            first.say(name, base.MigrateData(b"state"))
        await session.wait_for_migration(5)
        assert port.received == 15_000_000


async def test_many_writes_are_gathered_into_few_messages() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports[NAME]
        for number in range(2000):
            port.write(b"%04d" % number)
        await server.until(lambda: len(server.port_bytes()) == 8000)
        assert server.port_bytes() == b"".join(b"%04d" % number for number in range(2000))
        assert len(await server.hear("port:1", vmc.VmcData)) < 100


async def test_a_caller_may_reuse_its_buffer() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        buffer = bytearray(b"first")
        port = session.ports[NAME]
        port.write(buffer)
        buffer[:] = b"later"
        await server.hear("port:1", vmc.VmcData)
        assert server.port_bytes() == b"first"


async def test_a_port_that_the_server_names_later() -> None:
    async with FakeServer(channels=("display:0",)) as server, connect(server.url) as session:
        assert len(session.ports) == 0
        waiting = asyncio.create_task(session.port("org.example.port:3", 5))
        server.offered = ("display:0", "port:3")
        server.say("main:0", main.ChannelsList((main.ChannelId(10, 3),)))
        port = await waiting
        assert port is session.ports["org.example.port:3"]


async def test_the_end_of_the_session_ends_reading_and_writing() -> None:
    async with FakeServer() as server:
        async with connect(server.url) as session:
            port = session.ports[NAME]
            server.say("port:1", vmc.VmcData(b"the last"))
            await settled(server)
        assert await port.read() == b"the last"
        assert await port.read() == b""
        with pytest.raises(ConnectionLost, match=f"the port {NAME} was lost"):
            port.write(b"x")


async def test_a_port_that_is_lost_for_good_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spicehop.migration.restoring.RESTORE_PAUSE", 0.01)
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports[NAME]
        reading = asyncio.create_task(port.read())
        server.offered = ("display:0", "inputs:0")
        server.close("port:1")
        assert await reading == b""
        assert "port:1" in session.lost_channels
        with pytest.raises(ConnectionLost):
            port.write(b"x")
        assert not session.closed


async def test_a_port_that_is_linked_again_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spicehop.migration.restoring.RESTORE_PAUSE", 0.01)
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports[NAME]
        before = server.connections
        server.close("port:1")
        await server.until(lambda: server.connections > before)
        port.write(b"again")
        await server.hear("port:1", vmc.VmcData)
        server.say("port:1", vmc.VmcData(b"and back"))
        assert await port.read() == b"and back"


async def test_two_ports_do_not_mix() -> None:
    async with FakeServer(channels=("port:0", "port:1")) as server, connect(server.url) as session:
        assert sorted(session.ports) == ["org.example.port:0", "org.example.port:1"]
        first, second = (session.ports[name] for name in sorted(session.ports))
        first.write(b"one")
        second.write(b"two")
        await server.hear("port:0", vmc.VmcData)
        await server.hear("port:1", vmc.VmcData)
        assert (server.port_bytes("port:0"), server.port_bytes("port:1")) == (b"one", b"two")
        server.say("port:1", vmc.VmcData(b"2"))
        server.say("port:0", vmc.VmcData(b"1"))
        assert (await first.read(), await second.read()) == (b"1", b"2")


def test_ports_are_a_mapping() -> None:
    ports = Ports()
    assert (list(ports), len(ports), "x" in ports, ports.get("x")) == ([], 0, False, None)
