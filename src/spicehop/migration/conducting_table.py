"""The conducting machine as a table: what each input does in each state.

What is absent and `HEARD` is of no interest there; anything else that is absent is a StateError.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a conducted migration stands."""

    NOT_BEGUN = "NotBegun"
    SURVEYING = "SurveyingPeers"
    """Both QEMUs are asked what they are; nothing is changed."""
    PROBING = "ProbingPort"
    """The address for clients is tried."""
    PREPARING = "PreparingPeers"
    """Capabilities, limits, the target's ticket and its waiting address are set."""
    INFORMING = "InformingClients"
    """client_migrate_info is on its way: clients will begin to link."""
    LINKING = "AwaitingLinks"
    """Clients link their channels to the target."""
    PAUSING = "LinkPause"
    """All are linked; the source shall hear of it from its clients first (QMP does not show when it has)."""
    LAUNCHING = "LaunchingMigration"
    """`migrate` is on its way."""
    MIGRATING = "MigratingMachine"
    HANDING_OVER = "AwaitingHandover"
    """The machine is at the target, its sessions are moving: the source must live on."""
    VERIFYING = "VerifyingSessions"
    """The target is asked whether the machine runs there and the sessions are there."""
    SETTLING = "SettlingSessions"
    """A moment in which a session that only seemed to live can end."""
    CONFIRMING = "ConfirmingSessions"
    """The target is asked once more."""
    ENDING = "EndingSource"
    RELEASING = "ReleasingClients"
    """Clients that were told of the target are told to stay, by a migration that goes nowhere."""
    CANCELLING = "CancellingMigration"
    CHECKING = "CheckingSource"
    """The source is asked whether it runs and has its sessions."""
    SETTLING_BACK = "SettlingBack"
    """A moment in which a session that only seemed to stay can end."""
    RECHECKING = "RecheckingSource"
    RESUMING = "ResumingSource"
    """The source did not run on by itself and is told to."""
    ASKING_TARGET = "AskingTarget"
    """The source cannot be asked any more: the target may know where the machine is."""
    DONE = "Done"


class Input(StrEnum):
    """What can happen to it."""

    BEGIN = "begun"
    ANSWERED = "answered"
    """The command under way was answered."""
    REFUSED = "refused"
    """The command under way was answered by an error."""
    ALL_ANSWERED = "all answered"
    """The last command of a sequence was answered."""
    PASSED = "nothing found against it"
    FORBIDDEN = "found impossible"
    PROBED = "port probed"
    CENSUS_CHANGED = "a client's channel came or went"
    LINKED = "all channels linked"
    POLL_DUE = "time to ask again"
    PHASE_OVER = "phase's time over"
    TIME_UP = "time limit reached"
    CANCEL = "cancel requested"
    SOURCE_LOST = "source lost"
    TARGET_LOST = "target lost"
    MIGRATED = "migration completed"
    NOT_MIGRATED = "migration failed or cancelled"
    HANDED_OVER = "SPICE_MIGRATE_COMPLETED"
    ALIVE = "machine and sessions alive"
    MISSING = "machine or session missing"
    RUNS = "source runs"
    STANDS = "source stands still"


Row = tuple[str, State]

_UNTOLD = (State.SURVEYING, State.PROBING, State.PREPARING)
_TOLD = (State.INFORMING, State.LINKING, State.PAUSING)
_UNDER_WAY = (State.LAUNCHING, State.MIGRATING)
_MOVED = (State.HANDING_OVER, State.VERIFYING, State.SETTLING, State.CONFIRMING, State.ENDING)
_GOING_BACK = (
    *(State.RELEASING, State.CANCELLING, State.CHECKING),
    *(State.SETTLING_BACK, State.RECHECKING, State.RESUMING),
)
HEARD = frozenset({Input.CENSUS_CHANGED, Input.MIGRATED, Input.NOT_MIGRATED, Input.HANDED_OVER})
"""What a QEMU tells unasked, at any time. What a state has missed so is asked for later."""


