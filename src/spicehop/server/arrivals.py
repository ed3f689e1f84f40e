"""Clients that come from another server: what they have there goes on here, channel by channel."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from spicehop.channels.serving.channel import Peer, ServerChannel, ServerEvent
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.main import MainState, ServerMain
from spicehop.channels.serving.media_clock import MediaClock
from spicehop.channels.serving.parked import CameWithoutState, ParkedChannel, SeamlessAsked, StateCame
from spicehop.channels.serving.pipe import PipeState
from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.errors import ProtocolError
from spicehop.guests.interface import Guest
from spicehop.migration.arriving import ArrivingAction, Here, RestoredChannel, without_state
from spicehop.migration.handing import flags_of
from spicehop.migration.state import ChannelKey, Refusal, ServingState, SessionState, decode, part
from spicehop.painting import ClientView
from spicehop.painting.state import ViewState
from spicehop.server.agent_desk import AgentDesk
from spicehop.server.devices import DeviceDesk
from spicehop.server.expected import ExpectedClients
from spicehop.server.held_keys import HeldKeys
from spicehop.server.input_gate import NOBODY, InputGate
from spicehop.server.registry import SessionRegistry
from spicehop.server.served import ServedChannel
from spicehop.server.session import MAIN, ServedSession
from spicehop.wire import direct_link as link
from spicehop.wire import envelope
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Data
from spicehop.wire.main import MigrateDstSeamlessAck, MigrateDstSeamlessNack

SURPLUS = "the client did not have it where it comes from"
"""A channel that was refused at the source, and that the client has linked here all the same."""


class ArrivalHost(Protocol):
    """The server that clients come to."""

    guest: Guest
    sessions: SessionRegistry
    expected: ExpectedClients
    input_gate: InputGate
    devices: DeviceDesk
    agent: AgentDesk
    media_clock: MediaClock

    def clock(self) -> float:
        """The time."""

    def wake(self) -> None:
        """Look after everything soon."""

    def rehearse(self, *, again: bool = False) -> None:
        """A session comes soon: what it would wait for is made now, once, or `again` where it comes at once."""

    def machine(
        self, kind: int, channel_id: int, peer: Peer, now: float, state: ServingState | None = None
    ) -> ServerChannel:
        """A channel's machine."""

    def begin(self, served: ServedChannel, *, restored: bool = False) -> None:
        """A channel that a session has now is the one for its device."""

    def introduce(self, session: ServedSession, machine: ServerMain, now: float) -> None:
        """MAIN_INIT and what follows it."""

    def record_step(self, event: str, session: ServedSession, channel: str, step: str, reason: str = "") -> None:
        """For the trace, too."""

    def record(self, event: str, session: ServedSession, served: ServedChannel, reason: str = "") -> None:
        """For the trace."""


REHEARSED_SECONDS = 0.25
"""So long a processor knows what it has rehearsed, or nearly."""
RESUME_SECONDS = 3.0
"""How long the target waits for a source whose link was cut. The source tries for two, and may learn of it later."""


def _to_nobody(message: link.LinkMessage) -> None:
    """There is no link."""


