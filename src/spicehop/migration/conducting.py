"""The conductor without I/O: moves a virtual machine together with the SPICE sessions of its clients.

Feed it events, carry out the commands it returns, and call `handle_timer` when `next_deadline` has come. It reads no
clock: `now` is seconds on any clock that does not go back. What happens when is in `conducting_table`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto

from spicehop.errors import StateError
from spicehop.migration.conducting_census import mapping, text, whole
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
    ProbePort,
    ProgressReported,
    RefusalReceived,
    ReplyReceived,
    StepReported,
)
from spicehop.migration.conducting_memory import LINK_LIMIT, Memory
from spicehop.migration.conducting_table import TABLE, Input, State
from spicehop.migration.conducting_verdict import (
    count,
    is_whole,
)
from spicehop.migration.preflight import (
    QUERIES,
    Finding,
    Severity,
    client_address,
    examine,
    is_deferred,
    listening_uri,
    sending_uri,
    several_clients,
    survey_of,
)

LEAST_PAUSE = 0.1
"""Seconds at least between the last link and `migrate`: the clients' answers must reach the source first (C7)."""
HANDOVER_LIMIT = 15.0
"""Seconds from the machine's arrival to SPICE_MIGRATE_COMPLETED; libspice-server needs at most 10 (C3)."""
ALIVE_LIMIT = 10.0
"""Seconds for sessions to show up at the target; those that connect anew need some."""
SETTLE_TIME = 1.0
"""Seconds after which they must still be there."""
REPLY_LIMIT = 10.0
"""Seconds for a QMP command."""
BLOCKED_LIMIT = 90.0
"""The same while the machine stops: libspice-server may hold QEMU for 30 s per display and cursor channel (C3)."""
RELEASE_LIMIT = 5.0
CHECK_LIMIT = 5.0
"""Seconds for the source to run again by itself."""
PROGRESS_INTERVAL = 0.5
ASK_INTERVAL = 0.25
NOWHERE = "unix:/dev/null/spicehop"
"""An address that nobody can listen on. A migration to it fails at once, and that makes libspice-server tell the
clients to stay (C2: CANCEL follows a failed migration; QMP has no other way to ask for it). Seen with QEMU 7.2."""

_MIGRATION_OVER = {"completed": Input.MIGRATED, "failed": Input.NOT_MIGRATED, "cancelled": Input.NOT_MIGRATED}
_BEFORE_THE_MOVE = frozenset(state for state, happening in TABLE if happening is Input.TIME_UP)
_CAPABILITIES = [
    {"capability": "events", "state": True},
    {"capability": "return-path", "state": True},  # else a target that fails to load is taken for a success
    {"capability": "pause-before-switchover", "state": False},  # nobody would continue it
]


class _Timer(Enum):
    REPLY = auto()
    PHASE = auto()
    POLL = auto()
    LIMIT = auto()


