"""The invariants of a run that has ended: bytes and keys once and in order, every loss charged, every report true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from spicehop.channels.vmc import VmcChannel
from spicehop.migration.client import ClientState
from spicehop.migration.conducting_result import Outcome
from spicehop.simulator.world import CODES, HARMLESS, PORT_KEY, World
from spicehop.trace import Record

MARK = 12
"""Bytes that are enough to find one's place again in a random stream."""


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
        mark = received[at : at + MARK]
        found = sent.find(mark, place)
        if found < 0:
            again = sent.find(mark)
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
    return sorted(
        reason for reason in reasons if " is not possible in the state " in reason or " cannot have" in reason
    )


def judge(world: World) -> list[str]:
    """Everything that is wrong with a run, in sentences; empty when nothing is."""
    found = list(world.violations)
    found += unexpected(world.records)
    found += _judge_rest(world)
    found += _judge_bytes(world)
    found += _judge_keys(world)
    found += _judge_reports(world)
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
    if world.session.ended and not _charged(world):
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
    if world.fault is None and whole and result.outcome is not Outcome.MOVED:
        found.append(f"nothing went wrong, and the conductor says: {result.sentence}")
    if world.fault is None and world.situation.targets == "alike":
        schemes = [outcome.scheme for outcome in world.client.outcomes]
        if schemes != [world.situation.scheme] * world.situation.hops:
            found.append(f"nothing went wrong, and the client moved by {schemes}, not {world.situation.scheme}")
    return found
