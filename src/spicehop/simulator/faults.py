"""What may go wrong in a simulation with models of QEMU, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spicehop.migration.conducting_events import Peer
from spicehop.wire import main
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

if TYPE_CHECKING:
    from spicehop.simulator.world import World


def _hang(world: World, seconds: float) -> None:
    """Nothing arrives for a while on connections to the target, those included that are made meanwhile."""
    address = world.target.address
    world.network.hanging[address] = world.clock.now + seconds
    for connection in world.network.connections:
        if connection.address == address:
            connection.stall(seconds)


def _cancel(world: World, *, stays_paused: bool = False, slowly: float = 0.0) -> None:
    world.source.stays_paused = stays_paused
    world.source.cancels_slowly = slowly
    world.conductor.cancel()


def _move(world: World) -> None:
    if world.source.alive and world.target.alive and world.source.runs:
        world.moved_by_others = True
        world.source.move_at_once(world.target)


def _cancel_migration(world: World) -> None:
    if world.source.alive:
        world.source.execute("migrate_cancel", {})


def _say_late(world: World, message: Message) -> None:
    """It arrives when other channels have been told to go, which was later."""
    world.stall_channel(ChannelType.MAIN, world.source, 3)
    world.say(message)


def _switch_host(world: World) -> Message:
    return main.MigrateSwitchHost(world.target.address[1], 0, world.target.address[0].encode())


def _hand_main_over(world: World) -> None:
    for client in world.source.spice.clients:
        if client.main_channel is not None:
            client.main_channel.migrate()


def _target_says(world: World, message: Message) -> None:
    for client in world.target.spice.clients:
        client.tell(message)


FAULTS: dict[str, Callable[[World], None]] = {
    "source killed": lambda world: world.source.die("killed"),
    "target killed": lambda world: world.target.die("killed"),
    "conductor cancelled": lambda world: world.conductor.cancel(),
    "target refuses clients": lambda world: world.network.refusing.add(world.target.address),
    "main cut at the source": lambda world: world.cut(ChannelType.MAIN, world.source),
    "main cut at the target": lambda world: world.cut(ChannelType.MAIN, world.target),
    "inputs cut at the source": lambda world: world.cut(ChannelType.INPUTS, world.source),
    "inputs cut at the target": lambda world: world.cut(ChannelType.INPUTS, world.target),
    "port cut at the source": lambda world: world.cut(ChannelType.PORT, world.source),
    "port cut at the target": lambda world: world.cut(ChannelType.PORT, world.target),
    "cursor cut at the source": lambda world: world.cut(ChannelType.CURSOR, world.source),
    "one connection stalled 2 s": lambda world: world.stall(2),
    "one connection stalled 12 s": lambda world: world.stall(12),
    "one connection stalled 40 s": lambda world: world.stall(40),
    "display stalled at the target 14 s": lambda world: world.stall_channel(ChannelType.DISPLAY, world.target, 14),
    "inputs stalled at the target 14 s": lambda world: world.stall_channel(ChannelType.INPUTS, world.target, 14),
    "port stalled at the target 14 s": lambda world: world.stall_channel(ChannelType.PORT, world.target, 14),
    "main stalled at the target 14 s": lambda world: world.stall_channel(ChannelType.MAIN, world.target, 14),
    "main stalled at the source 14 s": lambda world: world.stall_channel(ChannelType.MAIN, world.source, 14),
    "main stalled at the target 40 s": lambda world: world.stall_channel(ChannelType.MAIN, world.target, 40),
    "inputs fades at the source": lambda world: world.fade(ChannelType.INPUTS, world.source),
    "source's QMP lost": lambda world: world.conductor.lose(Peer.SOURCE),
    "target's QMP lost": lambda world: world.conductor.lose(Peer.TARGET),
    "source's QMP hangs 20 s": lambda world: world.conductor.hang(Peer.SOURCE, 20),
    "target's QMP hangs 20 s": lambda world: world.conductor.hang(Peer.TARGET, 20),
    "source refuses a command": lambda world: world.conductor.refuse(Peer.SOURCE),
    "target refuses a command": lambda world: world.conductor.refuse(Peer.TARGET),
    "target's connections hang 14 s": lambda world: _hang(world, 14),
    "target has another machine": lambda world: setattr(world.target, "machine_type", "q35-7.2-machine"),
    "conductor cancelled, and the source does not run on": lambda world: _cancel(world, stays_paused=True),
    "conductor cancelled, and the source takes 100 s": lambda world: _cancel(world, slowly=100.0),
    "somebody else moves the machine": lambda world: _move(world),
    "somebody else cancels the migration": lambda world: _cancel_migration(world),
    "clients told again": lambda world: world.tell_again(),
}
"""Name of a fault to what it does."""

OUT_OF_TURN: dict[str, Callable[[World], None]] = {
    "source says MIGRATE_BEGIN while main stalls": lambda world: _say_late(world, world.begin_message()),
    "source says MIGRATE_CANCEL": lambda world: world.source.spice.cancel(),
    "source says MIGRATE_END": lambda world: world.say(main.MigrateEnd()),
    "source says MIGRATE_SWITCH_HOST": lambda world: world.say(_switch_host(world)),
    "source says MIGRATE_SWITCH_HOST while main stalls": lambda world: _say_late(world, _switch_host(world)),
    "source says MIGRATE on main": lambda world: _hand_main_over(world),
    "target says MIGRATE_SWITCH_HOST": lambda world: _target_says(world, _switch_host(world)),
    "target says MIGRATE_BEGIN": lambda world: _target_says(world, world.begin_message()),
}
"""The same of servers that say what they should not say now, but what a libspice can say (dossier C6): a client that
hears it in a state in which it has been told of a target costs its session nothing.
"""

HARMLESS = frozenset({"conductor cancelled", "one connection stalled 2 s", "source's QMP lost", "target's QMP lost"})
"""Faults that cost no byte by themselves."""
