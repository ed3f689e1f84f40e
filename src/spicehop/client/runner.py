"""Runs a `ClientSession` on asyncio: carries its commands out and tells it what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from spicehop.client.ticket import encrypt_ticket
from spicehop.errors import ProtocolError
from spicehop.migration import commands as c
from spicehop.migration.session import ClientSession
from spicehop.transport.stream import Stream, open_stream

CONNECT_TIMEOUT = 10.0


class SessionRunner:
    """The thin layer between a session and its sockets; `tell` hears every event of the session."""

    def __init__(self, session: ClientSession, secret: bytes, tell: Callable[[c.SessionEvent], None]) -> None:
        self.session = session
        self._secret = secret
        self._tell = tell
        self._streams: dict[int, Stream] = {}
        self._connecting: dict[int, asyncio.Task[None]] = {}
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

    def pump(self) -> None:
        """Carry out all commands there are; call it after every change to the session."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while (command := self.session.next_command(time.monotonic())) is not None:
                self._carry_out(command)
        finally:
            self._pumping = False
        self._arm()

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
                self._tell(command.event)
            case c.Connect():
                task = asyncio.get_running_loop().create_task(self._connect(command))
                self._connecting[command.connection] = task
            case c.EncryptTicket():
                try:
                    ticket = encrypt_ticket(command.public_key, self._secret)
                except ProtocolError as error:
                    self._drop(command.connection)
                    self.session.connection_lost(command.connection, str(error), time.monotonic())
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
            if not address.port:
                raise OSError("it offers a TLS port only, and TLS was not asked for")
            async with asyncio.timeout(CONNECT_TIMEOUT):
                stream = await open_stream(connection, address.host, address.port, self)
        except TimeoutError:
            self._failed(connection, f"no answer within {CONNECT_TIMEOUT:.0f} s")
        except OSError as error:
            self._failed(connection, _reason(error))
        else:
            self._streams[connection] = stream
            self._connecting.pop(connection, None)
            self.session.connection_made(connection, time.monotonic())
            self.pump()

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
            stream.finish()
        self.session.connection_lost(connection, "closed", time.monotonic())

    def _drop(self, connection: int) -> None:
        stream = self._streams.pop(connection, None)
        if stream is not None:
            stream.abort()

    # -- told by the streams ----------------------------------------------------------------------------------------

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


def _reason(error: OSError) -> str:
    """asyncio's own text names the address again, and every address it tried."""
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "connection refused"
    return error.strerror or str(error)
