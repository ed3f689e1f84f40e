"""A program at a Unix socket as the other end of a char device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from waiting import until

from spicehop.errors import ConnectError
from spicehop.server.socket_device import HELD, SocketDevice


class Bench:
    """A device, whether its guest runs, and how often the server was woken."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "device.socket"
        self.device = SocketDevice("agent", self.path)
        self.running = True
        self.wakes = 0

    def woken(self) -> None:
        self.wakes += 1

    @asynccontextmanager
    async def program(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            await until(lambda: self.device.opened, "the device is open", 5)
            yield reader, writer
        finally:
            writer.transport.abort()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with bench.device.listening(lambda: bench.running, bench.woken):
        yield bench


async def test_bytes_go_both_ways_and_wake_the_server(bench: Bench) -> None:
    assert not bench.device.opened
    assert bench.device.write(b"nobody") == 0
    async with bench.program() as (reader, writer):
        assert bench.device.write(b"to the program") == 14
        assert await asyncio.wait_for(reader.readexactly(14), 5) == b"to the program"
        writer.write(b"abcdef")
        before = bench.wakes
        await until(lambda: bench.wakes > before, "a wake", 5)
        assert bench.device.read(2) == b"ab"
        assert bench.device.read(0) == b""
        assert bench.device.read(100) == b"cdef"
        assert bench.device.read(100) == b""
    await until(lambda: not bench.device.opened, "the program is gone", 5)


async def test_a_guest_that_stands_still_takes_and_gives_nothing(bench: Bench) -> None:
    async with bench.program() as (_, writer):
        writer.write(b"late")
        await until(lambda: bench.wakes >= 2, "bytes", 5)
        bench.running = False
        assert bench.device.write(b"no") == 0
        assert bench.device.read(10) == b""
        bench.running = True
        assert bench.device.read(10) == b"late"


async def test_a_second_program_is_turned_away(bench: Bench) -> None:
    async with bench.program() as (reader, _):
        other, writer = await asyncio.open_unix_connection(str(bench.path))
        assert await asyncio.wait_for(other.read(), 5) == b""
        writer.close()
        assert bench.device.write(b"to the first") == 12
        assert await asyncio.wait_for(reader.readexactly(12), 5) == b"to the first"


async def test_the_next_program_hears_nothing_of_the_last(bench: Bench) -> None:
    async with bench.program() as (_, writer):
        writer.write(b"not read")
        await until(lambda: bench.wakes >= 2, "bytes", 5)
    await until(lambda: not bench.device.opened, "the program is gone", 5)
    async with bench.program():
        assert bench.device.read(100) == b""


async def test_a_program_that_is_not_read_or_does_not_read_has_to_wait(bench: Bench) -> None:
    async with bench.program() as (reader, writer):
        sent = bytes(range(256)) * 16 * 1024
        writer.write(sent)
        await asyncio.sleep(0.05)
        came = b""
        while len(came) < len(sent):
            piece = bench.device.read(HELD)
            came += piece
            await asyncio.sleep(0)
        assert came == sent
        taken = 0
        while bench.device.write(bytes(65536)):
            taken += 65536
            assert taken < 1 << 26
        assert bench.device.write(b"more") == 0
        await asyncio.wait_for(reader.readexactly(taken), 10)
        await until(lambda: bench.device.write(b"more") == 4, "room again", 5)


async def test_its_socket_is_private_and_goes_with_it(tmp_path: Path) -> None:
    device = SocketDevice("agent", tmp_path / "device.socket")
    async with device.listening(lambda: True, lambda: None):
        assert (tmp_path / "device.socket").stat().st_mode & 0o777 == 0o600
        with pytest.raises(ConnectError):
            async with SocketDevice("agent", tmp_path / "device.socket").listening(lambda: True, lambda: None):
                pass
    assert not (tmp_path / "device.socket").exists()
