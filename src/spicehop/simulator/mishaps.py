"""What may go wrong in a simulation of our own servers, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from spicehop.migration.commands import ChannelKey
from spicehop.migration.conducting_events import Peer
from spicehop.simulator.hosts import HOST, Host
from spicehop.wire import main, registry
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.framing import encode_frame
from spicehop.wire.migration_data import VERSION

if TYPE_CHECKING:
    from spicehop.simulator.moving import MovingWorld

SLOW_LINKS = "target's connections stalled 1 s"
CLOSED = "direct link closed by the source's management"


def _channel_mishaps() -> dict[str, Callable[[MovingWorld], None]]:
    found: dict[str, Callable[[MovingWorld], None]] = {}
    kinds = (ChannelType.MAIN, ChannelType.INPUTS, ChannelType.PORT, ChannelType.DISPLAY, ChannelType.CURSOR)

    def add(kind: ChannelType, place: str) -> None:
        name = kind.name.lower()

        def host(world: MovingWorld) -> Host:
            return world.source if place == "source" else world.target

        found[f"{name} cut at the {place}"] = lambda world: world.cut(kind, host(world))
        found[f"{name} stalled 3 s at the {place}"] = lambda world: world.stall(kind, host(world), 3)
        found[f"{name} stalled 14 s at the {place}"] = lambda world: world.stall(kind, host(world), 14)
        if kind in (ChannelType.MAIN, ChannelType.PORT):
            found[f"{name} fades at the {place}"] = lambda world: world.fade(kind, host(world))

    for kind in kinds:
        for place in ("source", "target"):
            add(kind, place)
    return found


def _refuse(world: MovingWorld, seconds: float) -> None:
    address = world.target.address
    world.network.refusing.add(address)
    world.clock.after(seconds, lambda: world.network.refusing.discard(address))


def _hang(world: MovingWorld, seconds: float, *, guest: bool) -> None:
    """Nothing arrives for a while on connections to the target, those included that are made meanwhile."""
    addresses = _guest_addresses(world) if guest else [world.target.address]
    world.network.hanging |= dict.fromkeys(addresses, world.clock.now + seconds)
    for connection in world.network.connections:
        if connection.address in addresses:
            connection.stall(seconds)


def _guest_addresses(world: MovingWorld) -> list[tuple[str, int]]:
    """Where the target waits for a guest."""
    found = world.network.addresses_of(world.target.name)
    return [address for address in found if address[1] and address != world.target.address]


def _link_slowly(world: MovingWorld, *, then_cancel: bool) -> None:
    """Clients link the target late: after the guest has moved, or was to move and stays."""
    _hang(world, world.random.choice((1.0, 3.0, 14.0)), guest=False)
    if then_cancel:
        world.clock.after(world.random.uniform(0.3, 0.8), world.cancel)
    else:
        world.between_hosts("link stall")


def _link_slowly_and_notice_later(world: MovingWorld) -> None:
    """What the target says of the clients' links comes a little later than what they say themselves."""
    seconds = world.random.choice((1.0, 3.0))
    _hang(world, seconds, guest=False)
    for connection in world.network.connections:
        if not connection.address[1] and not connection.gone:
            connection.stall(seconds + world.random.uniform(0.05, 0.5))


def _tell_again(world: MovingWorld) -> None:
    """Management tells the clients once more where to go."""
    if world.source.alive:
        clients = {"protocol": "spice", "hostname": HOST, "port": world.target.address[1]}
        world.source.perform("client_migrate_info", clients, lambda answer: None)


def _leave(world: MovingWorld) -> None:
    if world.begun:
        user = world.random.choice(world.begun)
        user.session.close(world.clock.now)
        user.driver.pump()


def _manage(world: MovingWorld, command: str, **arguments: object) -> None:
    """Somebody else than the conductor tells the source something."""
    if world.source.alive:
        world.source.perform(command, arguments, lambda answer: None)


