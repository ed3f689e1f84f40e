"""The conducting machine's ways back, and what it does when a QEMU is lost."""

from __future__ import annotations

import dataclasses

import pytest
from conducting_stage import FIRST, LAUNCHED, PLAN, PREPARED, SECOND, SOURCE, TARGET, TOLD, Stage

from spicehop.migration import conducting
from spicehop.migration.conducting_events import (
    CancelRequested,
    Peer,
    PeerLost,
)
from spicehop.migration.conducting_result import Fate, Outcome
from spicehop.migration.conducting_table import State


def test_an_impossible_migration_changes_nothing() -> None:
    stage = Stage(sessions=(FIRST, SECOND))
    result = stage.run()
    assert stage.chart == []
    assert (result.outcome, result.code) == (Outcome.REFUSED, "several-clients")
    assert "its QEMU would abort and the machine would be lost" in result.sentence
    assert result.sentence.endswith("Machine and sessions are untouched at the source.")
    assert {session.fate for session in result.sessions} == {Fate.STAYED}


def test_a_second_client_that_comes_during_the_preparation_is_seen() -> None:
    stage = Stage()
    stage.on["migrate-incoming"] = lambda: stage.source.connect(SECOND)
    result = stage.run()
    assert stage.chart == PREPARED
    assert (result.outcome, result.code) == (Outcome.REFUSED, "several-clients")


@pytest.mark.parametrize("failure", ["Connection refused", None])
def test_nobody_at_the_address_for_clients(failure: str | None) -> None:
    stage = Stage()
    stage.probe_failure = failure
    result = stage.run()
    assert stage.chart == ["probe 192.0.2.1:5900"]
    assert result.code == "target-unreachable"
    assert f"Nobody answers at 192.0.2.1:5900, where clients would be sent ({failure or 'no answer in 10 s'})" in (
        result.sentence
    )


def test_no_probe() -> None:
    stage = Stage(dataclasses.replace(PLAN, probe=False))
    stage.run()
    assert stage.chart == [*LAUNCHED[1:], "source quit"]


@pytest.mark.parametrize(
    ("peer", "command"),
    [
        (SOURCE, "migrate-set-capabilities"),
        (SOURCE, "migrate-set-parameters"),
        (TARGET, "migrate-incoming"),
        (TARGET, "set_password"),
    ],
)
def test_a_refused_preparation_stops_it(peer: Peer, command: str) -> None:
    stage = Stage(dataclasses.replace(PLAN, ticket="x", max_bandwidth=1))
    stage.target.auth = "spice"
    stage.refused[peer, command] = "no such thing"
    result = stage.run()
    assert result.outcome is Outcome.REFUSED
    assert result.code == f"{command.replace('_', '-')}-refused"
    assert f"The {peer.value} refused {command}: no such thing" in result.sentence


def test_a_target_that_waits_without_a_socket_needs_its_address_told() -> None:
    stage = Stage(dataclasses.replace(PLAN, migration_uri="unix:/run/m"))
    stage.refused[TARGET, "migrate-incoming"] = "already"
    assert stage.run().outcome is Outcome.MOVED
    assert stage.executed[-1].command == "quit"
    stage = Stage()
    stage.refused[TARGET, "migrate-incoming"] = "already"
    assert stage.run().sentence == (
        "Not migrated. The target refused migrate-incoming: already; say with --uri where it waits. "
        "Machine and sessions are untouched at the source."
    )


def test_a_target_that_refuses_capabilities_is_no_obstacle() -> None:
    stage = Stage()
    stage.refused[TARGET, "migrate-set-capabilities"] = "in progress"
    assert stage.run().outcome is Outcome.MOVED


BACK = "The machine runs at the source; 1 session is there too."


@pytest.mark.parametrize("state", [State.SURVEYING, State.PROBING, State.PREPARING])
def test_cancelled_before_the_clients_were_told(state: State) -> None:
    stage = Stage()
    stage.run_until(state)
    stage.feed(CancelRequested())
    assert stage.result is not None
    assert stage.result.code == "cancelled"
    assert "source client_migrate_info" not in stage.chart


@pytest.mark.parametrize("state", [State.INFORMING, State.LINKING, State.PAUSING])
def test_cancelled_while_clients_link(state: State) -> None:
    stage = Stage()
    stage.run_until(state)
    stage.cancel()
    while stage.result is None:
        stage.step()
    assert stage.chart == LAUNCHED
    assert stage.executed[[one.command for one in stage.executed].index("migrate")].arguments == {
        "uri": conducting.NOWHERE
    }
    assert (stage.result.outcome, stage.result.code) == (Outcome.ROLLED_BACK, "cancelled")
    assert stage.result.sentence == f"Cancelled. {BACK}"


def test_cancelled_while_the_machine_moves() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: stage.cancel(after=3.0)
    stage.on["migrate_cancel"] = lambda: stage.event(SOURCE, "MIGRATION", after=0.1, status="cancelled")
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source migrate_cancel"]
    assert result.sentence == f"Cancelled. {BACK}"
    assert result.sessions[0].fate is Fate.STAYED