def _table() -> dict[tuple[State, Input], Row]:
    rows: dict[tuple[State, Input], Row] = {}

    def stay(states: tuple[State, ...], happening: Input, action: str = "ignore") -> None:
        rows.update({(state, happening): (action, state) for state in states})

    def go(states: tuple[State, ...], happening: Input, action: str, follower: State) -> None:
        rows.update({(state, happening): (action, follower) for state in states})

    # What can come at any time. Rows below replace some of these.
    stay((*_MOVED, State.ASKING_TARGET), Input.CANCEL, "note_too_late")
    stay(_GOING_BACK, Input.CANCEL)
    go(_UNTOLD, Input.CANCEL, "finish_cancelled_untouched", State.DONE)
    go(_UNTOLD, Input.TIME_UP, "finish_late_untouched", State.DONE)
    go(_UNTOLD, Input.SOURCE_LOST, "finish_source_lost", State.DONE)
    go(_UNTOLD, Input.TARGET_LOST, "finish_target_lost_untouched", State.DONE)
    go((*_UNTOLD, *_TOLD), Input.MIGRATED, "finish_moved_by_others", State.DONE)
    go(_TOLD, Input.CANCEL, "release_cancelled", State.RELEASING)
    go(_TOLD, Input.TIME_UP, "release_late", State.RELEASING)
    go(_TOLD, Input.TARGET_LOST, "release_without_target", State.RELEASING)
    go(_TOLD, Input.SOURCE_LOST, "finish_source_lost", State.DONE)
    go(_UNDER_WAY, Input.CANCEL, "cancel_as_asked", State.CANCELLING)
    go(_UNDER_WAY, Input.TIME_UP, "cancel_late", State.CANCELLING)
    go(_UNDER_WAY, Input.TARGET_LOST, "cancel_without_target", State.CANCELLING)
    go(_UNDER_WAY, Input.SOURCE_LOST, "ask_target", State.ASKING_TARGET)
    go(_MOVED, Input.TARGET_LOST, "finish_target_lost_moved", State.DONE)
    stay(_MOVED, Input.SOURCE_LOST, "note_source_ended")
    go(_GOING_BACK, Input.SOURCE_LOST, "finish_source_lost", State.DONE)
    stay(_GOING_BACK, Input.TARGET_LOST)

    # The way forward.
    go((State.NOT_BEGUN,), Input.BEGIN, "survey_begun", State.SURVEYING)
    stay((State.SURVEYING,), Input.ANSWERED, "take_survey_answer")
    stay((State.SURVEYING,), Input.REFUSED, "take_survey_refusal")
    stay((State.SURVEYING,), Input.ALL_ANSWERED, "examine")
    go((State.SURVEYING,), Input.FORBIDDEN, "finish_forbidden", State.DONE)
    go((State.SURVEYING,), Input.PASSED, "probe", State.PROBING)
    stay((State.PROBING,), Input.PROBED, "take_probe")
    stay((State.PROBING,), Input.PHASE_OVER, "give_up_probe")
    go((State.PROBING,), Input.FORBIDDEN, "finish_forbidden", State.DONE)
    go((State.PROBING,), Input.PASSED, "prepare", State.PREPARING)
    stay((State.PREPARING,), Input.ANSWERED, "take_preparation")
    stay((State.PREPARING,), Input.REFUSED, "take_preparation_refusal")
    go((State.PREPARING,), Input.FORBIDDEN, "finish_forbidden", State.DONE)
    go((State.PREPARING,), Input.ALL_ANSWERED, "inform", State.INFORMING)
    # Who comes while a command is under way is announced when it has been answered.
    stay((State.PAUSING, State.MIGRATING), Input.CENSUS_CHANGED, "announce_newcomers")
    go((State.INFORMING,), Input.ANSWERED, "await_links", State.LINKING)
    go((State.INFORMING,), Input.REFUSED, "check_source_after_refused_information", State.CHECKING)
    stay((State.LINKING,), Input.CENSUS_CHANGED, "count_links")
    stay((State.LINKING,), Input.POLL_DUE, "ask_for_links")
    stay((State.LINKING,), Input.ANSWERED, "take_links_answer")
    stay((State.LINKING,), Input.REFUSED, "take_links_answer")
    go((State.LINKING,), Input.LINKED, "pause", State.PAUSING)
    stay((State.LINKING,), Input.PHASE_OVER, "judge_links")
    go((State.LINKING,), Input.PASSED, "launch", State.LAUNCHING)
    go((State.LINKING,), Input.FORBIDDEN, "release", State.RELEASING)
    go((State.PAUSING,), Input.PHASE_OVER, "launch", State.LAUNCHING)
    go((State.LAUNCHING,), Input.ANSWERED, "watch", State.MIGRATING)
    go((State.LAUNCHING,), Input.REFUSED, "release_after_refusal", State.RELEASING)
    stay((State.MIGRATING,), Input.POLL_DUE, "ask_for_progress")
    stay((State.MIGRATING,), Input.ANSWERED, "take_progress")
    stay((State.MIGRATING,), Input.REFUSED, "watch")
    go((State.MIGRATING,), Input.MIGRATED, "await_handover", State.HANDING_OVER)
    go((State.MIGRATING,), Input.NOT_MIGRATED, "check_source_after_failure", State.CHECKING)
    go((State.HANDING_OVER,), Input.HANDED_OVER, "verify", State.VERIFYING)
    go((State.HANDING_OVER,), Input.PHASE_OVER, "verify_without_event", State.VERIFYING)
    go((State.HANDING_OVER,), Input.SOURCE_LOST, "verify_without_source", State.VERIFYING)
    stay((State.VERIFYING,), Input.ANSWERED, "take_target_answer")
    stay((State.VERIFYING,), Input.REFUSED, "take_target_answer")
    stay((State.VERIFYING,), Input.POLL_DUE, "ask_whether_alive")
    stay((State.VERIFYING,), Input.MISSING, "ask_later")
    go((State.VERIFYING,), Input.ALIVE, "settle", State.SETTLING)
    go((State.VERIFYING,), Input.PHASE_OVER, "finish_with_loss", State.DONE)
    go((State.SETTLING,), Input.PHASE_OVER, "ask_whether_alive", State.CONFIRMING)
    stay((State.CONFIRMING,), Input.ANSWERED, "take_target_answer")
    stay((State.CONFIRMING,), Input.REFUSED, "take_target_answer")
    go((State.CONFIRMING,), Input.ALIVE, "end_source", State.ENDING)
    go((State.CONFIRMING,), Input.MISSING, "finish_with_loss", State.DONE)
    stay((State.ENDING,), Input.ANSWERED)
    go((State.ENDING,), Input.REFUSED, "finish_moved", State.DONE)
    go((State.ENDING,), Input.SOURCE_LOST, "finish_moved_and_ended", State.DONE)
    go((State.ENDING,), Input.TARGET_LOST, "finish_moved", State.DONE)
    go((State.ENDING,), Input.PHASE_OVER, "finish_moved", State.DONE)

    # The way back.
    stay((State.RELEASING,), Input.ANSWERED)
    go((State.RELEASING,), Input.NOT_MIGRATED, "check_source", State.CHECKING)
    go((State.RELEASING,), Input.REFUSED, "check_source", State.CHECKING)
    go((State.RELEASING,), Input.PHASE_OVER, "check_source", State.CHECKING)
    stay((State.CANCELLING,), Input.ANSWERED, "take_progress")
    stay((State.CANCELLING,), Input.REFUSED, "watch")
    stay((State.CANCELLING,), Input.POLL_DUE, "ask_for_progress")
    go((State.CANCELLING,), Input.NOT_MIGRATED, "check_source", State.CHECKING)
    go((State.CANCELLING,), Input.MIGRATED, "await_handover_in_spite", State.HANDING_OVER)
    go((State.CANCELLING,), Input.PHASE_OVER, "check_source", State.CHECKING)
    stay((State.CHECKING,), Input.ANSWERED, "take_source_answer")
    stay((State.CHECKING,), Input.REFUSED, "take_source_answer")
    stay((State.CHECKING,), Input.TARGET_LOST, "go_on_without_target")
    stay((State.CHECKING,), Input.ALL_ANSWERED, "judge_source")
    stay((State.CHECKING,), Input.STANDS, "check_source_later")
    stay((State.CHECKING,), Input.POLL_DUE, "check_source_again")
    go((State.CHECKING,), Input.RUNS, "settle_back", State.SETTLING_BACK)
    go((State.CHECKING,), Input.PHASE_OVER, "resume_source", State.RESUMING)
    go((State.SETTLING_BACK,), Input.PHASE_OVER, "recheck_sessions", State.RECHECKING)
    stay((State.RECHECKING,), Input.ANSWERED, "take_source_answer")
    stay((State.RECHECKING,), Input.REFUSED, "take_source_answer")
    go((State.RECHECKING,), Input.ALL_ANSWERED, "finish_rolled_back", State.DONE)
    stay((State.RESUMING,), Input.ANSWERED, "take_resumed_answer")
    stay((State.RESUMING,), Input.REFUSED, "take_resumed_answer")
    go((State.RESUMING,), Input.RUNS, "settle_back", State.SETTLING_BACK)
    go((State.RESUMING,), Input.STANDS, "finish_source_stands", State.DONE)
    stay((State.ASKING_TARGET,), Input.ANSWERED, "judge_target")
    stay((State.ASKING_TARGET,), Input.REFUSED, "judge_target")
    stay((State.ASKING_TARGET,), Input.POLL_DUE, "ask_target_again")
    go((State.ASKING_TARGET,), Input.MIGRATED, "verify_without_source", State.VERIFYING)
    go((State.ASKING_TARGET,), Input.PHASE_OVER, "finish_source_lost", State.DONE)
    go((State.ASKING_TARGET,), Input.TARGET_LOST, "finish_both_lost", State.DONE)
    return rows


TABLE: dict[tuple[State, Input], Row] = _table()
"""(state, input) to (action, next state). An action is the method of that name of `Conducting`."""


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs. Inputs that change no state are left out."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, happening), (_, follower) in TABLE.items():
        if follower is not state:
            arrows.setdefault((state, follower), []).append(happening.value)
    order = {state: place for place, state in enumerate(State)}
    lines = ["stateDiagram-v2", f"    [*] --> {State.NOT_BEGUN}"]
    for state, follower in sorted(arrows, key=lambda pair: (order[pair[0]], order[pair[1]])):
        lines.append(f"    {state} --> {follower} : {', '.join(sorted(arrows[state, follower]))}")
    lines.append(f"    {State.DONE} --> [*]")
    return "\n".join(lines) + "\n"
