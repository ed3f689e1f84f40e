"""The relay that other tests put between client and server: it counts, records and makes faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from relay import TO_CLIENT, TO_SERVER, Relay


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_it_passes_counts_and_records(echo_port: int, tmp_path: Path) -> None:
    async with Relay(echo_port, capture=tmp_path) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        sent = bytes(range(256)) * 1000
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent
        writer.close()
        assert relay.total(TO_SERVER) == relay.total(TO_CLIENT) == len(sent)
        assert sum(size for _, direction, size in relay.passages[0].chunks if direction == TO_CLIENT) == len(sent)
    assert (tmp_path / "relay-0.to-server").read_bytes() == (tmp_path / "relay-0.to-client").read_bytes() == sent


async def test_what_is_held_comes_later(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        relay.hold()
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4), 0.1)
        relay.release()
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"late"
        writer.close()


async def test_a_delay_keeps_the_order(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        relay.delay = 0.02
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        for number in range(20):
            writer.write(bytes([number]))
            await writer.drain()
        assert await asyncio.wait_for(reader.readexactly(20), 5) == bytes(range(20))
        writer.close()


async def test_a_cut_ends_connections_and_takes_new_ones(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x")
        await reader.readexactly(1)
        relay.cut()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"y")
        assert await asyncio.wait_for(reader.readexactly(1), 5) == b"y"
        writer.close()
        assert len(relay.passages) == 2


async def test_refused_until_accepted_again(echo_port: int) -> None:
    async with Relay(echo_port) as relay:
        port = relay.port
        await relay.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await relay.accept()
        assert relay.port == port
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_nobody_behind_it() -> None:
    async with Relay(1) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
