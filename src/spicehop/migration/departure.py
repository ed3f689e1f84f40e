"""The source's side of a guest's migration, without I/O.

Feed it events, carry out the commands in order, call `handle_timer` when `next_deadline` has come. An event that a
command asks for is fed at once, while nothing else is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError, StateError
from spicehop.migration.guest_moves import (
    ALIVE_INTERVAL,
    CONFIRM_LIMIT,
    GREETING_LIMIT,
    LOAD_LIMIT,
    STALL_LIMIT,
    BytesReceived,
    CancelRequested,
    Connected,
    ConnectionEnded,
    ContinueRequested,
    Disconnect,
    GuestStood,
    LetGo,
    LetRunAgain,
    MoveCommand,
    MoveEvent,
    MoveSettings,
    SendBytes,
    StateTaken,
    StatusChanged,
    StopGuest,
    TakeState,
    WritingPaused,
    WritingResumed,
)
from spicehop.migration.guest_pages import MAX_STATE, PageLedger, end_of
from spicehop.migration.guest_tables import (
    DEPARTED,
    DEPARTURE,
    DepartureAction,
    DepartureInput,
    DepartureState,
)
from spicehop.wire import guest_stream as stream

BURST_SECONDS = 0.05
"""What was not sent in this time may go at once."""
PASS_INTERVAL = 0.02
"""Seconds at least from one look at the running guest to the next."""
PAGES_AT_ONCE = 64


@dataclass(slots=True)
class DepartureFigures:
    """What query-migrate tells. Times are on the caller's clock, sizes in bytes."""

    began: float
    connected: float | None = None
    stopped: float | None = None
    finished: float | None = None
    passes: int = 0
    pages: int = 0
    transferred: int = 0
    remaining: int = 0
    total: int = 0


