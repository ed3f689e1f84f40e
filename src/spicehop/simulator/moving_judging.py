"""The invariants of a journey that has ended: every byte and key once and in order, or charged to who has lost it."""

from __future__ import annotations

from collections.abc import Iterable

from spicehop.migration.conducting_result import Outcome
from spicehop.migration.leaving import LEAVE_SECONDS, LINK_SECONDS, NOTICE_SECONDS
from spicehop.simulator.drivers import Handed
from spicehop.simulator.judging import MOST_SWITCHING, gaps, unexpected
from spicehop.simulator.mishaps import CLOSE_LINK, CLOSED, HARMLESS, KEEP_SESSIONS, SLOW_LINKS, STALL_LINK
from spicehop.simulator.moving import CLIENT_MUST_END, PORT_KEY, MovingWorld, User
from spicehop.trace import Record

CLOSED_BY = "management has closed it"
FIRST = "host 0"
TOLD = CLOSE_LINK | {
    *(f"{channel} cut at the target" for channel in ("main", "port", "inputs", "display", "cursor")),
}
"""Mishaps after which the source can still tell each client where to go."""
NO_TARGET = frozenset(
    {
        "target refuses clients",
        "target refuses clients for 1 s",
        "target's connections stalled 14 s",
        "clients link slowly, and the direct link a little later",
        "clients link slowly, and the direct link stalls",
    }
)
"""Mishaps for which clients link the target late, or not at all."""
MOST_MORE = 1.5
"""Seconds that a source waits for its target to say that all is there, and some."""
KEYS_HELD = 8
"""So many presses after its own a key may still be held."""
AT_ONCE = 0.1
"""Seconds, beside the time that a message takes there and back."""


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
    found += _judge_link(world)
    found += _judge_haste(world)
    found += _judge_reports(world)
    return found


def _charged(world: MovingWorld) -> bool:
    return any(charge not in HARMLESS for charge in world.charges) or _guest_is_lost(world)


def _guest_is_lost(world: MovingWorld) -> bool:
    """Whether the guest died with its host, or stands still because nobody knows whose it is."""
    return world.last_running is None or not world.last_running.runs


def _is_excused(world: MovingWorld, handed: Handed) -> bool:
    killed = {host.address for host in world.hosts if host.death == "killed"}
    if handed.connection in world.cut_connections or handed.connection.address in killed:
        return True
    # What a client has said last at the source may still be there, or on the direct link; so may what it says before it
    # hears that it is to go.
    trip = 2 * (world.journey.conditions.latency + world.journey.conditions.jitter)
    closed = [time for name, time in world.went_wrong if name in CLOSE_LINK]
    return not STALL_LINK.isdisjoint(world.charges) or any(handed.time < time + trip for time in closed)


def _name(user: User) -> str:
    return f"client {user.number + 1}"


def _judge_rest(world: MovingWorld) -> list[str]:
    """Nobody waits for something that nobody will bring, and every session is where the guest is, or closed."""
    failed = {str(record.detail.get("reason", "")) for record in world.records}
    found = [one for one in sorted(failed) if one.startswith(("the server failed", "the guest failed"))]
    for host in world.hosts:
        found += [f"{host.name}: {what}" for what in host.failures()]
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
    pieces = [one for one in user.driver.handed if one.size and not _is_excused(world, one)]
    found = []
    for start, end in missing:
        for piece in pieces:
            low, high = max(start, piece.start), min(end, piece.start + piece.size)
            if low < high:
                found.append((low, high))
    return found


def _comes_late(world: MovingWorld) -> bool:
    """Whether a client has come later than a target waits for it."""
    arrivals = [record.time for record in world.records if record.event == "server.client-arrived"]
    moved = sorted(world.completed_at.values())
    return any(time - max((one for one in moved if one <= time), default=time) > LEAVE_SECONDS for time in arrivals)


def _links_again(world: MovingWorld, user: User) -> bool:
    """Whether a server that had a client's inputs channel has lost it, and got another."""
    party, links = f"client {user.number + 1}", set[object]()
    for record in world.records:
        if (record.event, record.party, record.channel) == ("channel.linked", party, "inputs:0"):
            if record.detail.get("server") in links and record.detail.get("role") == "current":
                return True
            links.add(record.detail.get("server"))
    return False


def _at(presses: list[int], place: int) -> int | None:
    return presses[place] if place < len(presses) else None