def test_cancelled_too_late_goes_on() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: stage.cancel(after=1.0)
    stage.on["migrate_cancel"] = stage.arrive
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source migrate_cancel", "source quit"]
    assert result.outcome is Outcome.MOVED


@pytest.mark.parametrize("state", [State.HANDING_OVER, State.VERIFYING, State.SETTLING, State.CONFIRMING])
def test_cancelled_after_the_move_is_finished(state: State) -> None:
    stage = Stage()
    stage.run_until(state)
    stage.cancel()
    while stage.result is None:
        stage.step()
    assert stage.result.outcome is Outcome.MOVED


def test_time_limit_while_clients_link() -> None:
    stage = Stage(dataclasses.replace(PLAN, time_limit=3.0))
    stage.on["client_migrate_info"] = lambda: None
    result = stage.run()
    assert stage.chart == LAUNCHED
    assert result.sentence == f"The machine had not moved within 3 s. {BACK}"


def test_time_limit_while_the_machine_moves() -> None:
    stage = Stage(dataclasses.replace(PLAN, time_limit=30.0))
    stage.on["migrate"] = lambda: None
    stage.on["migrate_cancel"] = lambda: stage.event(SOURCE, "MIGRATION", status="cancelled")
    result = stage.run()
    assert (result.outcome, result.code) == (Outcome.ROLLED_BACK, "time-limit")


def test_require_links_goes_back() -> None:
    stage = Stage(dataclasses.replace(PLAN, require_links=True))

    def refuse() -> None:
        client = {"client": {"host": "198.51.100.1", "port": "7"}}
        stage.event(TARGET, "SPICE_CONNECTED", **client)
        stage.event(TARGET, "SPICE_DISCONNECTED", after=0.1, **client)

    stage.on["client_migrate_info"] = refuse
    result = stage.run()
    assert stage.chart == LAUNCHED
    assert result.code == "not-linked"
    assert result.sentence == (
        "1 session did not link to the target within 9 s; "
        f"1 connection ended there before the link: the ticket may be a wrong one. {BACK}"
    )


def test_refused_client_migrate_info() -> None:
    stage = Stage()
    stage.refused[SOURCE, "client_migrate_info"] = "no"
    result = stage.run()
    assert stage.chart == TOLD
    assert result.sentence == f"The source refused client_migrate_info: no. {BACK}"


def test_refused_migrate() -> None:
    stage = Stage()
    stage.refused[SOURCE, "migrate"] = "device is unmigratable"
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source migrate"]
    assert result.code == "migrate-refused"
    assert result.sentence == f"The source refused to migrate: device is unmigratable. {BACK}"


def test_a_migration_that_fails() -> None:
    stage = Stage()

    def fail() -> None:
        stage.source.migration.update({"status": "failed", "error-desc": "Connection reset"})
        stage.event(SOURCE, "MIGRATION", after=1.0, status="failed")

    stage.on["migrate"] = fail
    result = stage.run()
    assert stage.chart == LAUNCHED
    assert (result.outcome, result.code) == (Outcome.ROLLED_BACK, "migration-failed")
    assert result.sentence == f"The machine's migration failed: Connection reset. {BACK}"


def test_a_source_that_stands_still_after_a_failure_is_told_to_run() -> None:
    stage = Stage()

    def fail() -> None:
        stage.source.status = "postmigrate"
        stage.event(SOURCE, "MIGRATION", after=1.0, status="failed")

    stage.on["migrate"] = fail
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source cont"]
    assert result.sentence == f"The machine's migration failed. {BACK}"


def test_a_source_that_stands_still_is_left_alone_when_the_target_may_run() -> None:
    stage = Stage()

    def fail() -> None:
        stage.source.status, stage.target.status = "postmigrate", "running"
        stage.event(SOURCE, "MIGRATION", after=1.0, status="failed")

    stage.on["migrate"] = fail
    result = stage.run()
    assert stage.chart == LAUNCHED
    assert (result.outcome, result.code) == (Outcome.UNVERIFIED, "source-stands-still")
    assert "the target's is 'running'" in result.sentence


def test_a_session_that_is_gone_after_going_back_is_said() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: stage.cancel(after=1.0)
    stage.on["migrate_cancel"] = lambda: (
        stage.event(SOURCE, "MIGRATION", status="cancelled"),
        stage.later(0.5, lambda: stage.unlink(FIRST)),
    )
    result = stage.run()
    assert result.sentence == "Cancelled. The machine runs at the source; 1 of 1 session is lost."
    assert result.sessions[0].fate is Fate.LOST


@pytest.mark.parametrize("state", [State.SURVEYING, State.PROBING, State.PREPARING])
def test_the_target_is_lost_before_the_clients_were_told(state: State) -> None:
    stage = Stage()
    stage.run_until(state)
    stage.feed(PeerLost(TARGET))
    assert stage.result is not None
    assert (stage.result.outcome, stage.result.code) == (Outcome.ROLLED_BACK, "target-lost")
    known = "Nothing was changed" if state is State.SURVEYING else "Machine and sessions are untouched at the source"
    assert stage.result.sentence.endswith(f"{known}.")


