"""One client and all its channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from spicehop.channels.serving import cursor as cursor_channel
from spicehop.channels.serving import inputs as inputs_channel
from spicehop.channels.serving import main as main_channel
from spicehop.channels.serving.channel import CameLate, Flushed, Received, ServerChannel, ServerEvent
from spicehop.channels.serving.cursor import ServerCursor
from spicehop.channels.serving.display import DisplayBegun, ServerDisplay
from spicehop.channels.serving.inputs import EITHER_MODE, ServerInputs
from spicehop.channels.serving.main import ServerMain
from spicehop.channels.serving.parked import CameWithoutState, SeamlessAsked, StateCame
from spicehop.channels.serving.playback import ServerPlayback
from spicehop.channels.serving.record import Recorded
from spicehop.errors import ProtocolError
from spicehop.guests.interface import Guest
from spicehop.migration.arriving import ArrivingSession, RestoredChannel
from spicehop.server.input_gate import InputGate
from spicehop.server.screens import ScreenFeed
from spicehop.server.served import ChannelKey, ServedChannel
from spicehop.wire.constants import ChannelType, LinkResult, MouseMode, NotifySeverity
from spicehop.wire.layout import Message

MAIN: ChannelKey = (ChannelType.MAIN, 0)
_WITH_POINTER = (ServerInputs, ServerCursor)


class SessionHost(Protocol):
    """What a session needs of its server."""

    @property
    def guest(self) -> Guest:
        """What is shown and fed."""

    @property
    def input_gate(self) -> InputGate:
        """Input goes through it to the guest."""

    def clock(self) -> float:
        """The time."""

    def wake(self) -> None:
        """Look after everything soon."""

    def agent_event(self, session: ServedSession, event: ServerEvent) -> None:
        """The client said something to the agent."""

    def leaving_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """A channel that leaves is flushed, or the client has said more on it."""

    def record_event(self, event: Recorded) -> None:
        """The client's microphone."""

    def channels_asked(self, session: ServedSession) -> None:
        """The client wants to know what it can connect."""

    def display_linked(
        self, session: ServedSession, served: ServedChannel, restored: RestoredChannel | None
    ) -> ScreenFeed:
        """A display channel begins, or goes on with what was restored."""

    def arrival_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """A client that comes from another server says how, or brings state."""

    def has_departed(self, session: ServedSession) -> bool:
        """Whether the client is on its way to another server, which has what it leaves."""

    def channel_released(self, session: ServedSession, served: ServedChannel, reason: str) -> None:
        """A channel is gone."""

    def session_over(self, session: ServedSession, reason: str) -> None:
        """The client is gone."""

    def message_received(self, session: ServedSession, message: Message) -> None:
        """The client said something that no part here handles, such as how far its migration is."""


