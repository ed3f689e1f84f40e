"""What becomes of a server's clients when its guest moves: they link the target first, and go there behind the guest.

Management names the place by `client_migrate_info`, before each migration; without it clients are left as they are.
Who moves in which way, and what each channel is given, is `migration.leaving`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from spicehop.channels.serving.channel import CameLate, Flushed, ServerChannel, ServerEvent
from spicehop.channels.serving.cursor import ServerCursor
from spicehop.channels.serving.departing import DepartureStep
from spicehop.channels.serving.display import ServerDisplay
from spicehop.channels.serving.inputs import ServerInputs
from spicehop.channels.serving.main import ServerMain
from spicehop.channels.serving.pipe import ServerPipe
from spicehop.channels.serving.playback import ServerPlayback
from spicehop.channels.serving.record import ServerRecord
from spicehop.channels.serving.smartcard import ServerSmartcard
from spicehop.errors import StateError
from spicehop.migration.handing_direct import HostToHost
from spicehop.migration.leaving import LEAVE_SECONDS, ClientOutcome, ClientTarget, LeavingSession
from spicehop.migration.leaving_table import LeavingState
from spicehop.migration.state import AgentStates, ChannelKey, ServingState
from spicehop.painting.state import ViewState
from spicehop.server.control_target import ControlEvent
from spicehop.server.served import ServedChannel
from spicehop.server.server import SpiceServer
from spicehop.server.session import ServedSession
from spicehop.wire.constants import ChannelType, LinkResult
from spicehop.wire.direct_link import (
    FromTarget,
    Keys,
    LinkMessage,
    SessionExpected,
    SessionHere,
    SessionLinked,
    SessionOffered,
    SessionRefused,
    SessionRestored,
)
from spicehop.wire.layout import Message

FIRST_CHANNELS: tuple[ChannelKey, ...] = ((ChannelType.DISPLAY, 0), (ChannelType.INPUTS, 0))
"""A client that connects while a migration runs is told of the target once it has these, or after a while."""
SETTLING_SECONDS = 1.0
OFFER_SECONDS = 2.0
"""How long a target may take to say that it expects a client."""


class LeavingServed:
    """A `ServedSession` as `LeavingSession` sees it."""

    def __init__(self, server: SpiceServer, session: ServedSession, wall_clock: Callable[[], float]) -> None:
        self._server = server
        self._session = session
        self._wall_clock = wall_clock
        self._views: dict[int, tuple[int, ViewState]] = {}
        """By display, its view while the session stands still, and what the feed had heard of the client then."""

    @property
    def connection_id(self) -> int:
        """Part of `LeavingClient`."""
        return self._session.connection_id

    def machines(self) -> Mapping[ChannelKey, ServerChannel]:
        """Part of `LeavingClient`."""
        return {key: served.machine for key, served in self._session.channels.items()}

    def channel_state(self, key: ChannelKey) -> ServingState:
        """Part of `LeavingClient`."""
        machine = self._session.channels[key].machine
        match machine:
            case ServerMain() | ServerDisplay():
                now = self._server.clock()
                media_time = self._server.media_clock.time(now)
                return replace(machine.state(), media_time=media_time, saved_at=self._wall_clock())
            case ServerInputs():
                waiting = self._server.input_gate.held_by(self._session.number)
                return replace(machine.state(), waiting=waiting)
            case ServerSmartcard():
                return machine.smartcard_state()
            case ServerCursor() | ServerPlayback() | ServerRecord() | ServerPipe():
                return machine.state()
            case _:
                raise StateError(f"{machine.name} has no state")

    def view_state(self, number: int) -> ViewState | None:
        """Part of `LeavingClient`."""
        feed = self._session.feeds.get(number)
        if feed is None or not feed.painter.view.has_begun:
            return None
        heard, state = self._views.get(number, (-1, None))
        if not self._session.standing or heard != feed.heard or state is None:
            state = feed.painter.view.state()
            self._views[number] = feed.heard, state
        return state

    def window(self, number: int, since: int) -> tuple[bytes, int]:
        """Part of `LeavingClient`."""
        feed = self._session.feeds.get(number)
        glz = feed.painter.view.glz if feed is not None else None
        return (b"", since) if glz is None else (glz.save(since), glz.next_id)

    def agent_states(self) -> AgentStates:
        """Part of `LeavingClient`."""
        return self._server.agent.states(self._session.number, self._names())

    def _names(self) -> dict[int, int]:
        return {session.number: session.connection_id for session in self._server.sessions}

    def stand_still(self) -> None:
        """Part of `LeavingClient`."""
        main = self._session.main
        if main is not None:
            self._server.agent.hand_out(self._session.number, main)
        self._session.standing = True
        self._views.clear()

    def go_on(self) -> None:
        """Part of `LeavingClient`."""
        self._session.standing = False

    def read_again(self, key: ChannelKey, data: bytes) -> None:
        """Part of `LeavingClient`."""
        served = self._session.channels.get(key)
        if served is not None:
            served.read_again(data)

    def send_away(self, reason: str) -> None:
        """Part of `LeavingClient`."""
        self._session.end(reason, LinkResult.OK)


class ClientHandover:
    """Sends the clients after the guest, and tells SPICE_MIGRATE_COMPLETED when none is left. A `LeavingDesk`."""

    def __init__(
        self,
        server: SpiceServer,
        tell: Callable[[ControlEvent], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.target: ClientTarget | None = None
        """Where clients are sent; forgotten at the end of each migration, as QEMU does."""
        self.last_target: ClientTarget | None = None
        """Where they were sent last."""
        self.completed = False
        """Whether clients have ever been handed over: query-spice's `migrated`."""
        self._server = server
        self._tell = tell
        self._wall_clock = wall_clock
        self._leaving: dict[ServedSession, LeavingSession] = {}
        self._outcomes: list[ClientOutcome] = []
        self._offered: dict[ServedSession, float] = {}
        """Clients that the target has been told of and has not said that it expects; until when that is awaited."""
        self._channels: dict[ServedSession, Keys] = {}
        """What the target was told that clients have linked here."""
        self._say: Callable[[LinkMessage], None] | None = None
        self._interrupted = False
        """Whether the direct link was cut, and may be there again soon."""
        self._unconfirmed: dict[int, tuple[HostToHost, float]] = {}
        """By connection id, clients that have gone, and until when the target may say that nothing of them is missing
        there.
        """
        self._confirmed: set[int] = set()
        """Clients of which the target has said that it has all, or nothing."""
        self._stragglers: dict[ServedSession, tuple[ClientTarget, float]] = {}
        """Clients that are still on their way here, and until when they may be."""
        self._moved = False
        """Whether the guest is gone, and clients are on their way."""
        self._noted: dict[ServedSession, LeavingState] = {}
        self._steps: dict[ServedChannel, DepartureStep] = {}
        self._seen: dict[ServedSession, float] = {}
        server.leaving = self

    @property
    def invites(self) -> bool:
        """Part of `LeavingDesk`."""
        return self.target is not None

    @property
    def guest_is_gone(self) -> bool:
        """Part of `LeavingDesk`."""
        return self._moved

    # -- what the guest does ----------------------------------------------------------------------------------------

    def begin(self, target: ClientTarget) -> None:
        """Have the clients link the target."""
        self._call_back()
        self.target = self.last_target = target
        self._outcomes.clear()
        for session in self._server.sessions:
            # One that has not answered yet would take its answer for the new target's: it is told later.
            busy = session in self._leaving and self._leaving[session].state is LeavingState.CALLED_BACK
            if session.initialized and session.main is not None and not session.arriving and not busy:
                self._offer(session, target)
        self._server.wake()

    def guest_moved(self) -> None:
        """The guest lives on at the target."""
        target, self.target = self.target, None
        if target is None:
            return
        now = self._server.clock()
        self._moved = True
        for session in self._server.sessions:
            if session.arriving:
                self._stragglers[session] = target, now + LEAVE_SECONDS
            if session.main is None or session.arriving:
                continue
            if session not in self._leaving or self._leaving[session].over:
                self._leaving[session] = LeavingSession(self._served(session), target, seamless=False, ahead=False)
            self._leaving[session].guest_moved(now)
        self._server.wake()

    def switch_over(self) -> None:
        """The guest stands still and its state is saved: sessions that go host to host go now."""
        now = self._server.clock()
        for leaving in self._leaving.values():
            leaving.switched_over(now)

    def guest_stays(self) -> None:
        """The migration has failed; clients forget the target."""
        self._call_back()

    def _call_back(self) -> None:
        self.target = None
        self._offered.clear()
        now = self._server.clock()
        for leaving in self._leaving.values():
            leaving.guest_stays(now)
        self._server.wake()

    # -- `LeavingDesk` ----------------------------------------------------------------------------------------------

    def message_received(self, session: ServedSession, message: Message) -> None:
        """Part of `LeavingDesk`."""
        leaving = self._leaving.get(session)
        if leaving is not None:
            leaving.message_received(message, self._server.clock())

    def channel_gone(self, session: ServedSession, served: ServedChannel, reason: str) -> None:
        """Part of `LeavingDesk`."""
        leaving = self._leaving.get(session)
        if leaving is not None:
            leaving.channel_gone(served.key, served.machine, reason, self._server.clock())

    def channel_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """Part of `LeavingDesk`."""
        leaving = self._leaving.get(session)
        if leaving is None:
            return
        match event:
            case CameLate():
                leaving.came_late(served.key, event.data, self._server.clock())
            case Flushed():
                leaving.flushed(served.key)
            case _:
                pass

    # -- host to host -----------------------------------------------------------------------------------------------

    @property
    def link_in_use(self) -> bool:
        """Whether sessions go, or have gone, over the direct link that may need it yet."""
        return bool(self._unconfirmed) or any(leaving.direct is not None for leaving in self._leaving.values())

    def link_opened(self, say: Callable[[LinkMessage], None]) -> None:
        """There is a direct link to the target; after an interruption sessions go on with it."""
        self._say = say
        if self._interrupted:
            self._interrupted = False
            for direct in (*(leaving.direct for leaving in self._leaving.values()), *self._unconfirmed_ones()):
                if direct is not None:
                    direct.resume(say)

    def link_interrupted(self) -> bool:
        """The direct link is gone; whether sessions need another one, which then must come, or `link_lost`."""
        self._say = None
        self._channels.clear()
        now = self._server.clock()
        self._offered = dict.fromkeys(self._offered, now)
        for leaving in self._leaving.values():
            leaving.link_interrupted()
        self._interrupted = self.link_in_use
        self._server.wake()
        return self._interrupted

    def link_lost(self, reason: str, *, target_lives: bool = False) -> None:
        """The direct link is gone for good; `target_lives` when the target can be reached all the same."""
        self.link_interrupted()
        self._interrupted = False
        self._unconfirmed.clear()
        for leaving in self._leaving.values():
            leaving.link_lost(f"the direct link is gone: {reason}", self._server.clock(), target_lives=target_lives)

    def _unconfirmed_ones(self) -> list[HostToHost]:
        return [direct for direct, _ in self._unconfirmed.values()]

    def link_message(self, message: LinkMessage) -> None:
        """The target says something."""
        if not isinstance(message, FromTarget):
            return
        if isinstance(message, SessionHere | SessionRefused):
            self._unconfirmed.pop(message.connection_id, None)
            self._server.wake()
            if any(session.connection_id == message.connection_id for session in self._leaving):
                self._confirmed.add(message.connection_id)  # its client may have closed all of its connections already
        session = self._server.sessions.find(message.connection_id)
        if session is None:
            return
        now, leaving = self._server.clock(), self._leaving.get(session)
        match message:
            case SessionExpected():
                if self._offered.pop(session, None) is not None and self.target is not None:
                    self._tell_of_target(session, self.target, offered=True)
            case SessionLinked() if leaving is not None and self._say is not None:
                leaving.linked_directly(self._say, message.channels, now)
            case SessionRestored() if leaving is not None:
                self._confirmed.discard(message.connection_id)
                leaving.restored(now)
            case SessionRefused() if leaving is not None:
                leaving.refused(message.reason, now)
            case _:
                pass
        self._server.wake()

    def _offer(self, session: ServedSession, target: ClientTarget) -> None:
        """Over a direct link the target hears of a client before the client hears of the target."""
        if self._say is None or not self._server.options.seamless_migration:
            self._tell_of_target(session, target)
            return
        self._offered[session] = self._server.clock() + OFFER_SECONDS
        self._say_channels(session)

    def _say_channels(self, session: ServedSession) -> None:
        if self._say is not None:
            self._channels[session] = tuple(sorted(session.channels))
            self._say(SessionOffered(session.connection_id, self._channels[session]))

    def _offer_again(self) -> None:
        """A client that still links its channels here has others now than the target was told."""
        for session in tuple(self._channels):
            leaving = self._leaving.get(session)
            if session.ended or (leaving is None and session not in self._offered):
                del self._channels[session]
            elif leaving is None or not leaving.may_be_offered:
                continue
            elif self._channels[session] != tuple(sorted(session.channels)):
                self._say_channels(session)

    # -- `LeavingDesk`, its turn ------------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Part of `LeavingDesk`."""
        for session, deadline in tuple(self._offered.items()):
            if session.ended:
                del self._offered[session]
            elif now >= deadline and self.target is not None:
                del self._offered[session]
                self._tell_of_target(session, self.target)
        if self.target is not None:
            self._tell_newcomers(self.target, now)
        self._offer_again()
        for session, leaving in tuple(self._leaving.items()):
            try:
                before = leaving.state
                leaving.handle_timer(now)
                if leaving.state is not before:
                    self._server.wake()
                while leaving.progress(now) and not session.ended:
                    session.write(now)
            except Exception as error:
                # A fault of ours costs one session, and not the server.
                logging.getLogger(__name__).exception("the session %d could not leave", session.number)
                session.abandon(f"the server failed: {type(error).__name__}")
            self._note(session, leaving)
            if leaving.over and leaving.outcome is not None:
                self._outcomes.append(leaving.outcome)
                del self._leaving[session]
                if leaving.outcome.outcome == "moved" and leaving.direct is not None:
                    self._await_that_all_is_there(session.connection_id, leaving.direct, leaving.last_deadline)
                self._noted.pop(session, None)
                self._steps = {served: step for served, step in self._steps.items() if not served.gone}
        self._send_stragglers(now)
        self._unconfirmed = {key: one for key, one in self._unconfirmed.items() if now < one[1]}
        if self._moved and not self._leaving and not self._stragglers and not self._unconfirmed:
            self._moved = False
            self._confirmed.clear()
            self._complete()

    def next_deadline(self) -> float | None:
        """Part of `LeavingDesk`."""
        due = [leaving.next_deadline() for leaving in self._leaving.values()]
        due += self._offered.values()
        due += [deadline for _, deadline in self._stragglers.values()]
        due += [deadline for _, deadline in self._unconfirmed.values()]
        if self.target is not None:
            due += [seen + SETTLING_SECONDS for session, seen in self._seen.items() if session not in self._leaving]
        return min((one for one in due if one is not None), default=None)

    def _note(self, session: ServedSession, leaving: LeavingSession) -> None:
        """One record in the trace for each step of a client, and of its channels."""
        if leaving.state is not self._noted.get(session):
            self._noted[session] = leaving.state
            self._server.record_step("server.client-leaving", session, "", leaving.state.value, leaving.reason)
        for served in session.channels.values():
            step = served.machine.departure
            if step is not self._steps.get(served, DepartureStep.STAYING):
                self._steps[served] = step
                self._server.record_step("server.channel-leaving", session, served.machine.name, step.value)

    # -- inner things -----------------------------------------------------------------------------------------------

    def _await_that_all_is_there(self, connection_id: int, direct: HostToHost, deadline: float) -> None:
        """What the client has said last may still be on the link: until it is through, this server is needed."""
        if connection_id not in self._confirmed and (self._say is not None or self._interrupted):
            self._unconfirmed[connection_id] = direct, deadline

    def _send_stragglers(self, now: float) -> None:
        """Clients that were not wholly here when the guest left are sent after it as soon as they are."""
        for session, (target, deadline) in tuple(self._stragglers.items()):
            if not session.arriving and session.main is not None and not session.ended:
                leaving = LeavingSession(self._served(session), target, seamless=False, ahead=False)
                leaving.guest_moved(now)
                self._leaving[session] = leaving
                self._server.wake()
            elif not session.ended and now < deadline:
                continue
            elif not session.ended:
                session.abandon("the guest has moved on before the client was here")
            del self._stragglers[session]

    def _tell_newcomers(self, target: ClientTarget, now: float) -> None:
        """A client that connects while the migration runs moves as the others do."""
        here = [one for one in self._server.sessions if one.initialized and one.main is not None and not one.arriving]
        self._seen = {session: self._seen.get(session, now) for session in here}
        for session, seen in self._seen.items():
            has_first = all(key in session.channels for key in FIRST_CHANNELS)
            known = session in self._leaving or session in self._offered
            if not known and (has_first or now >= seen + SETTLING_SECONDS):
                self._offer(session, target)

    def _tell_of_target(self, session: ServedSession, target: ClientTarget, *, offered: bool = False) -> None:
        seamless = self._server.options.seamless_migration
        client = self._served(session)
        self._leaving[session] = LeavingSession(client, target, seamless=seamless, offered=offered)

    def _served(self, session: ServedSession) -> LeavingServed:
        return LeavingServed(self._server, session, self._wall_clock)

    def _complete(self) -> None:
        self.completed = True
        outcomes, self._outcomes = self._outcomes, []
        self._tell(ControlEvent("SPICE_MIGRATE_COMPLETED", {"clients": [one.as_json() for one in outcomes]}))
