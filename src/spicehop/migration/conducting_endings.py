"""The endings of a conducted migration: the result, and a sentence that says where machine and sessions are now."""

from __future__ import annotations

from collections.abc import Callable

from spicehop.migration.conducting_events import Peer
from spicehop.migration.conducting_memory import Memory
from spicehop.migration.conducting_result import Outcome, Result, SessionOutcome, Timing
from spicehop.migration.conducting_verdict import sessions_sentence, sessions_unknown
from spicehop.migration.preflight import Severity

SERVER_HANDOVER_LIMIT = 9.5
"""A hand-over that took this long was ended by the source's own 10 s timer (dossier C3): a channel did not move."""


def _result(
    memory: Memory,
    outcome: Outcome,
    code: str,
    sentence: str,
    sessions: tuple[SessionOutcome, ...],
    *,
    source_ended: bool = False,
) -> Result:
    timing = Timing(**memory.times)
    return Result(outcome, code, sentence.strip(), sessions, tuple(memory.findings), timing, source_ended)


def _nothing_changed(memory: Memory) -> str:
    if memory.status_of(Peer.SOURCE) in ("", "inmigrate", "postmigrate"):
        return "Nothing was changed."  # the machine is elsewhere, or that was not asked yet
    return "Machine and sessions are untouched at the source."


def _forbidden(memory: Memory) -> Result:
    errors = [finding for finding in memory.findings if finding.severity is Severity.ERROR]
    why = " ".join(finding.sentence for finding in errors)
    sentence = f"Not migrated. {why} {_nothing_changed(memory)}"
    return _result(memory, Outcome.REFUSED, errors[0].code, sentence, memory.untouched_sessions())


def _untouched(memory: Memory, code: str, cause: str) -> Result:
    sentence = f"{cause} {_nothing_changed(memory)}"
    return _result(memory, Outcome.ROLLED_BACK, code, sentence, memory.untouched_sessions())


def _cancelled_untouched(memory: Memory) -> Result:
    return _untouched(memory, "cancelled", "Cancelled before the clients were told of the target.")


def _late_untouched(memory: Memory) -> Result:
    return _untouched(memory, "time-limit", memory.late_sentence)


def _target_lost_untouched(memory: Memory) -> Result:
    return _untouched(memory, "target-lost", memory.target_lost_sentence)


def _moved_by_others(memory: Memory) -> Result:
    sentence = (
        "Somebody else has migrated the source's machine in the meantime; where it and its sessions are is not known."
    )
    sessions = sessions_unknown(memory.before, "somebody else moved the machine")
    return _result(memory, Outcome.UNVERIFIED, "moved-by-others", sentence, sessions)


def _source_lost(memory: Memory) -> Result:
    waits = memory.status_of(Peer.TARGET) == "inmigrate" and "launched" in memory.times
    target = " The target does not have the machine: it still waits for it." if waits else ""
    sentence = (
        f"The source's QEMU was lost ({memory.lost[Peer.SOURCE]}).{target} "
        "Whether machine and sessions live on there is not known; look at its process."
    )
    sessions = sessions_unknown(memory.before, "the source cannot be asked")
    return _result(memory, Outcome.UNVERIFIED, "source-lost", sentence, sessions)


def _both_lost(memory: Memory) -> Result:
    sentence = (
        f"Both QEMUs were lost (source: {memory.lost[Peer.SOURCE]}; target: {memory.lost[Peer.TARGET]}). "
        "Where machine and sessions are is not known; look at the two processes."
    )
    sessions = sessions_unknown(memory.before, "neither QEMU can be asked")
    return _result(memory, Outcome.UNVERIFIED, "both-lost", sentence, sessions)


