"""The invariants of a journey that has ended: every byte and key once and in order, or charged to who has lost it."""

from __future__ import annotations

from collections.abc import Iterable

from spicehop.migration.conducting_result import Outcome
from spicehop.simulator.judging import gaps, unexpected
from spicehop.simulator.mishaps import END_LINK, HARMLESS, KEEP_SESSIONS
from spicehop.simulator.moving import CLIENT_MUST_END, PORT_KEY, MovingWorld, User
from spicehop.simulator.network import Connection


def judge_journey(world: MovingWorld) -> list[str]:
    """Everything that is wrong with a run, in sentences; empty when nothing is."""
    found = list(world.violations)
    if found and found[-1].startswith("something"):
        return found  # it never came to rest
    found += unexpected(world.records)
    found += _judge_rest(world)
    found += _judge_port(world)
    for user in world.begun:
        if not user.is_astray and not any(charge.startswith("inputs") for charge in world.charges):
            found += _judge_keys(world, user)  # a client presses held keys again when it gets its channel back
    found += _judge_agent(world)
    found += _judge_reports(world)
    return found


def _charged(world: MovingWorld) -> bool:
    return any(charge not in HARMLESS for charge in world.charges) or _guest_is_lost(world)


def _guest_is_lost(world: MovingWorld) -> bool:
    """Whether the guest died with its host, or stands still because nobody knows whose it is."""
    return world.last_running is None or not world.last_running.runs


def _is_excused(world: MovingWorld, connection: Connection) -> bool:
    killed = {host.address for host in world.hosts if host.death == "killed"}
    return connection in world.cut_connections or connection.address in killed


def _name(user: User) -> str:
    return f"client {user.number + 1}"


def _judge_rest(world: MovingWorld) -> list[str]:
    """Nobody waits for something that nobody will bring, and every session is where the guest is, or closed."""
    failed = {str(record.detail.get("reason", "")) for record in world.records}
    found = [one for one in sorted(failed) if one.startswith("the server failed")]
    for host in world.hosts:
        if host.guest.dropped and "management stops the source" not in world.charges:
            found.append(f"{len(host.guest.dropped)} presses were given to the guest at {host.name} that stood still")
        if host.alive:
            found += [f"everything is at rest, and at {host.name} {what}" for what in host.unfinished()]
    for user in world.begun:
        session = user.session
        if session.state in CLIENT_MUST_END:
            found.append(f"everything is at rest, and {_name(user)} is still in {session.state.value}")
        if session.ended and not user.late and KEEP_SESSIONS.issuperset(world.charges) and not _guest_is_lost(world):
            reason = user.driver.ended.error if user.driver.ended else ""
            found.append(f"the session of {_name(user)} ended, and nothing explains it: {reason}")
        home = world.last_running
        if session.ended or user.is_astray or home is None or not home.runs:
            continue
        if session.address.port != home.address[1]:
            found.append(f"{_name(user)} is at port {session.address.port}, and the guest at {home.name}")
    return found


def _judge_port(world: MovingWorld) -> list[str]:
    found: list[str] = []
    writers = [user for user in world.begun if user.written]
    if len(writers) != 1 or world.last_running is None:
        return found  # after its client has lost it the port is somebody else's
    (user,) = writers
    guest = world.last_running.guest
    sent, arrived, back = bytes(user.driver.port_sent), bytes(guest.port.received), bytes(user.driver.port_received)
    if sent != bytes(user.written[: len(sent)]):
        found.append(f"{_name(user)} did not hand each port byte to one connection, once and in order")
    excuse = not user.whole or PORT_KEY in user.session.lost or _guest_is_lost(world)
    if len(sent) < len(user.written) and not excuse and not _charged(world):
        found.append(f"{_name(user)} still keeps {len(user.written) - len(sent)} bytes for the port")
    towards = gaps(sent, arrived)
    if towards.fault:
        found.append(f"port towards the guest: {towards.fault}")
    # What a client has said last at the source may still be there when the direct link ends for good.
    excuse = excuse or not END_LINK.isdisjoint(world.charges)
    unexcused = [] if excuse else _unexcused(world, user, towards.missing)
    if unexcused:
        size = sum(end - start for start, end in unexcused)
        found.append(f"port towards the guest: {size} bytes are lost ({unexcused[:3]}), and nobody to charge them to")
    returned = gaps(arrived, back)
    if returned.fault and not _guest_is_lost(world):
        found.append(f"port from the guest: {returned.fault}")
    elif returned.lost and not excuse and not _charged(world):
        found.append(f"port from the guest: {returned.lost} bytes are lost ({returned.missing[:3]})")
    return found