def _close_link(world: MovingWorld) -> None:
    """Management closes the direct link, unless the source refuses that, or has none: then nothing has gone wrong."""

    def answered(answer: object) -> None:
        has_none = isinstance(answer, Mapping) and answer.get("role") == "none"
        if (has_none or isinstance(answer, Exception)) and CLOSED in world.charges:
            world.charges.remove(CLOSED)
            world.went_wrong = [one for one in world.went_wrong if one[0] != CLOSED]

    if world.source.alive:
        world.source.perform("query-direct-link", {}, answered)
        world.source.perform("direct-link-close", {}, answered)


def _migrate_again(world: MovingWorld) -> None:
    """The migration is cancelled, and begun again by somebody else while clients still link."""
    _hang(world, 14, guest=False)
    world.cancel()

    def found(answer: object) -> None:
        addresses = answer.get("socket-address") if isinstance(answer, Mapping) else None
        if addresses and world.source.alive:
            world.moved_by_others = True
            _tell_again(world)
            _manage(world, "migrate", uri=f"tcp:{HOST}:{addresses[0]['port']}")

    def again() -> None:
        if world.target.alive and world.journey.pause < 0:  # else somebody would have to tell it to continue
            world.target.perform("query-migrate", {}, found)

    world.clock.after(2.5, again)


def _refuse_and_cancel(world: MovingWorld) -> None:
    _refuse(world, 600)
    world.cancel()


def _be_silent(world: MovingWorld, seconds: float) -> None:
    """Connections on which a guest would come are neither made nor refused."""
    world.network.silent |= dict.fromkeys(_guest_addresses(world), world.clock.now + seconds)


def _cut_all_but_main(world: MovingWorld) -> None:
    for kind in (ChannelType.INPUTS, ChannelType.PORT, ChannelType.DISPLAY, ChannelType.CURSOR, ChannelType.PLAYBACK):
        world.cut(kind, world.source)


def _name_newer_version(world: MovingWorld) -> None:
    """As if the source had named a version of its layouts that the target does not know."""
    for user in world.begun:
        target = user.session.travel.target
        if target is not None:
            target.source_version = VERSION + 1


def _begin_anew(world: MovingWorld) -> None:
    """A client that was to bring its state begins anew at the target instead, as one may that has got none of it."""
    for user in world.begun:
        travel = user.session.travel
        target = travel.target if not travel._moved else None
        link = target.links.get((ChannelType.MAIN, 0)) if target is not None else None
        if link is not None and link.linked is not None:
            number = registry.number_of(main.MigrateEnd(), ChannelType.MAIN, Direction.FROM_CLIENT)
            user.driver.say(link.id, encode_frame(number, b"", mini_header=True))


def _spoil(world: MovingWorld, which: int) -> None:
    """A client alters the state that it carries: of the channel that it hands over as the `which`-th."""
    for user in world.begun:
        count = iter(range(1, 100))
        travel = user.session.travel
        swap = travel.swap

        def altered(
            key: ChannelKey,
            data: bytes | None,
            now: float,
            swap: Callable[[ChannelKey, bytes | None, float], None] = swap,
            count: Iterator[int] = count,
        ) -> None:
            spoilt = b"\xff" * 40 if data is not None and next(count) == which else data
            swap(key, spoilt, now)

        travel.swap = altered  # type: ignore[method-assign]


