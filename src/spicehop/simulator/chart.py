"""A run as a sequence chart of plain text: who did what, when, one column a party."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spicehop.simulator.moving import MovingWorld
from spicehop.simulator.world import BEGIN, World
from spicehop.trace import Record
from spicehop.trace.text import detail_text

PARTIES = ("client", "source", "target", "conductor", "fault")
WIDTH = 34


def chart(world: World) -> str:
    """The run's records in columns, in milliseconds since the run began; its seed and fault come first."""
    fault = world.fault
    title = f"seed {world.situation.seed}, scheme {world.situation.scheme}, a target {world.situation.targets}"
    if fault:
        title += f", {fault}"
    return _drawn(title, world.records, {party: place for place, party in enumerate(PARTIES)})


def journey_chart(world: MovingWorld) -> str:
    """The same for a journey: all clients in one column, a column for each server."""
    title = f"{world.journey}" + (f", {world.mishap}" if world.mishap else "")
    columns = {f"client {user.number + 1}": 0 for user in world.users}
    columns |= {host.name: 1 + place for place, host in enumerate(world.hosts)}
    columns |= {"conductor": 1 + len(world.hosts), "fault": 2 + len(world.hosts)}
    told = [one for one in world.records if one.party not in ("source", "target")]  # the servers tell it themselves
    return _drawn(title, told, columns, names=len(world.users) > 1)


def _drawn(title: str, records: Iterable[Record], columns: Mapping[str, int], *, names: bool = False) -> str:
    last = max(columns.values())
    heads = ["client" if column == 0 else party for party, column in _heads(columns)]
    lines = [title, "       ms  " + "".join(head.ljust(WIDTH) for head in heads)]
    for record in records:
        column = columns.get(record.party, last)
        is_client = record.party.startswith("client")
        what = record.event if is_client else record.event.partition(".")[2]
        who = record.party.removeprefix("client ") + ":" if is_client and names else ""
        words = " ".join(part for part in (who, what, record.channel, detail_text(record.detail)) if part)
        room = WIDTH * (last + 1 - column) - 2
        shown = words if len(words) <= room else words[: room - 1] + "…"
        lines.append(f"{(record.time - BEGIN) * 1000:9.1f}  {' ' * (WIDTH * column)}{shown}")
    return "\n".join(lines) + "\n"


def _heads(columns: Mapping[str, int]) -> list[tuple[str, int]]:
    """The first party of each column."""
    first: dict[int, str] = {}
    for party, column in columns.items():
        first.setdefault(column, party)
    return [(first[column], column) for column in sorted(first)]