def _unexcused(world: MovingWorld, user: User, missing: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of what is missing that no killed host and no cut connection had."""
    pieces = [one for one in user.driver.handed if one.size and not _is_excused(world, one.connection)]
    found = []
    for start, end in missing:
        for piece in pieces:
            low, high = max(start, piece.start), min(end, piece.start + piece.size)
            if low < high:
                found.append((low, high))
    return found


def _judge_keys(world: MovingWorld, user: User) -> list[str]:
    if world.last_running is None:
        return []
    if not user.whole_input or "management stops the source" in world.charges:
        return []  # who connects anew presses again what is held
    guest = world.last_running.guest
    mine = set(user.presses)
    place = 0
    lost: list[int] = []
    for code in (one for one in guest.pressed if one in mine):
        start = place
        while place < len(user.presses) and user.presses[place] != code:
            place += 1
        if place == len(user.presses):
            return [f"the guest saw a press of {code:#x} by {_name(user)} that was made before, or never"]
        lost += user.presses[start:place]
        place += 1
    lost += user.presses[place:]
    if _guest_is_lost(world):
        return []
    excused = {one.key for one in user.driver.handed if one.key and _is_excused(world, one.connection)}
    found = []
    unexplained = [code for code in lost if code not in excused]
    if unexplained:
        found.append(f"presses {[hex(code) for code in unexplained[:10]]} by {_name(user)} are lost ({len(lost)})")
    held = {code for code in guest.held if code in mine}
    if held != set(user.held) and not _charged(world):
        found.append(f"the guest holds {sorted(held)}, {_name(user)} {sorted(user.held)}")
    return found


def _judge_agent(world: MovingWorld) -> list[str]:
    found = []
    for user in world.begun:
        faults = user.driver.order.faults
        # A server that knows already that a channel is lost waits for it no more.
        found += [f"{_name(user)}: {one}" for one in faults if not (one.startswith("main") and world.cut_connections)]
        trouble = user.fault or user.session.main.agent.trouble
        if trouble:
            found.append(f"{_name(user)}: {trouble}")
    if world.last_running is None:
        return found
    agent = world.last_running.guest.agent
    if agent.fault:
        found.append(f"the guest's agent: {agent.fault}")
    # The server fills up what a client has left half written when it was cut off.
    if agent.torn and all(user.whole for user in world.begun):
        found.append(f"the guest's agent: {agent.torn} texts are not what clients have offered")
    if _charged(world) or not all(user.whole and not user.is_astray for user in world.begun):
        return found
    for what, said, heard in (
        ("offers of clients", sum(user.offers for user in world.begun), agent.grabs),
        ("requests of the guest", agent.asked, agent.texts + agent.empty),
        ("requests of clients", sum(user.requests for user in world.begun), agent.given),
        ("texts of the guest", agent.given, sum(user.answers for user in world.begun)),
    ):
        if said != heard:
            found.append(f"agent: {said} {what}, and {heard} came or were answered")
    return found


def _judge_reports(world: MovingWorld) -> list[str]:
    """What management says is so."""
    found: list[str] = []
    for conductor in world.conductors:
        if conductor.begun and conductor.result is None:
            found.append(f"everything is at rest and the conductor is still in {conductor.machine.state.value}")
    result = world.conductor.result
    if result is not None:
        # A target that has not heard that the guest is its own lets it stand still, after the conductor has looked.
        in_doubt = any(charge.startswith("guest's connection") for charge in world.charges)
        stopped = in_doubt or "management stops the source" in world.charges
        if result.outcome is Outcome.MOVED and not world.target.runs and not world.target.death and not stopped:
            found.append("the conductor says that the machine has moved, and it does not run at the target")
        stays = not world.source.death and not world.moved_by_others
        if result.outcome is Outcome.ROLLED_BACK and not world.source.runs and stays:
            found.append("the conductor says that the machine is at the source, and it does not run there")
    if world.mishap is None:
        if world.outcome not in ("moved", "moved-with-loss" if world.journey.late else "moved"):
            found.append(f"nothing went wrong, and the migration ended so: {world.outcome}")
        for host in world.hosts:
            if world.said.get(host.name) != "completed":
                found.append(f"nothing went wrong, and {host.name} said last: migration {world.said.get(host.name)}")
        if world.journey.direct and world.journey.seamless and world.journey.pause < 0:
            came = [record.detail.get("reason") for record in world.records if record.event == "server.client-arrived"]
            direct = came.count("seamless, host to host")
            if direct < world.journey.clients * len(world.conductors):
                found.append(f"nothing went wrong, there is a direct link, and {direct} clients moved host to host")
        wanted = "seamless" if world.journey.seamless else "semi-seamless"
        for user in world.begun:
            schemes = [outcome.scheme for outcome in user.driver.outcomes]
            if not user.late and schemes != [wanted] * len(world.conductors):
                reasons = "; ".join(outcome.reason for outcome in user.driver.outcomes)
                found.append(f"nothing went wrong, and {_name(user)} moved by {schemes}: {reasons}")
    return found