@dataclass(slots=True)
class Handed:
    """A session's state, and what its client has said since that was saved."""

    state: SessionState
    late: list[tuple[ChannelKey, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Interruption:
    """The direct link was cut; sessions whose state had come over it wait for another one."""

    reason: str
    deadline: float
    waiting: set[ServedSession]


@contextlib.contextmanager
def _at_its_own_cost(session: ServedSession) -> Iterator[None]:
    """A fault of ours costs one session, and not the server."""
    try:
        yield
    except Exception as error:
        logging.getLogger(__name__).exception("the session %d could not arrive", session.number)
        session.abandon(f"the server failed: {type(error).__name__}")


class ArrivalDesk:
    """Does what `ArrivingSession` says."""

    def __init__(self, host: ArrivalHost, wall_clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._wall_clock = wall_clock
        self.offered: dict[int, set[ChannelKey]] = {}
        """Clients that the source announces over the direct link, by connection id, with the channels they have."""
        self._handed: dict[ServedSession, Handed] = {}
        """What waits for the guest."""
        self._orphaned: dict[int, SessionState] = {}
        """The same of clients that are gone meanwhile, by connection id: what they have left for the guest waits for it
        as long as the source does not take it back.
        """
        self._windows: dict[tuple[int, int], GlzDictionary] = {}
        """GLZ windows that have come, by connection id and display."""
        self._views: dict[tuple[int, int], tuple[ViewState, ClientView]] = {}
        """Views of clients whose state waits for the guest, made while there is time, and what of."""
        self._rehearsal_due = False
        self._rehearsed_at = float("-inf")
        self._early: list[tuple[ServedSession, ServedChannel, bytes]] = []
        """State that came before the guest."""
        self.held = HeldKeys(lambda events: host.input_gate.give(NOBODY, events))
        self._guest_is_here = False
        self._guest_is_gone = False
        self._say: Callable[[link.LinkMessage], None] = _to_nobody
        self._interruption: Interruption | None = None

    def linked(self, session: ServedSession, served: ServedChannel) -> None:
        """A channel of a client that comes is linked."""
        session.park(served)
        if served.key == MAIN:
            self.held.client_linked(session.connection_id)
        if session.arrival is not None and session.arrival.seamless:
            self._await_state(served)
            self._tell_if_linked(session)

    def event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """A client says how it comes, or brings state. `ProtocolError` when that cannot be."""
        arrival = session.arrival
        if arrival is None or not isinstance(served.machine, ParkedChannel):
            raise ProtocolError("the client comes from nowhere")
        self._host.record_step("server.client-arriving", session, served.machine.name, type(event).__name__)
        match event:
            case SeamlessAsked():
                if arrival.seamless_asked(event.source_version) is ArrivingAction.ACKNOWLEDGE:
                    self._host.rehearse()
                    served.machine.send(MigrateDstSeamlessAck())
                    self._host.agent.expect(session.number, session.connection_id)
                    for other in session.parked.values():
                        self._await_state(other)
                    self._tell_if_linked(session)
                else:
                    served.machine.send(MigrateDstSeamlessNack())
            case CameWithoutState():
                arrival.came_anew()
                self._begin_anew(session)
            case StateCame():
                self._state_came(session, served, event.body)
            case _:
                pass
        self._host.wake()

    def gave_up(self, session: ServedSession) -> None:
        """A client that was to come is gone."""
        handed = self._handed.pop(session, None)
        if handed is not None:
            self._orphaned[session.connection_id] = handed.state
        for kept in (self._windows, self._views):
            for key in [key for key in kept if key[0] == session.connection_id]:
                del kept[key]
        if session.connection_id in self.offered:
            self._say(link.SessionRefused(session.connection_id, session.ended or "the client is gone"))
        self._host.agent.gave_up(session.number, session.connection_id)
        self.held.client_lost(session.connection_id)

    def turn(self, now: float) -> None:
        """Send those away whose state does not come, and go on with what has waited for the guest."""
        self.held.turn(now)
        if self._rehearsal_due:
            self._rehearsal_due = False
            self._rehearsed_at = now
            self._host.rehearse(again=True)
        if self._interruption is not None and now >= self._interruption.deadline:
            self._wait_no_more(self._interruption)
        if self._early and not self._too_early:
            early, self._early = self._early, []
            for session, served, body in early:
                if not session.ended and not served.gone:
                    with _at_its_own_cost(session):
                        self._state_came(session, served, body)
        for session in tuple(self._host.sessions):
            with _at_its_own_cost(session):
                if session.arrival is not None and session.arrival.handle_timer(now) is not None:
                    session.abandon("its state, or the client itself, has not come in time")

    def next_deadline(self) -> float | None:
        """When the next client's state must be here."""
        due = [one.arrival.next_deadline() for one in self._host.sessions if one.arrival is not None]
        due.append(self.held.next_deadline())
        due.append(self._interruption.deadline if self._interruption is not None else None)
        return min((one for one in due if one is not None), default=None)

    @staticmethod
    def _await_state(served: ServedChannel) -> None:
        """Read the channel from now on, where it will bring state. The others say nothing before they go on."""
        if flags_of(served.key):
            served.parked = False
            served.stream.resume_reading()

    # -- with state -------------------------------------------------------------------------------------------------

    @property
    def _too_early(self) -> bool:
        """Whether the guest is still to come. A client of libspice's leaves before its guest runs elsewhere.

        Who comes when it has gone on already follows it.
        """
        return self._host.input_gate.closed and not (self._guest_is_here or self._guest_is_gone)

    def _state_came(self, session: ServedSession, served: ServedChannel, body: bytes) -> None:
        if self._too_early:
            self._early.append((session, served, body))
            served.parked = True
            served.stream.pause_reading()
            return
        arrival, now = session.arrival, self._host.clock()
        assert arrival is not None
        try:
            here = Here(session.connection_id, self._host.guest.lock_keys, len(self._host.guest.displays))
            action, ready = arrival.state_came(served.key, body, session.linked_keys(), now, here)
            for restored in ready:
                self._restore(session, restored, now)
        except ProtocolError as error:
            # Half a session is of no use, and what is not there cannot be asked for again.
            session.abandon(f"its state cannot be used: {error}")
            return
        if action is ArrivingAction.ARRIVE:
            for key, parked in tuple(session.parked.items()):
                if arrival.collector.is_surplus(key):
                    parked.fail(SURPLUS)
                else:
                    self._begin_channel(session, key, without_state(key), now)
            self._host.record("server.client-arrived", session, session.channels[MAIN], reason="seamless")

    def _restore(self, session: ServedSession, restored: RestoredChannel, now: float) -> None:
        state = restored.state
        if isinstance(state, MainState) and state.connection_id not in (0, session.connection_id):
            raise ProtocolError("it is another session's")
        if isinstance(state, MainState | DisplayState) and state.saved_at:
            self._host.media_clock.adopt(state.media_time, state.saved_at, now, self._wall_clock())
        rest = self._go_on(session, restored.key, restored, now)
        # What the client had said at the source comes before what it has said here.
        if isinstance(state, InputsState):
            self.held.client_came(session.connection_id)
            self._host.input_gate.give(session.number, state.waiting)
        if isinstance(state, MainState):
            session.initialized = True
            if restored.from_libspice and session.main is not None:
                session.main.tell_time(now)  # as libspice's own target does: it does not know the source's clock
            if restored.agent is not None:
                self._host.agent.client_arrived(session.number, session.connection_id, restored.agent)
        if rest:
            session.channels[restored.key].data_received(0, rest)

    def _begin_channel(
        self, session: ServedSession, key: ChannelKey, restored: RestoredChannel | None, now: float
    ) -> None:
        """A parked channel for which no state has come begins."""
        rest = self._go_on(session, key, restored, now)
        if rest:
            session.channels[key].data_received(0, rest)

    def _go_on(
        self, session: ServedSession, key: ChannelKey, restored: RestoredChannel | None, now: float
    ) -> bytes:
        """A parked channel is the session's from now on; what the client has said on it already is returned."""
        served = session.parked[key]
        parked = served.machine
        assert isinstance(parked, ParkedChannel)
        machine = self._host.machine(*key, parked.peer, now, None if restored is None else restored.state)
        for message in restored.first if restored is not None else ():
            machine.send(message)
        del session.parked[key]
        served.take_up(machine)
        session.add(served, restored)
        self._host.begin(served, restored=restored is not None)
        return parked.rest

    # -- host to host -----------------------------------------------------------------------------------------------

    @property
    def link_in_use(self) -> bool:
        """Whether clients come by it."""
        return bool(self._interruption or self._handed or self._following)

    @property
    def _following(self) -> set[ServedSession]:
        return {one for one in self._host.sessions if one.arrival is not None and one.arrival.follows}

    def link_opened(self, say: Callable[[link.LinkMessage], None]) -> None:
        """There is a direct link to the source; perhaps in place of one that was cut."""
        self._say = say
        if self._interruption is None:
            self.offered.clear()
            self._orphaned.clear()

    def link_lost(self, reason: str) -> None:
        """The direct link is gone, and the source may make another one."""
        self._say = _to_nobody
        deadline = self._host.clock() + RESUME_SECONDS
        interruption = Interruption(reason, deadline, self._following | self._handed.keys())
        if interruption.waiting:
            self._interruption = interruption
            self._host.wake()
        else:
            self._wait_no_more(interruption)

    def _wait_no_more(self, interruption: Interruption) -> None:
        self._interruption = None
        if self._say is _to_nobody:
            self.offered.clear()
            self._host.expected.forget_source()
        for session in interruption.waiting:
            self._handed.pop(session, None)
            if session.arrival is not None and not session.ended:
                self._follow(session, session.arrival.link_lost(), interruption.reason)

    def _resumed(self, session: ServedSession) -> None:
        """The source goes on with a session, and says its late bytes again."""
        assert session.arrival is not None
        if self._interruption is not None:
            self._interruption.waiting.discard(session)
        session.arrival.resumed()
        if session in self._handed:
            return
        if session.arrival.is_restored:
            self._say(link.SessionRestored(session.connection_id))
            if not session.arrival.follows:
                self._say(link.SessionHere(session.connection_id))
        else:
            self._say(link.SessionRefused(session.connection_id, "its state has not come before the link was cut"))

    def link_message(self, message: link.LinkMessage) -> None:
        """The source says something."""
        if isinstance(message, link.SessionOffered):
            self._offered(message)
            return
        if isinstance(message, link.SessionWithdrawn):
            self._orphaned.pop(message.connection_id, None)
        session = self._host.sessions.find(message.connection_id) if isinstance(message, link.FromSource) else None
        if session is None or session.arrival is None:
            if isinstance(message, link.SessionHanded | link.SessionResumed):
                self._say(link.SessionRefused(message.connection_id, "the client has not linked this server"))
            return
        match message:
            case link.StateAhead():
                self._window_came(session, message.envelope)
            case link.SessionHanded():
                self._handed_over(session, message)
            case link.LateBytes():
                key = message.channel, message.channel_id
                self._came_late(session, key, session.arrival.came_late(key, bytes(message.data)))
            case link.SessionResumed():
                self._resumed(session)
            case link.Flushed():
                self._flushed(session, (message.channel, message.channel_id))
            case link.SessionWithdrawn() | link.SessionGone():
                self._handed.pop(session, None)
                self._follow(session, session.arrival.withdrawn(), message.reason)
            case _:
                pass

    def _offered(self, message: link.SessionOffered) -> None:
        """A client is to come, or has other channels than the source has said before."""
        self.offered[message.connection_id] = {(kind, number) for kind, number in message.channels}
        session = self._host.sessions.find(message.connection_id)
        if session is None:
            self._host.expected.announce_one(message.connection_id)
            self._say(link.SessionExpected(message.connection_id))
        elif session.arrival is not None and session.arrival.seamless:
            self._tell_if_linked(session)

    def take_window(self, session: ServedSession, number: int) -> GlzDictionary | None:
        """The GLZ window of a client's display, where it has come."""
        return self._windows.pop((session.connection_id, number), None)

    def take_view(self, session: ServedSession, number: int, state: ViewState) -> ClientView | None:
        """A client's view of a display, where it was made of that state already."""
        made_of, view = self._views.pop((session.connection_id, number), (None, None))
        return view if made_of is state else None

    def _window_came(self, session: ServedSession, data: Data) -> None:
        """What cannot be used is not missed: the client's window begins anew."""
        try:
            found = part(envelope.decode(data, limit=link.MAX_STATE))
        except ProtocolError:
            return
        if isinstance(found, SessionState):
            self._keep_windows(session, found)

    def _keep_windows(self, session: ServedSession, state: SessionState) -> None:
        for number, data in state.windows.items():
            window = self.take_window(session, number)
            try:
                if window is None:
                    window = GlzDictionary.restored(data)
                else:
                    window.continued(data)
            except ProtocolError:
                continue
            self._windows[session.connection_id, number] = window

    def guest_comes(self) -> None:
        """The guest is on its way: time to rehearse, for here nothing waits for a processor yet."""
        self._rehearse_again()

    def guest_came(self) -> None:
        """The guest is here: sessions whose state waits for it go on."""
        self._guest_is_here, self._guest_is_gone = True, False
        self.held.guest_came(self._host.clock())
        for state in self._orphaned.values():
            self._give_what_is_left(state)
        self._orphaned.clear()
        if not self._handed:
            self._rehearse_again()
        for session, handed in tuple(self._handed.items()):
            del self._handed[session]
            with _at_its_own_cost(session):
                self._restore_all(session, handed.state)
                for key, data in handed.late:
                    self._came_late(session, key, data)
        self._host.wake()

    def _rehearse_again(self) -> None:
        """Soon, where clients will bring their state, unless that was done a moment ago."""
        comes = any(
            one.arrival is not None and one.arrival.seamless and one.connection_id not in self.offered
            for one in self._host.sessions
        )
        if comes and self._host.clock() >= self._rehearsed_at + REHEARSED_SECONDS:
            self._rehearsal_due = True
            self._host.wake()

    def _give_what_is_left(self, state: SessionState) -> None:
        for key, one in state.channels.items():
            match one:
                case InputsState():
                    self._host.input_gate.give(NOBODY, one.waiting)
                case PipeState():
                    self._host.devices.left_behind(key, one.incoming)
                case _:
                    pass

    def guest_went(self) -> None:
        """The guest is another server's again."""
        self._guest_is_here, self._guest_is_gone = False, True

    def awaited(self, session: ServedSession) -> set[ChannelKey]:
        """Channels that a client on its way here is still to link: nobody else gets its devices."""
        return self.offered.get(session.connection_id, set()) - session.linked_keys() if session.arriving else set()

    def _tell_if_linked(self, session: ServedSession) -> None:
        """The source may hand a session over whose channels are all linked."""
        wanted = self.offered.get(session.connection_id)
        if wanted is not None and wanted <= session.linked_keys():
            self._say(link.SessionLinked(session.connection_id, tuple(sorted(wanted))))

    def _handed_over(self, session: ServedSession, message: link.SessionHanded) -> None:
        try:
            state = decode(message.envelope, limit=link.MAX_STATE)
        except ProtocolError as error:
            state = Refusal(str(error))
        if isinstance(state, Refusal):
            self._say(link.SessionRefused(session.connection_id, state.reason))
            return
        self._keep_windows(session, state)
        if self._guest_is_here:
            self._restore_all(session, state)
        else:
            self._handed[session] = Handed(state)
            self._make_views(session, state)

    def _make_views(self, session: ServedSession, state: SessionState) -> None:
        """What cannot be made is refused when the guest is here."""
        for number, view in state.views.items():
            parked = session.parked.get((ChannelType.DISPLAY, number))
            if parked is not None:
                with contextlib.suppress(ProtocolError):
                    glz = self._windows.get((session.connection_id, number))
                    made = ClientView.restored(view, parked.machine.peer.capabilities.channel, glz=glz)
                    self._views[session.connection_id, number] = view, made

    def _came_late(self, session: ServedSession, key: ChannelKey, data: bytes) -> None:
        """What the client has said at the source since its state was saved."""
        handed, served = self._handed.get(session), session.channels.get(key)
        if handed is not None:
            handed.late.append((key, data))
        elif served is not None and session.arrival is not None and key in session.arrival.unflushed:
            served.data_received(0, data)

    def _restore_all(self, session: ServedSession, state: SessionState) -> None:
        arrival, now = session.arrival, self._host.clock()
        if arrival is None or session.ended:
            return
        try:
            ready = arrival.state_handed(state, session.linked_keys(), now)
        except ProtocolError as error:
            self._say(link.SessionRefused(session.connection_id, str(error)))
            return
        try:
            for restored in ready:
                self._restore(session, restored, now)
                session.channels[restored.key].hold()
        except ProtocolError as error:
            session.abandon(f"its state cannot be used: {error}")
            return
        self._host.record_step("server.client-arriving", session, "", "SessionRestored")
        self._say(link.SessionRestored(session.connection_id))
        self._host.wake()

    def _flushed(self, session: ServedSession, key: ChannelKey) -> None:
        assert session.arrival is not None
        served = session.channels.get(key)
        if served is not None:
            served.let_go()
        self._follow(session, session.arrival.flushed(key), "")

    def _follow(self, session: ServedSession, action: ArrivingAction | None, reason: str) -> None:
        if action is ArrivingAction.SEND_AWAY:
            session.abandon(reason)
        elif action is ArrivingAction.ARRIVE:
            for served in session.channels.values():
                served.let_go()
            for parked in tuple(session.parked.values()):
                parked.fail(SURPLUS)
            self.offered.pop(session.connection_id, None)
            self._say(link.SessionHere(session.connection_id))
            self._host.record("server.client-arrived", session, session.channels[MAIN], reason="seamless, host to host")
        self._host.wake()

    # -- without state ----------------------------------------------------------------------------------------------

    def _begin_anew(self, session: ServedSession) -> None:
        """Everything begins anew here (semi-seamless, dossier C1.5)."""
        now = self._host.clock()
        self._host.agent.gave_up(session.number, session.connection_id)
        self.held.client_came(session.connection_id)
        rest = self._go_on(session, MAIN, None, now)
        main = session.main
        assert main is not None
        session.initialized = main.listed = True  # it does not ask again for channels that it has
        self._host.introduce(session, main, now)
        if rest:
            session.channels[MAIN].data_received(0, rest)
        for key in tuple(session.parked):
            self._begin_channel(session, key, None, now)
        self._host.record("server.client-arrived", session, session.channels[MAIN], reason="semi-seamless")
