"""The invariants of a run that has ended: bytes and keys once and in order, every loss charged, every report true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from spicehop.channels.vmc import VmcChannel
from spicehop.migration.client import ClientState
from spicehop.migration.conducting_result import Outcome
from spicehop.migration.conducting_table import State
from spicehop.simulator.faults import HARMLESS, OUT_OF_TURN
from spicehop.simulator.world import CODES, PORT_KEY, World
from spicehop.trace import Record

CANCEL = "conductor cancelled"
QUICKLY = 0.05
MOST_SWITCHING = 5.0
"""Seconds from the first channel's swap to the last; more than a machine's load and a few round trips."""
MOST_AFTER_HANDOVER = 5.0
"""Seconds from SPICE_MIGRATE_COMPLETED to the conductor's end."""
MOST_AFTER_CANCEL = 4.0
"""Seconds from a cancellation to the machine's being back at work and the sessions' being found there."""
OVER = frozenset({State.NOT_BEGUN, State.DONE})
BEFORE_THE_MOVE = frozenset(
    {
        State.SURVEYING,
        State.PROBING,
        State.PREPARING,
        State.INFORMING,
        State.LINKING,
        State.PAUSING,
    }
)
MARKS = (12, 6, 4, 3)
"""Bytes that are enough to find one's place again in a random stream; fewer where two gaps leave no more in between."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """How a received stream lies in what was sent: ranges that are missing, and what is wrong with it."""

    missing: tuple[tuple[int, int], ...]
    fault: str = ""

    @property
    def lost(self) -> int:
        """Bytes that are missing."""
        return sum(end - start for start, end in self.missing)


def gaps(sent: bytes, received: bytes) -> Gaps:
    """Find `received`, a random stream with pieces missing, in `sent`. A piece that comes twice or late is a fault."""
    missing: list[tuple[int, int]] = []
    at = place = 0
    while at < len(received):
        length = _common(sent, place, received, at)
        at, place = at + length, place + length
        if at == len(received):
            break
        found = next((one for size in MARKS if (one := sent.find(received[at : at + size], place)) >= 0), -1)
        if found < 0:
            again = sent.find(received[at : at + MARKS[0]])
            what = f"bytes {again} ff. came again or too late" if again >= 0 else "bytes came that were never sent"
            return Gaps(tuple(missing), f"{what}, at {at} of what arrived")
        missing.append((place, found))
        place = found
    if place < len(sent):
        missing.append((place, len(sent)))
    return Gaps(tuple(missing))


def _common(sent: bytes, place: int, received: bytes, at: int) -> int:
    length = min(len(sent) - place, len(received) - at)
    if sent[place : place + length] == received[at : at + length]:
        return length  # nearly always
    low, high = 0, length
    while low < high:
        middle = (low + high + 1) // 2
        if sent[place : place + middle] == received[at : at + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def unexpected(records: Iterable[Record]) -> list[str]:
    """What a table had no row for, as far as it ended no more than a connection: nobody here breaks the protocol."""
    reasons = {str(record.detail.get("reason", "")) for record in records}
    wrong = (" is not possible in the state ", " cannot have", "and no migration is under way")
    return sorted(reason for reason in reasons if any(words in reason for words in wrong))


def judge(world: World) -> list[str]:
    """Everything that is wrong with a run, in sentences; empty when nothing is."""
    found = list(world.violations)
    # A libspice that has told its clients again takes two answers for one, and cancels what it goes on with.
    told_again = "clients told again" in world.charges
    contradicted = ("in the state Settled", "no migration is under way") if told_again else ()
    found += [one for one in unexpected(world.records) if not one.endswith(contradicted)]
    found += _judge_rest(world)
    found += _judge_bytes(world)
    found += _judge_keys(world)
    found += _judge_reports(world)
    found += _judge_haste(world)
    return found


def _charged(world: World) -> bool:
    if any(charge not in HARMLESS for charge in world.charges):
        return True
    # While main is stalled over the switch-over libspice falls back, and loses what is under way (dossier C5).
    return bool(world.charges) and any(outcome.scheme == "switch-host" for outcome in world.client.outcomes)


def _judge_rest(world: World) -> list[str]:
    """Nobody waits for something that nobody will bring."""
    found = []
    if world.session.state in (
        ClientState.LINKING_TARGET,
        ClientState.SWITCHING,
        ClientState.AWAITING_TARGET_INIT,
        ClientState.SWITCHING_HOST,
    ):
        found.append(f"everything is at rest and the client is still in {world.session.state.value}")
    if world.conductor.result is None:
        found.append(f"everything is at rest and the conductor is still in {world.conductor.machine.state.value}")
    spoken = bool(world.charges) and OUT_OF_TURN.keys() >= set(world.charges) and world.situation.targets == "alike"
    if world.session.ended and (spoken or not _charged(world)):
        found.append(f"the session ended, and nothing explains it: {world.client.ended}")
    return found


def _judge_bytes(world: World) -> list[str]:
    found = []
    port = world.session.channels.get(PORT_KEY)
    written = bytes(world.work.written)
    if isinstance(port, VmcChannel) and bytes(world.client.port_sent) != written[: port.bytes_written]:
        found.append("the client did not hand each port byte to one connection, once and in order")
    towards = gaps(written, bytes(world.guest.port_read))
    back = gaps(bytes(world.guest.port_read), bytes(world.client.port_received))
    for name, result in (("towards the guest", towards), ("from the guest", back)):
        if result.fault:
            found.append(f"port {name}: {result.fault}")
        elif result.lost and not _charged(world):
            found.append(f"port {name}: {result.lost} bytes lost ({result.missing[:3]}), and nothing explains it")
    return found


def _judge_keys(world: World) -> list[str]:
    found = []
    pressed, presses = world.guest.pressed, world.work.presses
    place = 0
    lost: list[int] = []
    for code in pressed:
        start = place
        while place < len(presses) and presses[place] != code:
            place += 1
        if place == len(presses):
            return [f"the guest saw a press of {code:#x} that was made before, or never"]
        lost += presses[start:place]
        place += 1
    lost += presses[place:]
    if len(lost) >= len(CODES) and not _charged(world):
        found.append(f"{len(lost)} presses are lost")
    excused = Counter(world.guest.presses_dropped) + Counter(world.guest.presses_masked)
    unexplained = Counter(lost) - excused
    if unexplained and not _charged(world):
        found.append(f"presses {sorted(unexplained)} are lost, and nothing explains it")
    settled = world.session.state is ClientState.SETTLED and not _charged(world)
    if settled and set(world.guest.held) != set(world.work.held):
        found.append(f"the guest holds {sorted(world.guest.held)}, the user {sorted(world.work.held)}")
    return found


def _judge_reports(world: World) -> list[str]:
    """What the conductor says is so."""
    found: list[str] = []
    result = world.conductor.result
    if result is None:
        return found
    if result.outcome is Outcome.MOVED and not world.target.runs and "target killed" not in world.charges:
        found.append("the conductor says that the machine has moved, and it does not run at the target")
    if result.outcome is Outcome.ROLLED_BACK and not world.source.runs and "source killed" not in world.charges:
        found.append("the conductor says that the machine is at the source, and it does not run there")
    whole = world.situation.targets in ("alike", "without seamless")
    if world.undisturbed and whole and result.outcome is not Outcome.MOVED:
        found.append(f"nothing went wrong, and the conductor says: {result.sentence}")
    if world.undisturbed and world.situation.targets == "alike":
        schemes = [outcome.scheme for outcome in world.client.outcomes]
        slow = [one for one in world.client.outcomes if one.finished - one.switched > MOST_SWITCHING]
        found += [f"nothing went wrong, and the client switches for more than {MOST_SWITCHING:g} s" for _ in slow]
        if schemes != [world.situation.scheme] * world.situation.hops:
            found.append(f"nothing went wrong, and the client moved by {schemes}, not {world.situation.scheme}")
    return found


def _judge_haste(world: World) -> list[str]:
    """The conductor does not wait where there is nothing to wait for, and says what has happened."""
    found: list[str] = []
    driver, result = world.conductor, world.conductor.result
    if result is None or driver.finished_at is None:
        return found
    names = [name for name, _, _ in world.went_wrong]
    if world.undisturbed:
        linked, told = result.timing.linked, world.last_link
        if linked is not None and told is not None and linked - told > QUICKLY:
            found.append(f"the conductor notices {linked - told:.3f} s late that all clients have linked")
    if result.outcome is Outcome.MOVED and set(names) <= {CANCEL} and result.timing.handed_over is not None:
        late = driver.finished_at - result.timing.handed_over
        if late > MOST_AFTER_HANDOVER:
            found.append(f"the conductor ends {late:.3f} s after the sessions have been handed over")
    if names == [CANCEL] and world.went_wrong[0][1] not in OVER:
        whole = world.situation.targets == "alike" and world.session.state is ClientState.SETTLED
        if whole and result.outcome not in (Outcome.MOVED, Outcome.ROLLED_BACK):
            found.append(f"the conductor was cancelled and says: {result.sentence}")
        late = driver.finished_at - world.went_wrong[0][2]
        if result.outcome is Outcome.ROLLED_BACK and late > MOST_AFTER_CANCEL:
            found.append(f"the conductor ends {late:.3f} s after it was cancelled")
    asked = names == ["source's QMP lost"] and world.went_wrong[0][1] is State.MIGRATING
    runs_there = world.resumed_at is not None and world.resumed_at < driver.finished_at - 1
    if asked and runs_there and result.code == "source-lost":
        found.append(f"the machine runs at the target, and the conductor says: {result.sentence}")
    in_time = world.moved_by_others and world.went_wrong[0][1] in BEFORE_THE_MOVE
    if in_time and len(names) == 1 and result.code != "moved-by-others":
        found.append(f"somebody else has moved the machine, and the conductor says: {result.sentence}")
    return found
