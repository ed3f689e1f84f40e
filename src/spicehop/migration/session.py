"""A client session as a sans-I/O machine: its channels, and its way from server to server.

The adapter asks for the next command until there is none, carries each out, and reports what happened:

    session = ClientSession(Address("127.0.0.1", 5900))
    session.start(now)
    while (command := session.next_command(now)) is not None:
        ...

After every report there may be new commands. `next_deadline` says when `handle_timer` is due at the latest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from spicehop.channels.channel import ChannelEvent, ClientChannel, MigrateReceived, MustWait, Received, SwapReady
from spicehop.channels.display import DisplayChannel
from spicehop.channels.inputs import InputsChannel
from spicehop.channels.link import Linked, TicketWanted
from spicehop.channels.machine import Machine
from spicehop.channels.main import SCHEMES, MainChannel
from spicehop.channels.vmc import VmcChannel
from spicehop.errors import ConnectError, ConnectionLost, LinkError, ProtocolError, SpicehopError, StateError
from spicehop.migration import commands as c
from spicehop.migration.client import CLIENT_TABLE, ClientAction, ClientInput, ClientState
from spicehop.migration.commands import Address, ChannelKey, Command, name_of
from spicehop.migration.links import LINK_DEADLINE, Link, Role, new_link
from spicehop.migration.travel import Travel
from spicehop.wire import main
from spicehop.wire.base import WaitFor
from spicehop.wire.constants import ChannelType, LinkResult

MAIN: ChannelKey = (ChannelType.MAIN, 0)
RESTORE_ATTEMPTS = 3
RESTORE_PAUSE = 1.0
"""Seconds before a lost channel is linked again."""
KINDS = frozenset(ChannelType) - {ChannelType.TUNNEL}


class ClientSession:
    """One session with one guest, whichever server it is on."""

    def __init__(
        self,
        address: Address,
        *,
        schemes: tuple[str, ...] = SCHEMES,
        map_host: Mapping[str, str] | None = None,
        preferred_compression: int | None = None,
    ) -> None:
        self.address = address
        self.generation = 0
        """Number of migrations the session has behind it."""
        self.connection_id = 0
        self.map_host = dict(map_host or {})
        self.main = MainChannel(schemes)
        self.channels: dict[ChannelKey, ClientChannel] = {MAIN: self.main}
        self.machine: Machine[ClientState, ClientInput, ClientAction] = Machine(
            "migration", CLIENT_TABLE, ClientState.SETTLED
        )
        self.opened = False
        self._preferred_compression = preferred_compression
        self._commands: deque[Command] = deque()
        self._links: dict[int, Link] = {}
        self._current: dict[ChannelKey, Link] = {}
        self._blocked: set[int] = set()
        self._attempts: dict[ChannelKey, int] = {}
        self._restore_at: dict[ChannelKey, float] = {}
        self._last_connection = 0
        self.travel = Travel(self)

    # -- for the application ----------------------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """Where the session stands between its servers."""
        return self.machine.state

    @property
    def inputs(self) -> InputsChannel | None:
        """The inputs channel, None when the server has none."""
        channel = self.channels.get((ChannelType.INPUTS, 0))
        return channel if isinstance(channel, InputsChannel) else None

    def start(self, now: float) -> None:
        """Connect the main channel."""
        if self._links or self.ended:
            raise StateError("the session has been started already")
        self.connect(MAIN, self.address, Role.CURRENT, now)

    @property
    def ended(self) -> bool:
        """Whether the session is over."""
        return self.state is ClientState.ENDED

    def close(self, now: float) -> None:
        """End the session on the application's wish: release held keys, send what is queued, close."""
        if self.ended:
            return
        if self.inputs is not None:
            self.inputs.release_all()
        for key, link in tuple(self._current.items()):
            while link.linked is not None and (data := self.channels[key].drain(now)):
                self._commands.append(c.Send(link.id, data))
        self.end(None)

    def end(self, error: Exception | None) -> None:
        """End the session; its connections are closed behind what is written."""
        self.machine.state = ClientState.ENDED
        for link in tuple(self._links.values()):
            self.leave(link)
        self._restore_at.clear()
        self.emit(c.SessionEnded(error))

    # -- for the adapter --------------------------------------------------------------------------------------------

    def next_command(self, now: float) -> Command | None:
        """What is to be done next; None when there is nothing now."""
        if self._commands:
            return self._commands.popleft()
        for key, link in self._current.items():
            if link.id in self._blocked or link.linked is None:
                continue
            data = self.channels[key].drain(now)
            if data:
                return c.Send(link.id, data)
        return None

    def connection_made(self, connection: int, now: float) -> None:
        """The connection is open."""
        link = self._links.get(connection)
        if link is not None:
            link.made = True
            self._commands.append(c.Send(connection, link.machine.opening()))

    def ticket_encrypted(self, connection: int, ticket: bytes) -> None:
        """The ticket of `EncryptTicket` is there."""
        link = self._links.get(connection)
        if link is not None:
            self._commands.append(c.Send(connection, link.machine.ticket_encrypted(ticket)))

    def data_received(self, connection: int, data: bytes, now: float) -> None:
        """Bytes have come."""
        link = self._links.get(connection)
        if link is None or link.role is Role.LEFT:
            return
        if link.role is Role.KEPT:
            link.held += data
            return
        try:
            if link.linked is None:
                self._feed_link(link, data, now)
            elif link.role is Role.TARGET:
                self.travel.parked_data(link, data, now)
            else:
                self.handle_events(link.key, self.channels[link.key].feed(data, now), now)
        except (ProtocolError, LinkError) as error:
            self.connection_failed(link, error, now)

    def connection_lost(self, connection: int, reason: str, now: float) -> None:
        """The connection could not be made, or has ended."""
        link = self._links.get(connection)
        if link is None:
            return
        if link.role in (Role.LEFT, Role.KEPT):
            link.role = Role.LEFT
            del self._links[connection]
            return
        where = f"{name_of(link.key)} at {link.address}"
        if not link.made:
            error: SpicehopError = ConnectError(f"no connection to {link.address}: {reason}")
        elif link.linked is None:
            error = ConnectError(f"{link.address} closed the connection before the link was complete: {reason}")
        else:
            error = ConnectionLost(f"the connection of {where} ended: {reason}")
        self.connection_failed(link, error, now)

    def writing_blocked(self, connection: int) -> None:
        """The adapter holds enough bytes of this connection; send none until `writing_unblocked`."""
        self._blocked.add(connection)

    def writing_unblocked(self, connection: int) -> None:
        """The adapter takes bytes of this connection again."""
        self._blocked.discard(connection)

    def next_deadline(self) -> float | None:
        """When `handle_timer` is due at the latest."""
        deadlines = [link.deadline for link in self._links.values() if link.role is not Role.LEFT]
        deadlines += [self.channels[key].next_deadline() for key in self._current]
        deadlines += self._restore_at.values()
        deadlines.append(self.travel.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for link in tuple(self._links.values()):
            if link.deadline is not None and now >= link.deadline and link.role is not Role.LEFT:
                sentence = f"{link.address} did not answer within {LINK_DEADLINE:.0f} s"
                self.connection_failed(link, ConnectError(sentence), now)
        for key, link in tuple(self._current.items()):
            try:
                self.channels[key].handle_timer(now)
            except ProtocolError as error:
                self.connection_failed(link, error, now)
        for key, due in tuple(self._restore_at.items()):
            if now >= due:
                del self._restore_at[key]
                self.connect(key, self.address, Role.CURRENT, now)
        self.travel.handle_timer(now)

    # -- links ------------------------------------------------------------------------------------------------------

    def connect(self, key: ChannelKey, address: Address, role: Role, now: float) -> Link:
        """Open a connection for a channel."""
        self._last_connection += 1
        own = self.channel(key).own_capabilities()
        link = new_link(self._last_connection, key, address, role, self.connection_id, own, now)
        self._links[link.id] = link
        if role is Role.CURRENT:
            self._current[key] = link
        self._commands.append(c.Connect(link.id, address))
        return link

    def channel(self, key: ChannelKey) -> ClientChannel:
        """The channel with this key, made when it is new."""
        if key not in self.channels:
            self.channels[key] = self._new_channel(*key)
        return self.channels[key]

    def _new_channel(self, kind: int, channel_id: int) -> ClientChannel:
        match kind:
            case ChannelType.INPUTS:
                return InputsChannel(channel_id)
            case ChannelType.DISPLAY:
                return DisplayChannel(channel_id, self._preferred_compression)
            case ChannelType.USBREDIR | ChannelType.PORT | ChannelType.WEBDAV:
                return VmcChannel(kind, channel_id)
            case _:
                return ClientChannel(kind, channel_id)

    def _feed_link(self, link: Link, data: bytes, now: float) -> None:
        step = link.machine.feed(data)
        if isinstance(step, TicketWanted):
            self._commands.append(c.EncryptTicket(link.id, step.public_key))
        elif isinstance(step, Linked):
            link.linked, link.deadline = step, None
            self.note("channel.linked", link.key, server=str(link.address), role=link.role.value)
            if link.role is Role.TARGET:
                self.travel.target_linked(link, now)
            else:
                self._begin(link, now)

    def _begin(self, link: Link, now: float) -> None:
        anew = self.channels[link.key].bytes_received > 0
        events = self.channels[link.key].begin(link.take_linked(), now)
        self._attempts.pop(link.key, None)
        if link.key != MAIN:
            self.emit(c.ChannelOpened(link.key, anew))
        self.handle_events(link.key, events, now)

    def current(self, key: ChannelKey) -> Link | None:
        """The connection a channel has now."""
        return self._current.get(key)

    def take_over(self, link: Link) -> Link | None:
        """Make a target's connection the channel's; returns the one it had."""
        before = self._current.get(link.key)
        link.role = Role.CURRENT
        self._current[link.key] = link
        return before

    def leave(self, link: Link) -> None:
        """Close a connection that is no longer needed."""
        if link.role is Role.LEFT:
            return
        link.role = Role.LEFT
        if self._current.get(link.key) is link:
            del self._current[link.key]
            self.channels[link.key].disconnect()
        self._blocked.discard(link.id)
        self._commands.append(c.Finish(link.id))

    def leave_all(self) -> None:
        """Close every connection, before the session begins anew somewhere."""
        for link in tuple(self._links.values()):
            self.leave(link)
        self._restore_at.clear()

    def channel_failed(self, key: ChannelKey, error: SpicehopError, now: float) -> None:
        """The application cannot use what a channel sends; its connection ends, as for any other wrong bytes."""
        link = self._current.get(key)
        if link is not None:
            self.connection_failed(link, error, now)

    def connection_failed(self, link: Link, error: SpicehopError, now: float) -> None:
        """A connection cannot be used any more."""
        role = link.role
        if role is Role.CURRENT and link.key != MAIN and self.state is ClientState.AWAITING_TARGET_INIT:
            self.leave(link)  # After MIGRATE_END the source closes every channel; the target's are linked already.
            return
        self.note("channel.lost", link.key, server=str(link.address), role=role.value, reason=str(error))
        self.leave(link)
        if role is Role.TARGET:
            self.travel.target_failed(link, error, now)
        elif link.key == MAIN:
            self.travel.main_lost(link, error, now)
        else:
            self._channel_lost(link.key, error, now)

    def _channel_lost(self, key: ChannelKey, error: SpicehopError, now: float) -> None:
        """One channel is lost; keep the session, and the channel too where the server lets us."""
        attempts = self._attempts.get(key, 0)
        final = isinstance(error, LinkError) and error.code == LinkResult.CHANNEL_NOT_AVAILABLE
        restoring = self.state is ClientState.SETTLED and attempts < RESTORE_ATTEMPTS and not final
        if restoring:
            self._attempts[key] = attempts + 1
            self._restore_at[key] = now + RESTORE_PAUSE
        self.emit(c.ChannelLost(key, str(error), restoring))
        self.travel.channel_lost(key, str(error), now)

    # -- channels ---------------------------------------------------------------------------------------------------

    def handle_events(self, key: ChannelKey, events: list[ChannelEvent], now: float) -> None:
        """Deal with what a channel reports."""
        for event in events:
            match event:
                case Received():
                    if key == MAIN:
                        self._main_message(event, now)
                    self.emit(c.MessageReceived(key, event.message))
                case MigrateReceived():
                    self.note("channel.migrate", key, flags=event.flags)
                    self._send_now(key, now)
                    self.travel.migrate_received(key, now)
                case SwapReady():
                    if event.data is not None:
                        self.note("channel.migrate-data", key, size=len(event.data))
                    self.travel.swap(key, event.data, now)
                case MustWait():
                    pass
        self._release_waiting(now)

    def _send_now(self, key: ChannelKey, now: float) -> None:
        """The flush mark must be on its way before the channel leaves the connection."""
        link = self._current.get(key)
        data = self.channels[key].drain(now)
        if link is not None and data:
            self.note("channel.flush-mark", key)
            self._commands.append(c.Send(link.id, data))

    def _release_waiting(self, now: float) -> None:
        for key, channel in tuple(self.channels.items()):
            if channel.waits_for and all(map(self._has_come, channel.waits_for)):
                self.handle_events(key, channel.proceed(now), now)

    def _has_come(self, wait: WaitFor) -> bool:
        channel = self.channels.get((wait.channel_type, wait.channel_id))
        return channel is None or not channel.connected or channel.serial >= wait.serial

    def _main_message(self, event: Received, now: float) -> None:
        message = event.message
        match message:
            case main.Init():
                self._init_received(message, now)
            case main.ChannelsList():
                for entry in message.channels:
                    key = (entry.type, entry.id)
                    if entry.type in KINDS and key not in self._current:
                        self.connect(key, self.address, Role.CURRENT, now)
                        self.travel.channel_added(key, now)
                if not self.opened:
                    self.opened = True
                    self.emit(c.SessionOpened())
            case (
                main.MigrateBegin()
                | main.MigrateBeginSeamless()
                | main.MigrateCancel()
                | main.MigrateEnd()
                | main.MigrateSwitchHost()
            ):
                self.travel.message_received(message, now)
            case _:
                pass

    def _init_received(self, message: main.Init, now: float) -> None:
        self.connection_id = message.session_id
        if self.machine.takes(ClientInput.INIT_RECEIVED):
            self.travel.init_received(now)
        else:
            self.main.send(main.AttachChannels())

    # -- telling ----------------------------------------------------------------------------------------------------

    def command(self, command: Command) -> None:
        """Queue a command for the adapter."""
        self._commands.append(command)

    def emit(self, event: c.SessionEvent) -> None:
        """Tell the application."""
        self._commands.append(c.Emit(event))

    def note(self, event: str, key: ChannelKey | None = None, **detail: str | int | float | bool) -> None:
        """Put a record on the trace."""
        self.emit(c.Noted(event, name_of(key) if key is not None else "", detail))
