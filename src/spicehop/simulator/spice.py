"""A model of libspice-server in one QEMU: clients, links, and its part in a migration (dossier C1 to C3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from spicehop.simulator.clock import Appointment, VirtualClock
from spicehop.simulator.guest import ModelGuest
from spicehop.simulator.link import Admission, ModelLink, model_ticket
from spicehop.simulator.network import End
from spicehop.simulator.spice_channel import FLAGS, PortDevice, ServerChannel
from spicehop.wire import base, display, inputs, main, vmc
from spicehop.wire.constants import ChannelType, LinkResult, MainCap, MigrateFlag, MouseMode
from spicehop.wire.layout import Message
from spicehop.wire.link import LinkMessage

TIMEOUT = 10.0
"""MIGRATE_TIMEOUT: for clients to link, and again for them to leave (dossier C3)."""
DISPLAY_TIMEOUT = 10.0
"""For the display's state after the machine runs (dossier C3)."""
ALL_CHANNELS = (
    (ChannelType.DISPLAY, 0),
    (ChannelType.INPUTS, 0),
    (ChannelType.CURSOR, 0),
    (ChannelType.PLAYBACK, 0),
    (ChannelType.PORT, 1),
)


@dataclass(frozen=True, slots=True)
class SpiceConfig:
    """How a server was started."""

    seamless: bool = True
    """`seamless-migration`."""
    accepts_seamless: bool = True
    """Whether it answers DST_DO_SEAMLESS with ACK: not when it allows several clients (dossier C1.2)."""
    password: str = ""
    channels: tuple[tuple[int, int], ...] = ALL_CHANNELS


class ModelClient:
    """One client of a server, with its channels."""

    def __init__(self, server: ModelSpice, id: int, *, arriving: bool) -> None:
        self.server = server
        self.id = id
        self.capabilities: frozenset[int] = frozenset()
        self.channels: dict[tuple[int, int], ServerChannel] = {}
        self.arriving = arriving
        """It comes from another server, and is not here yet (`during_target_migrate`)."""
        self.seamless = False
        self.parked: list[tuple[ServerChannel, bytes]] = []
        self.replied = False
        self.connect_ok = False
        self.gone = False

    @property
    def main_channel(self) -> ServerChannel | None:
        return self.channels.get((ChannelType.MAIN, 0))

    def tell(self, message: Message) -> None:
        """Send on the main channel."""
        if self.main_channel is not None:
            self.main_channel.send(message)

    def message_received(self, channel: ServerChannel, message: Message) -> None:
        """A message that is not one channel's own business."""
        match message:
            case main.AttachChannels() if not self.arriving:
                entries = tuple(main.ChannelId(kind, number) for kind, number in self.server.config.channels)
                channel.send(main.ChannelsList(entries))
            case main.MigrateConnected() | main.MigrateConnectedSeamless() | main.MigrateConnectError():
                self.server.client_replied(self, message)
            case main.MigrateDstDoSeamless():
                self._become_seamless(message)
            case main.MigrateEnd():
                self._arrive_semi_seamless()
            case display.Init() if self.seamless:
                self.server.abort("DISPLAY_INIT came to a seamless target")
            case _:
                pass

    def link_admitted(self, kind: int, number: int, end: End, rest: bytes) -> None:
        """Another channel of this client is linked."""
        channel = ServerChannel(self, kind, number, end)
        self.channels[kind, number] = channel
        if self.arriving and not self.seamless:
            end.pause()
            self.parked.append((channel, rest))
        else:
            self._create(channel, rest)

    def _create(self, channel: ServerChannel, rest: bytes) -> None:
        channel.waits_data = self.seamless and bool(FLAGS.get(channel.kind, 0) & MigrateFlag.NEED_DATA_TRANSFER)
        channel.begin(rest, _hello(channel.kind))
        if channel.kind == ChannelType.PORT:
            self.server.pump_soon()

    def _become_seamless(self, request: main.MigrateDstDoSeamless) -> None:
        if not self.arriving or not self.server.config.accepts_seamless or request.source_version > 1:
            self.tell(main.MigrateDstSeamlessNack())
            return
        self.seamless = True
        self.tell(main.MigrateDstSeamlessAck())
        assert self.main_channel is not None
        self.main_channel.waits_data = True
        self._create_parked()

    def _create_parked(self) -> None:
        parked, self.parked = self.parked, []
        for channel, rest in parked:
            self._create(channel, rest)

    def _arrive_semi_seamless(self) -> None:
        if self.seamless:
            self.server.abort("MIGRATE_END came to a seamless target")
            return
        self.arriving = False
        self.tell(self.server.init_message(self.id))
        self._create_parked()
        self.server.client_arrived(self)

    def data_restored(self) -> None:
        """One more channel has its state."""
        if self.arriving and not any(channel.waits_data for channel in self.channels.values()):
            self.arriving = False
            self.seamless = False
            self.server.client_arrived(self)

    def channel_lost(self, channel: ServerChannel) -> None:
        """A channel's connection ended. Without the main channel there is no client."""
        key = (channel.kind, channel.number)
        if self.channels.get(key) is not channel:
            return
        del self.channels[key]
        self.server.report_channel("SPICE_DISCONNECTED", self, channel)
        if channel.kind == ChannelType.PORT and not channel.told_to_migrate:
            self.server.device.drop()
        if channel.kind == ChannelType.MAIN:
            self.disconnect()
        elif channel.kind == ChannelType.PORT:
            self.server.pump_soon()

    def disconnect(self) -> None:
        """Close everything this client has."""
        if self.gone:
            return
        self.gone = True
        for channel in tuple(self.channels.values()):
            channel.end.close()
            self.server.report_channel("SPICE_DISCONNECTED", self, channel)
            if channel.kind == ChannelType.PORT:
                self.server.device.drop()
        self.channels.clear()
        self.server.client_gone(self)


