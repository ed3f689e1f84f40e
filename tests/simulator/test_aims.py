"""Faults that are aimed at rows: they can happen, and take what they are aimed at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from random import Random

import pytest

from spicehop.demo.simulated_server import SimulatedServer
from spicehop.migration.conducting_events import Peer
from spicehop.simulator import Fault, Situation, World, judge
from spicehop.simulator.aims import JOURNEY_AIMS, QEMU_AIMS, Aim
from spicehop.simulator.coverage import TABLES, counted, named
from spicehop.simulator.faults import FAULTS, OUT_OF_TURN
from spicehop.simulator.journeys import drawn_case, run_journey
from spicehop.simulator.mishaps import MISHAPS
from spicehop.simulator.moments import Moment
from spicehop.simulator.moving import Journey
from spicehop.simulator.runs import drawn_case as drawn_situation


@pytest.mark.parametrize(
    ("aims", "names", "situation"),
    [(QEMU_AIMS, FAULTS | OUT_OF_TURN, Situation), (JOURNEY_AIMS, MISHAPS, Journey)],
)
def test_every_aim_is_at_a_state_that_a_row_leads_to(
    aims: tuple[Aim, ...], names: Mapping[str, object], situation: type
) -> None:
    known = {field.name for field in fields(situation)}
    entered = {
        (table, getattr(after, "value", after))
        for table, rows in TABLES.items()
        for row, value in rows.items()
        if (after := value[1] if isinstance(value, tuple) else value) is not row[0]
    }
    for first in aims:
        assert {name for name, _ in first.changes} <= known
        aim: Aim | None = first
        while aim is not None:
            assert not aim.name or aim.name in names
            assert not (aim.name and aim.table) or (aim.table, aim.state) in entered, aim
            aim = aim.then


def test_a_second_fault_waits_for_the_first() -> None:
    paused = Fault(
        "conductor cancelled, and the source does not run on", moment=Moment("conducting", "MigratingMachine")
    )
    resuming = Moment("conducting", "ResumingSource")
    with counted() as rows:
        world = World(Situation(3), replace(paused, then=Fault("source refuses a command", moment=resuming))).run()
    assert [name for name, _, _ in world.went_wrong] == [paused.name, "source refuses a command"]
    assert any(named(row) == "ResumingSource: refused" for row in rows["conducting"])
    assert world.conductor.result is not None
    assert world.conductor.result.code == "source-stands-still"
    without_first = replace(Fault("target killed", time=200.0), then=Fault("source killed", moment=resuming))
    assert World(Situation(3), without_first).run().charges in ([], ["target killed"])


def test_a_qemu_that_hangs_is_given_up() -> None:
    world = World(Situation(5), Fault("target's QMP hangs 20 s", moment=Moment("conducting", "AwaitingLinks"))).run()
    assert Peer.TARGET in world.conductor.machine.memory.lost
    assert judge(world) == []


def test_what_a_server_says_out_of_turn_costs_no_session() -> None:
    for name in OUT_OF_TURN:
        world = World(Situation(6), Fault(name, moment=Moment("client", "LinkingTarget"))).run()
        assert judge(world) == []
        assert not world.session.ended


def test_cases_are_drawn_from_the_seed_alone() -> None:
    for seed in range(40):
        assert drawn_case(seed) == drawn_case(seed)
        assert drawn_situation(seed) == drawn_situation(seed)
    faults = [drawn_situation(seed)[1] for seed in range(200)]
    assert 15 < faults.count(None) < 100
    assert any(fault is not None and fault.then is not None for fault in faults)


@pytest.mark.parametrize("number", range(0, len(JOURNEY_AIMS), 12))
def test_aimed_journeys_keep_what_is_promised(number: int) -> None:
    aim, random = JOURNEY_AIMS[number], Random(number)
    journey = replace(Journey(number, work=0.9), **aim.changed(random))
    verdict = run_journey(journey, SimulatedServer, aim.mishap(random, journey.conditions.latency))
    assert verdict.good, "\n".join([*verdict.violations, verdict.chart])
