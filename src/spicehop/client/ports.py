"""Named ports of the guest as byte streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from spicehop.channels.vmc import VmcChannel
from spicehop.errors import ConnectionLost, StateError

DRAIN_BYTES = 1024 * 1024
"""`drain` waits while more than this is queued."""
UNREAD_BYTES = 8 * 1024 * 1024
"""Bytes the guest has sent and nobody has read, beyond which the port is not read any more."""


class Port:
    """One port: a byte stream in both directions that goes on across migrations.

    Bytes are counted: `sent` were accepted by `write`, `received` have come from the guest.
    """

    def __init__(self, channel: VmcChannel, changed: Callable[[], None], backlog: Callable[[bool], None]) -> None:
        self._channel = channel
        self._changed = changed
        self._backlog = backlog
        self._unread = bytearray()
        self._wakeup = asyncio.Event()
        self._ended: Exception | None = None
        self.received = 0

    @property
    def name(self) -> str:
        """The guest's name of the port."""
        return self._channel.port_name

    @property
    def opened(self) -> bool:
        """Whether a program in the guest has the port open."""
        return self._channel.opened

    @property
    def ended(self) -> bool:
        """Whether the port is gone for good."""
        return self._ended is not None

    @property
    def sent(self) -> int:
        """Bytes accepted by `write`."""
        return self._channel.bytes_accepted

    @property
    def queued(self) -> int:
        """Bytes accepted and not yet written to a server."""
        return self._channel.bytes_queued

    def write(self, data: bytes) -> None:
        """Queue bytes for the guest; call `drain` now and then. Raises `ConnectionLost` when the port is gone."""
        if self._ended is not None:
            raise self._ended
        self._channel.write(bytes(data))
        self._changed()

    async def drain(self) -> None:
        """Wait until little enough is queued to write more."""
        while self._channel.bytes_queued > DRAIN_BYTES:
            await self._wait()

    async def read(self, limit: int = 65536) -> bytes:
        """At least one byte and at most `limit`; empty when the session has ended."""
        if limit < 1:
            raise StateError("read needs room for at least one byte")
        while not self._unread:
            if self._ended is not None:
                return b""
            await self._wait()
        data = bytes(self._unread[:limit])
        del self._unread[:limit]
        if len(self._unread) < UNREAD_BYTES:
            self._backlog(False)
        return data

    async def _wait(self) -> None:
        if self._ended is not None:
            raise self._ended
        self._wakeup.clear()
        await self._wakeup.wait()

    def data_received(self, data: bytes) -> None:
        """For the session: bytes of the guest."""
        self.received += len(data)
        self._unread += data
        if len(self._unread) >= UNREAD_BYTES:
            self._backlog(True)
        self._wakeup.set()

    def wake(self) -> None:
        """For the session: look again."""
        self._wakeup.set()

    def lost(self, reason: str) -> None:
        """For the session: the port will not come back."""
        self._ended = ConnectionLost(f"the port {self.name} was lost: {reason}")
        self._wakeup.set()

    def regained(self) -> None:
        """For the session: the port is there again."""
        self._ended = None


class Ports(Mapping[str, Port]):
    """The ports of a session by name. A port appears once the server has named it; see `Session.port`."""

    def __init__(self) -> None:
        self._ports: dict[int, Port] = {}

    def __getitem__(self, name: str) -> Port:
        for port in self._ports.values():
            if port.name == name:
                return port
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([port.name for port in self._ports.values() if port.name])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def by_channel(self, channel_id: int) -> Port | None:
        """For the session: the port of a channel."""
        return self._ports.get(channel_id)

    def add(self, channel_id: int, port: Port) -> None:
        """For the session: a port channel is there."""
        self._ports[channel_id] = port

    def all(self) -> tuple[Port, ...]:
        """For the session: also those that have no name yet."""
        return tuple(self._ports.values())
