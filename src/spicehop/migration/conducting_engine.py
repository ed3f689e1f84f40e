"""What carries the conducting machine: events to inputs, inputs through the table, deadlines, one command at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto

from spicehop.errors import StateError
from spicehop.migration.conducting_census import text
from spicehop.migration.conducting_endings import ENDINGS
from spicehop.migration.conducting_events import (
    NO_ARGUMENTS,
    Begun,
    CancelRequested,
    Command,
    Event,
    EventReceived,
    Execute,
    FindingReported,
    Finished,
    Peer,
    PeerLost,
    Plan,
    PortProbed,
    RefusalReceived,
    ReplyReceived,
    StepReported,
)
from spicehop.migration.conducting_memory import Memory
from spicehop.migration.conducting_reports import client_reports
from spicehop.migration.conducting_table import HEARD, TABLE, Input, State
from spicehop.migration.preflight import Finding, Severity

REPLY_LIMIT = 10.0
"""Seconds for a QMP command."""
MIGRATION_OVER = {"completed": Input.MIGRATED, "failed": Input.NOT_MIGRATED, "cancelled": Input.NOT_MIGRATED}
"""QEMU's migration status to what it means here."""
_BEFORE_THE_MOVE = frozenset(state for state, happening in TABLE if happening is Input.TIME_UP)

Question = tuple[Peer, str, Mapping[str, object]]
"""A QMP command with its arguments, and whom it goes to."""


class Timer(Enum):
    """What a deadline is for."""

    REPLY = auto()
    PHASE = auto()
    POLL = auto()
    LIMIT = auto()


