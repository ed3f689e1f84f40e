"""The direct link's connection between two servers: the target's `DirectLinkDoor`, the source's `DirectLinkCall`.

Both give a `DirectLink` when both sides have said Hello. Over TCP there is always TLS 1.3, and each side takes exactly
the certificate that it was given; a Unix socket is this user's alone. What is under way is `migration.link_end`'s.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

from spicehop.errors import ConnectError, OperationError, UsageError
from spicehop.migration.link_end import HELLO_SECONDS, LinkEnd
from spicehop.server.link_identity import LinkIdentity, PeerCertificate
from spicehop.server.private_socket import PrivateSocket, system_reason
from spicehop.server.uri import Address, format_uri
from spicehop.wire.direct_link import Hello, LinkMessage, Side

CONNECT_SECONDS = 5.0
"""For a connection and its TLS handshake."""
CLOSE_SECONDS = 2.0
"""For the last words to go out, and for the peer to close."""
SLICE = 64 * 1024
"""What is written at once: encrypting a state of many megabytes in one go would hold up the sessions."""
MAX_QUEUED = 1 << 30
"""Bytes that wait for a peer which does not take them; beyond that the link ends."""
MAX_HANDSHAKES = 8
"""Connections that may be in their TLS handshake at a time."""
BACKLOG = 8
RETRY_SECONDS = 0.2
"""When the system has no descriptor for a connection."""
TLS_NAME = "spicehop"
CLOSED = "the other server has closed the connection"
OTHER_CERTIFICATE = "the other server has another certificate than the one that was given"


def _ignore(_: object) -> None:
    """Nobody has asked to be told."""


class DirectLink(asyncio.Protocol):
    """One connection to another server.

    `message_received` and `closed` are for its user to set, at the latest when it is told that the link is open: no
    message is handed out before that. `closed` is called once, and nothing after it.
    """

    def __init__(
        self, end: LinkEnd, clock: Callable[[], float], *, certificate: PeerCertificate | None = None, peer: str = ""
    ) -> None:
        self.message_received: Callable[[LinkMessage], None] = _ignore
        self.closed: Callable[[str], None] = _ignore
        self.drained: Callable[[], None] = lambda: None
        """What had to wait for the peer has gone out: a user that holds back may go on."""
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        """Done when both have said Hello; a `ConnectError` when it did not come to that."""
        self.peer = peer
        """The other server's address; where it has none, ours."""
        self.arrived: Callable[[DirectLink], str] = lambda link: ""
        """For whoever made it: the connection is there; the answer is why it cannot stay, or empty."""
        self.came: Callable[[DirectLink], None] = _ignore
        """For whoever made it: the link is open."""
        self.left: Callable[[DirectLink], None] = _ignore
        """For whoever made it: the link is over, or never opened."""
        self._end = end
        self._clock = clock
        self._certificate = certificate
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[memoryview] = deque()
        self._queued = 0
        self._writable = True
        self._told = False
        self._timer: asyncio.TimerHandle | None = None
        self._gone = asyncio.Event()
        self.opened.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has looked at it

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._end.peer is not None and not self._end.over

    @property
    def reason(self) -> str:
        """Why it is over; empty before."""
        return self._end.reason

    @property
    def bytes_queued(self) -> int:
        """What was sent and has not gone to the system yet."""
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return self._queued + unsent

    def send(self, message: LinkMessage) -> None:
        """Queue a message, whatever its size: look at `bytes_queued`. On a link that is over nothing happens.

        `StateError` before the link is open, and for a message that is not this side's or larger than its limit.
        """
        if self._end.over:
            return
        self._end.send(message, self._clock())
        self._progress()
        if self._queued > MAX_QUEUED:
            self.close("the other server does not take what is sent")

    def close(self, reason: str) -> None:
        """End it; the other server is told the reason behind everything that was sent."""
        self._end.close(reason)
        self._progress()

    async def wait_gone(self) -> None:
        """Wait until the connection itself is closed, after the end of the link."""
        if self._transport is not None:
            await self._gone.wait()

    # -- for the loop -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._end.over:  # it was closed meanwhile
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=2 * SLICE)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._certificate is not None and not self._certificate.matches(transport.get_extra_info("ssl_object")):
            self._end.drain()
            self._end.connection_lost(OTHER_CERTIFICATE)
        elif refusal := self.arrived(self):
            self._end.refuse(refusal)
        self._progress()

    def data_received(self, data: bytes) -> None:
        self._end.feed(data, self._clock())
        if self._end.left_too and self._transport is not None:
            self._transport.close()
        while (message := self._end.next_message()) is not None:
            if isinstance(message, Hello):
                if not self.opened.done():
                    self.opened.set_result(None)
                self.came(self)
            else:
                self.message_received(message)
        self._progress()

    def eof_received(self) -> bool:
        self._lost(CLOSED)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(CLOSED if exc is None else connection_reason(exc))
        self._transport = None
        self._waiting.clear()
        self._queued = 0
        self._cancel_timer()
        self._gone.set()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        had = bool(self._waiting)
        self._write()
        if had and not self._waiting and not self._end.over:
            self.drained()

    # -- inner things -------------------------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        self._end.connection_lost(reason)
        self._progress()

    def _time_passed(self) -> None:
        self._timer = None
        self._end.handle_timer(self._clock())
        self._progress()

    def _progress(self) -> None:
        """After each event: write, arm the timer, tell of the end."""
        for data in self._end.drain():
            self._waiting.append(memoryview(data))
            self._queued += len(data)
        self._write()
        if self._end.over:
            self._finish()
        elif self._transport is not None:
            self._cancel_timer()
            deadline = self._end.next_deadline()
            if deadline is not None:
                delay = max(0.0, deadline - self._clock())
                self._timer = self._loop.call_later(delay, self._time_passed)

    def _write(self) -> None:
        while self._waiting and self._writable and self._transport is not None and not self._transport.is_closing():
            pieces: list[memoryview] = []
            room = SLICE
            while self._waiting and room:
                first = self._waiting.popleft()
                pieces.append(first[:room])
                if len(first) > room:
                    self._waiting.appendleft(first[room:])
                room -= len(pieces[-1])
            self._queued -= SLICE - room
            self._transport.write(b"".join(pieces))

    def _finish(self) -> None:
        """The link is over: what is queued goes out, what still comes is dropped, and the connection is closed."""
        if self._told:
            return
        self._told = True
        self._cancel_timer()
        if self._transport is not None:
            self._timer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)
            # To close with bytes unread would be a reset, which can overtake the Goodbye: the peer closes first.
            if not self._end.took_leave:
                self._transport.close()
        if not self.opened.done():
            self.opened.set_exception(ConnectError(self._end.reason))
        self.closed(self._end.reason)
        self.left(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DirectLinkDoor:
    """Where the target lets sources in, one at a time; `changed` is called when one has come or gone."""

    def __init__(
        self, name: str, clock: Callable[[], float], identity: LinkIdentity, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.link: DirectLink | None = None
        """The source that is here."""
        self.refused: Callable[[str], None] = _ignore
        """Told why somebody was not let in."""
        self._name = name
        self._clock = clock
        self._identity = identity
        self._changed = changed
        self._taken: DirectLink | None = None
        self._tls: ssl.SSLContext | None = None
        self._certificate: PeerCertificate | None = None
        self._socket: socket.socket | None = None
        self._place: PrivateSocket | None = None
        self._address: Address = ("", 0)
        self._listening: asyncio.Task[None] | None = None
        self._arriving: set[asyncio.Task[None]] = set()

    async def open(self, address: Address, certificate: PeerCertificate | None = None) -> Address:
        """Listen there for the server with this certificate; the address with the port that was chosen.

        A Unix socket needs no certificate, and with one has TLS too. Raises `ConnectError` when it cannot be.
        """
        if certificate is None and not isinstance(address, Path):
            raise UsageError("Parameter 'certificate' is missing")
        self._certificate = certificate
        self._tls = None if certificate is None else self._identity.accepting(certificate)
        if isinstance(address, Path):
            self._place = PrivateSocket(address)
            self._socket = self._place.bind()
        else:
            self._socket = await _bound(*address)
            address = address[0] or self._socket.getsockname()[0], self._socket.getsockname()[1]
        self._address = address
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)
        self._listening = asyncio.get_running_loop().create_task(self._listen(self._socket))
        return address

    async def close(self, reason: str) -> None:
        """Let nobody in any more, and say goodbye to who is here."""
        works = [work for work in (self._listening, *self._arriving) if work is not None]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        if self._place is not None:
            self._place.remove()
        self._listening = self._socket = self._place = None
        link = self._taken
        if link is not None:
            link.close(reason)
            await link.wait_gone()

    async def _listen(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as error:
                self.refused(system_reason(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if len(self._arriving) >= MAX_HANDSHAKES:
                accepted.close()
                continue
            work = loop.create_task(self._let_in(accepted, peer))
            self._arriving.add(work)
            work.add_done_callback(self._arriving.discard)

    async def _let_in(self, accepted: socket.socket, peer: object) -> None:
        end = LinkEnd(Side.TARGET, self._name, self._clock())
        remote = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else self._address
        link = DirectLink(end, self._clock, certificate=self._certificate, peer=format_uri(remote))
        link.arrived, link.came, link.left = self._seat, self._came, self._left
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: link,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else CONNECT_SECONDS,
            )
        except OSError as error:  # of TLS too
            if not link.reason:
                self.refused(f"{link.peer}: {connection_reason(error)}")
            accepted.close()

    @property
    def _knows_source(self) -> bool:
        """Whether whoever comes has shown that it is the source: one that comes twice has lost its first connection."""
        return self._certificate is not None

    def _seat(self, link: DirectLink) -> str:
        before = self._taken
        if before is not None and not self._knows_source:
            return f"another source is here, from {before.peer}"
        self._taken = link
        if before is not None:
            before.close("the source has come anew")
        return ""

    def _came(self, link: DirectLink) -> None:
        self.link = link
        self._changed()

    def _left(self, link: DirectLink) -> None:
        if link is self._taken:
            self._taken = None
        if link is self.link:
            self.link = None
            self._changed()
        else:
            self.refused(f"{link.peer}: {link.reason}")


class DirectLinkCall:
    """The source's connection to the target's door; `changed` is called when it has been made, and when it ended."""

    def __init__(
        self, name: str, clock: Callable[[], float], identity: LinkIdentity, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.link: DirectLink | None = None
        """The target, while it is there."""
        self._name = name
        self._clock = clock
        self._identity = identity
        self._changed = changed
        self._called: DirectLink | None = None

    async def connect(self, address: Address, certificate: PeerCertificate | None = None) -> DirectLink:
        """The link, when both have said Hello; `ConnectError` when that cannot be."""
        if certificate is None and not isinstance(address, Path):
            raise UsageError("Parameter 'certificate' is missing")
        tls = None if certificate is None else self._identity.connecting(certificate)
        where = format_uri(address)
        link = DirectLink(
            LinkEnd(Side.SOURCE, self._name, self._clock()), self._clock, certificate=certificate, peer=where
        )
        link.came, link.left = self._came, self._left
        self._called = link
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._reach(link, address, tls)
            async with asyncio.timeout(HELLO_SECONDS + CLOSE_SECONDS):  # its own limit comes before
                await link.opened
        except BaseException as error:
            link.close("the source has given up")
            if isinstance(error, OperationError | OSError | UnicodeError | TimeoutError):
                reason = "this is no host's name" if isinstance(error, UnicodeError) else connection_reason(error)
                if tls is not None and reason == CLOSED:  # asyncio sends no TLS alert that would say so
                    reason += "; perhaps it was given another certificate than this server's"
                raise ConnectError(f"there is no direct link to {where}: {reason}") from None
            raise
        return link

    async def close(self, reason: str) -> None:
        """Say goodbye."""
        link = self._called
        if link is not None:
            link.close(reason)
            await link.wait_gone()

    async def _reach(self, link: DirectLink, address: Address, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        name = None if tls is None else TLS_NAME
        if isinstance(address, Path):
            await loop.create_unix_connection(lambda: link, str(address), ssl=tls, server_hostname=name)
        else:
            await loop.create_connection(
                lambda: link, address[0] or "127.0.0.1", address[1], ssl=tls, server_hostname=name
            )

    def _came(self, link: DirectLink) -> None:
        self.link = link
        self._changed()

    def _left(self, link: DirectLink) -> None:
        if link is self.link:
            self.link = None
            self._changed()


async def _bound(host: str, port: int) -> socket.socket:
    """A socket at the first of a host's addresses."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except BaseException:
            bound.close()
            raise
    except UnicodeError:
        raise ConnectError(f"there can be no direct link at {host}:{port}: this is no host's name") from None
    except OSError as error:
        raise ConnectError(f"there can be no direct link at {host}:{port}: {system_reason(error)}") from None
    return bound


def connection_reason(error: BaseException) -> str:
    """Why a connection could not be made, or ended, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return OTHER_CERTIFICATE
    if isinstance(error, ssl.SSLError):
        what = (error.reason or str(error)).lower().replace("_", " ")
        if "alert" in what:
            return f"the other server refuses this one's certificate ({what})"
        return f"the other end does not speak the same TLS ({what})"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:g} s"
    if isinstance(error, OSError):
        return system_reason(error)
    return str(error) or type(error).__name__