def test_the_target_is_lost_while_clients_link() -> None:
    stage = Stage()
    stage.on["client_migrate_info"] = lambda: stage.lose(TARGET, after=0.5)
    result = stage.run()
    assert stage.chart == LAUNCHED
    assert result.sentence == f"The target's QEMU was lost (its QMP connection ended). {BACK}"


def test_the_target_is_lost_before_the_switch_over() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: (
        stage.lose(TARGET, after=1.0),
        stage.event(SOURCE, "MIGRATION", after=1.001, status="failed"),
    )
    result = stage.run()
    assert stage.chart == [*LAUNCHED, "source migrate_cancel"]
    assert (result.outcome, result.code) == (Outcome.ROLLED_BACK, "target-lost")
    assert result.sentence == f"The target's QEMU was lost (its QMP connection ended). {BACK}"


@pytest.mark.parametrize("state", [State.HANDING_OVER, State.VERIFYING, State.SETTLING, State.CONFIRMING])
def test_the_target_is_lost_after_the_switch_over(state: State) -> None:
    stage = Stage()
    stage.run_until(state)
    stage.feed(PeerLost(TARGET))
    result = stage.result
    assert result is not None
    assert (result.outcome, result.code) == (Outcome.UNVERIFIED, "target-lost-after-switch")
    assert "source quit" not in stage.chart
    assert "the source holds the machine as it was at the switch-over" in result.sentence
    assert result.sessions[0].fate is Fate.LOST


@pytest.mark.parametrize(
    "state", [State.SURVEYING, State.PROBING, State.PREPARING, State.INFORMING, State.LINKING, State.PAUSING]
)
def test_the_source_is_lost_before_the_machine_moves(state: State) -> None:
    stage = Stage()
    stage.run_until(state)
    stage.feed(PeerLost(SOURCE))
    assert stage.result is not None
    assert (stage.result.outcome, stage.result.code) == (Outcome.UNVERIFIED, "source-lost")
    assert {session.fate for session in stage.result.sessions} <= {Fate.UNKNOWN}


def test_the_source_is_lost_while_the_machine_moves_and_the_target_never_gets_it() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: stage.lose(SOURCE, after=1.0)
    result = stage.run()
    assert (result.outcome, result.code) == (Outcome.UNVERIFIED, "source-lost")
    assert "The target does not have the machine: it still waits for it." in result.sentence


def test_the_source_is_lost_while_the_machine_moves_and_the_target_ends_too() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: (stage.lose(SOURCE, after=1.0), stage.lose(TARGET, after=1.1))
    assert stage.run().code == "both-lost"


def test_the_source_is_lost_at_the_last_moment_and_the_target_has_the_machine() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: (
        stage.lose(SOURCE, after=1.0),
        stage.later(1.1, lambda: setattr(stage.target, "status", "running")),
    )
    result = stage.run()
    assert result.outcome is Outcome.MOVED
    assert result.sentence == "The machine runs at the target; 1 session is there too. The source has ended."


def test_the_source_is_lost_during_the_handover_with_its_session() -> None:
    stage = Stage()

    def die() -> None:
        stage.target.status = "running"
        stage.event(SOURCE, "MIGRATION", status="completed")
        stage.lose(SOURCE, after=0.001)
        stage.later(0.01, lambda: stage.unlink(FIRST, peer=TARGET))

    stage.on["migrate"] = die
    result = stage.run()
    assert (result.outcome, result.code) == (Outcome.MOVED_WITH_LOSS, "sessions-lost")
    assert result.sentence == (
        "The machine runs at the target; 1 of 1 session is lost. The source's QEMU was lost during the hand-over."
    )


def test_a_qemu_that_does_not_answer_is_lost() -> None:
    stage = Stage()
    stage.mute.add((TARGET, "query-spice"))
    result = stage.run()
    assert result.sentence == (
        "The target's QEMU was lost (it did not answer query-spice in time). "
        "Machine and sessions are untouched at the source."
    )


def test_a_source_that_does_not_answer_quit_was_not_seen_to_end() -> None:
    stage = Stage()
    stage.mute.add((SOURCE, "quit"))
    result = stage.run()
    assert result.outcome is Outcome.MOVED
    assert not result.source_ended
    assert result.sentence.endswith("The source is told to end, but was not seen to.")


def test_a_target_that_falls_silent_while_the_source_is_checked_does_not_hold_it_up() -> None:
    stage = Stage()
    stage.on["migrate"] = lambda: (
        stage.mute.add((TARGET, "query-status")),
        stage.event(SOURCE, "MIGRATION", after=1.0, status="failed"),
    )
    result = stage.run()
    assert result.outcome is Outcome.ROLLED_BACK
