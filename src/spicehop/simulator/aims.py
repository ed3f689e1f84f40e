"""Which faults take which rows of the tables: what is drawn at random takes some of them once in a million runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from spicehop.migration.preflight import QUERIES
from spicehop.simulator.mishaps import CLOSED, SLOW_LINKS
from spicehop.simulator.moments import Moment
from spicehop.simulator.moving import Mishap
from spicehop.simulator.network import Conditions
from spicehop.simulator.world import Fault


@dataclass(frozen=True, slots=True)
class Aim:
    """One fault at one state of a machine, and perhaps a second one at another."""

    name: str
    """One of `FAULTS`, `OUT_OF_TURN` or `MISHAPS`; empty when the situation alone does it."""
    table: str = ""
    """Empty when it counts from the migration's begin."""
    state: str = ""
    waits: tuple[float, ...] = (0.0,)
    """How long after that, by how long a message is under way."""
    delay: float = 0.0
    """Seconds on top of that."""
    changes: tuple[tuple[str, tuple[object, ...]], ...] = ()
    """Of the situation: names of fields, and values of which one is drawn."""
    then: Aim | None = None

    def fault(self, random: Random, latency: float) -> Fault | None:
        """The fault of the form with models of QEMU, drawn; None when the situation alone does it."""
        if not self.name:
            return None
        then = self.then.fault(random, latency) if self.then is not None else None
        return Fault(self.name, moment=Moment(self.table, self.state, wait=self._wait(random, latency)), then=then)

    def mishap(self, random: Random, latency: float) -> Mishap | None:
        """The mishap of the form with our own servers, drawn; None as well."""
        if not self.name:
            return None
        then = self.then.mishap(random, latency) if self.then is not None else None
        wait = self._wait(random, latency)
        if not self.table:
            return Mishap(self.name, after_begin=wait, then=then)
        return Mishap(self.name, moment=Moment(self.table, self.state, wait=wait), then=then)

    def changed(self, random: Random) -> dict[str, Any]:
        """What it changes of the situation, drawn."""
        return {name: random.choice(values) for name, values in self.changes}

    def _wait(self, random: Random, latency: float) -> float:
        return self.delay + random.choice(self.waits) * latency * random.uniform(0.8, 1.2)


def _aims(
    names: tuple[str, ...],
    table: str,
    states: str,
    *,
    waits: tuple[float, ...] = (0.0,),
    then: tuple[Aim, ...] = (),
    **changes: tuple[object, ...],
) -> Iterator[Aim]:
    """Each of the faults at each of the states, followed by each of `then`."""
    for name in names:
        for state in states.split():
            for follower in then or (None,):
                yield Aim(name, table, state, waits, changes=tuple(changes.items()), then=follower)


FORWARD = "SurveyingPeers ProbingPort PreparingPeers InformingClients AwaitingLinks LinkPause LaunchingMigration"
AFTER = "MigratingMachine AwaitingHandover VerifyingSessions SettlingSessions ConfirmingSessions EndingSource"
BACK = "CancellingMigration CheckingSource SettlingBack RecheckingSource"
CANCEL, SOURCE_LOST, TARGET_LOST = "conductor cancelled", "source's QMP lost", "target's QMP lost"
SOURCE_REFUSES, TARGET_REFUSES = "source refuses a command", "target refuses a command"
PAUSED = "conductor cancelled, and the source does not run on"
ANY = (CANCEL, SOURCE_LOST, TARGET_LOST)
SEAMLESS = ("seamless",)
SEMI_SEAMLESS = ("semi-seamless",)
ALIKE = ("alike",)
SLOW = (0.03,)


