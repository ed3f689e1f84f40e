"""Timelines for tests: what happened, as a short list of rows. Times are milliseconds."""

from __future__ import annotations

from spicehop.trace import Record

SESSION = 7


def timeline(*rows: tuple[object, ...], start: float = 1000.0) -> list[Record]:
    """Records from rows of (ms, party, event[, channel][, detail])."""
    records = []
    for ms, party, event, *rest in rows:
        channel = next((item for item in rest if isinstance(item, str)), "")
        detail = next((item for item in rest if isinstance(item, dict)), {})
        session = SESSION if party == "client" else 0
        records.append(Record(start + ms / 1000, party, event, session, channel, 0, detail))
    return records


ANNOUNCED = (
    (0, "conductor", "conductor.linking"),
    (1, "client", "migration.begin", "main:0", {"scheme": "seamless", "host": "127.0.0.1", "port": 6999}),
)
LINKED = (
    (20, "client", "migration.target-linked", "main:0"),
    (60, "client", "migration.connected", "main:0"),
)
MOVING = (
    (100, "source", "qmp.MIGRATION", {"data": {"status": "setup"}}),
    (900, "source", "qmp.STOP"),
    (908, "source", "qmp.MIGRATION", {"status": "completed"}),
)
HANDED_OVER = (
    (909, "client", "channel.migrate", "main:0", {"flags": 3}),
    (909, "client", "channel.migrate", "cursor:0", {"flags": 0}),
    (909.5, "client", "channel.swapped", "cursor:0"),
    (910, "client", "channel.flush-mark", "main:0"),
    (912, "client", "channel.migrate-data", "main:0", {"size": 65}),
    (913, "client", "channel.swapped", "main:0"),
    (914, "client", "migration.done", "", {"scheme": "seamless"}),
    (915, "source", "qmp.SPICE_MIGRATE_COMPLETED"),
    (920, "target", "qmp.RESUME"),
    (930, "client", "picture.first", "display:0"),
)
SEAMLESS = (*ANNOUNCED, *LINKED, *MOVING, *HANDED_OVER)
BESIDE = (
    (25, "spice-gtk", "stock.migrating", {"state": "migrating"}),
    (911, "spice-gtk", "stock.migrated"),
)
"""A stock client at the same servers."""
