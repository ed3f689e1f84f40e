"""The control socket's view of a `SpiceServer`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from spicehop import __version__
from spicehop.errors import OperationError, UsageError
from spicehop.guests.interface import Pixels
from spicehop.server.control_target import ControlEvent, ControlListener, Endpoint, LinkedChannel, SpiceFacts
from spicehop.server.direct_link_keeper import DirectLinkKeeper
from spicehop.server.guest_migration import GuestMigration
from spicehop.server.listener import AcceptedStream
from spicehop.server.server import SpiceServer
from spicehop.server.session import ServedSession
from spicehop.server.session_link import SessionLink
from spicehop.trace import Trace
from spicehop.wire.constants import MouseMode


class ServerControl:
    """Implements `ControlTarget` for a server. Waits for `quit` with `wait_ended`; the caller closes the server."""

    def __init__(
        self,
        server: SpiceServer,
        *,
        wall_clock: Callable[[], float] = time.time,
        trace: Trace | None = None,
        incoming: bool = False,
    ) -> None:
        self._server = server
        self._wall_clock = wall_clock
        self._trace = trace
        self._listeners: list[ControlListener] = []
        self._channels: dict[AcceptedStream, LinkedChannel] = {}
        self._ended = asyncio.Event()
        self.direct_link = DirectLinkKeeper(lambda: server.guest.name, server.clock, trace=trace)
        self.migration = GuestMigration(server, self._tell, incoming=incoming, wall_clock=wall_clock)
        self._session_link = SessionLink(self.direct_link, leaving=self.migration.handover, arriving=server.arrivals)
        server.observers.append(self._observe)

    # -- what the server does ---------------------------------------------------------------------------------------

    def _observe(self, what: str, stream: AcceptedStream, session: ServedSession | None) -> None:
        ends = Endpoint.of(stream.server_address), Endpoint.of(stream.client_address)
        if what == "connected":
            self._tell(ControlEvent.connected(*ends))
        elif what == "disconnected":
            self._channels.pop(stream, None)
            self._tell(ControlEvent.disconnected(*ends))
        elif session is not None:
            linked = (session.channels | session.parked).items()
            kind, number = next(key for key, served in linked if served.stream is stream)
            channel = LinkedChannel(ends[1], ends[0], session.connection_id, kind, number, stream.secure)
            self._channels[stream] = channel
            self._tell(ControlEvent.initialized(channel, self._auth))

    def _tell(self, event: ControlEvent) -> None:
        if self._trace is not None and not event.name.startswith("SPICE_"):  # connections leave traces of their own
            self._trace.record(f"qmp.{event.name}")
        for listener in tuple(self._listeners):
            listener(event)

    def listen(self, listener: ControlListener) -> Callable[[], None]:
        """Tell it every event from now on; call what is returned to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- what can be asked ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The guest's."""
        return self._server.guest.name

    @property
    def status(self) -> str:
        """QMP's run state."""
        return self.migration.status

    @property
    def _auth(self) -> str:
        if self._server.options.sasl is not None:
            return "sasl"
        return "spice" if self._server.ticket.wanted else "none"

    def spice(self) -> SpiceFacts:
        """As of now."""
        options, server = self._server.options, self._server
        unix_only = options.port is None and options.tls_port is None
        host = str(options.unix_path) if unix_only and options.unix_path else options.host
        # QEMU has one client, and so one mouse mode; here it is the last client's.
        modes = [session.main.mouse_mode for session in server.sessions if session.main is not None]
        return SpiceFacts(
            host=host,
            port=server.listeners.port,
            tls_port=server.listeners.tls_port,
            auth=self._auth,
            mouse_mode="client" if modes and modes[-1] == MouseMode.CLIENT else "server",
            channels=tuple(self._channels.values()),
            migrated=self.migration.handover.completed,
            version=__version__,
        )

    @property
    def displays(self) -> int:
        """How many there are."""
        return len(self._server.guest.displays)

    def picture(self, display: int) -> Pixels:
        """A copy of what a display shows."""
        return self._server.guest.displays[display].pixels.copy()

    # -- what can be done -------------------------------------------------------------------------------------------

    def change_password(self, password: str) -> None:
        """Another ticket from now on; until when it is good stays as it was. `OperationError` without ticketing."""
        if self._auth != "spice":
            raise OperationError("Could not set password")
        ticket = self._server.ticket
        try:
            ticket.change(password, ticket.expires)
        except UsageError:
            raise OperationError("Could not set password") from None

    def expire_password(self, when: float | None) -> None:
        """Until when tickets are good, in seconds since 1970; None for always. `OperationError` without ticketing."""
        if self._auth != "spice":
            raise OperationError("Could not set password expire time")
        left = None if when is None else when - self._wall_clock()
        self._server.ticket.expire(None if left is None else self._server.clock() + left)

    def disconnect_clients(self, reason: str) -> None:
        """End all sessions."""
        for session in tuple(self._server.sessions):
            session.end(reason)

    def resume(self) -> None:
        """Let the guest run; tells RESUME when it stood still. `OperationError` while it is about to leave."""
        self.migration.run()

    def stop(self) -> None:
        """Let the guest stand still; tells STOP when it ran."""
        self.migration.stop()

    def quit(self, reason: str) -> None:
        """End the server soon; tells SHUTDOWN."""
        if not self._ended.is_set():
            self._ended.set()
            self._tell(ControlEvent.shutdown(reason))

    async def wait_ended(self) -> None:
        """Wait until somebody wants the server to end."""
        await self._ended.wait()

    def key(self, scancodes: bytes) -> None:
        """AT set 1 bytes of one key for the guest."""
        self._server.guest.key(scancodes)
        self._server.wake()
