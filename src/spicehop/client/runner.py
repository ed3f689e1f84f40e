"""Runs a `ClientSession` on asyncio: carries its commands out and tells it what happens."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spicehop.client.ticket import encrypt_ticket
from spicehop.errors import ProtocolError
from spicehop.migration import commands as c
from spicehop.migration.session import ClientSession
from spicehop.transport.stream import Stream, open_stream
from spicehop.transport.tls import ServerCheck, ServerTls, tls_reason

CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
"""Seconds that servers get to close their ends of a session that has ended."""


class SessionRunner:
    """The thin layer between a session and its sockets; `tell` hears every event of the session."""

    def __init__(
        self,
        session: ClientSession,
        secret: bytes,
        tell: Callable[[c.SessionEvent], None],
        written: Callable[[], None] = lambda: None,
        check: ServerCheck | None = None,
    ) -> None:
        """`written` is called when something has gone out, so that there is room for more. `check` knows servers over
        TLS; the system's authorities do without it.
        """
        self.session = session
        self._secret = secret
        self._tell = tell
        self._written = written
        self._check = check
        self._streams: dict[int, Stream] = {}
        self._leaving: set[Stream] = set()
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    def start(self) -> None:
        """Begin; the session's events say how it goes."""
        self.session.start(time.monotonic())
        self.pump()

    def close(self) -> None:
        """End the session; held keys are released first."""
        self.session.close(time.monotonic())
        self.pump()

    async def closed(self) -> None:
        """Wait until every connection is closed, after the session has ended; not long, and then they are cut."""
        ending = [*self._tasks, *(asyncio.ensure_future(stream.wait_closed()) for stream in self._leaving)]
        if not ending:
            return
        _, late = await asyncio.wait(ending, timeout=CLOSE_TIMEOUT)
        for stream in self._leaving:
            stream.abort()
        if late:
            _, late = await asyncio.wait(late, timeout=CLOSE_TIMEOUT)
        for task in late:
            task.cancel()
        self._leaving.clear()

    def pump(self) -> None:
        """Carry out all commands there are; call it after every change to the session."""
        if self._pumping:
            return
        self._pumping = True
        written = False
        try:
            while (command := self.session.next_command(time.monotonic())) is not None:
                self._carry_out(command)
                written = written or isinstance(command, c.Send)
        finally:
            self._pumping = False
        self._arm()
        if written:
            self._written()

    def backlog(self, key: c.ChannelKey, full: bool) -> None:
        """Read a channel no further while its application does not keep up."""
        link = self.session.current(key)
        stream = self._streams.get(link.id) if link is not None else None
        if stream is not None:
            stream.pause_reading() if full else stream.resume_reading()

    def _carry_out(self, command: c.Command) -> None:
        match command:
            case c.Send():
                stream = self._streams.get(command.connection)
                if stream is not None:
                    stream.write(command.data)
            case c.Emit():
                with reporting_errors():
                    self._tell(command.event)
            case c.Connect():
                task = asyncio.get_running_loop().create_task(self._connect(command))
                self._connecting[command.connection] = task
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case c.EncryptTicket():
                try:
                    ticket = encrypt_ticket(command.public_key, self._secret)
                except ProtocolError as error:
                    self.session.ticket_failed(command.connection, error, time.monotonic())
                else:
                    self.session.ticket_encrypted(command.connection, ticket)
            case c.PauseReading():
                if command.connection in self._streams:
                    self._streams[command.connection].pause_reading()
            case c.ResumeReading():
                if command.connection in self._streams:
                    self._streams[command.connection].resume_reading()
            case c.Finish():
                self._finish(command.connection)
            case c.Abort():
                self._drop(command.connection)

    async def _connect(self, command: c.Connect) -> None:
        connection, address = command.connection, command.address
        try:
            if not address.port and not address.tls_port:
                raise OSError("it has no TLS port, and the session goes nowhere without TLS")
            tls = None if address.port else self._tls(address.cert_subject)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await open_stream(connection, address.host, address.port or address.tls_port, self, tls=tls)
        except TimeoutError:
            self._failed(connection, f"no answer within {CONNECT_TIMEOUT:.0f} s")
        except OSError as error:
            self._failed(connection, _reason(error))

    def _tls(self, subject: str) -> ServerTls:
        """How the server is known: by its certificate's subject where one is named, else by its host (dossier C2)."""
        if self._check is None:
            self._check = ServerCheck()
        if not subject:
            return self._check.of_host()
        try:
            return self._check.of_subject(subject)
        except ValueError as error:
            raise OSError(f"the subject that its certificate should have cannot be read: {error}") from None

    def _failed(self, connection: int, reason: str) -> None:
        self._connecting.pop(connection, None)
        self.session.connection_lost(connection, reason, time.monotonic())
        self.pump()

    def _finish(self, connection: int) -> None:
        connecting = self._connecting.pop(connection, None)
        if connecting is not None:
            connecting.cancel()
        stream = self._streams.pop(connection, None)
        if stream is not None:
            self._leaving = {one for one in self._leaving if not one.ended} | {stream}
            stream.finish()
        self.session.connection_lost(connection, "closed", time.monotonic())

    def _drop(self, connection: int) -> None:
        stream = self._streams.pop(connection, None)
        if stream is not None:
            stream.abort()

    # -- told by the streams ----------------------------------------------------------------------------------------

    def connection_made(self, connection: int, stream: Stream) -> None:
        """A connection is open."""
        if self._connecting.pop(connection, None) is None:
            stream.abort()
            return
        self._streams[connection] = stream
        self.session.connection_made(connection, time.monotonic())
        self.pump()

    def data_received(self, connection: int, data: bytes) -> None:
        """Bytes have come."""
        self.session.data_received(connection, data, time.monotonic())
        self.pump()

    def connection_lost(self, connection: int, reason: str) -> None:
        """A connection has ended."""
        self._streams.pop(connection, None)
        self.session.connection_lost(connection, reason, time.monotonic())
        self.pump()

    def writing_blocked(self, connection: int) -> None:
        """A connection takes no more for now."""
        self.session.writing_blocked(connection)

    def writing_unblocked(self, connection: int) -> None:
        """A connection takes bytes again."""
        self.session.writing_unblocked(connection)
        self.pump()

    # -- time -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None and not self.session.ended:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.session.handle_timer(time.monotonic())
        self.pump()


@contextmanager
def reporting_errors() -> Iterator[None]:
    """What the application's own callbacks raise goes to the event loop's exception handler, not into the session."""
    try:
        yield
    except Exception as error:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a callback of a spicehop session failed", "exception": error})


def _reason(error: OSError) -> str:
    """asyncio's own text names the address again, and every address it tried."""
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    return error.strerror or str(error)