def _target_lost_moved(memory: Memory) -> Result:
    if Peer.SOURCE in memory.lost:
        source = "the source's QEMU is gone too"
    else:
        source = (
            "the source holds the machine as it was at the switch-over, stopped: "
            "when the target is certainly gone, 'cont' there lets it run on"
        )
    sessions = memory.moved_sessions()
    sentence = (
        f"{memory.target_lost_sentence} The machine had already moved there; {source}; "
        f"{sessions_sentence(sessions, 'there too')}."
    )
    return _result(memory, Outcome.UNVERIFIED, "target-lost-after-switch", sentence, sessions)


def _rolled_back(memory: Memory) -> Result:
    sessions = memory.stayed_sessions()
    state = "runs" if memory.source_ran else "is"
    sentence = f"{memory.cause} The machine {state} at the source; {sessions_sentence(sessions, 'there too')}."
    return _result(memory, Outcome.ROLLED_BACK, memory.code, sentence, sessions)


def _source_stands(memory: Memory) -> Result:
    status = memory.status_of(Peer.TARGET)
    target = f"the target's is '{status}'" if status else "the target cannot be asked"
    sentence = (
        f"{memory.cause} The source's machine does not run again, and {target}; "
        "when the target certainly does not run it, 'cont' at the source does."
    )
    return _result(memory, Outcome.UNVERIFIED, "source-stands-still", sentence, memory.stayed_sessions())


def _slow_handover(memory: Memory) -> str:
    handed_over, completed = memory.times.get("handed_over"), memory.times.get("completed")
    if handed_over is None or completed is None or handed_over - completed < SERVER_HANDOVER_LIMIT:
        return ""
    return " The source gave up waiting after 10 s, so a channel may be dead although it is connected."


def _with_loss(memory: Memory) -> Result:
    sessions, status = memory.moved_sessions(), memory.status_of(Peer.TARGET)
    machine = "The machine runs at the target" if status == "running" else f"The target's machine is '{status}'"
    if Peer.SOURCE in memory.lost:
        source = " The source's QEMU was lost during the hand-over."
    else:
        waited = "" if memory.handed_over else " The source never said that the sessions had left it."
        source = f"{waited}{_slow_handover(memory)} The source is left as it is, stopped; 'quit' ends it."
    sentence = f"{machine}; {sessions_sentence(sessions, 'there too')}.{source}"
    code = "sessions-lost" if memory.target_alive else "target-not-running"
    ended = Peer.SOURCE in memory.lost
    return _result(memory, Outcome.MOVED_WITH_LOSS, code, sentence, sessions, source_ended=ended)


def _moved(memory: Memory) -> Result:
    about = "left as it is, stopped" if memory.plan.keep_source else "told to end, but was not seen to"
    return _report_moved(memory, f"The source is {about}.")


def _moved_and_ended(memory: Memory) -> Result:
    return _report_moved(memory, "The source has ended.", source_ended=True)


def _report_moved(memory: Memory, about_source: str, *, source_ended: bool = False) -> Result:
    sessions, status = memory.moved_sessions(), memory.status_of(Peer.TARGET)
    state = "runs" if status == "running" else f"is '{status}'"
    sentence = (
        f"The machine {state} at the target; {sessions_sentence(sessions, 'there too')}."
        f"{_slow_handover(memory)} {about_source}"
    )
    return _result(memory, Outcome.MOVED, "moved", sentence, sessions, source_ended=source_ended)


ENDINGS: dict[str, Callable[[Memory], Result]] = {
    "finish_forbidden": _forbidden,
    "finish_cancelled_untouched": _cancelled_untouched,
    "finish_late_untouched": _late_untouched,
    "finish_target_lost_untouched": _target_lost_untouched,
    "finish_moved_by_others": _moved_by_others,
    "finish_source_lost": _source_lost,
    "finish_both_lost": _both_lost,
    "finish_target_lost_moved": _target_lost_moved,
    "finish_rolled_back": _rolled_back,
    "finish_source_stands": _source_stands,
    "finish_with_loss": _with_loss,
    "finish_moved": _moved,
    "finish_moved_and_ended": _moved_and_ended,
}
"""The table's actions that end it."""
