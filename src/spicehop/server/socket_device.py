"""A char device of the guest whose other end is a program at a Unix socket, as QEMU's `-chardev socket,server=on`.

    device = SocketDevice("agent", Path("agent.socket"))
    guest = DemoGuest(agent=device)
    async with SpiceServer(guest) as server:
        async with device.listening(lambda: guest.running, server.wake):
            ...

The real `spice-vdagentd -s agent.socket` connects there as it opens its port in a virtual machine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from spicehop.server.private_socket import PrivateSocket

HELD = 64 * 1024
"""Bytes of the program that wait to be read; with more of them its socket is not read."""


class SocketDevice:
    """Implements `guests.interface.CharDevice`; it is open while a program is connected, and takes one at a time."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._running: Callable[[], bool] = lambda: False
        self._wake: Callable[[], None] = lambda: None
        self._program: _Program | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def opened(self) -> bool:
        return self._program is not None

    def write(self, data: bytes) -> int:
        """All or none: none while the guest stands still, nobody is connected or the program does not read."""
        if self._program is None or not self._running():
            return 0
        return self._program.write(data)

    def read(self, limit: int) -> bytes:
        return self._program.read(limit) if self._program is not None and self._running() else b""

    def client_changed(self, *, present: bool) -> None:
        """The program hears of it from what the server writes."""

    @asynccontextmanager
    async def listening(self, running: Callable[[], bool], wake: Callable[[], None]) -> AsyncIterator[None]:
        """Let programs connect; `running` tells whether the guest runs, `wake` is called when something has come.

        `ConnectError` when there can be no socket at the path.
        """
        self._running, self._wake = running, wake
        place = PrivateSocket(self._path)
        server = await asyncio.get_running_loop().create_unix_server(lambda: _Program(self), sock=place.bind())
        try:
            yield
        finally:
            server.close()
            place.remove()
            if self._program is not None:
                self._program.close()

    def program_came(self, program: _Program) -> bool:
        """For the connection: whether it is the one; another may be there."""
        if self._program is not None:
            return False
        self._program = program
        self._wake()
        return True

    def program_left(self, program: _Program) -> None:
        """For the connection: it has ended, and what it said and nobody read is gone with it."""
        if self._program is program:
            self._program = None
            self._wake()

    def moved(self) -> None:
        """For the connection: there is something to read, or room to write."""
        self._wake()


class _Program(asyncio.Protocol):
    """One connection."""

    def __init__(self, device: SocketDevice) -> None:
        self._device = device
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._blocked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._device.program_came(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._pieces.append(data)
        self._held += len(data)
        if self._held > HELD:
            self._transport.pause_reading()
        self._device.moved()

    def connection_lost(self, exc: Exception | None) -> None:
        self._device.program_left(self)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._device.moved()

    def write(self, data: bytes) -> int:
        """All or none."""
        if self._transport is None or self._blocked or self._transport.is_closing():
            return 0
        self._transport.write(data)
        return len(data)

    def read(self, limit: int) -> bytes:
        """At most `limit` bytes of what has come."""
        if not self._pieces or limit <= 0:
            return b""
        piece = self._pieces.popleft()
        if len(piece) > limit:
            self._pieces.appendleft(piece[limit:])
            piece = piece[:limit]
        self._held -= len(piece)
        if self._held <= HELD and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return piece

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()