def _judge_keys(world: MovingWorld, user: User) -> list[str]:
    if world.last_running is None:
        return []
    if not user.whole_input or "management stops the source" in world.charges:
        return []  # who connects anew presses again what is held
    guest = world.last_running.guest
    mine = set(user.presses)
    place = 0
    lost: list[int] = []
    # Whom a server takes for gone, or whose inputs it has lost, it releases the keys of; who comes back presses them.
    comes_back = _comes_late(world) or _links_again(world, user)
    for code in (one for one in guest.pressed if one in mine):
        start = place
        if comes_back and code in user.presses[max(0, place - KEYS_HELD) : place] and code != _at(user.presses, place):
            continue
        while place < len(user.presses) and user.presses[place] != code:
            place += 1
        if place == len(user.presses):
            return [f"the guest saw a press of {code:#x} by {_name(user)} that was made before, or never"]
        lost += user.presses[start:place]
        place += 1
    lost += user.presses[place:]
    if _guest_is_lost(world):
        return []
    excused = {one.key for one in user.driver.handed if one.key and _is_excused(world, one)}
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


def _judge_link(world: MovingWorld) -> list[str]:
    """Who is at an end of the direct link learns of its end at once, and why it ended."""
    found: list[str] = []
    told = [one for one in world.records if one.event.startswith("direct-link.")]
    trip = 2 * (world.journey.conditions.latency + world.journey.conditions.jitter)
    if len(world.went_wrong) != 1:
        return found if world.went_wrong else _judge_farewells(told, trip)
    (name, time) = world.went_wrong[0]
    quick = [one for one in told if time <= one.time <= time + AT_ONCE + trip]
    ends = {
        one.party: str(one.detail.get("reason"))
        for one in quick
        if one.event in ("direct-link.ended", "direct-link.failed", "direct-link.refused")
    }
    # What is told at the moment itself is told because of it.
    open_to = {one.party: one.event == "direct-link.opened" for one in told if one.time < time}
    if name == CLOSED:
        if any(one.event == "direct-link.opened" and one.party == FIRST and one.time > time for one in told):
            found.append("a direct link is made that management wants no more")
        for party, is_open in open_to.items():
            if is_open and CLOSED_BY not in ends.get(party, ""):
                found.append(f"{party} is not told that management has closed the direct link: {ends.get(party)}")
    if name.startswith("direct link cut") and world.cut_connections:
        until = time + AT_ONCE + trip
        pair = [host for host in world.hosts if open_to.get(host.name)] or world.hosts[:2]
        both = {host.name for host in pair if world.died_at.get(host.name, until + 1) > until}
        found += [
            f"{one} does not notice that the direct link is cut" for one in both if open_to.get(one) and one not in ends
        ]
        if not any(open_to.values()) and len(ends) < len(both):
            found.append("it is not noticed at both ends that the direct link is cut before it is open")
    for called, answer in world.strangers_heard:
        taken = any(open_to.values()) and not world.journey.certificates
        if taken and called == time and "another source is here" not in str(answer):
            found.append(f"a stranger that calls the target, which has a source, is answered: {answer}")
    return found


def _judge_farewells(told: list[Record], trip: float) -> list[str]:
    """A target hears from its source why that ends the link, and not from the network."""
    ended = [one for one in told if one.event == "direct-link.ended"]
    said = [
        one for one in ended if one.detail.get("role") == "source" and one.detail.get("reason") == "the server ends"
    ]
    heard = [one for one in ended if one.detail.get("role") == "target"]
    found = []
    for one in said:
        later = [other for other in heard if other.time >= one.time]
        if later and (later[0].time > one.time + AT_ONCE + trip or later[0].detail.get("reason") != "the server ends"):
            found.append(f"{one.party} ends the direct link because it ends itself, and the target does not hear that")
    return found