class Departure:
    """One guest's way out, or its failure to get there."""

    def __init__(self, guest: str, settings: MoveSettings, now: float) -> None:
        self.settings = settings
        """May be changed at any time; `pause_before_switchover` counts when the guest stops."""
        self.error = ""
        """Why it failed."""
        self.figures = DepartureFigures(began=now)
        self._guest = guest
        self._machine = Machine("the guest's departure", DEPARTURE, DepartureState.CONNECTING)
        self._now = now
        self._limit: float | None = now + GREETING_LIMIT
        self._free_at = now
        self._spoke_at = now
        self._blocked_since: float | None = None
        self._reader = stream.FrameReader()
        self._ledger = PageLedger()
        self._draft = b""
        self._queue: deque[int] = deque()
        self._state = b""
        self._ran = False
        self._commands: list[MoveCommand] = []
        self._tell("setup")

    @property
    def state(self) -> DepartureState:
        """Where it stands."""
        return self._machine.state

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in DEPARTED

    def feed(self, event: MoveEvent, now: float) -> tuple[MoveCommand, ...]:
        """What is to be done about it. After the end nothing is."""
        self._now = max(now, self._now)
        if not self.over:
            try:
                self._take(event)
            except ProtocolError as error:
                self._fail(DepartureInput.FAULT, str(error))
        return self._drained()

    def next_deadline(self) -> float | None:
        """When `handle_timer` is to be called, if nothing happens before."""
        return min(self._deadlines(), default=None)

    def handle_timer(self, now: float) -> tuple[MoveCommand, ...]:
        """What is to be done because time has passed; calling it early does no harm."""
        self._now = max(now, self._now)
        if self._limit is not None and self._limit <= self._now:
            self._fail(DepartureInput.TIME_UP, "the target did not answer in time")
        elif self._blocked_since is not None and self._blocked_since + STALL_LIMIT <= self._now and not self.over:
            self._fail(DepartureInput.FAULT, "the target takes nothing any more")
        elif self.state is DepartureState.SENDING:
            self._send_ahead()
        if self.state in (DepartureState.SENDING, DepartureState.PAUSED) and self._silent_until() <= self._now:
            self._send(stream.Alive())
        return self._drained()

    # -- events -----------------------------------------------------------------------------------------------------

    def _take(self, event: MoveEvent) -> None:
        match event:
            case Connected():
                self.figures.connected = self._now
                self._step(DepartureInput.CONNECTED)
            case BytesReceived(data):
                frames = self._reader.feed(data)
                # A target that has given up counts, also when this side reads late what it said before.
                frames = [frame for frame in frames if isinstance(frame, stream.Failed)] or frames
                for frame in frames:
                    if not self.over:
                        self._frame_received(frame)
            case ConnectionEnded(reason, closed):
                self._fail(DepartureInput.REFUSED if closed else DepartureInput.FAULT, reason)
            case WritingPaused():
                self._blocked_since = self._now
            case WritingResumed():
                self._blocked_since = None
            case StateTaken(state):
                self._draft_taken(state)
            case GuestStood(state, ran):
                self._state, self._ran = state, ran
                self.figures.stopped = self._now
                if len(state) > MAX_STATE:
                    self._fail(DepartureInput.FAULT, f"the guest's state has more than {MAX_STATE} bytes")
                elif self.settings.pause_before_switchover:
                    self._step(DepartureInput.STOOD_TO_WAIT)
                else:
                    self._step(DepartureInput.STOOD)
            case ContinueRequested(state):
                if 0 < len(state) <= MAX_STATE:
                    self._state = state
                self._step(DepartureInput.CONTINUED)
            case CancelRequested():
                self._step(DepartureInput.CANCELLED)
            case _:
                raise StateError(f"{type(event).__name__} does not happen to a guest that leaves")

    def _frame_received(self, frame: stream.Frame) -> None:
        match frame:
            case stream.Welcome(version):
                if not stream.OLDEST <= version <= stream.NEWEST:
                    raise ProtocolError(f"the target wants version {version} of the stream, which was not offered")
                self._step(DepartureInput.WELCOMED, from_peer=True)
            case stream.Loaded():
                self._step(DepartureInput.LOADED, from_peer=True)
            case stream.Running():
                self._step(DepartureInput.RUNNING, from_peer=True)
            case stream.Failed():
                self._fail(DepartureInput.REFUSED, f"the target says: {stream.reason_of(frame)}")
            case _:
                raise ProtocolError(f"the target has sent {type(frame).__name__}, which only a source may")

    def _fail(self, happened: DepartureInput, reason: str) -> None:
        self.error = self.error or reason
        self._step(happened)

    # -- the table ----------------------------------------------------------------------------------------------------

    def _step(self, happened: DepartureInput, *, from_peer: bool = False) -> None:
        action = self._machine.step(happened, from_peer=from_peer)
        if action is not DepartureAction.NOTE:
            _ACTIONS[action](self)

    def _greet(self) -> None:
        self._limit = self._now + GREETING_LIMIT
        self._commands.append(SendBytes(stream.PREAMBLE))
        self._send(stream.Hello(stream.OLDEST, stream.NEWEST, self._guest.encode()[:255]))

    def _begin_sending(self) -> None:
        self._limit = None
        self._tell("active")
        self._commands.append(TakeState())

    def _stop(self) -> None:
        self._commands.append(StopGuest())

    def _pause(self) -> None:
        self._tell("pre-switchover")

    def _send_rest(self) -> None:
        if self.settings.pause_before_switchover:
            self._tell("device")
        self._limit = self._now + LOAD_LIMIT
        self.figures.passes += 1
        for page in self._ledger.rest(self._state):
            self._send(page)
            self.figures.pages += 1
        self.figures.remaining = 0
        self._send(end_of(self._state, runs=self._ran))

    def _let_run(self) -> None:
        self._limit = self._now + CONFIRM_LIMIT
        self._send(stream.Run())

    def _let_go(self) -> None:
        self._send(stream.Done())
        self._commands.append(LetGo())
        self._end("completed")

    def _give_up(self) -> None:
        self._end("failed")

    def _go_back(self) -> None:
        self._end("failed")
        self._commands.append(LetRunAgain(self._ran))

    def _cancel(self) -> None:
        self._tell("cancelling")
        self._end("cancelled")

    def _cancel_and_go_back(self) -> None:
        self._tell("cancelling")
        self._commands.append(LetRunAgain(self._ran))
        self._end("cancelled")

    def _outwait(self) -> None:
        self._blocked_since = None
        self._commands.append(Disconnect())

    def _end(self, status: str) -> None:
        self.figures.finished = self._now
        self._limit = self._blocked_since = None
        self._state = self._draft = b""
        self._queue.clear()
        self._tell(status)
        self._commands.append(Disconnect())

    # -- sending ahead ------------------------------------------------------------------------------------------------

    def _draft_taken(self, state: bytes) -> None:
        """Another look at the running guest: send what has changed, or stop when that is little."""
        changed = self._ledger.changed(state)
        size = min(len(changed) * stream.PAGE_BYTES, len(state))
        self.figures.total, self.figures.remaining = len(state), size
        rate = self.settings.max_bandwidth
        if self.figures.passes and (not rate or size * 1000 <= rate * self.settings.downtime_limit):
            self._draft = b""
            self._step(DepartureInput.CONVERGED)
            return
        self.figures.passes += 1
        self._draft, self._queue = state, deque(changed)
        self._send_ahead()

    def _send_ahead(self) -> None:
        rate = self.settings.max_bandwidth
        self._free_at = max(self._free_at, self._now - BURST_SECONDS)
        for _ in range(PAGES_AT_ONCE):
            if self._blocked_since is not None or self._free_at > self._now or not self._queue:
                break
            page = self._ledger.page(self._draft, self._queue.popleft())
            self._send(page)
            self.figures.pages += 1
            self.figures.remaining -= len(page.data)
            self._free_at += len(page.data) / rate if rate else 0.0
        if not self._queue and self._blocked_since is None and self._free_at <= self._now:
            self._free_at = self._now + PASS_INTERVAL
            self._commands.append(TakeState())

    # -- inner things -------------------------------------------------------------------------------------------------

    def _deadlines(self) -> list[float]:
        times = [] if self._limit is None else [self._limit]
        if self._blocked_since is not None and not self.over:
            times.append(self._blocked_since + STALL_LIMIT)
        if self.state is DepartureState.SENDING and self._blocked_since is None:
            times.append(self._free_at)
        if self.state in (DepartureState.SENDING, DepartureState.PAUSED):
            times.append(self._silent_until())
        return times

    def _silent_until(self) -> float:
        return self._spoke_at + ALIVE_INTERVAL

    def _send(self, frame: stream.Frame) -> None:
        data = stream.encode_frame(frame)
        self._spoke_at = self._now
        self.figures.transferred += len(data)
        self._commands.append(SendBytes(data))

    def _tell(self, status: str) -> None:
        self._commands.append(StatusChanged(status))

    def _drained(self) -> tuple[MoveCommand, ...]:
        commands, self._commands = tuple(self._commands), []
        return commands


_ACTIONS = {
    DepartureAction.GREET: Departure._greet,
    DepartureAction.SEND_AHEAD: Departure._begin_sending,
    DepartureAction.STOP: Departure._stop,
    DepartureAction.PAUSE: Departure._pause,
    DepartureAction.SEND_REST: Departure._send_rest,
    DepartureAction.LET_RUN: Departure._let_run,
    DepartureAction.LET_GO: Departure._let_go,
    DepartureAction.GIVE_UP: Departure._give_up,
    DepartureAction.GO_BACK: Departure._go_back,
    DepartureAction.CANCEL: Departure._cancel,
    DepartureAction.CANCEL_AND_GO_BACK: Departure._cancel_and_go_back,
    DepartureAction.OUTWAIT: Departure._outwait,
}