class Engine:
    """Runs the table. A subclass has a method `_<action>` for each action of the table that is not an ending."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = State.NOT_BEGUN
        self.memory = Memory(plan)
        self._now = 0.0
        self._commands: list[Command] = []
        self._inputs: deque[Input] = deque()
        self._deadlines: dict[Timer, float] = {}
        self._requests = 0
        self._awaited: Execute | None = None
        self._sequence: deque[tuple[Peer, str, Mapping[str, object]]] = deque()
        self._value: object = None
        self._refusal: str | None = None
        self._probe_failure = ""

    # -- the machine's outside ----------------------------------------------------------------------------------

    def feed(self, event: Event, now: float) -> tuple[Command, ...]:
        """What shall be done about `event`. Raises StateError for what cannot happen in this state."""
        self._now = now
        happening = self._noted(event)
        if happening is not None:
            self._run(happening)
        return self._drained()

    def next_deadline(self) -> float | None:
        """When `handle_timer` shall be called, if nothing happens before."""
        return min(self._deadlines.values(), default=None)

    def handle_timer(self, now: float) -> tuple[Command, ...]:
        """What shall be done because time has passed. Calling it early does no harm."""
        self._now = now
        while self.state is not State.DONE:
            due = [timer for timer, deadline in self._deadlines.items() if deadline <= now]
            if not due:
                break
            timer = min(due, key=lambda one: (self._deadlines[one], one.value))
            del self._deadlines[timer]
            self._run(self._expired(timer))
        return self._drained()

    # -- events to inputs ---------------------------------------------------------------------------------------

    def _noted(self, event: Event) -> Input | None:
        match event:
            case Begun():
                return Input.BEGIN
            case ReplyReceived(request, value):
                return self._answered(request, value, None)
            case RefusalReceived(request, description):
                return self._answered(request, None, description)
            case EventReceived(peer, name, data):
                return self._told(peer, name, data)
            case PeerLost(peer, reason):
                return self._bereft(peer, reason)
            case PortProbed(failure):
                self._probe_failure = failure
                return Input.PROBED if self.state is State.PROBING else None
            case CancelRequested():
                return Input.CANCEL

    def _answered(self, request: int, value: object, refusal: str | None) -> Input | None:
        if self._awaited is None or self._awaited.request != request:
            return None  # an answer to what an earlier state had asked
        self._deadlines.pop(Timer.REPLY, None)
        self._value, self._refusal = value, refusal
        if refusal is None and self._awaited.command == "query-spice":
            self.memory.census[self._awaited.peer].answer_received(value)
        return Input.ANSWERED if refusal is None else Input.REFUSED

    def _told(self, peer: Peer, name: str, data: Mapping[str, object]) -> Input | None:
        if name.startswith("SPICE_") and name != "SPICE_MIGRATE_COMPLETED":
            if peer is Peer.SOURCE and "completed" in self.memory.times:
                return None  # they leave because they have moved
            self.memory.census[peer].event_received(name, data, self._now)
            return Input.CENSUS_CHANGED
        if peer is Peer.TARGET:
            if name == "RESUME":
                self.memory.times.setdefault("resumed", self._now)
            return None
        if name == "STOP":
            self.memory.times["stopped"] = self._now
        elif name == "SPICE_MIGRATE_COMPLETED" and "informed" in self.memory.times:
            self.memory.times["handed_over"] = self._now
            self.memory.handed_over = True
            self.memory.reports = client_reports(data)
            return Input.HANDED_OVER
        elif name == "MIGRATION":
            return MIGRATION_OVER.get(text(data.get("status")))
        return None

    def _bereft(self, peer: Peer, reason: str) -> Input | None:
        if peer in self.memory.lost:
            return None
        self.memory.lost[peer] = reason
        return Input.SOURCE_LOST if peer is Peer.SOURCE else Input.TARGET_LOST

    def _expired(self, timer: Timer) -> Input:
        if timer is Timer.REPLY and self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            self.memory.lost[awaited.peer] = f"it did not answer {awaited.command} in time"
            return Input.SOURCE_LOST if awaited.peer is Peer.SOURCE else Input.TARGET_LOST
        return {Timer.PHASE: Input.PHASE_OVER, Timer.POLL: Input.POLL_DUE, Timer.LIMIT: Input.TIME_UP}[timer]

    # -- running the table --------------------------------------------------------------------------------------

    def _run(self, happening: Input) -> None:
        self._inputs.append(happening)
        while self._inputs:
            following = self._inputs.popleft()
            row = TABLE.get((self.state, following))
            if row is None and following in HEARD and self.state not in (State.NOT_BEGUN, State.DONE):
                continue
            if row is None:
                self._inputs.clear()
                raise StateError(f"'{following.value}' cannot happen to a migration in state {self.state.value}")
            action, state = row
            if state is not self.state:
                self._enter(state)
            if action in ENDINGS:
                self._finish(action)
            else:
                method: Callable[[], None] = getattr(self, f"_{action}")
                method()

    def _enter(self, state: State) -> None:
        self.state = state
        self._inputs.clear()
        self._sequence.clear()
        self._awaited = None
        for timer in (Timer.REPLY, Timer.PHASE, Timer.POLL):
            self._deadlines.pop(timer, None)
        if state not in _BEFORE_THE_MOVE:
            self._deadlines.pop(Timer.LIMIT, None)

    def _drained(self) -> tuple[Command, ...]:
        commands, self._commands = tuple(self._commands), []
        return commands

    def _ignore(self) -> None:
        """Nothing to do about it here."""

    def _finish(self, ending: str) -> None:
        self._deadlines.clear()
        self.memory.times["finished"] = self._now
        result = ENDINGS[ending](self.memory)
        self._say("finished", result.sentence)
        self._commands.append(Finished(result))

    def _then(self, happening: Input) -> None:
        self._inputs.append(happening)

    def _after(self, timer: Timer, seconds: float) -> None:
        self._deadlines[timer] = self._now + seconds

    def _say(self, step: str, sentence: str) -> None:
        self._commands.append(StepReported(step, sentence))

    def _execute(
        self, peer: Peer, command: str, arguments: Mapping[str, object] = NO_ARGUMENTS, limit: float = REPLY_LIMIT
    ) -> None:
        self._requests += 1
        self._awaited = Execute(self._requests, peer, command, arguments)
        self._commands.append(self._awaited)
        self._after(Timer.REPLY, limit)

    def _mention(self, peer: Peer, command: str, arguments: Mapping[str, object]) -> None:
        """Run a command beside the one that is awaited; nothing depends on its answer."""
        self._requests += 1
        self._commands.append(Execute(self._requests, peer, command, arguments))

    def _ask_in_turn(self, *questions: tuple[Peer, str, Mapping[str, object]]) -> None:
        self._sequence = deque(questions)
        self._ask_next()

    def _ask_next(self) -> None:
        if self._sequence:
            self._execute(*self._sequence.popleft())
        else:
            self._awaited = None
            self._then(Input.ALL_ANSWERED)

    def _found(self, finding: Finding) -> None:
        self.memory.findings.append(finding)
        self._commands.append(FindingReported(finding))

    def _forbid(self, code: str, sentence: str) -> None:
        self._found(Finding(Severity.ERROR, code, sentence))
        self._then(Input.FORBIDDEN)