def _judge_haste(world: MovingWorld) -> list[str]:
    """Who cannot link the target is sent there as soon as the guest is there and the source knows both; who has linked
    it moves so, if late.
    """
    found: list[str] = []
    for user in world.begun if TOLD.issuperset(world.charges) else ():
        reasons = [one.reason for one in user.driver.outcomes if one.reason.startswith("the source was lost")]
        found += [f"{_name(user)} is not told where to go, but sent away: {one}" for one in reasons]
    moved, handed_over = world.completed_at.get(FIRST), world.handed_over_at.get(FIRST)
    until = moved + LEAVE_SECONDS + MOST_MORE if moved is not None else float("inf")
    clients_are_named = world.conductor.begun or bool(world.chaperons)
    if (
        (handed_over is None or handed_over > until)
        and clients_are_named
        and world.died_at.get(FIRST, float("inf")) > until
    ):
        found.append(
            f"{FIRST} has not told within {LEAVE_SECONDS:g} s of its guest's going that its sessions have left"
        )
    if moved is None or len(world.conductors) > 1 or not NO_TARGET.issuperset(world.charges):
        return found
    trip = 2 * (world.journey.conditions.latency + world.journey.conditions.jitter)
    links = [one for one in world.network.connections if not one.address[1] and one.near.name == FIRST]
    link_stalls_until = max((one.stalled_until for one in links), default=float("inf"))
    stalls_long = bool(links) and link_stalls_until > moved + NOTICE_SECONDS
    directly = 0
    for user in world.begun:
        told = [one for one in world.records if one.party == f"client {user.number + 1}"]
        failed = [one.time for one in told if one.event == "migration.connect-error"]
        sent = [one.time for one in told if one.event == "migration.switch-host"]
        linked = [one for one in told if one.event == "migration.connected"]
        schemes = [outcome.scheme for outcome in user.driver.outcomes]
        if any("did not open" in str(one.detail.get("reason")) for one in told if one.event == "migration.switch-host"):
            continue  # The target has stalled when it was linked, for longer than a client waits for its session.
        in_time = bool(linked) and linked[0].time < moved + LINK_SECONDS - AT_ONCE - trip
        if in_time and not stalls_long and schemes and linked[0].detail.get("scheme") != schemes[0]:
            found.append(f"{_name(user)} has linked the target, if late, and moves by {schemes[0]}")
        if linked and link_stalls_until < linked[0].time + NOTICE_SECONDS - AT_ONCE - trip and schemes == ["seamless"]:
            directly += 1
        if not in_time and sent and sent[0] > moved + LINK_SECONDS + AT_ONCE + trip:
            found.append(f"{_name(user)} has not linked the target, and is told late where that is")
        if len(failed) == 1 and sent and sent[0] > max(failed[0], moved) + AT_ONCE + trip:
            late = sent[0] - max(failed[0], moved)
            found.append(f"{_name(user)} cannot link the target, and is sent there {late:.1f} s after the guest")
    came = [record.detail.get("reason") for record in world.records if record.event == "server.client-arrived"]
    if came.count("seamless, host to host") < directly:
        found.append(f"the target has said of {directly} clients that they are linked, and not all move host to host")
    return found


def _judge_state_ahead(world: MovingWorld) -> list[str]:
    """Host to host a client is told to go when the guest has moved, and not when its state has been there and back."""
    found = []
    moved = world.completed_at.get(FIRST, float("inf"))
    for user in world.begun:
        party = f"client {user.number + 1}"
        told = [one.time for one in world.records if one.party == party and one.event == "channel.migrate"]
        if told and not user.late and told[0] - moved > 2.5 * world.journey.conditions.latency:
            late = told[0] - moved
            found.append(f"nothing went wrong, and {_name(user)} is told to go {late:.4f} s after the guest has moved")
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
    if world.journey.pause < 0 and {SLOW_LINKS}.issuperset(world.charges):
        # The conductor has the target let in who comes while it waits for others, or for the guest.
        failed = [record for record in world.records if record.event == "migration.connect-error"]
        found += [f"{one.party} cannot go to the target: {one.detail.get('reason')}" for one in failed]
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
            found += _judge_state_ahead(world)
        wanted = "seamless" if world.journey.seamless else "semi-seamless"
        for user in world.begun:
            schemes = [outcome.scheme for outcome in user.driver.outcomes]
            slow = [one for one in user.driver.outcomes if one.finished - one.switched > MOST_SWITCHING]
            found += [f"nothing went wrong, and {_name(user)} switches for {MOST_SWITCHING:g} s" for _ in slow]
            if not user.late and schemes != [wanted] * len(world.conductors):
                reasons = "; ".join(outcome.reason for outcome in user.driver.outcomes)
                found.append(f"nothing went wrong, and {_name(user)} moved by {schemes}: {reasons}")
    return found
