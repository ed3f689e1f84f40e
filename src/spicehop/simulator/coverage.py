"""Which rows of the migration's tables a run takes, and what becomes of runs without one of them.

with counted() as rows:
    ...
rows["leaving"][state, happened]

with without_row("leaving", (state, happened)):
    ...
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from spicehop.channels.serving.departing import DEPARTURE_TABLE
from spicehop.migration.arriving import ARRIVING_TABLE
from spicehop.migration.client import CLIENT_TABLE
from spicehop.migration.conducting_table import TABLE as CONDUCTING_TABLE
from spicehop.migration.guest_tables import ARRIVAL, DEPARTURE
from spicehop.migration.leaving_table import LEAVING_TABLE
from spicehop.migration.link_end import LINK_END_TABLE

Row = tuple[Enum, Enum]
"""State and input."""

TABLES: dict[str, dict[Any, Any]] = {
    "leaving": LEAVING_TABLE,
    "arriving": ARRIVING_TABLE,
    "channel": DEPARTURE_TABLE,
    "client": CLIENT_TABLE,
    "guest-departure": DEPARTURE,
    "guest-arrival": ARRIVAL,
    "link": LINK_END_TABLE,
    "conducting": CONDUCTING_TABLE,
}
"""The tables by the names that reports have for them."""


class _Counted(dict[Any, Any]):
    """A table that counts the rows that are looked up to be taken."""

    def __init__(self, table: dict[Any, Any], counts: Counter[Row]) -> None:
        super().__init__(table)
        self._counts = counts

    def get(self, key: Any, default: Any = None) -> Any:
        if key in self:
            self._counts[key] += 1
        return super().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        row = super().__getitem__(key)
        self._counts[key] += 1
        return row


@contextmanager
def counted() -> Iterator[dict[str, Counter[Row]]]:
    """By table, how often each row is taken by machines that are made and run meanwhile."""
    counts: dict[str, Counter[Row]] = {name: Counter() for name in TABLES}
    places: list[tuple[Any, str, Any]] = []
    by_table = {id(table): _Counted(table, counts[name]) for name, table in TABLES.items()}
    modules = [module for name, module in tuple(sys.modules.items()) if name.startswith("spicehop.")]
    for module in modules:
        if module.__name__ == __name__:
            continue
        for name, value in tuple(vars(module).items()):
            if isinstance(value, dict) and id(value) in by_table:
                places.append((module, name, value))
                setattr(module, name, by_table[id(value)])
    try:
        yield counts
    finally:
        for module, name, value in places:
            setattr(module, name, value)


@contextmanager
def without_row(table: str, row: Row) -> Iterator[None]:
    """Meanwhile that row is not there."""
    rows = TABLES[table]
    before = dict(rows)
    del rows[row]
    try:
        yield
    finally:
        rows.clear()
        rows.update(before)


def named(row: Row) -> str:
    """A row in words."""
    return f"{row[0].value}: {row[1].value}"