class Conducting:
    """One conducted migration. The first event is `Begun`; the last command is `Finished`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = State.NOT_BEGUN
        self._memory = Memory(plan)
        self._now = 0.0
        self._commands: list[Command] = []
        self._inputs: deque[Input] = deque()
        self._deadlines: dict[_Timer, float] = {}
        self._requests = 0
        self._awaited: Execute | None = None
        self._sequence: deque[tuple[Peer, str, Mapping[str, object]]] = deque()
        self._value: object = None
        self._refusal: str | None = None
        self._probe_failure = ""
        self._continued = False

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
        self._deadlines.pop(_Timer.REPLY, None)
        self._value, self._refusal = value, refusal
        if refusal is None and self._awaited.command == "query-spice":
            self._memory.census[self._awaited.peer].answer_received(value)
        return Input.ANSWERED if refusal is None else Input.REFUSED

    def _told(self, peer: Peer, name: str, data: Mapping[str, object]) -> Input | None:
        if name.startswith("SPICE_") and name != "SPICE_MIGRATE_COMPLETED":
            if peer is Peer.SOURCE and "completed" in self._memory.times:
                return None  # they leave because they have moved
            self._memory.census[peer].event_received(name, data, self._now)
            return Input.CENSUS_CHANGED
        if peer is Peer.TARGET:
            if name == "RESUME":
                self._memory.times.setdefault("resumed", self._now)
            return None
        if name == "STOP":
            self._memory.times["stopped"] = self._now
        elif name == "SPICE_MIGRATE_COMPLETED" and "informed" in self._memory.times:
            self._memory.times["handed_over"] = self._now
            self._memory.handed_over = True
            return Input.HANDED_OVER
        elif name == "MIGRATION":
            return _MIGRATION_OVER.get(text(data.get("status")))
        return None

    def _bereft(self, peer: Peer, reason: str) -> Input | None:
        if peer in self._memory.lost:
            return None
        self._memory.lost[peer] = reason
        return Input.SOURCE_LOST if peer is Peer.SOURCE else Input.TARGET_LOST

    def _expired(self, timer: _Timer) -> Input:
        if timer is _Timer.REPLY and self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            self._memory.lost[awaited.peer] = f"it did not answer {awaited.command} in time"
            return Input.SOURCE_LOST if awaited.peer is Peer.SOURCE else Input.TARGET_LOST
        return {_Timer.PHASE: Input.PHASE_OVER, _Timer.POLL: Input.POLL_DUE, _Timer.LIMIT: Input.TIME_UP}[timer]

    # -- running the table --------------------------------------------------------------------------------------

    def _run(self, happening: Input) -> None:
        self._inputs.append(happening)
        while self._inputs:
            following = self._inputs.popleft()
            row = TABLE.get((self.state, following))
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
        for timer in (_Timer.REPLY, _Timer.PHASE, _Timer.POLL):
            self._deadlines.pop(timer, None)
        if state not in _BEFORE_THE_MOVE:
            self._deadlines.pop(_Timer.LIMIT, None)

    def _drained(self) -> tuple[Command, ...]:
        commands, self._commands = tuple(self._commands), []
        return commands

    def _ignore(self) -> None:
        """Nothing to do about it here."""

    def _finish(self, ending: str) -> None:
        self._deadlines.clear()
        self._memory.times["finished"] = self._now
        result = ENDINGS[ending](self._memory)
        self._say("finished", result.sentence)
        self._commands.append(Finished(result))

    def _then(self, happening: Input) -> None:
        self._inputs.append(happening)

    def _after(self, timer: _Timer, seconds: float) -> None:
        self._deadlines[timer] = self._now + seconds

    def _say(self, step: str, sentence: str) -> None:
        self._commands.append(StepReported(step, sentence))

    def _execute(
        self, peer: Peer, command: str, arguments: Mapping[str, object] = NO_ARGUMENTS, limit: float = REPLY_LIMIT
    ) -> None:
        self._requests += 1
        self._awaited = Execute(self._requests, peer, command, arguments)
        self._commands.append(self._awaited)
        self._after(_Timer.REPLY, limit)

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
        self._memory.findings.append(finding)
        self._commands.append(FindingReported(finding))

    def _forbid(self, code: str, sentence: str) -> None:
        self._found(Finding(Severity.ERROR, code, sentence))
        self._then(Input.FORBIDDEN)

    # -- before anything is changed -----------------------------------------------------------------------------

    def _survey_question(self, peer: Peer, command: str) -> tuple[Peer, str, Mapping[str, object]]:
        arguments = {"path": "/machine", "property": "type"} if command == "qom-get" else NO_ARGUMENTS
        return peer, command, arguments

    def _survey_begun(self) -> None:
        self._memory.times["began"] = self._now
        self._after(_Timer.LIMIT, self.plan.time_limit)
        self._say("surveying", "Asking both QEMUs.")
        self._ask_in_turn(*(self._survey_question(peer, command) for peer in Peer for command in QUERIES))

    def _take_survey_answer(self) -> None:
        assert self._awaited is not None
        self._memory.answers[self._awaited.peer][self._awaited.command] = self._value
        self._ask_next()

    def _take_survey_refusal(self) -> None:
        self._ask_next()  # what was not answered stays unknown

    def _examine(self) -> None:
        self._memory.survey = {peer: survey_of(answers) for peer, answers in self._memory.answers.items()}
        self._memory.source_ran = self._memory.survey[Peer.SOURCE].status == "running"
        self._memory.before = self._memory.survey[Peer.SOURCE].sessions
        self._memory.strangers = frozenset(self._memory.survey[Peer.TARGET].sessions)
        findings = examine(self.plan, self._memory.survey[Peer.SOURCE], self._memory.survey[Peer.TARGET])
        for finding in findings:
            self._found(finding)
        serious = any(finding.severity is Severity.ERROR for finding in findings)
        self._then(Input.FORBIDDEN if serious else Input.PASSED)

    def _probe(self) -> None:
        address = client_address(self.plan, self._memory.survey[Peer.TARGET])
        port = address.port or address.tls_port
        if not self.plan.probe or not port:
            self._then(Input.PASSED)
            return
        self._commands.append(ProbePort(address.host, port))
        self._after(_Timer.PHASE, REPLY_LIMIT)

    def _give_up_probe(self) -> None:
        self._probe_failure = f"no answer in {REPLY_LIMIT:g} s"
        self._take_probe()

    def _take_probe(self) -> None:
        if not self._probe_failure:
            self._then(Input.PASSED)
            return
        address = client_address(self.plan, self._memory.survey[Peer.TARGET])
        self._forbid(
            "target-unreachable",
            f"Nobody answers at {address.host}:{address.port or address.tls_port}, where clients would be sent "
            f"({self._probe_failure}); give the target's SPICE address with --spice, "
            "or say --no-probe if clients can reach it and this machine cannot.",
        )

    # -- preparing ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._say("preparing", "Preparing both QEMUs.")
        target = self._memory.survey[Peer.TARGET]
        capabilities = {"capabilities": _CAPABILITIES}
        questions: list[tuple[Peer, str, Mapping[str, object]]] = [
            (Peer.TARGET, "migrate-set-capabilities", capabilities),
            (Peer.SOURCE, "migrate-set-capabilities", capabilities),
        ]
        parameters = {"max-bandwidth": self.plan.max_bandwidth, "downtime-limit": self.plan.downtime_limit}
        given = {name: value for name, value in parameters.items() if value is not None}
        if given:
            questions.append((Peer.SOURCE, "migrate-set-parameters", given))
        if is_deferred(target):
            questions.append((Peer.TARGET, "migrate-incoming", {"uri": listening_uri(self.plan)}))
        questions.append((Peer.TARGET, "query-migrate", NO_ARGUMENTS))
        if self.plan.ticket is not None and target.auth == "spice":
            ticket = {"protocol": "spice", "password": self.plan.ticket}
            questions.append((Peer.TARGET, "set_password", ticket))
        questions.append((Peer.SOURCE, "query-spice", NO_ARGUMENTS))
        self._ask_in_turn(*questions)

    def _take_preparation(self) -> None:
        assert self._awaited is not None
        if self._awaited.command == "query-migrate":
            addresses = survey_of({"query-migrate": self._value}).addresses
            self._sending = sending_uri(self.plan, addresses)
            if not self._sending:
                self._forbid(
                    "no-migration-address",
                    "The target does not tell where it waits for the machine; say it with --uri.",
                )
                return
        elif self._awaited.command == "query-spice":
            self._memory.before = self._memory.census[Peer.SOURCE].sessions
            several = several_clients(self.plan, self._memory.before)
            if several is not None:
                self._forbid(several.code, several.sentence)
                return
        self._ask_next()

    def _take_preparation_refusal(self) -> None:
        assert self._awaited is not None
        peer, command = self._awaited.peer, self._awaited.command
        if command == "migrate-set-capabilities" and peer is Peer.TARGET:
            self._ask_next()  # newer QEMUs refuse it once they wait; the source's setting is what counts
        elif command == "migrate-incoming" and self.plan.migration_uri:
            self._ask_next()  # it waits at an address without a socket (exec:, fd:), which the caller knows
        else:
            hint = "; say with --uri where it waits" if command == "migrate-incoming" else ""
            self._forbid(
                f"{command.replace('_', '-')}-refused", f"The {peer} refused {command}: {self._refusal}{hint}."
            )

    # -- the clients link ---------------------------------------------------------------------------------------

    def _inform(self) -> None:
        address = client_address(self.plan, self._memory.survey[Peer.TARGET])
        arguments: dict[str, object] = {
            "protocol": "spice",
            "hostname": address.host,
            "port": address.port or 0,  # an absent port would go out as 65535 (C7)
            "tls-port": address.tls_port or 0,
        }
        if self.plan.cert_subject:
            arguments["cert-subject"] = self.plan.cert_subject
        self._memory.informed = dict(self._memory.before)
        self._memory.refused_before = self._memory.census[Peer.TARGET].refused_links
        self._memory.times["informed"] = self._now
        port = address.port or address.tls_port
        sessions = count(len(self._memory.informed), "session")
        self._say("linking", f"Sending {sessions} to {address.host}:{port}; waiting for links.")
        self._execute(Peer.SOURCE, "client_migrate_info", arguments)

    def _await_links(self) -> None:
        self._awaited = None
        self._after(_Timer.PHASE, max(0.0, self._memory.times["informed"] + LINK_LIMIT - self._now))
        self._after(_Timer.POLL, ASK_INTERVAL)
        self._count_links()

    def _count_links(self) -> None:
        missing = self._memory.missing_links()
        here = self._memory.census[Peer.SOURCE].sessions
        self._memory.linked = frozenset(one for one in self._memory.informed if one in here and one not in missing)
        if not missing:
            self._then(Input.LINKED)

    def _take_links_answer(self) -> None:
        self._awaited = None
        self._after(_Timer.POLL, ASK_INTERVAL)
        self._count_links()

    def _ask_for_links(self) -> None:
        self._execute(Peer.TARGET, "query-spice")

    def _pause(self) -> None:
        self._memory.times["linked"] = self._now
        longest = self._memory.census[Peer.TARGET].longest_link
        left = self._memory.times["informed"] + LINK_LIMIT - self._now
        if self._memory.linked:
            self._say("linked", f"{count(len(self._memory.linked), 'session')} linked to the target.")
        self._after(_Timer.PHASE, max(0.0, min(max(LEAST_PAUSE, 2 * longest), left)))

    def _judge_links(self) -> None:
        sentence = self._memory.unlinked_sentence
        if self.plan.require_links:
            self._memory.cause, self._memory.code = sentence, "not-linked"
            self._then(Input.FORBIDDEN)
            return
        self._found(
            Finding(
                Severity.WARNING,
                "not-linked",
                f"{sentence} They will connect to the target anew, if they can reach it (switch-host).",
            )
        )
        self._then(Input.PASSED)

    # -- the machine moves --------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._memory.times["launched"] = self._now
        self._say("migrating", "Moving the machine.")
        self._execute(Peer.SOURCE, "migrate", {"uri": self._sending}, BLOCKED_LIMIT)

    def _launch_with_missing_links(self) -> None:
        self._launch()

    def _watch(self) -> None:
        self._awaited = None
        self._after(_Timer.POLL, PROGRESS_INTERVAL)

    def _ask_for_progress(self) -> None:
        self._execute(Peer.SOURCE, "query-migrate", limit=BLOCKED_LIMIT)

    def _take_progress(self) -> None:
        assert self._awaited is not None
        asked, self._awaited = self._awaited, None
        self._after(_Timer.POLL, PROGRESS_INTERVAL if self.state is State.MIGRATING else ASK_INTERVAL)
        if asked.command != "query-migrate":
            return
        answer = mapping(self._value)
        status, ram = text(answer.get("status")), mapping(answer.get("ram"))
        if ram:
            amounts = (whole(ram.get(name)) for name in ("transferred", "remaining", "total"))
            self._commands.append(ProgressReported(status, *amounts))
        over = _MIGRATION_OVER.get(status)
        if over is not None:
            self._then(over)

    def _await_handover(self) -> None:
        self._memory.times["completed"] = self._now
        self._memory.freeze_sessions()
        self._say("handing-over", "The machine is at the target; its sessions follow.")
        self._after(_Timer.PHASE, HANDOVER_LIMIT)
        if Peer.TARGET in self._memory.lost:
            self._then(Input.TARGET_LOST)
        elif Peer.SOURCE in self._memory.lost:
            self._then(Input.SOURCE_LOST)
        elif self._memory.handed_over:
            self._then(Input.HANDED_OVER)

    def _await_handover_in_spite(self) -> None:
        self._say("too-late", "Too late to go back: the machine had already moved.")
        self._await_handover()

    def _note_too_late(self) -> None:
        self._say("too-late", "Too late to go back: the machine has moved; finishing.")

    def _note_source_ended(self) -> None:
        self._say("source-lost", "The source's QMP connection ended.")

    # -- the sessions are verified ------------------------------------------------------------------------------

    def _verify(self) -> None:
        self._say("verifying", "Verifying machine and sessions at the target.")
        self._after(_Timer.PHASE, ALIVE_LIMIT)
        self._ask_whether_alive()

    def _verify_without_event(self) -> None:
        self._say("not-handed-over", f"SPICE_MIGRATE_COMPLETED did not come within {HANDOVER_LIMIT:g} s.")
        self._verify()

    def _verify_without_source(self) -> None:
        self._memory.times.setdefault("completed", self._now)
        self._say("source-lost", "The source's QMP connection ended before it had handed its sessions over.")
        self._verify()

    def _ask_whether_alive(self) -> None:
        self._sequence = deque([(Peer.TARGET, "query-spice", NO_ARGUMENTS)])
        self._execute(Peer.TARGET, "query-status")

    def _ask_later(self) -> None:
        self._after(_Timer.POLL, ASK_INTERVAL)

    def _take_target_answer(self) -> None:
        assert self._awaited is not None
        asked, self._awaited = self._awaited, None
        if asked.command == "query-status":
            self._memory.answers[Peer.TARGET]["query-status"] = self._value
            if self._memory.status_of(Peer.TARGET) == "paused" and self._memory.source_ran and not self._continued:
                self._continued = True  # started with -S, which leaves this to us
                self._sequence.appendleft((Peer.TARGET, "cont", NO_ARGUMENTS))
        if self._sequence:
            self._ask_next()
            return
        sessions = all(is_whole(outcome) for outcome in self._memory.moved_sessions())
        self._then(Input.ALIVE if sessions and self._memory.target_alive else Input.MISSING)

    def _settle(self) -> None:
        self._after(_Timer.PHASE, SETTLE_TIME)

    def _end_source(self) -> None:
        if self.plan.keep_source or Peer.SOURCE in self._memory.lost:
            self._then(Input.SOURCE_LOST if Peer.SOURCE in self._memory.lost else Input.PHASE_OVER)
            return
        self._say("ending-source", "Ending the source.")
        self._after(_Timer.PHASE, REPLY_LIMIT)
        self._execute(Peer.SOURCE, "quit")

    # -- the way back -------------------------------------------------------------------------------------------

    def _release(self) -> None:
        self._say("releasing", "Telling the clients to stay.")
        self._after(_Timer.PHASE, RELEASE_LIMIT)
        self._execute(Peer.SOURCE, "migrate", {"uri": NOWHERE})

    def _go_back(self, code: str, cause: str) -> None:
        if not self._memory.code:
            self._memory.code, self._memory.cause = code, cause

    def _release_cancelled(self) -> None:
        self._go_back("cancelled", "Cancelled.")
        self._release()

    def _release_late(self) -> None:
        self._go_back("time-limit", self._memory.late_sentence)
        self._release()

    def _release_without_target(self) -> None:
        self._go_back("target-lost", self._memory.target_lost_sentence)
        self._release()

    def _release_unlinked(self) -> None:
        self._release()

    def _release_after_refusal(self) -> None:
        self._go_back("migrate-refused", f"The source refused to migrate: {self._refusal}.")
        self._release()

    def _cancel(self) -> None:
        self._say("cancelling", "Cancelling the machine's migration.")
        self._after(_Timer.PHASE, BLOCKED_LIMIT)
        self._execute(Peer.SOURCE, "migrate_cancel", limit=BLOCKED_LIMIT)

    def _cancel_as_asked(self) -> None:
        self._go_back("cancelled", "Cancelled.")
        self._cancel()

    def _cancel_late(self) -> None:
        self._go_back("time-limit", self._memory.late_sentence)
        self._cancel()

    def _cancel_without_target(self) -> None:
        self._go_back("target-lost", self._memory.target_lost_sentence)
        self._cancel()

    def _check_source(self) -> None:
        self._say("checking", "Verifying machine and sessions at the source.")
        self._after(_Timer.PHASE, CHECK_LIMIT)
        self._check_source_again()

    def _check_source_again(self) -> None:
        questions: list[tuple[Peer, str, Mapping[str, object]]] = [
            (Peer.SOURCE, "query-migrate", NO_ARGUMENTS),
            (Peer.SOURCE, "query-status", NO_ARGUMENTS),
            (Peer.SOURCE, "query-spice", NO_ARGUMENTS),
        ]
        if Peer.TARGET not in self._memory.lost:
            questions.append((Peer.TARGET, "query-status", NO_ARGUMENTS))
        self._ask_in_turn(*questions)

    def _check_source_after_failure(self) -> None:
        self._go_back("migration-failed", "")
        self._check_source()

    def _check_source_after_refused_information(self) -> None:
        self._go_back("client-migrate-info-refused", f"The source refused client_migrate_info: {self._refusal}.")
        self._check_source()

    def _take_source_answer(self) -> None:
        assert self._awaited is not None
        self._memory.answers[self._awaited.peer][self._awaited.command] = self._value
        failed = self._memory.code == "migration-failed" and not self._memory.cause
        if failed and self._awaited.command == "query-migrate":
            why = text(mapping(self._value).get("error-desc"))
            target = f" {self._memory.target_lost_sentence}" if Peer.TARGET in self._memory.lost else ""
            because = f": {why}" if why else ""
            self._memory.cause = f"The machine's migration failed{because}.{target}"
        self._ask_next()

    def _go_on_without_target(self) -> None:
        self._sequence = deque(question for question in self._sequence if question[0] is not Peer.TARGET)
        if self._awaited is None or self._awaited.peer is Peer.TARGET:
            self._deadlines.pop(_Timer.REPLY, None)
            if _Timer.POLL not in self._deadlines:
                self._ask_next()

    def _judge_source(self) -> None:
        if Peer.TARGET in self._memory.lost:
            self._memory.answers[Peer.TARGET].pop("query-status", None)
        as_before = self._memory.status_of(Peer.SOURCE) == "running" or not self._memory.source_ran
        self._then(Input.RUNS if as_before else Input.STANDS)

    def _check_source_later(self) -> None:
        self._after(_Timer.POLL, ASK_INTERVAL)

    def _resume_source(self) -> None:
        if self._memory.status_of(Peer.TARGET) not in ("", "inmigrate"):
            self._then(Input.STANDS)  # the target may run: two running copies would ruin the machine's disks
            return
        self._say("resuming", "The source stands still; telling it to run.")
        self._execute(Peer.SOURCE, "cont")

    def _take_resumed_answer(self) -> None:
        assert self._awaited is not None
        asked, self._awaited = self._awaited, None
        if asked.command == "cont":
            self._execute(Peer.SOURCE, "query-status")
        else:
            running = text(mapping(self._value).get("status")) == "running"
            self._then(Input.RUNS if running else Input.STANDS)

    def _ask_target(self) -> None:
        self._say("source-lost", "The source's QMP connection ended; asking the target where the machine is.")
        self._after(_Timer.PHASE, CHECK_LIMIT)
        self._memory.freeze_sessions()
        if Peer.TARGET in self._memory.lost:
            self._then(Input.TARGET_LOST)
        else:
            self._ask_target_again()

    def _ask_target_again(self) -> None:
        self._execute(Peer.TARGET, "query-status")

    def _judge_target(self) -> None:
        self._awaited = None
        self._memory.answers[Peer.TARGET]["query-status"] = self._value
        if self._memory.status_of(Peer.TARGET) in ("", "inmigrate"):
            self._after(_Timer.POLL, ASK_INTERVAL)
        else:
            self._then(Input.MIGRATED)
