"""The conductor without I/O: moves a virtual machine together with the SPICE sessions of its clients.

Feed it events, carry out the commands it returns, and call `handle_timer` when `next_deadline` has come. It reads no
clock: `now` is seconds on any clock that does not go back. What happens when is in `conducting_table`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from spicehop.migration.conducting_census import mapping, text, whole
from spicehop.migration.conducting_engine import MIGRATION_OVER, REPLY_LIMIT, Engine, Question, Timer
from spicehop.migration.conducting_events import (
    NO_ARGUMENTS,
    Peer,
    Plan,
    ProbePort,
    ProgressReported,
)
from spicehop.migration.conducting_memory import LINK_LIMIT
from spicehop.migration.conducting_table import Input, State
from spicehop.migration.conducting_verdict import (
    count,
    is_whole,
)
from spicehop.migration.preflight import (
    ANNOUNCE,
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
BLOCKED_LIMIT = 90.0
"""The same while the machine stops: libspice-server may hold QEMU for 30 s per display and cursor channel (C3)."""
RELEASE_LIMIT = 5.0
MOST_ANNOUNCED = 1024
"""What a target takes."""
CHECK_LIMIT = 5.0
"""Seconds for the source to run again by itself."""
PROGRESS_INTERVAL = 0.5
ASK_INTERVAL = 0.25
NOWHERE = "unix:/dev/null/spicehop"
"""An address that nobody can listen on. A migration to it fails at once, and that makes libspice-server tell the
clients to stay (C2: CANCEL follows a failed migration; QMP has no other way to ask for it). Seen with QEMU 7.2."""

_CAPABILITIES = [
    {"capability": "events", "state": True},
    {"capability": "return-path", "state": True},  # else a target that fails to load is taken for a success
    {"capability": "pause-before-switchover", "state": False},  # nobody would continue it
]


class Conducting(Engine):
    """One conducted migration. The first event is `Begun`; the last command is `Finished`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._sending = ""
        self._continued = False

    # -- before anything is changed -----------------------------------------------------------------------------

    def _survey_question(self, peer: Peer, command: str) -> Question:
        arguments = {"path": "/machine", "property": "type"} if command == "qom-get" else NO_ARGUMENTS
        return peer, command, arguments

    def _survey_begun(self) -> None:
        self.memory.times["began"] = self._now
        self._after(Timer.LIMIT, self.plan.time_limit)
        self._say("surveying", "Asking both QEMUs.")
        self._ask_in_turn(*(self._survey_question(peer, command) for peer in Peer for command in QUERIES))

    def _take_survey_answer(self) -> None:
        assert self._awaited is not None
        self.memory.answers[self._awaited.peer][self._awaited.command] = self._value
        self._ask_next()

    def _take_survey_refusal(self) -> None:
        self._ask_next()  # what was not answered stays unknown

    def _examine(self) -> None:
        self.memory.survey = {peer: survey_of(answers) for peer, answers in self.memory.answers.items()}
        self.memory.source_ran = self.memory.survey[Peer.SOURCE].status == "running"
        self.memory.before = self.memory.survey[Peer.SOURCE].sessions
        self.memory.strangers = frozenset(self.memory.survey[Peer.TARGET].sessions)
        findings = examine(self.plan, self.memory.survey[Peer.SOURCE], self.memory.survey[Peer.TARGET])
        for finding in findings:
            self._found(finding)
        serious = any(finding.severity is Severity.ERROR for finding in findings)
        self._then(Input.FORBIDDEN if serious else Input.PASSED)

    def _probe(self) -> None:
        address = client_address(self.plan, self.memory.survey[Peer.TARGET])
        port = address.port or address.tls_port
        if not self.plan.probe or not port:
            self._then(Input.PASSED)
            return
        self._commands.append(ProbePort(address.host, port))
        self._after(Timer.PHASE, REPLY_LIMIT)

    def _give_up_probe(self) -> None:
        self._probe_failure = f"no answer in {REPLY_LIMIT:g} s"
        self._take_probe()

    def _take_probe(self) -> None:
        if not self._probe_failure:
            self._then(Input.PASSED)
            return
        address = client_address(self.plan, self.memory.survey[Peer.TARGET])
        self._forbid(
            "target-unreachable",
            f"Nobody answers at {address.host}:{address.port or address.tls_port}, where clients would be sent "
            f"({self._probe_failure}); give the target's SPICE address with --spice, "
            "or say --no-probe if clients can reach it and this machine cannot.",
        )

    # -- preparing ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._say("preparing", "Preparing both QEMUs.")
        target = self.memory.survey[Peer.TARGET]
        capabilities = {"capabilities": _CAPABILITIES}
        questions: list[Question] = [
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
            self.memory.before = self.memory.census[Peer.SOURCE].sessions
            several = several_clients(self.plan, self.memory.survey[Peer.SOURCE], self.memory.before)
            if several is not None:
                self._forbid(several.code, several.sentence)
                return
            if self.memory.survey[Peer.TARGET].is_spicehop:
                self._sequence.append((Peer.TARGET, ANNOUNCE, self._announcement(self.memory.clients_here())))
        self._ask_next()

    def _take_preparation_refusal(self) -> None:
        assert self._awaited is not None
        peer, command = self._awaited.peer, self._awaited.command
        if command == "migrate-set-capabilities" and peer is Peer.TARGET:
            self._ask_next()  # newer QEMUs refuse it once they wait; the source's setting is what counts
        elif command == "migrate-incoming" and self.plan.migration_uri:
            self._ask_next()  # it waits at an address without a socket (exec:, fd:), which the caller knows
        elif command == ANNOUNCE:
            sentence = f"The target was not told which clients will come ({self._refusal}); it may refuse them."
            self._found(Finding(Severity.WARNING, "not-announced", sentence))
            self._ask_next()
        else:
            hint = "; say with --uri where it waits" if command == "migrate-incoming" else ""
            self._forbid(
                f"{command.replace('_', '-')}-refused", f"The {peer} refused {command}: {self._refusal}{hint}."
            )

    # -- who will come ------------------------------------------------------------------------------------------

    def _announcement(self, ids: frozenset[int]) -> Mapping[str, object]:
        self.memory.announced = ids
        return {"connection-ids": sorted(ids)[:MOST_ANNOUNCED]}

    def _announce_newcomers(self) -> None:
        """A client that connects while the migration runs is sent to the target too."""
        ids = self.memory.announced | self.memory.clients_here()
        if self.memory.survey[Peer.TARGET].is_spicehop and ids != self.memory.announced:
            self._mention(Peer.TARGET, ANNOUNCE, self._announcement(ids))

    def _expect_nobody(self) -> None:
        """Who has not come by now has no business there any more."""
        if self.memory.announced and Peer.TARGET not in self.memory.lost:
            self._mention(Peer.TARGET, ANNOUNCE, self._announcement(frozenset()))

    # -- the clients link ---------------------------------------------------------------------------------------

    def _inform(self) -> None:
        self._announce_newcomers()
        address = client_address(self.plan, self.memory.survey[Peer.TARGET])
        arguments: dict[str, object] = {
            "protocol": "spice",
            "hostname": address.host,
            "port": address.port or 0,  # an absent port would go out as 65535 (C7)
            "tls-port": address.tls_port or 0,
        }
        if self.plan.cert_subject:
            arguments["cert-subject"] = self.plan.cert_subject
        self.memory.informed = dict(self.memory.before)
        self.memory.refused_before = self.memory.census[Peer.TARGET].refused_links
        self.memory.times["informed"] = self._now
        port = address.port or address.tls_port
        sessions = count(len(self.memory.informed), "session") if self.memory.informed else "whoever connects now"
        self._say("linking", f"Sending {sessions} to {address.host}:{port}; waiting for links.")
        self._execute(Peer.SOURCE, "client_migrate_info", arguments)

    def _await_links(self) -> None:
        self._awaited = None
        self._after(Timer.PHASE, max(0.0, self.memory.times["informed"] + LINK_LIMIT - self._now))
        self._after(Timer.POLL, ASK_INTERVAL)
        self._count_links()

    def _count_links(self) -> None:
        self._announce_newcomers()
        missing = self.memory.missing_links()
        here = self.memory.census[Peer.SOURCE].sessions
        self.memory.linked = frozenset(one for one in self.memory.informed if one in here and one not in missing)
        if not missing:
            self._then(Input.LINKED)

    def _take_links_answer(self) -> None:
        self._awaited = None
        self._after(Timer.POLL, ASK_INTERVAL)
        self._count_links()

    def _ask_for_links(self) -> None:
        self._execute(Peer.TARGET, "query-spice")

    def _pause(self) -> None:
        self.memory.times["linked"] = self._now
        longest = self.memory.census[Peer.TARGET].longest_link
        left = self.memory.times["informed"] + LINK_LIMIT - self._now
        if self.memory.linked:
            self._say("linked", f"{count(len(self.memory.linked), 'session')} linked to the target.")
        self._after(Timer.PHASE, max(0.0, min(max(LEAST_PAUSE, 2 * longest), left)))

    def _judge_links(self) -> None:
        sentence = self.memory.unlinked_sentence
        if self.plan.require_links:
            self.memory.cause, self.memory.code = sentence, "not-linked"
            self._then(Input.FORBIDDEN)
            return
        self._found(
            Finding(
                Severity.WARNING,
                "not-linked",
                f"{sentence} Who did not will connect there anew, if it can be reached (switch-host).",
            )
        )
        self._then(Input.PASSED)

    # -- the machine moves --------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self.memory.times["launched"] = self._now
        self._say("migrating", "Moving the machine.")
        self._execute(Peer.SOURCE, "migrate", {"uri": self._sending}, BLOCKED_LIMIT)

    def _watch(self) -> None:
        self._awaited = None
        self._announce_newcomers()
        self._after(Timer.POLL, PROGRESS_INTERVAL)

    def _ask_for_progress(self) -> None:
        self._execute(Peer.SOURCE, "query-migrate", limit=BLOCKED_LIMIT)

    def _take_progress(self) -> None:
        assert self._awaited is not None
        asked, self._awaited = self._awaited, None
        self._after(Timer.POLL, PROGRESS_INTERVAL if self.state is State.MIGRATING else ASK_INTERVAL)
        if asked.command != "query-migrate":
            return
        answer = mapping(self._value)
        status, ram = text(answer.get("status")), mapping(answer.get("ram"))
        if ram:
            amounts = (whole(ram.get(name)) for name in ("transferred", "remaining", "total"))
            self._commands.append(ProgressReported(status, *amounts))
        over = MIGRATION_OVER.get(status)
        if over is not None:
            self._then(over)

    def _await_handover(self) -> None:
        self.memory.times["completed"] = self._now
        self.memory.freeze_sessions()
        self._say("handing-over", "The machine is at the target; its sessions follow.")
        self._after(Timer.PHASE, HANDOVER_LIMIT)
        if Peer.TARGET in self.memory.lost:
            self._then(Input.TARGET_LOST)
        elif Peer.SOURCE in self.memory.lost:
            self._then(Input.SOURCE_LOST)
        elif self.memory.handed_over:
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
        self._after(Timer.PHASE, ALIVE_LIMIT)
        self._ask_whether_alive()

    def _verify_without_event(self) -> None:
        self._say("not-handed-over", f"SPICE_MIGRATE_COMPLETED did not come within {HANDOVER_LIMIT:g} s.")
        self._verify()

    def _verify_without_source(self) -> None:
        self.memory.times.setdefault("completed", self._now)
        self._say("source-lost", "The source's QMP connection ended before it had handed its sessions over.")
        self._verify()

    def _ask_whether_alive(self) -> None:
        self._sequence = deque([(Peer.TARGET, "query-spice", NO_ARGUMENTS)])
        self._execute(Peer.TARGET, "query-status")

    def _ask_later(self) -> None:
        self._after(Timer.POLL, ASK_INTERVAL)

    def _take_target_answer(self) -> None:
        assert self._awaited is not None
        asked, self._awaited = self._awaited, None
        if asked.command == "query-status":
            self.memory.answers[Peer.TARGET]["query-status"] = self._value
            if self.memory.status_of(Peer.TARGET) == "paused" and self.memory.source_ran and not self._continued:
                self._continued = True  # started with -S, which leaves this to us
                self._sequence.appendleft((Peer.TARGET, "cont", NO_ARGUMENTS))
        if self._sequence:
            self._ask_next()
            return
        sessions = all(is_whole(outcome) for outcome in self.memory.moved_sessions())
        self._then(Input.ALIVE if sessions and self.memory.target_alive else Input.MISSING)

    def _settle(self) -> None:
        self._expect_nobody()
        self._after(Timer.PHASE, SETTLE_TIME)

    def _end_source(self) -> None:
        if self.plan.keep_source or Peer.SOURCE in self.memory.lost:
            self._then(Input.SOURCE_LOST if Peer.SOURCE in self.memory.lost else Input.PHASE_OVER)
            return
        self._say("ending-source", "Ending the source.")
        self._after(Timer.PHASE, REPLY_LIMIT)
        self._execute(Peer.SOURCE, "quit", limit=BLOCKED_LIMIT)  # one that does not answer has not ended

    # -- the way back -------------------------------------------------------------------------------------------

    def _release(self) -> None:
        self._say("releasing", "Telling the clients to stay.")
        self._after(Timer.PHASE, RELEASE_LIMIT)
        self._execute(Peer.SOURCE, "migrate", {"uri": NOWHERE})

    def _go_back(self, code: str, cause: str) -> None:
        if not self.memory.code:
            self.memory.code, self.memory.cause = code, cause

    def _release_cancelled(self) -> None:
        self._go_back("cancelled", "Cancelled.")
        self._release()

    def _release_late(self) -> None:
        self._go_back("time-limit", self.memory.late_sentence)
        self._release()

    def _release_without_target(self) -> None:
        self._go_back("target-lost", self.memory.target_lost_sentence)
        self._release()

    def _release_after_refusal(self) -> None:
        self._go_back("migrate-refused", f"The source refused to migrate: {self._refusal}.")
        self._release()

    def _cancel(self) -> None:
        self._say("cancelling", "Cancelling the machine's migration.")
        self._after(Timer.PHASE, BLOCKED_LIMIT)
        self._execute(Peer.SOURCE, "migrate_cancel", limit=BLOCKED_LIMIT)

    def _cancel_as_asked(self) -> None:
        self._go_back("cancelled", "Cancelled.")
        self._cancel()

    def _cancel_late(self) -> None:
        self._go_back("time-limit", self.memory.late_sentence)
        self._cancel()

    def _cancel_without_target(self) -> None:
        self._go_back("target-lost", self.memory.target_lost_sentence)
        self._cancel()

    def _check_source(self) -> None:
        self._say("checking", "Verifying machine and sessions at the source.")
        self._expect_nobody()
        self._after(Timer.PHASE, CHECK_LIMIT)
        self._check_source_again()

    def _check_source_again(self) -> None:
        questions: list[Question] = [
            (Peer.SOURCE, "query-migrate", NO_ARGUMENTS),
            (Peer.SOURCE, "query-status", NO_ARGUMENTS),
            (Peer.SOURCE, "query-spice", NO_ARGUMENTS),
        ]
        if Peer.TARGET not in self.memory.lost:
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
        self.memory.answers[self._awaited.peer][self._awaited.command] = self._value
        failed = self.memory.code == "migration-failed" and not self.memory.cause
        if failed and self._awaited.command == "query-migrate":
            why = text(mapping(self._value).get("error-desc"))
            target = f" {self.memory.target_lost_sentence}" if Peer.TARGET in self.memory.lost else ""
            because = f": {why}" if why else ""
            self.memory.cause = f"The machine's migration failed{because}.{target}"
        self._ask_next()

    def _go_on_without_target(self) -> None:
        self._sequence = deque(question for question in self._sequence if question[0] is not Peer.TARGET)
        if self._awaited is None or self._awaited.peer is Peer.TARGET:
            self._deadlines.pop(Timer.REPLY, None)
            if Timer.POLL not in self._deadlines:
                self._ask_next()

    def _judge_source(self) -> None:
        if Peer.TARGET in self.memory.lost:
            self.memory.answers[Peer.TARGET].pop("query-status", None)
        as_before = self.memory.status_of(Peer.SOURCE) == "running" or not self.memory.source_ran
        self._then(Input.RUNS if as_before else Input.STANDS)

    def _settle_back(self) -> None:
        self._after(Timer.PHASE, SETTLE_TIME)

    def _recheck_sessions(self) -> None:
        self._ask_in_turn((Peer.SOURCE, "query-spice", NO_ARGUMENTS))

    def _check_source_later(self) -> None:
        self._after(Timer.POLL, ASK_INTERVAL)

    def _resume_source(self) -> None:
        if self.memory.status_of(Peer.TARGET) not in ("", "inmigrate"):
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
        self._after(Timer.PHASE, CHECK_LIMIT)
        self.memory.freeze_sessions()
        if Peer.TARGET in self.memory.lost:
            self._then(Input.TARGET_LOST)
        else:
            self._ask_target_again()

    def _ask_target_again(self) -> None:
        self._execute(Peer.TARGET, "query-status")

    def _judge_target(self) -> None:
        self._awaited = None
        self.memory.answers[Peer.TARGET]["query-status"] = self._value
        if self.memory.status_of(Peer.TARGET) in ("", "inmigrate"):
            self._after(Timer.POLL, ASK_INTERVAL)
        else:
            self._then(Input.MIGRATED)
