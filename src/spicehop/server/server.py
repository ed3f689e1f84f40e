"""`SpiceServer`: shows a guest to SPICE clients.

async with SpiceServer(guest, ServerOptions(port=5900, password="secret")) as server:
    await server.wait_closed()
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from spicehop.channels.serving import main as main_channel
from spicehop.channels.serving.agent_routing import AgentFilter
from spicehop.channels.serving.channel import SERVER_COMMON, Peer, ServerChannel, ServerEvent
from spicehop.channels.serving.link import ClientLinked
from spicehop.channels.serving.main import Introduction, ServerMain
from spicehop.channels.serving.media_clock import MediaClock
from spicehop.channels.serving.parked import ParkedChannel
from spicehop.channels.serving.record import Recorded, ServerRecord
from spicehop.guests.interface import Guest
from spicehop.migration.arriving import ArrivingSession, RestoredChannel
from spicehop.migration.state import ServingState, prepare
from spicehop.painting import ClientView, ImageCompression, PaintSettings, SharedImages
from spicehop.painting.rehearsal import rehearse
from spicehop.server.accept import AcceptGate
from spicehop.server.agent_desk import AgentDesk
from spicehop.server.arrivals import ArrivalDesk
from spicehop.server.catalogue import Catalogue
from spicehop.server.devices import DeviceDesk
from spicehop.server.expected import ExpectedClients
from spicehop.server.input_gate import InputGate
from spicehop.server.leaving_desk import LeavingDesk, NobodyLeaves
from spicehop.server.listener import AcceptedStream, Listeners, Origin
from spicehop.server.listing import ChannelLists, Listener
from spicehop.server.newcomer import Newcomer
from spicehop.server.options import SaslProvider, Security, ServerOptions
from spicehop.server.pointer import PointerWatch
from spicehop.server.registry import SessionRegistry
from spicehop.server.scheduler import Scheduler
from spicehop.server.screens import ScreenFeed, spread
from spicehop.server.served import ChannelKey, ServedChannel
from spicehop.server.session import MAIN, ServedSession
from spicehop.server.sounds import SoundDesk
from spicehop.server.tickets import KeyPool, Ticket, TicketKey
from spicehop.trace import Trace
from spicehop.wire.constants import ChannelType, CommonCap, DisplayCap, LinkResult
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities, LinkMessage
from spicehop.wire.registry import registered

CLOSING_SECONDS = 1.0
"""How long a server that ends waits for its last words to go out."""


class SpiceServer:
    """Shows one guest to any number of clients; enter it to open its doors, leave it to send everybody away."""

    def __init__(
        self,
        guest: Guest,
        options: ServerOptions | None = None,
        *,
        trace: Trace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.guest = guest
        self.options = options or ServerOptions()
        self.clock = clock
        self.sessions = SessionRegistry()
        self.gate = AcceptGate(self.options.limits)
        expires = None if self.options.password_seconds is None else clock() + self.options.password_seconds
        self.ticket = Ticket(self.options.password, expires)
        rules = AgentFilter(self.options.copy_paste, self.options.file_transfer, self.options.several_clients)
        self.agent = AgentDesk(guest, rules)
        self.devices = DeviceDesk.of(guest.devices)
        self.listeners = Listeners(self.options, self._accept)
        self.observers: list[Callable[[str, AcceptedStream, ServedSession | None], None]] = []
        """Told `connected`, `initialized` (a channel is linked) and `disconnected` for each connection."""
        self.input_gate = InputGate(guest)
        self.leaving: LeavingDesk = NobodyLeaves()
        """Who sends the clients to another server."""
        self.expected = ExpectedClients()
        self.arrivals = ArrivalDesk(self)
        self._keys = KeyPool()
        self._catalogue = Catalogue(guest)
        self.media_clock = MediaClock()
        self._pointer = PointerWatch()
        self._sound = SoundDesk(guest)
        self._recorder: ServedChannel | None = None
        self._shared = SharedImages()
        self._settings = PaintSettings(compression=ImageCompression(self.options.compression))
        self._trace = trace
        self._scheduler = Scheduler(clock, self._turn, self._failed)
        self._failure: Exception | None = None
        self._closed = asyncio.Event()
        self._has_rehearsed = False
        self._lists = ChannelLists(self._available, self._catalogue.common)

    # -- life -------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The TCP port; 0 without one."""
        return self.listeners.port or 0

    @property
    def tls_port(self) -> int:
        """The TLS port; 0 without one."""
        return self.listeners.tls_port or 0

    async def __aenter__(self) -> Self:
        await self.listeners.open()
        if self.ticket.wanted:
            self._keys.fill()
        if self.options.run_guest and not self.guest.running:
            self.guest.run(self.clock())
        self.wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, reason: str = "the server ends") -> None:
        """Let nobody in, tell the clients why, and end."""
        if self._closed.is_set():
            return
        await self.listeners.close()
        self.gate.close()
        streams = [served.stream for session in self.sessions for served in session.channels.values()]
        for session in self.sessions:
            session.end(reason)
        self._scheduler.close()
        await self._keys.close()
        self._closed.set()
        waiting = [asyncio.ensure_future(stream.wait_closed()) for stream in streams]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=CLOSING_SECONDS)
            for one in late:
                one.cancel()
            for stream in streams:
                stream.abort()

    async def wait_closed(self) -> None:
        """Wait until the server has ended; raises what the guest failed with when that was the reason."""
        await self._closed.wait()
        if self._failure is not None:
            raise self._failure

    def _failed(self, error: Exception) -> None:
        """The guest cannot go on, so the server cannot either."""
        self._failure = error
        self._closing = asyncio.get_running_loop().create_task(self.close("the guest failed"))

    def run_guest(self) -> None:
        """Let the guest run."""
        self.guest.run(self.clock())
        self.input_gate.open()
        self.wake()

    def stop_guest(self) -> None:
        """Let the guest stand still."""
        self.guest.stop(self.clock())
        for session in self.sessions:
            for feed in session.feeds.values():
                feed.hurry()
        self.wake()

    def wake(self) -> None:
        """Look after everything soon: something has happened to the guest, or to a client."""
        self._scheduler.wake()

    def rehearse(self, *, again: bool = False) -> None:
        """For arrivals: a session comes soon. What it would wait for is made now, once, or `again`: a processor forgets
        within a second what took it four times as long at first.
        """
        if not self._has_rehearsed:
            self._has_rehearsed = again = True
            prepare()
            for _, _, _, message in registered():
                message.layout()
        if again:
            rehearse(frozenset(DisplayCap), self._settings)

    # -- the turn ---------------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> float | None:
        """Bring everything up to date; returns when something is due next."""
        guest = self.guest
        self.gate.handle_timer(now)
        guest.advance(now)
        sessions = list(self.sessions)
        spread(guest.displays, (feed for session in sessions for feed in session.feeds.values()))
        pointer = self._pointer.look(guest.pointer)
        for session in sessions:
            session.check_mouse_mode()
            session.show(pointer, guest.lock_keys)
        gave = self.devices.pump(now, running=guest.running)
        mains = {
            session.number: main
            for session in sessions
            if (main := session.main) is not None and not session.arriving and not session.standing
        }
        gave |= self.agent.pump(now, mains)
        players = [machine for session in sessions for machine in session.players()] if guest.sound_out else []
        recorder = self._recorder.machine if self._recorder is not None else None
        self._sound.pump(now, players, recorder if isinstance(recorder, ServerRecord) else None)
        self._lists.turn(now, quiet=self.input_gate.closed or self.leaving.invites)
        for number in self.agent.stuck_clients(now, len(sessions)):
            self._end_number(number, "it takes nothing of what the guest's agent says")
        interval = 1 / self.options.frames_per_second
        for session in sessions:
            self._pump(session, now, interval)
        self.leaving.turn(now)
        self.arrivals.turn(now)
        if gave or self.devices.can_go_on or self.agent.can_go_on(mains):
            return now
        due = [guest.next_deadline(), self.gate.next_deadline(), self.agent.next_deadline()]
        due += [self.leaving.next_deadline(), self.arrivals.next_deadline(), self._lists.next_deadline()]
        due += [session.next_deadline() for session in self.sessions]
        return min([one for one in due if one is not None], default=None)

    def _pump(self, session: ServedSession, now: float, interval: float) -> None:
        """What goes wrong for one client, even by a fault of ours, ends that one session."""
        try:
            session.pump(now, interval)
        except Exception as error:
            logging.getLogger(__name__).exception("the session %d failed", session.number)
            session.abandon(f"the server failed: {type(error).__name__}")

    def _end_number(self, number: int, reason: str) -> None:
        for session in self.sessions:
            if session.number == number:
                session.end(reason, LinkResult.ERROR)

    # -- the door ---------------------------------------------------------------------------------------------------

    def _accept(self, secure: bool) -> AcceptedStream:
        newcomer = Newcomer(self, secure=secure, deadline=self.clock() + self.options.limits.deadline)
        self.gate.came(newcomer)
        self.wake()
        return newcomer.stream

    @property
    def sasl(self) -> SaslProvider | None:
        """For newcomers: takes the place of tickets."""
        return self.options.sasl

    def placed(self, newcomer: Newcomer) -> None:
        """For newcomers: it is known where one comes from."""
        self._tell("connected", newcomer.stream)
        self.gate.placed(newcomer)

    def counted(self, newcomer: Newcomer, size: int) -> bool:
        """For newcomers: bytes have come."""
        return self.gate.count(newcomer, size)

    def refusal(self, message: LinkMessage, origin: Origin) -> int:
        """For newcomers: whether a channel can be had on this connection (dossier A.1)."""
        if self.options.sasl is not None and not origin.secure:
            return LinkResult.NEED_SECURED
        try:
            kind = ChannelType(message.channel_type)
        except ValueError:
            return LinkResult.CHANNEL_NOT_AVAILABLE
        security = self.options.security.get(kind, Security.ANY)
        # A Unix socket needs no TLS: nobody else is on the way.
        if security is Security.TLS and not origin.secure and not origin.local:
            return LinkResult.NEED_SECURED
        if security is Security.PLAIN and origin.secure:
            return LinkResult.NEED_UNSECURED
        return LinkResult.OK

    def announced(self, kind: int) -> Capabilities:
        """For newcomers: what this side announces."""
        auth = CommonCap.AUTH_SPICE if self.options.sasl is None else CommonCap.AUTH_SASL
        return Capabilities(SERVER_COMMON | {auth}, self._catalogue.capabilities(kind))

    async def key(self) -> TicketKey:
        """For newcomers: the key to offer."""
        return await self._keys.take() if self.ticket.wanted else await self._keys.shared()

    def password_opens(self, key: TicketKey, ciphertext: bytes) -> bool:
        """For newcomers: whether a ticket is right."""
        return not self.ticket.wanted or self.ticket.opens(key.decrypt(ciphertext), self.clock())

    def admit(self, newcomer: Newcomer, message: LinkMessage) -> int:
        """For newcomers: whether there is such a channel and such a session."""
        key = (message.channel_type, message.channel_id)
        if key == MAIN:
            # Only a client that migrates here comes with a number.
            number = message.connection_id
            if number and not self._lets_in(newcomer, number):
                return LinkResult.BAD_CONNECTION_ID
            full = len(self.sessions) >= self.options.limits.sessions and self.options.several_clients
            return LinkResult.ERROR if full else LinkResult.OK
        session = self.sessions.find(message.connection_id)
        if session is None or not message.connection_id:
            return LinkResult.BAD_CONNECTION_ID
        known = session.channels.keys() | session.parked.keys()
        taken = key in known or len(known) >= self.options.limits.channels_in_session
        if taken or key not in self._available(session):
            return LinkResult.CHANNEL_NOT_AVAILABLE
        return LinkResult.OK

    def _lets_in(self, newcomer: Newcomer, connection_id: int) -> bool:
        """Whether a client may come here from another server under this id."""
        announced = self.expected.accepts(connection_id)
        taken = self.sessions.find(connection_id) is not None
        lets_in = not taken and (announced or self.options.accept_unannounced)
        if self._trace is not None and not (lets_in and announced):
            event = "server.unannounced-migration-accepted" if lets_in else "server.migration-refused"
            reason = "its number is taken" if taken else "nobody has announced it"
            self._trace.record(event, session=connection_id, host=newcomer.host, reason=reason)
        return lets_in

    def linked(self, newcomer: Newcomer, linked: ClientLinked) -> None:
        """For newcomers: a channel begins."""
        self.gate.left(newcomer)
        stream, message, now = newcomer.stream, linked.message, self.clock()
        peer = Peer(linked.capabilities, linked.mini_header, stream.origin.local)
        kind, number = message.channel_type, message.channel_id
        if (kind, number) == MAIN:
            session = self._new_session(stream, message.connection_id)
        else:
            found = self.sessions.find(message.connection_id)
            assert found is not None
            session = found
        if session.arriving:
            served = ServedChannel(ParkedChannel(kind, number, peer, now), stream, session)
            self.arrivals.linked(session, served)
        else:
            machine = self.machine(kind, number, peer, now)
            served = ServedChannel(machine, stream, session)
            session.add(served)
            if isinstance(machine, ServerMain):
                self.introduce(session, machine, now)
            self.begin(served)
        self.record("server.channel-linked", session, served)
        self._tell("initialized", stream, session)
        if linked.rest:
            served.data_received(0, linked.rest)
        self.wake()

    def machine(
        self, kind: int, channel_id: int, peer: Peer, now: float, state: ServingState | None = None
    ) -> ServerChannel:
        """A channel's machine, at the guest's clock."""
        machine = self._catalogue.machine(kind, channel_id, peer, now, state)
        machine.media_clock = self.media_clock
        return machine

    def begin(self, served: ServedChannel, *, restored: bool = False) -> None:
        """A channel that a session has now is the one for its device."""
        if served.key in self.devices.slots:
            if restored:
                self.devices.resume(served.key, served)
            else:
                self.devices.claim(served.key, served)
        elif isinstance(served.machine, ServerRecord):
            self._recorder = served
        self._lists.claimed(served.key)

    def message_received(self, session: ServedSession, message: Message) -> None:
        """For sessions: what a client says of its migration."""
        self.leaving.message_received(session, message)

    def leaving_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """For sessions: a channel that leaves is flushed, or the client has said more on it."""
        self.leaving.channel_event(session, served, event)
        self.wake()

    def arrival_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """For sessions: a client that comes from another server says how, or brings state."""
        self.arrivals.event(session, served, event)

    def gone(self, newcomer: Newcomer, reason: str) -> None:
        """For newcomers: one did not come in."""
        self.gate.left(newcomer)
        if newcomer.stream.open:
            self._tell("disconnected", newcomer.stream)
        if self._trace is not None:
            self._trace.record("server.turned-away", host=newcomer.host, reason=reason)

    # -- sessions ---------------------------------------------------------------------------------------------------

    def _new_session(self, stream: AcceptedStream, migrating: int = 0) -> ServedSession:
        if not self.options.several_clients:
            for other in self.sessions:
                other.end("another client has connected")
        number, connection_id = self.sessions.new_ids()
        session = ServedSession(number, migrating or connection_id, self, silent_seconds=self.options.silent_seconds)
        session.origin = stream.host
        if migrating:
            session.arrival = ArrivingSession()
            self.expected.arrived(migrating)
        self.sessions.add(session)
        return session

    def introduce(self, session: ServedSession, machine: ServerMain, now: float) -> None:
        guest = self.guest
        machine.introduce(
            Introduction(
                session.connection_id,
                len(guest.displays),
                guest.absolute_pointer,
                self.agent.tokens,
                guest.name,
                guest.uuid,
            ),
            now,
        )
        machine.begin_net_test(now, self.options.net_test_bytes)

    def _available(self, asking: ServedSession | None = None) -> list[ChannelKey]:
        """Channels that a client can connect now."""
        keys = [*self._catalogue.common(), *self.devices.free()]
        if self.guest.sound_in is not None and self._recorder is None:
            keys.append((ChannelType.RECORD, 0))
        taken = {key for session in self.sessions for key in session.parked}
        for session in self.sessions:
            if session is not asking:
                taken |= self.arrivals.awaited(session)
        taken -= set(self._catalogue.common())
        return [key for key in keys if key not in taken]

    def channels_asked(self, session: ServedSession) -> None:
        """For sessions: a client wants to know what it can connect."""
        listener = self._listener(session)
        if listener is not None:
            self._lists.ask(listener)
        self.wake()

    @staticmethod
    def _listener(session: ServedSession) -> Listener | None:
        main = session.main
        return None if main is None else Listener(main, session.linked_keys, lambda: not session.ended)

    def _is_free(self, key: ChannelKey) -> None:
        """A device can be had again."""
        listed = [session for session in self.sessions if session.main is not None and session.main.listed]
        self._lists.freed(key, [one for session in listed if (one := self._listener(session)) is not None])

    def display_linked(
        self, session: ServedSession, served: ServedChannel, restored: RestoredChannel | None
    ) -> ScreenFeed:
        """For sessions: a display channel begins, or goes on with what was restored."""
        number = served.machine.channel_id
        screen, capabilities = self.guest.displays[number], served.machine.peer.capabilities.channel
        if restored is not None and restored.view is not None and not restored.from_libspice:
            glz = self.arrivals.take_window(session, number)
            view = self.arrivals.take_view(session, number, restored.view)
            view = view or ClientView.restored(restored.view, capabilities, glz=glz)
        else:
            view = ClientView(capabilities, display_id=number, displays=len(self.guest.displays))
        feed = ScreenFeed(screen, served, self._settings, self._shared, view)
        if restored is not None and restored.from_libspice and restored.view is not None:
            caches = feed.machine.init
            assert caches is not None
            feed.painter.go_on(caches, restored.view.glz_next_id)
        if restored is not None:
            feed.resume(self.clock())
        return feed

    def has_departed(self, session: ServedSession) -> bool:
        """For sessions: whether a client has left with its state. Until the guest has gone it may be needed here."""
        return session.standing and self.leaving.guest_is_gone

    def channel_released(self, session: ServedSession, served: ServedChannel, reason: str) -> None:
        """For sessions: a channel is gone."""
        self.record("server.channel-gone", session, served, reason=reason)
        self.leaving.channel_gone(session, served, reason)
        if served.key in self.devices.slots and self.devices.slots[served.key].owner is served:
            self.devices.release(served.key, departed=self.has_departed(session))
            self._is_free(served.key)
        elif served is self._recorder:
            self._recorder = None
            self._is_free(served.key)
        self._tell("disconnected", served.stream, session)

    def session_over(self, session: ServedSession, reason: str) -> None:
        """For sessions: a client is gone."""
        self.sessions.remove(session)
        awaited = self.arrivals.awaited(session) | session.parked.keys()
        if self.has_departed(session):
            self.input_gate.drop(session.number)
            self.agent.client_departed(session.number)
        else:
            self.input_gate.leave(session.number)
            self.agent.client_left(session.number)
        if session.arriving:
            self.arrivals.gave_up(session)
        for key in awaited.intersection(self._available()).difference(self._catalogue.common()):
            self._is_free(key)

    def agent_event(self, session: ServedSession, event: ServerEvent) -> None:
        """For sessions: a client said something to the agent."""
        match event:
            case main_channel.AgentStarted():
                self.agent.client_started(session.number, event.tokens)
            case main_channel.AgentTokensCame():
                self.agent.hub.tokens_received(session.number, event.tokens)
            case main_channel.AgentDataCame():
                self.agent.hub.data_received(session.number, event.data)
            case _:
                pass

    def record_event(self, event: Recorded) -> None:
        """For sessions: sound from the client that has the microphone."""
        self._sound.recorded(event.mode, event.data)

    # -- what others are told ---------------------------------------------------------------------------------------

    def _tell(self, what: str, stream: AcceptedStream, session: ServedSession | None = None) -> None:
        for observer in tuple(self.observers):
            observer(what, stream, session)

    def record_step(self, event: str, session: ServedSession, channel: str, step: str, reason: str = "") -> None:
        """A step of a session or of one of its channels, for the trace."""
        if self._trace is not None:
            self._trace.record(event, session=session.number, channel=channel, step=step, reason=reason)

    def record(self, event: str, session: ServedSession, served: ServedChannel, reason: str = "") -> None:
        if self._trace is not None:
            self._trace.record(event, session=session.number, channel=served.machine.name, reason=reason)
