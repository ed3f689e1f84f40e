"""A TCP relay between a client and a server that counts, records, delays, holds, cuts and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

CHUNK = 1 << 16
QUEUED_PIECES = 256
Waiting = asyncio.Queue[tuple[float, bytes]]
"""When a piece is due, and the piece; an empty one is the end."""
TO_SERVER, TO_CLIENT = "to-server", "to-client"


@dataclass(slots=True)
class Passage:
    """One connection through the relay."""

    number: int
    accepted_at: float
    ended_at: float | None = None
    size: dict[str, int] = field(default_factory=lambda: {TO_SERVER: 0, TO_CLIENT: 0})
    """Bytes that came to the relay, by direction."""
    chunks: list[tuple[float, str, int]] = field(default_factory=list)
    """(time, direction, bytes) of each piece; times are CLOCK_MONOTONIC."""


class Relay:
    """Listens at a free port of loopback and passes on what comes; enter it to start it, leave it to end it.

    Its faults can be set at any time and hold for what comes later:

    - `delay`: seconds each piece waits, in each direction; `connect_delay`: seconds a new connection waits
    - `refuse()`, `accept()`: whether new connections are taken at all
    - `hold()`, `release()`: whether bytes are passed on; nothing is lost, the connections stay
    - `cut()`: ends all connections at once, with a reset
    """

    def __init__(self, target_port: int, *, name: str = "relay", capture: Path | None = None) -> None:
        self.target_port = target_port
        self.delay = 0.0
        self.connect_delay = 0.0
        self.passages: list[Passage] = []
        self._name = name
        self._capture = capture
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        self.release()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)  # asyncio prints what is cancelled instead
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens; the same after `refuse()` and `accept()`."""
        return self._port

    def total(self, direction: str) -> int:
        """Bytes of all connections in that direction."""
        return sum(passage.size[direction] for passage in self.passages)

    async def accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._came, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Closes the listener, so that new connections are refused; those that exist go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def hold(self) -> None:
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    def cut(self) -> None:
        for writer in self._writers:
            taken = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            writer.transport.abort()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        passage = Passage(len(self.passages), time.monotonic())
        self.passages.append(passage)
        ends = [writer]
        self._writers.add(writer)
        try:
            await asyncio.sleep(self.connect_delay)
            onward, out = await asyncio.open_connection("127.0.0.1", self.target_port)
            ends.append(out)
            self._writers.add(out)
            async with asyncio.TaskGroup() as group:
                for direction, source, sink in ((TO_SERVER, reader, out), (TO_CLIENT, onward, writer)):
                    sink.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    waiting: Waiting = asyncio.Queue(QUEUED_PIECES)
                    group.create_task(self._take(passage, direction, source, waiting))
                    group.create_task(self._give(waiting, sink))
        except* OSError:
            pass  # a broken connection ends its passage and nothing else
        finally:
            passage.ended_at = time.monotonic()
            for end in ends:
                self._writers.discard(end)
                end.transport.abort()
            self._tasks.discard(task)

    async def _take(self, passage: Passage, direction: str, source: asyncio.StreamReader, waiting: Waiting) -> None:
        with contextlib.ExitStack() as stack:
            file = None
            if self._capture is not None:
                self._capture.mkdir(parents=True, exist_ok=True)
                path = self._capture / f"{self._name}-{passage.number}.{direction}"
                file = stack.enter_context(path.open("wb", buffering=0))
            while piece := await source.read(CHUNK):
                now = time.monotonic()
                passage.size[direction] += len(piece)
                passage.chunks.append((now, direction, len(piece)))
                if file is not None:
                    file.write(piece)
                await waiting.put((now + self.delay, piece))
            await waiting.put((time.monotonic() + self.delay, b""))

    async def _give(self, waiting: Waiting, sink: asyncio.StreamWriter) -> None:
        while True:
            due, piece = await waiting.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._passing.wait()
            if not piece:
                sink.write_eof()
                return
            sink.write(piece)
            await sink.drain()
