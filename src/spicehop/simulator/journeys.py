"""Many journeys of our own servers: seeds at random, and one journey with a mishap at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from spicehop.simulator.chart import journey_chart
from spicehop.simulator.hosts import MakeHost
from spicehop.simulator.moments import Moment, drawn_moment
from spicehop.simulator.moving import MISHAPS, Journey, Mishap, MovingWorld, journey
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
SELDOM: tuple[tuple[str, str, str], ...] = (
    ("leaving", "AwaitingLink Linked LinkedSeamless NotLinked AwaitingLateLink", "a client leaves"),
    ("leaving", "StateAhead RestoredAhead AwaitingRestore HandingOverMain Stays", "a client leaves"),
    ("leaving", "StateAhead RestoredAhead AwaitingRestore HandingOverChannels HandingOverMain", "direct link cut"),
    ("leaving", "AwaitingDeparture", "direct link cut"),
    ("leaving", "Linked LinkedSeamless NotLinked StateAhead RestoredAhead", "migration cancelled"),
    ("leaving", "AwaitingLink AwaitingLink AwaitingLink", "clients link slowly"),
    ("leaving", "StateAhead AwaitingRestore", "direct link stalls"),
    ("arriving", "AwaitingClient AwaitingState AwaitingRestOfState", "direct link cut"),
    ("arriving", "AwaitingClient AwaitingState AwaitingRestOfState", "a client leaves"),
    ("channel", "HoldingBack MigrateQueued AwaitingFlushMark Flushed DataQueued HandedOver", "direct link cut"),
    ("client", "LinkingTarget AwaitingTargetInit", "target's connections"),
    ("client", "LinkingTarget ReadySeamless ReadySemiSeamless Switching AwaitingTargetInit TargetLost", "clients told"),
    ("client", "LinkingTarget ReadySeamless ReadySemiSeamless Switching", "migration cancelled"),
    ("client", "AwaitingTargetInit TargetLost ReadySemiSeamless", "source killed"),
    ("client", "AwaitingTargetInit ReadySemiSeamless Switching", "target killed"),
    ("guest-departure", "AwaitingWelcome SendingAhead StoppingGuest AwaitingContinue", "migration cancelled"),
    ("guest-departure", "AwaitingLoaded AwaitingRunning OutwaitingLease", "migration cancelled"),
    ("guest-departure", "AwaitingWelcome SendingAhead StoppingGuest AwaitingContinue", "guest's connection hangs 60 s"),
    ("guest-departure", "AwaitingLoaded AwaitingRunning OutwaitingLease", "guest's connection hangs 60 s"),
    ("guest-departure", "AwaitingWelcome SendingAhead StoppingGuest AwaitingContinue", "guest's connection cut"),
    ("guest-departure", "AwaitingLoaded AwaitingRunning OutwaitingLease", "guest's connection cut"),
    ("guest-arrival", "ReceivingState LoadingGuest AwaitingRun AwaitingDone", "guest's connection hangs 60 s"),
    ("guest-arrival", "ReceivingState LoadingGuest AwaitingRun AwaitingDone", "guest's connection cut"),
    ("conducting", "LaunchingMigration", "guest's connection"),
    ("conducting", "LaunchingMigration MigratingMachine", "migration cancelled"),
)
"""Tables with states, and how the mishaps begin that take rows which would seldom be taken otherwise."""
_SELDOM = [(table, state, begin) for table, states, begin in SELDOM for state in states.split()]


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


def drawn_mishap(seed: int) -> Mishap | None:
    """Of four runs one has none, one has a mishap at a random time, and two at a random state of a machine."""
    random = Random(~seed)
    if random.random() < 0.25:
        return None
    if random.random() < 1 / 3:
        return Mishap(random.choice(tuple(MISHAPS)), time=random.uniform(*MISHAP_TIMES))
    if random.random() < 0.5:
        table, state, begin = random.choice(_SELDOM)
        wait = random.choice((0.0, 0.0, 0.5, 1.0)) * journey(seed).conditions.latency * random.random()
        name = random.choice([name for name in MISHAPS if name.startswith(begin)])
        return Mishap(name, moment=Moment(table, state, random.choice((1, 1, 2)), wait))
    moment = drawn_moment(random, tuple(CONCERNS), journey(seed).conditions.latency)
    begin = random.choice(CONCERNS[moment.table])
    concerned = [name for name in MISHAPS if name.startswith(begin)]
    return Mishap(random.choice(concerned), moment=moment)


def explore_journeys(seed: int, runs: int, make_host: MakeHost) -> Iterator[JourneyVerdict]:
    """`runs` runs with the seeds from `seed` on."""
    for number in range(seed, seed + runs):
        yield run_journey(journey(number), make_host, drawn_mishap(number))


def mishap_at_every_step(
    journey: Journey, make_host: MakeHost, names: tuple[str, ...] = (), *, stride: int = 1
) -> Iterator[JourneyVerdict]:
    """One journey with each mishap of `names` (all when empty) at every `stride`-th step."""
    steps = run_journey(journey, make_host).steps
    for name in names or tuple(MISHAPS):
        for step in range(0, steps, stride):
            yield run_journey(journey, make_host, Mishap(name, step))
