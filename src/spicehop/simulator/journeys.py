"""Many journeys of our own servers: seeds at random, and one journey with a mishap at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from spicehop.simulator.aims import JOURNEY_AIMS
from spicehop.simulator.chart import journey_chart
from spicehop.simulator.hosts import MakeHost
from spicehop.simulator.mishaps import MISHAPS
from spicehop.simulator.moments import drawn_moment
from spicehop.simulator.moving import Journey, Mishap, MovingWorld, journey
from spicehop.simulator.moving_judging import judge_journey

MISHAP_TIMES = (0.5, 2.2)
"""Seconds between which a random mishap happens: from the first migration's begin to after its end."""

_GUEST = ("guest's", "guest's", "migration", "migration", "management", "source killed", "target killed", "")
_SESSION = ("a client", "a client", "direct link", "direct link", "main", "port", "migration", "target", "guest's", "")
CONCERNS: dict[str, tuple[str, ...]] = {
    "leaving": _SESSION,
    "arriving": _SESSION,
    "channel": _SESSION,
    "client": ("main", "inputs", "display", "target", "source", "migration", "a client", "clients told", ""),
    "guest-departure": _GUEST,
    "guest-arrival": _GUEST,
    "link": ("direct link", "target killed", "source killed"),
    "conducting": ("guest's", "migration", "target", "source", ""),
}
"""By table, how the mishaps begin that concern its machines most."""


@dataclass(frozen=True, slots=True)
class JourneyVerdict:
    """One run and what is wrong with it."""

    journey: Journey
    mishap: Mishap | None
    violations: tuple[str, ...]
    outcome: str
    """How the last migration went."""
    schemes: tuple[str, ...]
    """By which schemes clients have moved."""
    steps: int
    chart: str
    """The sequence chart; empty when nothing is wrong."""

    @property
    def good(self) -> bool:
        """Whether no invariant was violated."""
        return not self.violations

    def as_json(self) -> dict[str, object]:
        """For programs, without the chart."""
        return {
            "form": "spicehop",
            "seed": self.journey.seed,
            "scheme": ", ".join(self.schemes),
            "fault": str(self.mishap) if self.mishap is not None else "",
            "outcome": self.outcome,
            "violations": list(self.violations),
        }


def run_journey(journey: Journey, make_host: MakeHost, mishap: Mishap | None = None) -> JourneyVerdict:
    """One run, judged. What a machine raises is a violation, too."""
    world = MovingWorld(journey, make_host, mishap)
    raised = ""
    try:
        world.run()
    except Exception as error:
        raised = f"a machine raised {type(error).__name__}: {error}"
    violations = (raised,) if raised else tuple(judge_journey(world))
    schemes = tuple(outcome.scheme for user in world.users for outcome in user.driver.outcomes)
    return JourneyVerdict(
        journey,
        mishap,
        violations,
        world.outcome,
        schemes,
        world.clock.steps,
        journey_chart(world) if violations else "",
    )


def drawn_case(seed: int) -> tuple[Journey, Mishap | None]:
    """A journey and what goes wrong on it: of ten runs two have no mishap, one has a mishap at a random time, one at a
    random state of a machine, and six have one that takes a row of a table which would seldom be taken otherwise.
    """
    drawn, random = journey(seed), Random(~seed)
    chance = random.random()
    if chance < 0.2:
        return drawn, None
    if chance < 0.3:
        return drawn, Mishap(random.choice(tuple(MISHAPS)), time=random.uniform(*MISHAP_TIMES))
    latency = drawn.conditions.latency
    if chance < 0.4:
        moment = drawn_moment(random, tuple(CONCERNS), latency)
        begin = random.choice(CONCERNS[moment.table])
        concerned = [name for name in MISHAPS if name.startswith(begin)]
        return drawn, Mishap(random.choice(concerned), moment=moment)
    aim = random.choice(JOURNEY_AIMS)
    return replace(drawn, **aim.changed(random)), aim.mishap(random, latency)


def explore_journeys(seed: int, runs: int, make_host: MakeHost) -> Iterator[JourneyVerdict]:
    """`runs` runs with the seeds from `seed` on."""
    for number in range(seed, seed + runs):
        drawn, mishap = drawn_case(number)
        yield run_journey(drawn, make_host, mishap)


def mishap_at_every_step(
    journey: Journey, make_host: MakeHost, names: tuple[str, ...] = (), *, stride: int = 1
) -> Iterator[JourneyVerdict]:
    """One journey with each mishap of `names` (all when empty) at every `stride`-th step."""
    steps = run_journey(journey, make_host).steps
    for name in names or tuple(MISHAPS):
        for step in range(0, steps, stride):
            yield run_journey(journey, make_host, Mishap(name, step))
