"""The control socket's asyncio side: a Unix socket of mode 0600, or TCP with TLS and client certificates.

Several clients may be connected at once. What they send ends at most their own connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from spicehop.errors import ConnectError
from spicehop.server.control import CommandError, ControlRequest, ControlSession, ControlState
from spicehop.server.control_commands import VERSION, Commands
from spicehop.server.control_keys import KeyQueue
from spicehop.server.control_target import ControlEvent, ControlTarget
from spicehop.server.private_socket import PrivateSocket, system_reason
from spicehop.trace import Trace

MAX_CLIENTS = 16
"""Beyond this the oldest that has not negotiated goes, else the newcomer."""
MAX_UNSENT = 4 << 20
"""Bytes that wait for a client which does not read; then its connection ends."""
CLOSE_SECONDS = 2.0
"""For the last answers to go out."""
HANDSHAKE_SECONDS = 10.0
LONGEST_NAME = 100
"""Of a command, in a trace."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """Where to listen: a Unix socket's `path`, or `host` and `port` with `tls`."""

    path: Path | None = None
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    """Of `control_tls`."""


def control_tls(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """For TCP: this side's certificate, and the CA of the clients' certificates, PEM. Raises what `ssl` raises."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password="")
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class ControlServer:
    """Listens for control clients and performs their commands on a target, from `open` to `close`."""

    def __init__(self, target: ControlTarget, address: ControlAddress, *, trace: Trace | None = None) -> None:
        self.port: int | None = None
        """Of TCP, once it is open."""
        self.commands = Commands(target, self)
        self._target = target
        self._address = address
        self._trace = trace
        self._clients: dict[ControlConnection, None] = {}
        self._server: asyncio.Server | None = None
        self._place: PrivateSocket | None = None
        self._keys = KeyQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._unlisten = target.listen(self._tell)
        self._closed = False

    async def open(self) -> None:
        """Begin to listen; `ConnectError` when that is not possible."""
        address = self._address
        loop = asyncio.get_running_loop()
        if address.path is not None:
            self._place = PrivateSocket(address.path)
            self._server = await loop.create_unix_server(lambda: ControlConnection(self), sock=self._place.bind())
            return
        assert address.tls is not None, "TCP only with TLS and client certificates"
        try:
            self._server = await loop.create_server(
                lambda: ControlConnection(self),
                address.host,
                address.port,
                ssl=address.tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:
            where = f"{address.host}:{address.port}"
            raise ConnectError(f"the control socket cannot listen at {where}: {system_reason(error)}") from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Write the last answers, end all connections and listen no more."""
        if self._closed:
            return
        self._closed = True
        self._unlisten()
        if self._timer is not None:
            self._timer.cancel()
        for step in self._keys.clear():
            self._target.key(step)
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.finish()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                for client in tuple(self._clients):
                    await client.closed.wait()
        except TimeoutError:
            for client in tuple(self._clients):
                client.abort()
        if self._place is not None:
            self._place.remove()

    # -- clients ----------------------------------------------------------------------------------------------------

    def came(self, client: ControlConnection) -> bool:
        """Somebody has connected; False when there is no room."""
        if len(self._clients) >= MAX_CLIENTS:
            idle = [one for one in self._clients if one.session.state is ControlState.AWAITING_CAPABILITIES]
            if not idle:
                return False
            del self._clients[idle[0]]
            idle[0].abort()
        self._clients[client] = None
        return True

    def left(self, client: ControlConnection) -> None:
        """A connection has ended."""
        self._clients.pop(client, None)

    def _tell(self, event: ControlEvent) -> None:
        when = self.wall_clock()
        for client in tuple(self._clients):
            client.session.tell(event.name, event.data, when)
            client.flush()

    def record(self, request: ControlRequest, refused: str = "") -> None:
        """Leave a trace of a command, without its arguments."""
        if self._trace is not None:
            self._trace.record("server.command", command=request.command[:LONGEST_NAME], refused=refused)

    # -- for the commands -------------------------------------------------------------------------------------------

    def wall_clock(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def press(self, numbers: list[int], hold: float) -> None:
        """Press keys together, `hold` seconds between two of them, and release them again."""
        self._keys.press(numbers, hold, asyncio.get_running_loop().time())
        if self._timer is None:
            self._step()

    def _step(self) -> None:
        loop = asyncio.get_running_loop()
        for step in self._keys.due(loop.time()):
            self._target.key(step)
        deadline = self._keys.next_deadline()
        self._timer = None if deadline is None else loop.call_at(deadline, self._step)


class ControlConnection(asyncio.Protocol):
    """One client: at most what one read gives waits here, and its commands are performed one after another."""

    def __init__(self, server: ControlServer) -> None:
        self.session = ControlSession(VERSION)
        self.closed = asyncio.Event()
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._server.came(self):
            self.flush()
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        self.session.feed(data)
        if self._work is None and self._transport is not None:
            self._transport.pause_reading()
            self._work = asyncio.get_running_loop().create_task(self._perform())

    async def _perform(self) -> None:
        """Answer everything that has come."""
        while self.session.waiting and not self.closed.is_set():
            await self._writable.wait()
            request = self.session.next_request()
            if request is not None:
                await self._answer(request)
            self.flush()
            await asyncio.sleep(0)  # a flood of requests is not to hold up the sessions
        self._work = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    async def _answer(self, request: ControlRequest) -> None:
        try:
            value = await self._server.commands.perform(request)
        except CommandError as error:
            self._server.record(request, str(error))
            self.session.refuse(request, error)
        except Exception:
            logger.exception("the command %s failed", request.command)
            self.session.refuse(request, CommandError("the server failed to do it; its log says why"))
        else:
            self._server.record(request)
            self.session.answer(request, value)

    def flush(self) -> None:
        """Write what the session has to say."""
        data = self.session.drain()
        if not data or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort()

    def finish(self) -> None:
        """Close when what was written has gone out."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._writable.set()
        self._server.left(self)
        if self._work is not None:
            self._work.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
