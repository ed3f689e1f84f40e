"""A TCP connection that tells its owner what happens, and that can be left without a reset."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Protocol, cast

from spicehop.transport.tls import ServerTls, tls_reason

HIGH_WATER = 64 * 1024
"""Bytes written and not yet taken by the system beyond which the owner is asked to wait."""
LINGER = 2.0
"""Seconds for which a finished connection still drops what arrives, so that the peer sees no reset."""


class StreamOwner(Protocol):
    """Who is told."""

    def connection_made(self, connection: int, stream: Stream) -> None:
        """The connection is open; nothing has come on it yet."""

    def data_received(self, connection: int, data: bytes) -> None:
        """Bytes have come."""

    def connection_lost(self, connection: int, reason: str) -> None:
        """The connection has ended or could not be made."""

    def writing_blocked(self, connection: int) -> None:
        """Write no more for now."""

    def writing_unblocked(self, connection: int) -> None:
        """Write again."""


class Stream(asyncio.Protocol):
    """One connection, under the number its owner gave it."""

    def __init__(self, connection: int, owner: StreamOwner) -> None:
        self._connection = connection
        self._owner: StreamOwner | None = owner
        self._transport: asyncio.Transport | None = None
        self._linger: asyncio.TimerHandle | None = None
        self.ended = False
        """Whether the connection is closed."""
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(sock)
        if self._owner is not None:
            self._owner.connection_made(self._connection, self)

    def data_received(self, data: bytes) -> None:
        if self._owner is not None:
            self._owner.data_received(self._connection, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._closed.set()
        if self._linger is not None:
            self._linger.cancel()
        if self._owner is not None:
            self._owner.connection_lost(self._connection, _reason(exc))

    def pause_writing(self) -> None:
        if self._owner is not None:
            self._owner.writing_blocked(self._connection)

    def resume_writing(self) -> None:
        if self._owner is not None:
            self._owner.writing_unblocked(self._connection)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Leave what arrives in the system's buffers."""
        if self._transport is not None and not self.ended and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self.ended and not self._transport.is_reading():
            self._transport.resume_reading()

    def finish(self) -> None:
        """Send what is written, close that direction, and drop what still comes until the peer closes too."""
        if self._transport is None or self.ended:
            return
        self._owner = None
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the connection, and the loop has not said so yet
                self._transport.abort()
                return
            self.resume_reading()
            self._linger = asyncio.get_running_loop().call_later(LINGER, self.abort)
        else:  # TLS has no such half: it says that it ends, and drops what still comes until the peer says so too
            self.resume_reading()
            self._transport.close()
            self._linger = asyncio.get_running_loop().call_later(LINGER, self.abort)

    def abort(self) -> None:
        """Close at once."""
        self._owner = None
        if self._transport is not None and not self.ended:  # asyncio's own fails when it was closed with bytes unsent
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, after `finish` or `abort`; at once when it never was open."""
        if self._transport is not None:
            await self._closed.wait()


def _keep_alive(sock: socket.socket) -> None:
    """Find out within two minutes that a silent peer is gone, machine and all."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _reason(error: Exception | None) -> str:
    """In words, without the number that Python puts before the system's."""
    if error is None:
        return "the peer closed it"
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)


class CheckedStream(Stream):
    """A connection over TLS, of which its owner hears only when the server is the right one."""

    def __init__(self, connection: int, owner: StreamOwner, tls: ServerTls) -> None:
        super().__init__(connection, owner)
        self._tls = tls
        self.refusal = ""
        """Why it is not."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.refusal = self._tls.refusal(transport.get_extra_info("ssl_object"))
        if self.refusal:
            self._transport = cast(asyncio.Transport, transport)
            self.abort()
        else:
            super().connection_made(transport)


async def open_stream(
    connection: int, host: str, port: int, owner: StreamOwner, *, tls: ServerTls | None = None
) -> Stream:
    """Connect by TCP, and go over TLS where `tls` says how; raises `OSError`, of which `ssl.SSLError` is one."""
    if not host:
        raise OSError("no host is named")  # Python would take the empty name for this machine
    stream = Stream(connection, owner) if tls is None else CheckedStream(connection, owner, tls)
    context = tls.context if tls is not None else None
    try:
        await asyncio.get_running_loop().create_connection(lambda: stream, host, port, ssl=context)
    except BaseException as error:
        stream.abort()
        if isinstance(error, ValueError) and not isinstance(error, OSError):  # a UnicodeError; of TLS some are both
            raise OSError("there can be no host of that name") from None
        raise
    if isinstance(stream, CheckedStream) and stream.refusal:
        raise OSError(stream.refusal)
    return stream
