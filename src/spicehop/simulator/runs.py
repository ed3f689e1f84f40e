"""Many runs: seeds at random, and one situation with a fault at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from spicehop.simulator.aims import QEMU_AIMS
from spicehop.simulator.chart import chart
from spicehop.simulator.faults import FAULTS
from spicehop.simulator.judging import judge
from spicehop.simulator.moments import drawn_moment
from spicehop.simulator.world import Fault, Situation, World, drawn, steps_of

FAULT_TIMES = (1.2, 4.0)
"""Seconds between which a random fault happens: from the conductor's start to after the switch-over."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One run and what is wrong with it."""

    situation: Situation
    fault: Fault | None
    violations: tuple[str, ...]
    outcome: str
    """How the conductor's result calls it."""
    schemes: tuple[str, ...]
    """By which schemes the client moved."""
    chart: str
    """The sequence chart; empty when nothing is wrong."""

    @property
    def good(self) -> bool:
        """Whether no invariant was violated."""
        return not self.violations

    def as_json(self) -> dict[str, object]:
        """For programs, without the chart."""
        return {
            "form": "qemu",
            "seed": self.situation.seed,
            "scheme": self.situation.scheme,
            "fault": str(self.fault) if self.fault is not None else "",
            "outcome": self.outcome,
            "violations": list(self.violations),
        }


def run_once(situation: Situation, fault: Fault | None = None) -> Verdict:
    """One run, judged."""
    world = World(situation, fault).run()
    violations = tuple(judge(world))
    result = world.conductor.result
    return Verdict(
        situation,
        fault,
        violations,
        result.outcome.value if result is not None else "",
        tuple(outcome.scheme for outcome in world.client.outcomes),
        chart(world) if violations else "",
    )


def drawn_case(seed: int) -> tuple[Situation, Fault | None]:
    """A situation and what goes wrong in it: of ten runs two have no fault, one has a fault at a random time, one at a
    random state of a machine, and six have one that takes a row of a table which would seldom be taken otherwise.
    """
    situation, random = drawn(seed), Random(~seed)
    chance = random.random()
    if chance < 0.2:
        return situation, None
    if chance < 0.3:
        return situation, Fault(random.choice(tuple(FAULTS)), time=random.uniform(*FAULT_TIMES))
    latency = situation.conditions.latency
    if chance < 0.4:
        moment = drawn_moment(random, ("client", "conducting"), latency)
        return situation, Fault(random.choice(tuple(FAULTS)), moment=moment)
    aim = random.choice(QEMU_AIMS)
    return replace(situation, **aim.changed(random)), aim.fault(random, latency)


def explore(seed: int, runs: int) -> Iterator[Verdict]:
    """`runs` runs with the seeds from `seed` on."""
    for number in range(seed, seed + runs):
        yield run_once(*drawn_case(number))


def every_step(situation: Situation, names: tuple[str, ...] = (), *, stride: int = 1) -> Iterator[Verdict]:
    """One situation with each fault of `names` (all when empty) at every `stride`-th step."""
    steps = steps_of(situation)
    for name in names or tuple(FAULTS):
        for step in range(0, steps, stride):
            yield run_once(situation, Fault(name, step))