class ServedSession:
    """Tied together by the connection id; it lives as long as its main channel."""

    def __init__(self, number: int, connection_id: int, host: SessionHost, *, silent_seconds: float) -> None:
        self.number = number
        """Counts the sessions of a server, from 1."""
        self.connection_id = connection_id
        self.channels: dict[ChannelKey, ServedChannel] = {}
        self.feeds: dict[int, ScreenFeed] = {}
        """By the display channel's id."""
        self.origin = ""
        self.arrival: ArrivingSession | None = None
        """How far a client is that comes from another server."""
        self.parked: dict[ChannelKey, ServedChannel] = {}
        """Channels of a client that arrives, as long as they wait to go on here."""
        self.standing = False
        """Whether the client is about to leave for another server: nothing new is made for it."""
        self.initialized = False
        """Whether the client has asked for its channels."""
        self.ended = ""
        """Why the session is over; empty while it is not."""
        self._host = host
        self._silent_seconds = silent_seconds
        self._wanted_mode = int(MouseMode.SERVER)
        self._measured: main_channel.NetMeasured | None = None

    @property
    def arriving(self) -> bool:
        """Whether the client is not yet wholly here."""
        return self.arrival is not None and not self.arrival.over

    # -- channels ---------------------------------------------------------------------------------------------------

    @property
    def main(self) -> ServerMain | None:
        """The main channel's machine."""
        served = self.channels.get(MAIN)
        return served.machine if served is not None and isinstance(served.machine, ServerMain) else None

    def machines(self) -> Iterator[ServerChannel]:
        """All channels' machines."""
        for served in self.channels.values():
            yield served.machine

    def players(self) -> Iterator[ServerPlayback]:
        """The machines that play the guest's sound."""
        for machine in self.machines():
            if isinstance(machine, ServerPlayback):
                yield machine

    def add(self, served: ServedChannel, restored: RestoredChannel | None = None) -> None:
        """A channel is linked, or goes on with what was restored."""
        self.channels[served.key] = served
        machine = served.machine
        if isinstance(machine, ServerDisplay):
            self.feeds[machine.channel_id] = self._host.display_linked(self, served, restored)
            if self._measured is not None and restored is None:
                machine.delivery.assume(self._measured.round_trip, self._measured.rate)
        elif isinstance(machine, ServerInputs):
            machine.mouse_mode = self._mouse_mode
            if restored is None:
                machine.begin(self._host.guest.lock_keys)
            elif self.main is None:
                machine.mouse_mode = EITHER_MODE
        elif isinstance(machine, ServerCursor):
            machine.mouse_mode = self._mouse_mode
        elif isinstance(machine, ServerMain) and restored is not None:
            self._wanted_mode = machine.mouse_mode
            for other in self.machines():
                if isinstance(other, ServerInputs | ServerCursor):
                    other.mouse_mode = machine.mouse_mode

    @property
    def _mouse_mode(self) -> int:
        return self.main.mouse_mode if self.main is not None else MouseMode.SERVER

    def park(self, served: ServedChannel) -> None:
        """A channel of a client that arrives is linked; but for main it is not read before the client brings state."""
        self.parked[served.key] = served
        if served.key != MAIN:
            served.parked = True
            served.stream.pause_reading()

    def linked_keys(self) -> set[ChannelKey]:
        """All channels that the client has here, whether they have begun or not."""
        return set(self.channels.keys() | self.parked.keys())

    def channel_gone(self, served: ServedChannel, reason: str) -> None:
        """For a channel: its connection has ended. With the main channel the session ends."""
        if self.parked.get(served.key) is served:
            del self.parked[served.key]
        elif self.channels.get(served.key) is served:
            del self.channels[served.key]
            if isinstance(served.machine, ServerDisplay):
                self.feeds.pop(served.machine.channel_id, None)
            elif isinstance(served.machine, ServerInputs) and not self._host.has_departed(self):
                self._host.input_gate.give(self.number, served.machine.release_all())
        else:
            return
        self._host.channel_released(self, served, reason)
        if served.key == MAIN:
            self._over(reason)
        self._host.wake()

    def _over(self, reason: str) -> None:
        if self.ended:
            return
        self.ended = reason or "closed"
        for served in (*self.channels.values(), *self.parked.values()):
            served.finish(reason)
        self._host.session_over(self, reason)

    def end(self, reason: str, code: int = LinkResult.OK) -> None:
        """Send the client away and tell it why."""
        main = self.channels.get(MAIN)
        if main is None:
            self._over(reason)
            return
        now = self.clock()
        machine = main.machine
        assert isinstance(machine, ServerMain)
        machine.notify(reason, now, NotifySeverity.WARN)
        machine.disconnecting(code, now)
        main.pump(now)
        main.finish(reason)

    def abandon(self, reason: str) -> None:
        """Close everything at once."""
        for served in (*self.channels.values(), *self.parked.values()):
            served.fail(reason)
        self._over(reason)

    # -- what the client says ---------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The server's time."""
        return self._host.clock()

    def wake(self) -> None:
        """Look after everything soon."""
        self._host.wake()

    def happened(self, served: ServedChannel, events: list[ServerEvent], now: float) -> None:
        """For a channel: the client said something."""
        try:
            for event in events:
                self._handle(served, event, now)
        except ProtocolError as error:
            served.fail(f"{served.machine.name}: {error}")

    def _handle(self, served: ServedChannel, event: ServerEvent, now: float) -> None:
        match event:
            case main_channel.ChannelsAsked():
                self.initialized = True
                self._host.channels_asked(self)
            case main_channel.MouseModeAsked():
                self._wanted_mode = event.mode
                self.check_mouse_mode()
            case main_channel.AgentStarted() | main_channel.AgentDataCame() | main_channel.AgentTokensCame():
                self._host.agent_event(self, event)
            case DisplayBegun():
                self.feeds[served.machine.channel_id].begun(event.init, now)
            case Recorded():
                self._host.record_event(event)
            case Received() if isinstance(served.machine, ServerDisplay):
                self.feeds[served.machine.channel_id].message(event.message, now)
            case Received():
                self._host.message_received(self, event.message)
            case SeamlessAsked() | CameWithoutState() | StateCame():
                self._host.arrival_event(self, served, event)
            case (
                inputs_channel.KeyCame()
                | inputs_channel.PointerMoved()
                | inputs_channel.PointerPlaced()
                | inputs_channel.ButtonsChanged()
            ):
                self._host.input_gate.give(self.number, (event,))
                served.held_up = self._host.input_gate.is_full(self.number)
            case Flushed() | CameLate():
                self._host.leaving_event(self, served, event)
            case _:
                pass

    # -- what the guest does ----------------------------------------------------------------------------------------

    def check_mouse_mode(self) -> None:
        """Bring the mouse mode in line with what the client wants and the guest can."""
        main = self.main
        if main is None or self.arriving or self.standing:
            return
        main.change_mouse_mode(self._wanted_mode, absolute_pointer=self._host.guest.absolute_pointer)
        for served in self.channels.values():
            machine = served.machine
            if isinstance(machine, _WITH_POINTER):
                machine.mouse_mode = main.mouse_mode

    def show(self, pointer: cursor_channel.Pointer, locks: int) -> None:
        """The guest's pointer and lock keys, as of now."""
        if self.standing:
            return
        for served in self.channels.values():
            machine = served.machine
            if isinstance(machine, ServerCursor):
                machine.pointer = pointer
            elif isinstance(machine, ServerInputs):
                machine.locks_changed(locks)
        main = self.main
        measured = main.take_measurement() if main is not None else None
        if measured is not None:
            self._measured = measured
            for feed in self.feeds.values():
                feed.machine.delivery.assume(measured.round_trip, measured.rate)

    def pump(self, now: float, frame_interval: float) -> None:
        """Make frames and write what can be written."""
        main = self.main
        if main is not None and main.pinger.outstanding and now - main.pinger.sent_at > self._silent_seconds:
            self.channels[MAIN].fail(f"the client has not answered for {self._silent_seconds:.0f} s")
            return
        if self.standing:
            self.write(now)
            return
        for served in tuple(self.parked.values()):
            served.pump(now)
        for served in tuple(self.channels.values()):
            served.handle_timer(now)
            if served.gone:
                continue
            machine = served.machine
            if isinstance(machine, ServerInputs):
                served.held_up = self._host.input_gate.is_full(self.number)
            # Writing goes first: what is queued decides whether there is room for a frame.
            served.pump(now)
            if isinstance(machine, ServerDisplay) and not served.gone:
                self.feeds[machine.channel_id].paint(now, frame_interval)
                if machine.messages_queued:
                    served.pump(now)

    def write(self, now: float) -> None:
        """Write what can be written, and make nothing."""
        for served in (*self.channels.values(), *self.parked.values()):
            if not served.gone:
                served.pump(now)

    def next_deadline(self) -> float | None:
        """When something is due."""
        if self.standing:
            return None
        due = [served.machine.next_deadline() for served in self.channels.values() if served.writable]
        due += [feed.next_deadline() for feed in self.feeds.values()]
        main = self.main
        if main is not None and main.pinger.outstanding:
            due.append(main.pinger.sent_at + self._silent_seconds + 0.1)
        return min([time for time in due if time is not None], default=None)