def _conducting() -> Iterator[Aim]:
    table = "conducting"
    yield from _aims(ANY, table, f"{FORWARD} {AFTER}")
    back = tuple(_aims((*ANY, SOURCE_REFUSES), table, BACK))
    yield from _aims((CANCEL,), table, "MigratingMachine", then=back)
    releasing = tuple(_aims((*ANY, SOURCE_REFUSES, "source's QMP hangs 20 s"), table, "ReleasingClients"))
    yield from _aims((CANCEL, CANCEL), table, "LinkPause", then=releasing)
    resuming = tuple(_aims((*ANY, SOURCE_REFUSES), table, "ResumingSource"))
    yield from _aims((PAUSED,), table, "MigratingMachine", then=resuming)
    refuses_late = tuple(_aims((SOURCE_REFUSES,), table, "CancellingMigration", waits=(10.0,)))
    yield from _aims((f"{CANCEL}, and the source takes 100 s",), table, "MigratingMachine", then=refuses_late)
    yield from _aims((CANCEL,), "client", "Switching AwaitingTargetInit", qmp_latency=SLOW)
    asking = tuple(_aims((CANCEL, TARGET_LOST, TARGET_REFUSES), table, "AskingTarget"))
    yield from _aims(("source's QMP lost",), table, "MigratingMachine", then=asking)
    yield from _aims(("source killed",), table, "LaunchingMigration MigratingMachine")
    yield from _aims(
        (SOURCE_REFUSES,), table, "PreparingPeers InformingClients LaunchingMigration MigratingMachine EndingSource"
    )
    yield from _aims((TARGET_REFUSES,), table, "PreparingPeers AwaitingLinks VerifyingSessions ConfirmingSessions")
    yield from _aims(("source's QMP hangs 20 s",), table, "AwaitingHandover EndingSource")
    yield from _aims(
        ("target refuses clients", "target's connections hang 14 s", "target has another machine"),
        table,
        "SurveyingPeers",
    )
    yield from _aims(("target refuses clients",), table, "InformingClients", require_links=(True,))
    yield from _aims(("main cut at the target",), table, "VerifyingSessions SettlingSessions")
    yield from _aims(
        ("somebody else moves the machine",),
        table,
        "SurveyingPeers ProbingPort PreparingPeers InformingClients AwaitingLinks LinkPause",
    )
    yield from _aims(("somebody else cancels the migration",), table, "MigratingMachine")
    yield from _aims((SOURCE_REFUSES, TARGET_REFUSES), table, "SurveyingPeers")
    surveyed = 4 * SLOW[0] * len(QUERIES)
    limits = tuple(0.05 * number for number in range(1, 50))
    for _ in range(16):
        yield from _aims(("",), table, "NotBegun", time_limit=limits, qmp_latency=SLOW)
    # So long to InformingClients, and to LaunchingMigration, with these conditions.
    near = (Conditions(0.001, 0.0, 1, 1500),)
    yield from _aims(("", ""), table, "NotBegun", time_limit=(1.0, 1.03, 1.06), qmp_latency=SLOW, conditions=near)
    launching = tuple(1.17 + 0.01 * number for number in range(10))
    yield from _aims(("", ""), table, "NotBegun", time_limit=launching, qmp_latency=SLOW, conditions=near)
    probing = tuple(surveyed + 0.01 * number for number in range(10))
    distant = (Conditions(0.05, 0.0, 1, 1500),)
    yield from _aims(("", ""), table, "NotBegun", time_limit=probing, qmp_latency=SLOW, conditions=distant)
    yield from _aims(("",), table, "NotBegun", keep_source=(True,))


def _client() -> Iterator[Aim]:
    table = "client"
    again = "clients told again"
    says = (again, *(f"source says MIGRATE_{word}" for word in ("CANCEL", "END", "SWITCH_HOST")))
    main = "source says MIGRATE on main"
    yield from _aims((says[1],), "conducting", "SurveyingPeers")
    yield from _aims(
        (*says, main, "source killed", "target killed"), table, "LinkingTarget", scheme=SEAMLESS, targets=ALIKE
    )
    yield from _aims((*says, "target killed"), table, "ReadySeamless", scheme=SEAMLESS, targets=ALIKE)
    yield from _aims(
        (*says, main, "source killed", "target killed"),
        table,
        "ReadySemiSeamless",
        scheme=SEMI_SEAMLESS,
        targets=ALIKE,
    )
    lost = tuple(_aims((*says, main, "source killed"), table, "TargetLost"))
    yield from _aims(
        ("target refuses clients",), "conducting", "InformingClients", then=lost, scheme=(*SEAMLESS, *SEMI_SEAMLESS)
    )
    for word in ("BEGIN", "SWITCH_HOST"):
        late = f"source says MIGRATE_{word} while main stalls"
        yield from _aims((late, late), "conducting", "MigratingMachine", scheme=SEAMLESS, targets=ALIKE)
    yield from _aims(("target killed", "source killed"), table, "Switching", scheme=SEAMLESS, targets=ALIKE)
    yield from _aims(
        (
            "target says MIGRATE_BEGIN",
            "target says MIGRATE_SWITCH_HOST",
            "main cut at the target",
            "main stalled at the target 14 s",
        ),
        table,
        "AwaitingTargetInit",
        scheme=SEMI_SEAMLESS,
        targets=ALIKE,
    )
    slow = "main stalled at the target 40 s"
    yield from _aims(
        (slow, slow, slow),
        table,
        "LinkingTarget",
        waits=(5.0, 6.0, 7.0, 8.0, 9.0),
        require_links=(True,),
        scheme=SEAMLESS,
        targets=ALIKE,
    )
    fades = ("inputs fades at the source",) * 2
    yield from _aims(fades, "conducting", "MigratingMachine", keep_source=(True,), scheme=SEAMLESS, targets=ALIKE)


QEMU_AIMS: tuple[Aim, ...] = (*_conducting(), *_client())
"""All aims of the form with models of QEMU; each is drawn equally often."""