MISHAPS: dict[str, Callable[[MovingWorld], None]] = {
    "source killed": lambda world: world.source.die("killed"),
    "target killed": lambda world: world.target.die("killed"),
    "migration cancelled": lambda world: world.cancel(),
    "management stops the source": lambda world: (
        world.source.perform("stop", {}, lambda answer: None) if world.source.alive else None
    ),
    "a client leaves": _leave,
    "clients do not read their ports for 40 s": lambda world: world.deafen(ChannelType.PORT, world.source, 40),
    "target refuses clients": lambda world: _refuse(world, 600),
    "target refuses clients for 1 s": lambda world: _refuse(world, 1),
    "target's connections stalled 14 s": lambda world: _hang(world, 14, guest=False),
    "guest's connection hangs 14 s": lambda world: _hang(world, 14, guest=True),
    "guest's connection hangs 60 s": lambda world: _hang(world, 60, guest=True),
    "clients told again": _tell_again,
    "clients link slowly, and the direct link stalls": lambda world: _link_slowly(world, then_cancel=False),
    "clients link slowly, and the migration is cancelled": lambda world: _link_slowly(world, then_cancel=True),
    SLOW_LINKS: lambda world: _hang(world, 1, guest=False),
    "clients link slowly, and the direct link a little later": _link_slowly_and_notice_later,
    "one connection stalled 2 s": lambda world: world.stall_any(2),
    "one connection stalled 12 s": lambda world: world.stall_any(12),
    "one connection stalled 40 s": lambda world: world.stall_any(40),
    "guest's connection cut": lambda world: world.between_hosts("guest cut"),
    "guest's connection fades": lambda world: world.between_hosts("guest fade"),
    "guest's connection dies": lambda world: world.between_hosts("guest die"),
    "guest's connection stalls": lambda world: world.between_hosts("guest stall"),
    "direct link cut": lambda world: world.between_hosts("link cut"),
    "direct link fades": lambda world: world.between_hosts("link fade"),
    "direct link stalls": lambda world: world.between_hosts("link stall"),
    "direct link cut for good": lambda world: world.between_hosts("link cut for good"),
    CLOSED: lambda world: _close_link(world),
    "a stranger makes a direct link": lambda world: world.call_as_stranger(),
    "source told to quit": lambda world: _manage(world, "quit"),
    "target is silent for 60 s": lambda world: _be_silent(world, 60),
    "guest cannot be loaded": lambda world: setattr(world.target.guest, "refuses", True),
    "guest is too large": lambda world: setattr(world.source.guest, "bloated", True),
    "target refuses clients, and the migration is cancelled": _refuse_and_cancel,
    "migration cancelled, and begun again by somebody else": _migrate_again,
    "source's channels but main cut": _cut_all_but_main,
    "source names a newer version": _name_newer_version,
    "clients begin anew at the target": _begin_anew,
    "clients spoil the first state that they carry": lambda world: _spoil(world, 1),
    "clients spoil the third state that they carry": lambda world: _spoil(world, 3),
    "source's control socket lost": lambda world: world.conductor.lose(Peer.SOURCE),
    "target's control socket lost": lambda world: world.conductor.lose(Peer.TARGET),
    **_channel_mishaps(),
}
"""Name of a mishap to what it does."""

HARMLESS = frozenset(
    {
        "migration cancelled",
        "direct link cut",
        "clients told again",
        "guest's connection hangs 14 s",
        "guest's connection hangs 60 s",
        "one connection stalled 2 s",
        "guest's connection cut",
        "guest's connection fades",
        "guest's connection dies",
        "guest's connection stalls",
        "source's control socket lost",
        "target's control socket lost",
        "target refuses clients for 1 s",
    }
)
"""Mishaps that may cost no session and no byte, as long as the guest lives on and sessions move seamlessly."""

KEEP_SESSIONS = HARMLESS | {
    "direct link cut",
    "direct link fades",
    "direct link cut for good",
    CLOSED,
    "guest cannot be loaded",
    "guest is too large",
    "target is silent for 60 s",
}
"""Mishaps that may cost bytes and no session, as long as the guest lives on."""

CLOSE_LINK = frozenset({"direct link cut for good", CLOSED})
"""Mishaps after which there is no direct link any more, as the servers know at once."""
STALL_LINK = frozenset(
    {
        "direct link stalls",
        "direct link fades",
        "clients link slowly, and the direct link stalls",
    }
)
"""Mishaps after which what is on the direct link may not arrive: a source waits a second at most to hear of it."""
