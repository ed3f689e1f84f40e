"""The conducting machine's table: every row, and that nothing waits for ever."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest
from conducting_stage import FIRST, PLAN, SOURCE, TARGET, Stage

from spicehop.errors import StateError
from spicehop.migration.conducting import Conducting
from spicehop.migration.conducting_endings import ENDINGS
from spicehop.migration.conducting_events import (
    Begun,
    CancelRequested,
    Execute,
    Peer,
)
from spicehop.migration.conducting_result import Outcome
from spicehop.migration.conducting_table import HEARD, TABLE, Input, State, diagram
from spicehop.migration.preflight import Finding, Severity


def test_every_pair_of_state_and_input_is_a_row_or_a_typed_error() -> None:
    for state in State:
        for happening in Input:
            machine = Conducting(PLAN)
            machine.state = state
            machine.memory.lost = dict.fromkeys(Peer, "gone")
            machine.memory.code, machine.memory.cause = "why", "Why."
            machine.memory.findings = [Finding(Severity.ERROR, "why", "Why.")]
            machine.memory.times.update(began=0.0, informed=0.0)
            machine._awaited = Execute(1, SOURCE, "query-migrate")
            if (state, happening) in TABLE:
                machine._run(happening)
                assert not machine._inputs
            elif happening in HEARD and state not in (State.NOT_BEGUN, State.DONE):
                machine._run(happening)
                assert machine.state is state
                assert not machine._commands
            else:
                with pytest.raises(StateError, match="cannot happen"):
                    machine._run(happening)
                assert machine.state is state


def test_every_action_exists_and_none_is_idle() -> None:
    actions = {action for action, _ in TABLE.values()}
    assert {action for action in actions if action not in ENDINGS and not hasattr(Conducting, f"_{action}")} == set()
    assert set(ENDINGS) <= actions


def test_every_state_is_reached_and_left() -> None:
    reached = {follower for (state, _), (_, follower) in TABLE.items() if state is not follower}
    left = {state for (state, _), (_, follower) in TABLE.items() if state is not follower}
    assert reached == set(State) - {State.NOT_BEGUN}
    assert left == set(State) - {State.DONE}


def test_nothing_begins_twice_or_goes_on_after_the_end() -> None:
    stage = Stage()
    stage.run()
    with pytest.raises(StateError):
        stage.machine.feed(CancelRequested(), stage.now)
    machine = Conducting(PLAN)
    machine.feed(Begun(), 0.0)
    with pytest.raises(StateError):
        machine.feed(Begun(), 0.0)


def test_the_diagram_has_every_state() -> None:
    drawn = diagram()
    assert drawn.startswith("stateDiagram-v2\n")
    assert all(state.value in drawn for state in State)
    assert "SettlingSessions --> ConfirmingSessions : phase's time over" in drawn


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_it_ends_and_waits_with_a_deadline(seed: int) -> None:
    chance = random.Random(seed)
    stage = Stage(dataclasses.replace(PLAN, require_links=chance.random() < 0.5))
    happenings: list[Callable[[], None]] = [
        stage.cancel,
        lambda: stage.lose(SOURCE),
        lambda: stage.lose(TARGET),
        lambda: stage.event(SOURCE, "MIGRATION", status=chance.choice(["completed", "failed", "cancelled", "active"])),
        lambda: stage.event(SOURCE, "SPICE_MIGRATE_COMPLETED"),
        lambda: stage.mute.add((chance.choice([*Peer]), chance.choice(["query-status", "query-spice", "migrate"]))),
        lambda: stage.unlink(FIRST),
        lambda: setattr(stage.target, "status", chance.choice(["running", "paused", "inmigrate"])),
        lambda: setattr(stage.source, "status", chance.choice(["running", "postmigrate"])),
    ]
    if chance.random() < 0.5:
        stage.on["migrate"] = lambda: None
    for _ in range(chance.randint(1, 4)):
        stage.later(chance.uniform(0, 4), chance.choice(happenings))
    result = stage.run()
    assert result.sentence.endswith(".")
    assert stage.now - 100.0 < 900
    if stage.chart[-1:] == ["source quit"]:
        assert result.outcome is Outcome.MOVED