LEAVE = "a client leaves"
CUT, FADE, HANG = "guest's connection cut", "guest's connection fades", "guest's connection hangs 60 s"
NO_LOAD = "guest cannot be loaded"
CANCELLED = "migration cancelled"
FOR_GOOD = "direct link cut for good"
REFUSED = "target refuses clients"
ONE, NONE_LATE, YES, NO = (1,), (0,), (True,), (False,)
CONDUCTED, PAUSES = (-1.0,), (0.3, 1.5)
LONG_WAY = (100_000,)


def _guests() -> Iterator[Aim]:
    table = "guest-departure"
    launching = ("conducting", "LaunchingMigration")
    for delay in (0.0, 0.0006):  # to the source's hearing of it
        connecting = _aims((CANCELLED, CANCELLED, "target killed"), *launching, waits=(0.0, 0.5, 1.0), pause=CONDUCTED)
        yield from (replace(aim, delay=delay) for aim in connecting)
    yield from _aims(("target is silent for 60 s", HANG), *launching, pause=CONDUCTED)
    yield from _aims((HANG, CANCELLED, CUT, FADE), table, "AwaitingWelcome")
    yield from _aims((CANCELLED, CUT, FADE, "target killed"), table, "SendingAhead", bandwidth=LONG_WAY)
    yield from _aims((CANCELLED, CUT, FADE, "target killed"), table, "AwaitingContinue", pause=PAUSES)
    yield from _aims((CANCELLED, CUT, FADE, HANG, "target killed"), table, "AwaitingLoaded AwaitingRunning")
    doubts = tuple(_aims((CANCELLED, "source told to quit"), table, "OutwaitingLease"))
    yield from _aims((FADE, FADE), table, "AwaitingRunning", then=doubts)
    yield from _aims((NO_LOAD,), table, "AwaitingWelcome")
    yield from _aims(("guest is too large",), table, "AwaitingWelcome")
    table = "guest-arrival"
    yield from _aims((HANG, CUT, FADE, "source killed"), table, "ReceivingState", bandwidth=LONG_WAY)
    dies = ("guest's connection dies",)
    yield from _aims(dies, "guest-departure", "SendingAhead", waits=(1.0, 2.0, 4.0), bandwidth=LONG_WAY)
    yield from _aims(dies, "guest-departure", "AwaitingContinue", pause=PAUSES)
    yield from _aims(dies, table, "AwaitingRun AwaitingDone")
    yield from _aims((HANG, CUT, FADE, "source killed"), table, "AwaitingRun AwaitingDone")


def _leaving() -> Iterator[Aim]:
    table, linking = "leaving", ("client", "LinkingTarget")  # no row leads to AwaitingLink
    alone: dict[str, Any] = {"clients": ONE, "late": NONE_LATE}
    yield from _aims((LEAVE, CANCELLED), *linking, waits=(0.0, 1.0, 2.0), **alone)
    yield from _aims((LEAVE, CANCELLED, CANCELLED), *linking, waits=(0.0, 1.0), seamless=NO, **alone)
    yield from _aims((LEAVE,), table, "Linked", seamless=NO, **alone)
    yield from _aims((LEAVE,), table, "LinkedSeamless HandingOverChannels HandingOverMain", **alone)
    yield from _aims((REFUSED,) * 2, *linking, hops=ONE)
    unlinked = tuple(_aims((LEAVE, CANCELLED), table, "NotLinked"))
    yield from _aims((REFUSED,), *linking, then=unlinked, **alone)
    leaves = tuple(_aims((LEAVE,), table, "CalledBack"))
    yield from _aims((CANCELLED,) * 3, *linking, then=leaves, **alone)
    yield from _aims(
        (
            "target refuses clients, and the migration is cancelled",
            "clients link slowly, and the migration is cancelled",
            "migration cancelled, and begun again by somebody else",
        ),
        *linking,
        pause=CONDUCTED,
    )
    late = "target's connections stalled 14 s"
    yield from _aims((late, late), *linking, pause=(-1.0, 0.0), seamless=(True, False), hops=ONE)
    gone = tuple(_aims((LEAVE,), table, "AwaitingLateLink"))
    yield from _aims((late,), *linking, pause=(0.0,), then=gone, **alone)
    both = "clients link slowly, and the direct link stalls"
    for _ in range(3):
        yield from _aims((both,), *linking, pause=(0.0,), direct=YES)
    later = "clients link slowly, and the direct link a little later"
    yield from _aims((later,) * 3, *linking, pause=(0.0,), direct=YES, seamless=YES)
    gone = tuple(_aims((LEAVE,), table, "AwaitingLinkNotice"))
    yield from _aims((both,) * 3, *linking, pause=(0.0,), direct=YES, then=gone, **alone)


