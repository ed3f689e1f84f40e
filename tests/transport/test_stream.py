"""TCP connections: who is told what, and how one is left without a reset."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from spicehop.transport import stream as stream_module
from spicehop.transport.stream import Stream, open_stream

pytestmark = pytest.mark.filterwarnings("error")


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.changed = asyncio.Event()

    def _note(self, *what: object) -> None:
        self.told.append(what)
        self.changed.set()

    def connection_made(self, connection: int, stream: Stream) -> None:
        self._note("made", connection)

    def data_received(self, connection: int, data: bytes) -> None:
        self._note("data", connection, data)

    def connection_lost(self, connection: int, reason: str) -> None:
        self._note("lost", connection, reason)

    def writing_blocked(self, connection: int) -> None:
        self._note("blocked", connection)

    def writing_unblocked(self, connection: int) -> None:
        self._note("unblocked", connection)

    async def hear(self, *what: object) -> None:
        async with asyncio.timeout(5):
            while not any(one[: len(what)] == what for one in self.told):
                self.changed.clear()
                await self.changed.wait()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(handler: Handler) -> AsyncIterator[int]:
    """A server on a free port of loopback; each connection is closed behind its handler."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def test_the_owner_is_told_under_its_number() -> None:
    async with peer(echo) as port:
        owner = Owner()
        stream = await open_stream(7, "127.0.0.1", port, owner)
        assert owner.told == [("made", 7)]
        stream.write(b"hello")
        await owner.hear("data", 7, b"hello")
        stream.finish()
        await stream.wait_closed()
        assert stream.ended
        assert not any(what[0] == "lost" for what in owner.told)  # it left by itself


async def test_a_peer_that_closes_is_told() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async with peer(close) as port:
        owner = Owner()
        stream = await open_stream(1, "127.0.0.1", port, owner)
        await owner.hear("lost", 1, "the peer closed it")
        assert ("data", 1, b"bye") in owner.told
        stream.write(b"too late")
        stream.finish()
        stream.abort()
        await stream.wait_closed()


async def test_a_finished_connection_drops_what_still_comes_so_that_the_peer_sees_no_reset() -> None:
    """Unread data at a close would make a reset of it, which can destroy the last bytes (dossier F)."""
    seen: list[bytes] = []
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(500_000))
        seen.append(await reader.read())
        writer.write(bytes(500_000))
        await writer.drain()
        ended.set()

    async with peer(talk) as port:
        owner = Owner()
        stream = await open_stream(1, "127.0.0.1", port, owner)
        stream.pause_reading()
        stream.write(b"the last bytes")
        stream.finish()
        async with asyncio.timeout(5):
            await ended.wait()
            await stream.wait_closed()
        assert seen == [b"the last bytes"]


async def test_a_peer_that_does_not_close_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "LINGER", 0.05)

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with peer(stay) as port:
        stream = await open_stream(1, "127.0.0.1", port, Owner())
        stream.finish()
        async with asyncio.timeout(5):
            await stream.wait_closed()


async def test_reading_can_pause() -> None:
    async with peer(echo) as port:
        owner = Owner()
        stream = await open_stream(1, "127.0.0.1", port, owner)
        stream.pause_reading()
        stream.pause_reading()
        stream.write(b"x")
        await asyncio.sleep(0.03)
        assert not any(what[0] == "data" for what in owner.told)
        stream.resume_reading()
        stream.resume_reading()
        await owner.hear("data", 1, b"x")
        stream.abort()
        await stream.wait_closed()


async def test_a_peer_that_reads_nothing_blocks_writing() -> None:
    reads = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reads.wait()
        while await reader.read(65536):
            pass

    async with peer(slow) as port:
        owner = Owner()
        stream = await open_stream(1, "127.0.0.1", port, owner)
        stream.write(bytes(20_000_000))
        await owner.hear("blocked", 1)
        reads.set()
        await owner.hear("unblocked", 1)
        stream.abort()
        await stream.wait_closed()


async def test_a_dead_machine_at_the_other_end_is_looked_for() -> None:
    async with peer(echo) as port:
        owner = Owner()
        stream = await open_stream(1, "127.0.0.1", port, owner)
        assert stream._transport is not None
        sock = stream._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stream.abort()
        await stream.wait_closed()


@pytest.mark.parametrize("host", ["", "no-such-host.invalid", "a" * 70, "with space", "\0"])
async def test_a_host_that_is_none_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError, match=r"\w"):
        await open_stream(1, host, 1, Owner())


async def test_nobody_listens() -> None:
    async with peer(echo) as port:
        pass
    owner = Owner()
    with pytest.raises(OSError, match=r"\w"):
        await open_stream(1, "127.0.0.1", port, owner)
    assert owner.told == []


async def test_an_attempt_that_is_cancelled_leaves_no_connection() -> None:
    async with peer(echo) as port:
        owner = Owner()
        task = asyncio.create_task(open_stream(1, "127.0.0.1", port, owner))
        await owner.hear("made", 1)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result().abort()
        await asyncio.sleep(0.02)


async def test_cutting_what_the_peer_has_ended_meanwhile() -> None:
    """It was closed with bytes unsent, which went out later: asyncio's own connection fails when it is cut then."""
    owner = Owner()

    async def end_and_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        await asyncio.sleep(0.1)
        await reader.read()

    async with peer(end_and_read) as port:
        stream = await open_stream(1, "127.0.0.1", port, owner)
        stream.write(bytes(16 << 20))
        await owner.hear("lost", 1)
        stream.abort()
        await stream.wait_closed()
