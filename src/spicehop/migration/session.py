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
from dataclasses import replace

from spicehop.channels.channel import (
    ChannelEvent,
    ClientChannel,
    Failed,
    MigrateReceived,
    MustWait,
    Received,
    SwapReady,
)
from spicehop.channels.display import DisplayChannel
from spicehop.channels.inputs import InputsChannel
from spicehop.channels.link import Linked, TicketWanted
from spicehop.channels.machine import Machine
from spicehop.channels.main import MAX_CHANNELS, SCHEMES, MainChannel
from spicehop.channels.vmc import VmcChannel
from spicehop.errors import ConnectError, ConnectionLost, LinkError, ProtocolError, SpicehopError, StateError
from spicehop.migration import commands as c
from spicehop.migration.client import CLIENT_TABLE, ClientAction, ClientInput, ClientState
from spicehop.migration.commands import Address, ChannelKey, Command, name_of
from spicehop.migration.hosts import HostMap
from spicehop.migration.links import LINK_DEADLINE, Link, Role, new_link
from spicehop.migration.restoring import Restorer
from spicehop.migration.travel import Travel
from spicehop.wire import main, vmc
from spicehop.wire.base import WaitFor
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

MAIN: ChannelKey = (ChannelType.MAIN, 0)
OPENING_DEADLINE = 15.0
"""Seconds for a server to say INIT, and again to name its channels."""
SIGNS_OF_LIFE = (main.MouseMode, main.AgentData, main.AgentConnectedTokens, vmc.VmcData, vmc.PortEventMessage)
"""What libspice sends after a migration only when the machine runs: its timers for these follow the machine's clock.

Draws and KEY_MODIFIERS are none: they can come a few ms before the machine runs."""
KINDS = frozenset(ChannelType) - {ChannelType.TUNNEL, ChannelType.MAIN}
"""The channels that a server may list."""
AT_HOME = frozenset(
    {
        ClientState.SETTLED,
        ClientState.LINKING_TARGET,
        ClientState.READY_SEAMLESS,
        ClientState.READY_SEMI_SEAMLESS,
        ClientState.TARGET_LOST,
    }
)
"""States in which the session's server takes links of its channels."""


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
        self.secure = bool(address.tls_port)
        """Whether the session goes over TLS from the start, and then nowhere without."""
        self.address = replace(address, port=0) if self.secure else address
        self.generation = 0
        """Number of migrations the session has behind it."""
        self.connection_id = 0
        self.hosts = HostMap(map_host)
        self.main = MainChannel(schemes)
        self.channels: dict[ChannelKey, ClientChannel] = {MAIN: self.main}
        self.machine: Machine[ClientState, ClientInput, ClientAction] = Machine(
            "migration", CLIENT_TABLE, ClientState.SETTLED
        )
        self.opened = False
        self.lost: set[ChannelKey] = set()
        """Channels that are gone and are not being linked again."""
        self._preferred_compression = preferred_compression
        self._commands: deque[Command] = deque()
        self._links: dict[int, Link] = {}
        self._current: dict[ChannelKey, Link] = {}
        self._blocked: set[int] = set()
        self.restorer = Restorer()
        self._opening_deadline: float | None = None
        self._must_be_listed: set[ChannelKey] = set()
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
        if self._last_connection or self.ended:
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
        for channel in self.channels.values():
            if isinstance(channel, VmcChannel):
                channel.hurry()
        for key, link in tuple(self._current.items()):
            while link.linked is not None and (data := self.channels[key].drain(now)):
                self._commands.append(c.Send(link.id, data))
        self.end(None)

    def end(self, error: Exception | None) -> None:
        """End the session; its connections are closed behind what is written."""
        self.machine.state = ClientState.ENDED
        for link in tuple(self._links.values()):
            self.leave(link)
        self.restorer.clear()
        self._opening_deadline = None
        self.emit(c.SessionEnded(error))

    # -- for the adapter --------------------------------------------------------------------------------------------

    def next_command(self, now: float) -> Command | None:
        """What is to be done next; None when there is nothing now."""
        if self._commands:
            return self._commands.popleft()
        channels, blocked = self.channels, self._blocked
        for key, link in tuple(self._current.items()):
            if link.linked is None or link.id in blocked:
                continue
            data = channels[key].drain(now)
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

    def ticket_failed(self, connection: int, error: ProtocolError, now: float) -> None:
        """No ticket can be made for the key of `EncryptTicket`."""
        link = self._links.get(connection)
        if link is not None:
            self.connection_failed(link, error, now)
            self._release_waiting(now)

    def data_received(self, connection: int, data: bytes, now: float) -> None:
        """Bytes have come."""
        link = self._links.get(connection)
        if link is None:
            return
        try:
            if link.role is Role.KEPT:
                link.hold(data)
            elif link.linked is None:
                self._feed_link(link, data, now)
            elif link.role is Role.TARGET:
                self.travel.parked_data(link, data, now)
            else:
                self.handle_events(link.key, self.channels[link.key].feed(data, now), now)
        except (ProtocolError, LinkError) as error:
            self.connection_failed(link, error, now)
        self._release_waiting(now)

    def connection_lost(self, connection: int, reason: str, now: float) -> None:
        """The connection could not be made, or has ended."""
        link = self._links.get(connection)
        if link is None:
            return
        where = f"{name_of(link.key)} at {link.address}"
        if not link.made:
            error: SpicehopError = ConnectError(f"no connection to {link.address}: {reason}")
        elif link.linked is None:
            error = ConnectError(f"{link.address} closed the connection before the link was complete: {reason}")
        else:
            error = ConnectionLost(f"the connection of {where} ended: {reason}")
        self.connection_failed(link, error, now)
        self._release_waiting(now)

    def writing_blocked(self, connection: int) -> None:
        """The adapter holds enough bytes of this connection; send none until `writing_unblocked`."""
        if connection in self._links:
            self._blocked.add(connection)

    def writing_unblocked(self, connection: int) -> None:
        """The adapter takes bytes of this connection again."""
        self._blocked.discard(connection)

    def next_deadline(self) -> float | None:
        """When `handle_timer` is due at the latest."""
        if self.ended:
            return None
        deadlines = [self._opening_deadline, self.travel.next_deadline()]
        deadlines += [link.deadline for link in self._links.values() if link.deadline is not None]
        channels, blocked = self.channels, self._blocked
        for key, link in self._current.items():
            channel = channels[key]
            silent = link.id in blocked or not channel.waiting
            due = channel.wait_deadline if silent else channel.next_deadline()
            if due is not None:
                deadlines.append(due)
        if self.state in AT_HOME:
            deadlines.append(self.restorer.next_deadline())
        return min([deadline for deadline in deadlines if deadline is not None], default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self.ended:
            return
        for link in tuple(self._links.values()):
            if link.deadline is not None and now >= link.deadline:
                sentence = f"{link.address} did not answer within {LINK_DEADLINE:.0f} s"
                self.connection_failed(link, ConnectError(sentence), now)
        for key, link in tuple(self._current.items()):
            try:
                if self._current.get(key) is link:
                    self.channels[key].handle_timer(now)
            except ProtocolError as error:
                self.connection_failed(link, error, now)
        if self._opening_deadline is not None and now >= self._opening_deadline:
            self._opening_deadline = None
            sentence = f"{self.address} did not open the session within {OPENING_DEADLINE:.0f} s"
            self.channel_failed(MAIN, ConnectError(sentence), now)
        if self.state in AT_HOME:
            for key in self.restorer.due(now):
                self.add_channel(key, now)
        self.travel.handle_timer(now)
        self._release_waiting(now)

    # -- links ------------------------------------------------------------------------------------------------------

    def connect(self, key: ChannelKey, address: Address, role: Role, now: float) -> Link:
        """Open a connection for a channel."""
        self._last_connection += 1
        own = self.channel(key).own_capabilities()
        link = new_link(self._last_connection, key, address, role, self.connection_id, own, now)
        self._links[link.id] = link
        if role is Role.CURRENT:
            self._current[key] = link
            self.restorer.forget(key)
        self._commands.append(c.Connect(link.id, address))
        return link

    def add_channel(self, key: ChannelKey, now: float) -> None:
        """Link a channel that the server has, and at the target too while a migration is prepared."""
        self.restorer.forget(key)
        if key not in self._current:
            self.connect(key, self.address, Role.CURRENT, now)
            self.travel.channel_added(key, now)

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
                channel = VmcChannel(kind, channel_id)
                channel.migrating = self.travel.target is not None
                return channel
            case _:
                return ClientChannel(kind, channel_id)

    def _feed_link(self, link: Link, data: bytes, now: float) -> None:
        step = link.machine.feed(data)
        if isinstance(step, TicketWanted):
            self._commands.append(c.EncryptTicket(link.id, step.public_key))
        elif isinstance(step, Linked):
            link.linked, link.linked_at, link.deadline = step, now, None
            self.note("channel.linked", link.key, server=str(link.address), role=link.role.value)
            if link.role is Role.TARGET:
                self.travel.target_linked(link, now)
            else:
                self._begin(link, now)

    def _begin(self, link: Link, now: float) -> None:
        anew = self.channels[link.key].bytes_received > 0
        events = self.channels[link.key].begin(link.take_linked(), now)
        self.lost.discard(link.key)
        if isinstance(channel := self.channels[link.key], InputsChannel) and self.travel.target is None:
            channel.migrating_since = None
        if link.key != MAIN:
            self.emit(c.ChannelOpened(link.key, anew))
        elif self.state is ClientState.SETTLED:
            self._opening_deadline = now + OPENING_DEADLINE
        self.handle_events(link.key, events, now)

    def current(self, key: ChannelKey) -> Link | None:
        """The connection a channel has now."""
        return self._current.get(key)

    def take_over(self, link: Link) -> Link | None:
        """Make a target's connection the channel's; returns the one it had."""
        before = self._current.get(link.key)
        link.role = Role.CURRENT
        self._current[link.key] = link
        self.restorer.forget(link.key)
        self.lost.discard(link.key)
        return before

    def leave(self, link: Link) -> None:
        """Close a connection that is no longer needed."""
        if link.role is Role.LEFT:
            return
        link.role = Role.LEFT
        self._links.pop(link.id, None)
        if self._current.get(link.key) is link:
            del self._current[link.key]
            self.channels[link.key].disconnect()
        self._blocked.discard(link.id)
        self._commands.append(c.Finish(link.id))

    def leave_all(self) -> None:
        """Close every connection, before the session begins anew somewhere."""
        for link in tuple(self._links.values()):
            self.leave(link)
        self.restorer.clear()

    def channel_failed(self, key: ChannelKey, error: SpicehopError, now: float) -> None:
        """The application cannot use what a channel sends; its connection ends, as for any other wrong bytes."""
        link = self._current.get(key)
        if link is not None:
            self.connection_failed(link, error, now)

    def connection_failed(self, link: Link, error: SpicehopError, now: float) -> None:
        """A connection cannot be used any more."""
        role = link.role
        if role is Role.LEFT:
            return
        if role is Role.KEPT or (
            role is Role.CURRENT and link.key != MAIN and self.state is ClientState.AWAITING_TARGET_INIT
        ):
            self.leave(link)  # After MIGRATE_END the source closes every channel; the target's are linked already.
            return
        self.note("channel.lost", link.key, server=str(link.address), role=role.value, reason=str(error))
        self.leave(link)
        if role is Role.TARGET:
            self.travel.target_failed(link, error, now)
        elif link.key == MAIN:
            self.travel.main_lost(link, error, now)
        else:
            self._channel_lost(link, error, now)

    def _channel_lost(self, link: Link, error: SpicehopError, now: float) -> None:
        """One channel is lost; keep the session, and the channel too where the server lets us."""
        given_up = self.restorer.lost(link, error, now) if self.state in AT_HOME else "its server is being left"
        if given_up:
            self.lose(link.key, f"{error}; it is not linked again, because {given_up}")
        else:
            self.emit(c.ChannelLost(link.key, str(error), restoring=True))
        self.travel.channel_lost(link.key, str(error), now)

    def lose(self, key: ChannelKey, reason: str) -> None:
        """Give a channel up and say so."""
        link = self._current.get(key)
        if link is not None:
            self.leave(link)
        self.restorer.forget(key)
        self.lost.add(key)
        self.emit(c.ChannelLost(key, reason, restoring=False))

    # -- channels ---------------------------------------------------------------------------------------------------

    def handle_events(self, key: ChannelKey, events: list[ChannelEvent], now: float) -> None:
        """Deal with what a channel reports, for as long as it stays on the connection that this came from."""
        link = self._current.get(key)
        called_off = False
        try:
            for event in events:
                if link is None or self._current.get(key) is not link:
                    return
                match event:
                    case Received():
                        self._message_received(key, event.message, now)
                    case MigrateReceived():
                        self.note("channel.migrate", key, flags=event.flags)
                        called_off = not self.travel.migrate_received(key, now)
                        self._send_flush_mark(link, now)
                    case SwapReady() if not called_off:
                        if event.data is not None:
                            self.note("channel.migrate-data", key, size=len(event.data))
                        self.travel.swap(key, event.data, now)
                    case MustWait():
                        self._commands.append(c.PauseReading(link.id))
                    case Failed():
                        self.connection_failed(link, event.error, now)
                    case _:
                        pass
        except ProtocolError as error:
            if link is not None:
                self.connection_failed(link, error, now)
        if called_off:
            self.handle_events(key, self.channels[key].resume(now), now)

    def _message_received(self, key: ChannelKey, message: Message, now: float) -> None:
        if isinstance(message, SIGNS_OF_LIFE):
            self._guest_alive(key, now)
        self.restorer.message_received(key, message)
        self.emit(c.MessageReceived(key, message))
        self.channels[key].delivered(message)
        if key == MAIN:
            self._main_message(message, now)

    def _guest_alive(self, key: ChannelKey, now: float) -> None:
        """The machine runs at the server of this channel; while channels move, that need not be the keyboard's."""
        here, keyboard = self._current.get(key), self._current.get((ChannelType.INPUTS, 0))
        if self.inputs is not None and here is not None and keyboard is not None and here.address == keyboard.address:
            self.inputs.guest_alive(now)

    def _send_flush_mark(self, link: Link, now: float) -> None:
        """It must be on its way before the channel leaves the connection."""
        if self._current.get(link.key) is link and (data := self.channels[link.key].drain(now)):
            self.note("channel.flush-mark", link.key)
            self._commands.append(c.Send(link.id, data))

    def _release_waiting(self, now: float) -> None:
        progress = True
        while progress:
            progress = False
            for key, channel in tuple(self.channels.items()):
                link = self._current.get(key)
                if link is not None and channel.waits_for and all(map(self._has_come, channel.waits_for)):
                    progress = True
                    self._commands.append(c.ResumeReading(link.id))
                    self.handle_events(key, channel.proceed(now), now)

    def _has_come(self, wait: WaitFor) -> bool:
        channel = self.channels.get((wait.channel_type, wait.channel_id))
        return channel is None or not channel.connected or channel.serial >= wait.serial

    def _main_message(self, message: Message, now: float) -> None:
        match message:
            case main.Init():
                self._init_received(message, now)
            case main.ChannelsList():
                self._channels_listed({(entry.type, entry.id) for entry in message.channels}, now)
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
        if not message.session_id:
            raise ProtocolError("main:0: INIT carries no session id")
        self.connection_id = message.session_id
        if self.machine.takes(ClientInput.INIT_RECEIVED):
            self.travel.init_received(now)
        else:
            self.attach_channels(now)

    def attach_channels(self, now: float) -> None:
        """Ask the server for its channels."""
        self._opening_deadline = now + OPENING_DEADLINE
        self.main.send(main.AttachChannels())

    def begin_anew(self) -> None:
        """The next server knows nothing of the session; which of its channels it has, its list will say."""
        self.connection_id = 0
        self._opening_deadline = None
        self._must_be_listed = set(self.channels) - self.lost - {MAIN}

    def _channels_listed(self, listed: set[ChannelKey], now: float) -> None:
        if not self.connection_id or self.state is ClientState.AWAITING_TARGET_INIT:
            raise ProtocolError("main:0: CHANNELS_LIST came before INIT")
        known = {key for key in listed if key[0] in KINDS}
        if len(known | set(self.channels)) > MAX_CHANNELS:
            raise ProtocolError(f"main:0: the server lists more than {MAX_CHANNELS} channels")
        self._opening_deadline = None
        for key in sorted(self._must_be_listed - known):
            self.lose(key, f"{self.address} does not have this channel")
        self._must_be_listed.clear()
        for key in sorted(known):
            if self.state in AT_HOME:
                self.add_channel(key, now)
            elif key not in self._current:
                self.channel(key)
                self.restorer.later(key, now)
        if not self.opened:
            self.opened = True
            self.emit(c.SessionOpened())

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