def _hello(kind: int) -> tuple[Message, ...]:
    match kind:
        case ChannelType.INPUTS:
            return (inputs.Init(0),)
        case ChannelType.PORT:
            return (vmc.PortInit(b"org.example.echo.0", 1),)
        case ChannelType.DISPLAY | ChannelType.CURSOR:
            return (base.SetAck(1, 20),)
        case _:
            return ()


class ModelSpice:
    """The server. `report` gets what QMP tells of it, `die` ends the process that it runs in."""

    def __init__(
        self,
        clock: VirtualClock,
        random: Random,
        config: SpiceConfig,
        guest: ModelGuest,
        has_guest: Callable[[], bool],
        report: Callable[[str, Mapping[str, object]], None],
        die: Callable[[str], None],
    ) -> None:
        self.config = config
        self.clients: list[ModelClient] = []
        self.guest = guest
        self.device = PortDevice(lambda: guest if self.has_guest else None)
        self.aborted = ""
        """Why the process aborted: something a client did."""
        self._clock = clock
        self._random = random
        self._has_guest = has_guest
        self._report = report
        self._die = die
        self._target: tuple[str, int] | None = None
        self._waits_connect = False
        self._seamless = False
        self._replied_seamless = False
        self._leaving: list[ModelClient] = []
        self._timer: Appointment | None = None
        self._postponed = False

    @property
    def has_guest(self) -> bool:
        """Whether the machine is at this server."""
        return self._has_guest()

    # -- links --------------------------------------------------------------------------------------------------

    def accept(self, end: End) -> None:
        """A connection has come."""
        self._report("SPICE_CONNECTED", {"client": {"host": "127.0.0.1", "port": str(end.connection.number)}})
        end.owner = ModelLink(end, _capabilities, self._judge, lambda admission: self._admit(end, admission))

    def _judge(self, message: LinkMessage, ticket: bytes) -> int:
        if self.config.password and ticket != model_ticket(self.config.password):
            return LinkResult.PERMISSION_DENIED
        if message.channel_type == ChannelType.MAIN:
            return LinkResult.OK
        if (message.channel_type, message.channel_id) not in self.config.channels:
            return LinkResult.CHANNEL_NOT_AVAILABLE
        known = any(client.id == message.connection_id for client in self.clients)
        return LinkResult.OK if known else LinkResult.BAD_CONNECTION_ID

    def _admit(self, end: End, admission: Admission) -> None:
        message = admission.message
        if message.channel_type != ChannelType.MAIN:
            client = next(one for one in self.clients if one.id == message.connection_id)
            client.link_admitted(message.channel_type, message.channel_id, end, admission.rest)
        else:
            for other in tuple(self.clients):
                other.disconnect()
            id = message.connection_id or self._random.randrange(1, 2**32)
            client = ModelClient(self, id, arriving=message.connection_id != 0)
            client.capabilities = message.capabilities.channel
            self.clients.append(client)
            channel = ServerChannel(client, ChannelType.MAIN, 0, end)
            client.channels[ChannelType.MAIN, 0] = channel
            channel.begin(admission.rest, () if client.arriving else (self.init_message(id),))
        linked = client.channels.get((message.channel_type, message.channel_id))
        if linked is not None:
            self.report_channel("SPICE_INITIALIZED", client, linked)

    def init_message(self, id: int) -> main.Init:
        """What a session begins with."""
        return main.Init(id, 1, MouseMode.SERVER, MouseMode.SERVER, 0, 10, 0, 0)

    def report_channel(self, event: str, client: ModelClient, channel: ServerChannel) -> None:
        """One of QMP's events about a channel."""
        self._report(event, {"client": entry_of(client, channel)})

    def channel_entries(self) -> list[dict[str, object]]:
        """The `channels` of query-spice."""
        return [entry_of(client, channel) for client in self.clients for channel in client.channels.values()]

    # -- the device ---------------------------------------------------------------------------------------------

    def pump_soon(self) -> None:
        """Let the port's device move bytes in a moment."""
        self._clock.after(0.0002 + self._random.random() * 0.001, self._pump)

    def _pump(self) -> None:
        channel = next(
            (c for client in self.clients for c in client.channels.values() if c.kind == ChannelType.PORT), None
        )
        self.device.pump(channel)
        if channel is not None:
            channel.read_on()

    def vm_stop(self) -> None:
        """spice_server_vm_stop."""
        self.device.stopped = True

    def vm_start(self) -> None:
        """spice_server_vm_start."""
        self.device.stopped = False
        self.pump_soon()
        for client in self.clients:
            for channel in client.channels.values():
                if channel.kind == ChannelType.DISPLAY and channel.waits_data:
                    self._clock.after(DISPLAY_TIMEOUT, partial(self._give_up, channel))

    def _give_up(self, channel: ServerChannel) -> None:
        if channel.waits_data and not channel.end.closed:
            channel.end.close()
            channel.client.channel_lost(channel)

    # -- migration, as the source (dossier C2.1) ----------------------------------------------------------------

    def migrate_connect(self, host: str, port: int) -> None:
        """client_migrate_info."""
        if self._waits_connect or self._target is not None:
            self._cancel_connected()
        self._target = (host, port)
        self._seamless = self._replied_seamless = False
        for client in self.clients:
            client.replied = client.connect_ok = False
        if any(client.arriving for client in self.clients):
            self._postponed = True
            self._start_timer(self._connect_timeout)
            self._waits_connect = True
            return
        self._announce()

    def _announce(self) -> None:
        assert self._target is not None
        host, port = self._target[0].encode(), self._target[1]
        all_have = all(MainCap.AGENT_CONNECTED_TOKENS in client.capabilities for client in self.clients)
        able = [client for client in self.clients if MainCap.SEMI_SEAMLESS_MIGRATE in client.capabilities]
        if self.config.seamless and all_have and able and MainCap.SEAMLESS_MIGRATE in able[0].capabilities:
            if len(self.clients) > 1:
                self.abort("seamless migration with several clients")
                return
            self._seamless = True
        for client in able:
            client.tell(
                main.MigrateBeginSeamless(port, 0, host) if self._seamless else main.MigrateBegin(port, 0, host)
            )
        self._waits_connect = bool(able)
        if able:
            self._start_timer(self._connect_timeout)

    def client_replied(self, client: ModelClient, message: Message) -> None:
        """CONNECTED, CONNECTED_SEAMLESS or CONNECT_ERROR."""
        if not self._waits_connect or client.replied:
            if not isinstance(message, main.MigrateConnectError):
                client.tell(main.MigrateCancel())
            return
        client.replied = True
        client.connect_ok = not isinstance(message, main.MigrateConnectError)
        self._replied_seamless = isinstance(message, main.MigrateConnectedSeamless)
        able = [one for one in self.clients if MainCap.SEMI_SEAMLESS_MIGRATE in one.capabilities]
        if all(one.replied for one in able):
            self._waits_connect = False
            self._stop_timer()

    def _connect_timeout(self) -> None:
        self._waits_connect = self._postponed = False
        for client in tuple(self.clients):
            if client.arriving:
                client.disconnect()

    def _cancel_connected(self) -> None:
        self._waits_connect = self._postponed = False
        self._stop_timer()
        for client in self.clients:
            if client.connect_ok:
                client.tell(main.MigrateCancel())
                client.connect_ok = False

    def cancel(self) -> None:
        """Call all clients back, whatever they have said."""
        self._waits_connect = False
        for client in self.clients:
            client.tell(main.MigrateCancel())
            client.connect_ok = False

    def migrate_end(self, *, completed: bool) -> None:
        """The machine's migration is over."""
        if self._target is None:
            return
        if not completed:
            self._cancel_connected()
            self._target = None
            return
        self._waits_connect = False
        self._leaving = [client for client in self.clients if client.main_channel is not None]
        if not self._leaving:
            self._complete()
            return
        self._start_timer(self._leave_timeout)
        for client in tuple(self._leaving):
            self._send_away(client)

    def _send_away(self, client: ModelClient) -> None:
        assert self._target is not None
        if self._seamless and self._replied_seamless and client.connect_ok:
            others = [channel for key, channel in client.channels.items() if key[0] != ChannelType.MAIN]
            for channel in [*reversed(others), client.main_channel]:
                if channel is not None:
                    channel.migrate()
        elif client.connect_ok:
            self.device.drop()
            client.tell(main.MigrateEnd())
        else:
            self.device.drop()
            client.tell(main.MigrateSwitchHost(self._target[1], 0, self._target[0].encode()))

    def client_gone(self, client: ModelClient) -> None:
        """A client has left."""
        if client in self.clients:
            self.clients.remove(client)
        if client in self._leaving:
            self._leaving.remove(client)
            if not self._leaving:
                self._complete()

    def _leave_timeout(self) -> None:
        for client in tuple(self._leaving):
            client.disconnect()

    def _complete(self) -> None:
        self._stop_timer()
        self._target = None
        self._report("SPICE_MIGRATE_COMPLETED", {})

    # -- migration, as the target -------------------------------------------------------------------------------

    def client_arrived(self, client: ModelClient) -> None:
        """A client that came from another server is here for good; the next hop may begin."""
        self.pump_soon()
        if self._postponed and self._waits_connect:
            self._postponed = False
            self._announce()

    # -- the end ------------------------------------------------------------------------------------------------

    def abort(self, reason: str) -> None:
        """The process aborts, as libspice does on what it holds impossible."""
        if not self.aborted:
            self.aborted = reason
            self._clock.after(0, lambda: self._die(f"aborted: {reason}"))

    def _start_timer(self, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.after(TIMEOUT, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _capabilities(kind: int) -> frozenset[int]:
    if kind != ChannelType.MAIN:
        return frozenset()
    return frozenset({MainCap.SEMI_SEAMLESS_MIGRATE, MainCap.AGENT_CONNECTED_TOKENS, MainCap.SEAMLESS_MIGRATE})


def entry_of(client: ModelClient, channel: ServerChannel) -> dict[str, object]:
    """A channel as QMP shows it; the connection id is signed there."""
    signed = client.id - 2**32 if client.id >= 2**31 else client.id
    return {
        "host": "127.0.0.1",
        "port": str(channel.end.connection.number),
        "family": "ipv4",
        "tls": False,
        "connection-id": signed,
        "channel-type": channel.kind,
        "channel-id": channel.number,
    }
