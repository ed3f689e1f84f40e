"""`connect`: one session with one guest, on whichever server it is.

async with spicehop.connect("spice://127.0.0.1:5900") as session:
    await session.keyboard.type("hello")
    session.screenshot().save("hello.png")
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from spicehop.channels.inputs import InputsChannel
from spicehop.channels.main import SCHEMES, LinkKnowledge
from spicehop.channels.vmc import VmcChannel
from spicehop.client.address import parse_url, with_subject
from spicehop.client.clipboard import Clipboard
from spicehop.client.keyboard import Keyboard
from spicehop.client.mouse import Mouse
from spicehop.client.picture import Picture, Screenshot
from spicehop.client.ports import Port, Ports
from spicehop.client.runner import SessionRunner, reporting_errors
from spicehop.client.ticket import check_password
from spicehop.errors import ConnectError, ConnectionLost, ProtocolError, UsageError
from spicehop.migration import commands as c
from spicehop.migration.client import ClientState
from spicehop.migration.commands import Address, ChannelKey, MigrationOutcome
from spicehop.migration.session import ClientSession
from spicehop.raster.results import Damage
from spicehop.trace import Trace
from spicehop.transport.tls import ServerCheck
from spicehop.wire import base, vmc
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

OPEN_TIMEOUT = 20.0
"""Seconds until a server that accepts the connection must have opened the session."""
SETTLE_TIMEOUT = 5.0
"""Seconds that `connect` gives the other channels before it returns without them."""


class Session:
    """A session with a guest. It goes on across migrations; `migrations` says what happened."""

    def __init__(
        self, core: ClientSession, secret: bytes, trace: Trace | None, check: ServerCheck | None = None
    ) -> None:
        self._core = core
        self._runner = SessionRunner(core, secret, self._tell, self._written, check)
        self._trace = trace
        self._changed = asyncio.Event()
        self._ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.picture = Picture()
        self.keyboard = Keyboard(self._inputs, self._runner.pump)
        self.mouse = Mouse(core.main, self._inputs, self._runner.pump)
        self.clipboard = Clipboard(core.main.agent, self._runner.pump)
        self.ports = Ports()
        self.migrations: list[MigrationOutcome] = []
        self.display_bytes_at_switch = 0
        """`display_bytes` when the display last went to another server."""
        self.lost_channels: dict[str, str] = {}
        """Channels that are gone, by name, with the reason."""
        self.interruptions: list[str] = []
        """Channels that were lost and linked again, each with the reason; what was under way on them may be lost."""
        self.aborted_migrations: list[str] = []
        """Why each migration that did not take place did not."""
        self.notices: list[str] = []
        """What servers told the user."""
        self.listeners: list[Callable[[c.SessionEvent], None]] = []
        """Called with every event of the session."""

    def start(self) -> None:
        """Begin to connect."""
        self._runner.start()

    # -- the session ------------------------------------------------------------------------------------------------

    @property
    def core(self) -> ClientSession:
        """The machine underneath, for tests and measurements."""
        return self._core

    @property
    def server(self) -> Address:
        """The server the session is on."""
        return self._core.address

    @property
    def secure(self) -> bool:
        """Whether it goes over TLS to the server that it is on."""
        return not self._core.address.port

    @property
    def guest_name(self) -> str:
        """The VM's name, as the server gives it."""
        return self._core.main.guest_name

    @property
    def migrating(self) -> bool:
        """Whether a migration is under way."""
        return self._core.travel.target is not None

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self._ended.done()

    @property
    def display_bytes(self) -> int:
        """Bytes of all display channels so far."""
        displays = [channel for key, channel in self._core.channels.items() if key[0] == ChannelType.DISPLAY]
        return sum(channel.bytes_received for channel in displays)

    def on_input_written(self, observer: Callable[[Message, float], None]) -> None:
        """Have `observer(message, time)` called for each key or mouse message when it is written to a server."""

        def observe(message: Message, now: float) -> None:
            with reporting_errors():
                observer(message, now)

        if self._core.inputs is not None:
            self._core.inputs.observer = observe

    async def wait_closed(self) -> None:
        """Wait until the session is over; raises what ended it when it was not `close`."""
        error = await asyncio.shield(self._ended)
        if error is not None:
            raise error

    async def close(self) -> None:
        """End the session: held keys are released, what is queued is sent."""
        self._runner.close()
        await self._runner.closed()

    async def opened(self) -> None:
        """Wait for the server to open the session, and for its channels."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self._until(lambda: self._core.opened)
        except TimeoutError:
            raise ConnectError(f"{self.server} did not open the session within {OPEN_TIMEOUT:.0f} s") from None
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await self._until(self._settled)
        except TimeoutError:
            pass

    def _settled(self) -> bool:
        expected = set(self._core.channels) - self._core.lost
        links = [self._core.current(key) for key in expected]
        if any(link is None or link.linked is None for link in links):
            return False
        named = all(port.name or port.ended for port in self.ports.all())
        return named and self.picture.begun(expected)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._ended.done():
                raise self._ended.result() or ConnectionLost("the session was closed")
            self._changed.clear()
            await self._changed.wait()

    # -- migration --------------------------------------------------------------------------------------------------

    async def wait_for_migration(self, timeout: float, *, count: int = 1) -> MigrationOutcome:
        """Wait until the session has `count` migrations behind it; `TimeoutError` when it has not by then."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: len(self.migrations) >= count)
        return self.migrations[count - 1]

    # -- the picture ------------------------------------------------------------------------------------------------

    def screenshot(self, display: int = 0) -> Screenshot:
        """The picture of a display now; `StateError` when there is none yet."""
        return self.picture.screenshot(display)

    async def wait_for_change(self, timeout: float = 5.0) -> None:
        """Wait until something on the screen changes; `TimeoutError` when nothing does."""
        before = self.picture.changes
        async with asyncio.timeout(timeout):
            await self._until(lambda: self.picture.changes != before)

    def resize(self, width: int, height: int) -> None:
        """Ask the guest's agent for one monitor of this size, in pixels."""
        self._core.main.agent.want_monitors(((0, 0, width, height),))
        self._runner.pump()

    # -- ports ------------------------------------------------------------------------------------------------------

    async def port(self, name: str, timeout: float = 5.0) -> Port:
        """The port called `name`, waiting until the server names it; `TimeoutError` when it never does."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: name in self.ports)
        return self.ports[name]

    def _inputs(self) -> InputsChannel | None:
        """The channel for keys and mouse; `ConnectionLost` when it is gone for good."""
        if self._ended.done():
            raise ConnectionLost("the session has ended")
        channel = self._core.inputs
        if channel is not None and channel.name in self.lost_channels:
            raise ConnectionLost(f"{channel.name} was lost: {self.lost_channels[channel.name]}")
        return channel

    # -- events -----------------------------------------------------------------------------------------------------

    def _tell(self, event: c.SessionEvent) -> None:
        match event:
            case c.MessageReceived():
                self._message(event.key, event.message)
            case c.ChannelOpened():
                self._channel_opened(event.key, event.anew)
            case c.ChannelSwapped() if event.key[0] == ChannelType.DISPLAY:
                self._display_switched()
            case c.ChannelLost():
                self._channel_lost(event)
            case c.MigrationFinished():
                self.migrations.append(event.outcome)
            case c.MigrationAborted():
                self.aborted_migrations.append(event.reason)
            case c.SessionOpened():
                self._note(c.Noted("session.connected"))
            case c.SessionEnded():
                reason = "the application closed it" if event.error is None else str(event.error)
                self._note(c.Noted("session.closed", detail={"reason": reason}))
                for port in self.ports.all():
                    port.lost("the session ended")
                self.clipboard.end()
                if not self._ended.done():
                    self._ended.set_result(event.error)
            case _:
                pass
        if isinstance(event, c.Noted):
            self._note(event)
        for listener in tuple(self.listeners):
            listener(event)
        self._changed.set()
        self.clipboard.wake()
        for port in self.ports.all():
            port.wake()

    def _written(self) -> None:
        self.clipboard.wake()
        for port in self.ports.all():
            port.wake()

    def _note(self, event: c.Noted) -> None:
        if self._trace is not None:
            detail: dict[str, Any] = dict(event.detail)
            session, generation = self._core.connection_id, self._core.generation
            self._trace.record(event.event, session=session, channel=event.channel, generation=generation, **detail)

    def _channel_opened(self, key: ChannelKey, anew: bool) -> None:
        self.lost_channels.pop(c.name_of(key), None)
        channel = self._core.channels[key]
        if key[0] == ChannelType.PORT and isinstance(channel, VmcChannel):
            port = self.ports.by_channel(key[1])
            if port is None:
                self.ports.add(key[1], Port(channel, self._runner.pump, lambda full: self._backlog(key, full)))
            else:
                port.regained()
        elif key[0] == ChannelType.DISPLAY:
            self._display_switched()
            self.picture.channel_opened(key[1], anew=anew)

    def _backlog(self, key: ChannelKey, full: bool) -> None:
        """While channels move everything is read: what tells a channel to move is behind what nobody has read."""
        self._runner.backlog(key, full and self._core.state is not ClientState.SWITCHING)

    def _display_switched(self) -> None:
        self.display_bytes_at_switch = self.display_bytes
        self.picture.observers.append(self._first_picture)

    def _first_picture(self, display: int, damage: Damage) -> None:
        self.picture.observers.remove(self._first_picture)
        self._note(c.Noted("picture.first", c.name_of((ChannelType.DISPLAY, display))))

    def _channel_lost(self, event: c.ChannelLost) -> None:
        if event.restoring:
            self.interruptions.append(f"{c.name_of(event.key)}: {event.reason}")
            return
        self.lost_channels[c.name_of(event.key)] = event.reason
        if event.key[0] == ChannelType.PORT:
            port = self.ports.by_channel(event.key[1])
            if port is not None:
                port.lost(event.reason)

    def _message(self, key: ChannelKey, message: Message) -> None:
        if isinstance(message, base.Notify):
            self.notices.append(bytes(message.text).decode("utf-8", "replace"))
            return
        match key[0]:
            case ChannelType.DISPLAY:
                try:
                    self.picture.message_received(key[1], message)
                except ProtocolError as error:
                    self._core.channel_failed(key, error, time.monotonic())
            case ChannelType.CURSOR:
                self.picture.cursor_message(message)
            case ChannelType.PORT if isinstance(message, vmc.VmcData):
                port = self.ports.by_channel(key[1])
                if port is not None:
                    port.data_received(bytes(message.data))
            case _:
                pass


@asynccontextmanager
async def connect(
    url: str | Address,
    *,
    password: str | None = None,
    ca_file: str | Path | None = None,
    host_subject: str = "",
    schemes: tuple[str, ...] = SCHEMES,
    map_host: Mapping[str, str] | None = None,
    preferred_compression: int | None = None,
    link: LinkKnowledge | None = None,
    trace: Trace | None = None,
) -> AsyncIterator[Session]:
    """Open a session with the guest behind `url` (`spice://HOST:PORT`) and close it at the end of the block.

    With `spice://HOST?tls-port=PORT` it goes over TLS, and never without it. The server's certificate must be signed by
    an authority in `ca_file` (PEM), without it by one that the system trusts, and must be the host's; with
    `host_subject` it must have that subject instead, such as `O=Example, CN=host`. Each server that the session is sent
    to is checked alike, by the subject that its source names.

    `schemes` are the migration schemes the client offers. `map_host` translates what a source says of its target
    (`HOST` or `HOST:PORT`) into an address that this client can reach (`HOST` or `HOST:PORT`), behind a proxy or NAT.
    `link` is what is known of the way there: a spicehop server goes by it until it has measured for itself.

    Raises `UsageError` for arguments that cannot be used, `ConnectError` when there is no SPICE server, `LinkError`
    when it refuses, for example for a wrong password.
    """
    unknown = set(schemes) - set(SCHEMES)
    if unknown:
        raise UsageError(f"{', '.join(sorted(unknown))} is not a migration scheme; they are {', '.join(SCHEMES)}")
    address = parse_url(url) if isinstance(url, str) else url
    if host_subject:
        address = with_subject(address, host_subject)
    check = ServerCheck(ca_file) if ca_file is not None else None
    core = ClientSession(address, schemes=schemes, map_host=map_host, preferred_compression=preferred_compression)
    core.main.link = link
    session = Session(core, check_password(password), trace, check)
    session.start()
    try:
        await session.opened()
        yield session
    finally:
        await session.close()
