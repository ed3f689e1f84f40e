"""A run as a sequence chart of plain text: who did what, when, one column a party."""

from __future__ import annotations

from spicehop.simulator.world import BEGIN, World
from spicehop.trace.text import detail_text

PARTIES = ("client", "source", "target", "conductor", "fault")
WIDTH = 34


def chart(world: World) -> str:
    """The run's records in columns, in milliseconds since the run began; its seed and fault come first."""
    fault = world.fault
    lines = [
        f"seed {world.situation.seed}, scheme {world.situation.scheme}, a target {world.situation.targets}"
        + (f", {fault}" if fault else ""),
        "       ms  " + "".join(party.ljust(WIDTH) for party in PARTIES),
    ]
    for record in world.records:
        column = PARTIES.index(record.party) if record.party in PARTIES else len(PARTIES) - 1
        what = record.event.partition(".")[2] if record.party != "client" else record.event
        words = " ".join(part for part in (what, record.channel, detail_text(record.detail)) if part)
        room = WIDTH * (len(PARTIES) - column) - 2
        shown = words if len(words) <= room else words[: room - 1] + "…"
        lines.append(f"{(record.time - BEGIN) * 1000:9.1f}  {' ' * (WIDTH * column)}{shown}")
    return "\n".join(lines) + "\n"
