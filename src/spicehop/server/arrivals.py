"""Clients that come from another server: what they have there goes on here, channel by channel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from spicehop.channels.serving.channel import Peer, ServerChannel, ServerEvent
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.main import MainState, ServerMain
from spicehop.channels.serving.media_clock import MediaClock
from spicehop.channels.serving.parked import CameWithoutState, ParkedChannel, SeamlessAsked, StateCame
from spicehop.errors import ProtocolError
from spicehop.migration.arriving import ArrivingAction, RestoredChannel
from spicehop.migration.handing import flags_of
from spicehop.migration.state import ServingState
from spicehop.server.agent_desk import AgentDesk
from spicehop.server.input_gate import InputGate
from spicehop.server.registry import SessionRegistry
from spicehop.server.served import ServedChannel
from spicehop.server.session import MAIN, ServedSession
from spicehop.wire.main import MigrateDstSeamlessAck, MigrateDstSeamlessNack


class ArrivalHost(Protocol):
    """The server that clients come to."""

    sessions: SessionRegistry
    input_gate: InputGate
    agent: AgentDesk
    media_clock: MediaClock

    def clock(self) -> float:
        """The time."""

    def wake(self) -> None:
        """Look after everything soon."""

    def machine(
        self, kind: int, channel_id: int, peer: Peer, now: float, state: ServingState | None = None
    ) -> ServerChannel:
        """A channel's machine."""

    def begin(self, served: ServedChannel, *, restored: bool = False) -> None:
        """A channel that a session has now is the one for its device."""

    def introduce(self, session: ServedSession, machine: ServerMain, now: float) -> None:
        """MAIN_INIT and what follows it."""

    def record(self, event: str, session: ServedSession, served: ServedChannel, reason: str = "") -> None:
        """For the trace."""


class ArrivalDesk:
    """Does what `ArrivingSession` says."""

    def __init__(self, host: ArrivalHost, wall_clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._wall_clock = wall_clock

    def linked(self, session: ServedSession, served: ServedChannel) -> None:
        """A channel of a client that comes is linked."""
        session.park(served)
        if session.arrival is not None and session.arrival.seamless:
            self._await_state(served)

    def event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """A client says how it comes, or brings state. `ProtocolError` when that cannot be."""
        arrival = session.arrival
        if arrival is None or not isinstance(served.machine, ParkedChannel):
            raise ProtocolError("the client comes from nowhere")
        match event:
            case SeamlessAsked():
                if arrival.seamless_asked(event.source_version) is ArrivingAction.ACKNOWLEDGE:
                    served.machine.send(MigrateDstSeamlessAck())
                    self._host.agent.expect(session.number, session.connection_id)
                    for other in session.parked.values():
                        self._await_state(other)
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
        self._host.agent.gave_up(session.number, session.connection_id)

    def turn(self, now: float) -> None:
        """Send those away whose state does not come."""
        for session in self._host.sessions:
            if session.arrival is not None and session.arrival.handle_timer(now) is not None:
                missing = session.arrival.collector.missing(session.linked_keys())
                session.abandon(f"the state of {len(missing)} channels has not come")

    def next_deadline(self) -> float | None:
        """When the next client's state must be here."""
        due = [one.arrival.next_deadline() for one in self._host.sessions if one.arrival is not None]
        return min((one for one in due if one is not None), default=None)

    @staticmethod
    def _await_state(served: ServedChannel) -> None:
        """Read the channel from now on, where it will bring state. The others say nothing before they go on."""
        if flags_of(served.key):
            served.parked = False
            served.stream.resume_reading()

    # -- with state -------------------------------------------------------------------------------------------------

    def _state_came(self, session: ServedSession, served: ServedChannel, body: bytes) -> None:
        arrival, now = session.arrival, self._host.clock()
        assert arrival is not None
        try:
            action, ready = arrival.state_came(served.key, body, session.linked_keys(), now)
            for restored in ready:
                self._restore(session, restored, now)
        except ProtocolError as error:
            # Half a session is of no use, and what is not there cannot be asked for again.
            session.abandon(f"its state cannot be used: {error}")
            return
        if action is ArrivingAction.ARRIVE:
            for key in tuple(session.parked):
                self._go_on(session, key, None, now)
            self._host.record("server.client-arrived", session, session.channels[MAIN], reason="seamless")

    def _restore(self, session: ServedSession, restored: RestoredChannel, now: float) -> None:
        state = restored.state
        if isinstance(state, MainState) and state.connection_id not in (0, session.connection_id):
            raise ProtocolError("it is another session's")
        if isinstance(state, MainState | DisplayState) and state.saved_at:
            self._host.media_clock.adopt(state.media_time, state.saved_at, now, self._wall_clock())
        self._go_on(session, restored.key, restored, now)
        if isinstance(state, InputsState):
            self._host.input_gate.give(session.number, state.waiting)
        if isinstance(state, MainState):
            session.initialized = True
            if restored.agent is not None:
                self._host.agent.client_arrived(session.number, session.connection_id, restored.agent)

    def _go_on(
        self, session: ServedSession, key: tuple[int, int], restored: RestoredChannel | None, now: float
    ) -> None:
        """A parked channel is the session's from now on."""
        served = session.parked[key]
        parked = served.machine
        assert isinstance(parked, ParkedChannel)
        machine = self._host.machine(*key, parked.peer, now, None if restored is None else restored.state)
        del session.parked[key]
        served.take_up(machine)
        session.add(served, restored)
        self._host.begin(served, restored=restored is not None)
        if parked.rest:
            served.data_received(0, parked.rest)

    # -- without state ----------------------------------------------------------------------------------------------

    def _begin_anew(self, session: ServedSession) -> None:
        """Everything begins anew here (semi-seamless, dossier C1.5)."""
        now = self._host.clock()
        self._host.agent.gave_up(session.number, session.connection_id)
        self._go_on(session, MAIN, None, now)
        main = session.main
        assert main is not None
        session.initialized = main.listed = True  # it does not ask again for channels that it has
        self._host.introduce(session, main, now)
        for key in tuple(session.parked):
            self._go_on(session, key, None, now)
        self._host.record("server.client-arrived", session, session.channels[MAIN], reason="semi-seamless")