def _leaving_directly() -> Iterator[Aim]:
    table = "leaving"
    ahead = "StateAhead RestoredAhead AwaitingRestore"
    yield from _aims(
        (LEAVE, FOR_GOOD, CLOSED, "direct link cut"),
        table,
        f"{ahead} HandingOverChannels HandingOverMain AwaitingDeparture",
        direct=YES,
        clients=ONE,
        late=NONE_LATE,
    )
    yield from _aims((CUT, NO_LOAD, "target killed"), table, "StateAhead RestoredAhead", direct=YES)
    restored = tuple(_aims((LEAVE, FOR_GOOD, CUT), table, "RestoredAhead"))
    running_late = ("guest's connection stalls", "guest-arrival", "AwaitingDone")
    yield from _aims(running_late[:1], *running_late[1:], then=restored, direct=YES, clients=ONE, late=NONE_LATE)
    yield from _aims(
        ("port cut at the target", "main cut at the target"), table, "LinkedSeamless StateAhead", direct=YES
    )
    yield from _aims(("direct link stalls", "main stalled 14 s at the source"), table, ahead, direct=YES)
    gone = tuple(_aims((LEAVE,), table, "AwaitingRestore"))
    yield from _aims(("direct link stalls",), table, "StateAhead", then=gone, direct=YES, clients=ONE, late=NONE_LATE)
    yield from _aims(("main stalled 14 s at the source",), table, "HandingOverChannels HandingOverMain")
    yield from _aims(("main fades at the source",) * 2, table, "AwaitingDeparture")
    yield from _aims(
        (FOR_GOOD, CLOSED), "channel", "HoldingBack MigrateQueued AwaitingFlushMark HandedOver", direct=YES
    )
    quits = tuple(_aims(("source told to quit",), table, "HandingOverChannels", direct=YES))
    yield from quits
    yield from _aims(
        ("clients do not read their ports for 40 s",),
        "conducting",
        "LaunchingMigration",
        then=quits,
        direct=YES,
        pause=CONDUCTED,
        bandwidth=LONG_WAY,
        conditions=(Conditions(0.001, 0.001, 1, 20_000),),
        write_interval=(0.02,),
        largest_write=(40_000,),
        clients=ONE,
        late=NONE_LATE,
    )
    table = "arriving"
    yield from _aims((FOR_GOOD, CLOSED, LEAVE), table, "AwaitingClient", direct=YES)
    yield from _aims(("source killed", "main fades at the source"), table, "AwaitingClient", direct=YES)


def _arriving() -> Iterator[Aim]:
    yield from _aims(("source names a newer version",) * 2, "client", "LinkingTarget", seamless=YES)
    yield from _aims(("clients begin anew at the target",), "arriving", "AwaitingState", waits=(4.0, 8.0, 30.0))
    yield from _aims(("clients begin anew at the target",), "leaving", "LinkedSeamless", direct=NO)
    yield from _aims(
        ("clients spoil the first state that they carry", "clients spoil the third state that they carry"),
        "leaving",
        "LinkedSeamless",
        direct=NO,
    )
    yield from _aims(("source's channels but main cut",) * 2, "leaving", "HandingOverChannels", direct=NO)


def _newcomers() -> Iterator[Aim]:
    alone: dict[str, Any] = {"clients": ONE, "direct": NO, "seamless": YES, "hops": ONE, "pause": CONDUCTED}
    near = (Conditions(0.001, 0.001, 1, 20_000),)
    yield from _aims(
        (SLOW_LINKS,) * 4, "client", "LinkingTarget", late=(3,), late_until=(3.5,), conditions=near, **alone
    )
    distant = (Conditions(0.05, 0.01, 1, 20_000),)
    for _ in range(4):
        yield from _aims(
            ("",),
            "conducting",
            "LinkPause",
            late=(3,),
            late_until=(1.6, 2.2),
            bandwidth=(0, *LONG_WAY),
            conditions=distant,
            **alone,
        )


def _links() -> Iterator[Aim]:
    names = ("direct link cut", "direct link stalls", "source killed", "target killed", CLOSED, "direct link fades")
    for name in names:
        yield Aim(name, waits=(0.5, 1.5, 2.0, 2.5, 3.0, 3.5), changes=(("direct", YES),))
    yield from _aims(("a stranger makes a direct link",) * 2, "link", "Open", direct=YES, certificates=NO)
    yield from _aims((CLOSED,), "link", "Open", direct=YES)
    yield from _aims((CLOSED, CLOSED), "client", "LinkingTarget", direct=YES)


JOURNEY_AIMS: tuple[Aim, ...] = (*_guests(), *_leaving(), *_leaving_directly(), *_arriving(), *_newcomers(), *_links())
"""All aims of the form with our own servers."""
