"""Where clients come in: TCP, TLS and a Unix socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from spicehop.errors import ConnectError, UsageError
from spicehop.server.options import ServerOptions
from spicehop.server.private_socket import PrivateSocket, system_reason
from spicehop.transport.stream import Stream, StreamOwner

BACKLOG = 256
UNSENT_BYTES = 256 * 1024
"""Bytes that the system may hold unsent for one connection: more would only be older pictures."""
TCP_NOTSENT_LOWAT = 25
"""Linux's number; Python 3.11 has no name for it."""
KEEPALIVE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from."""

    host: str = ""
    """Empty for a Unix socket."""
    secure: bool = False

    @property
    def local(self) -> bool:
        """Whether it came by a Unix socket."""
        return not self.host


class AcceptedStream(Stream):
    """A connection that a client made; it changes its owner when the link stage is over."""

    def __init__(self, owner: StreamOwner, *, secure: bool) -> None:
        super().__init__(0, owner)
        self.secure = secure
        self.host = ""
        self.open = False
        """Whether it has been connected, TLS handshake included."""
        self.server_address: object = None
        self.client_address: object = None
        """As the socket has them: a tuple with host and port, or a path."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open = True
        self.server_address = transport.get_extra_info("sockname")
        self.client_address = peer = transport.get_extra_info("peername")
        self.host = str(peer[0]) if isinstance(peer, tuple) else ""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            _tune(sock)
        super().connection_made(transport)

    @property
    def origin(self) -> Origin:
        """Where it comes from, once it is connected."""
        return Origin(self.host, self.secure)

    def hand_to(self, owner: StreamOwner) -> None:
        """From now on another one is told what happens."""
        self._owner = owner

    def write_messages(self, frames: list[bytes]) -> None:
        """Send whole messages. Over TLS each in records of its own: spice-gtk sleeps on what shares one (dossier F)."""
        if self.secure:
            for frame in frames:
                self.write(frame)
        else:
            self.write(b"".join(frames))


def _tune(sock: socket.socket) -> None:
    for level, name, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", None), KEEPALIVE_SECONDS),
        (socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES),
    ):
        if name is not None:
            try:
                sock.setsockopt(level, name, value)
            except OSError:
                pass


class Listeners:
    """The open doors of a server. `accept(secure)` makes the stream of each connection."""

    def __init__(self, options: ServerOptions, accept: Callable[[bool], AcceptedStream]) -> None:
        self._options = options
        self._accept = accept
        self._servers: list[asyncio.Server] = []
        self.port: int | None = None
        self.tls_port: int | None = None
        self._place: PrivateSocket | None = None

    async def open(self) -> None:
        """Open them all; `ConnectError` when one cannot be, `UsageError` for options that contradict each other."""
        options = self._options
        if options.port is None and options.tls_port is None and options.unix_path is None:
            raise UsageError("a server needs a port, a TLS port or a Unix socket")
        if options.tls_port is not None and options.tls is None:
            raise UsageError("a TLS port needs a certificate and its key")
        try:
            if options.port is not None:
                self.port = await self._open_tcp(options.port, secure=False)
            if options.tls_port is not None:
                self.tls_port = await self._open_tcp(options.tls_port, secure=True)
            if options.unix_path is not None:
                await self._open_unix()
        except ConnectError:
            await self.close()
            raise

    async def _open_tcp(self, port: int, *, secure: bool) -> int:
        options = self._options
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: self._accept(secure),
                options.host,
                port,
                ssl=options.tls if secure else None,
                ssl_handshake_timeout=options.limits.deadline if secure else None,
                backlog=BACKLOG,
            )
        except OSError as error:
            raise ConnectError(f"the server cannot listen at {options.host}:{port}: {system_reason(error)}") from None
        self._servers.append(server)
        number: int = server.sockets[0].getsockname()[1]
        return number

    async def _open_unix(self) -> None:
        assert self._options.unix_path is not None
        self._place = PrivateSocket(self._options.unix_path)
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: self._accept(False), sock=self._place.bind(), backlog=BACKLOG
        )
        self._servers.append(server)

    async def close(self) -> None:
        """Let nobody in any more."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._place is not None:
            self._place.remove()
