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
from collections.abc import Callable, Iterator
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


Told = Callable[[str, Row, object], None]
"""Gets a table's name, the row that is taken and the state after it."""


class _Watched(dict[Any, Any]):
    """A table that says which of its rows are looked up to be taken."""

    def __init__(self, name: str) -> None:
        super().__init__(TABLES[name])
        self._name = name

    def get(self, key: Any, default: Any = None) -> Any:
        row = super().get(key)
        if row is None:
            return default
        self._tell(key, row)
        return row

    def __getitem__(self, key: Any) -> Any:
        row = super().__getitem__(key)
        self._tell(key, row)
        return row

    def _tell(self, key: Any, row: Any) -> None:
        after = row[1] if isinstance(row, tuple) else row
        for told in tuple(_listeners):
            told(self._name, key, after)


_listeners: list[Told] = []
_watched: dict[str, _Watched] = {}
_modules: set[str] = set()
"""Those that have been looked at."""


def prepare() -> None:
    """Let machines that are made from now on be watched, whenever `watched` begins."""
    if len(_modules) == len(sys.modules):
        return
    if not _watched:
        _watched.update({name: _Watched(name) for name in TABLES})
    names = {id(table): name for name, table in TABLES.items()}
    for name, module in tuple(sys.modules.items()):
        if name.startswith("spicehop.") and name not in _modules and name != __name__:
            for word, value in tuple(vars(module).items()):
                if id(value) in names:
                    setattr(module, word, _watched[names[id(value)]])
    _modules.clear()
    _modules.update(sys.modules)


@contextmanager
def watched(told: Told) -> Iterator[None]:
    """Meanwhile `told` is told of each row that a machine takes, if it was made after `prepare`."""
    prepare()
    _listeners.append(told)
    try:
        yield
    finally:
        _listeners.remove(told)


@contextmanager
def counted() -> Iterator[dict[str, Counter[Row]]]:
    """By table, how often each row is taken by machines that are made and run meanwhile."""
    counts: dict[str, Counter[Row]] = {name: Counter() for name in TABLES}

    def count(name: str, row: Row, after: object) -> None:
        counts[name][row] += 1

    with watched(count):
        yield counts


@contextmanager
def without_row(table: str, row: Row) -> Iterator[None]:
    """Meanwhile that row is not there."""
    prepare()
    tables = [TABLES[table], *(one for name, one in _watched.items() if name == table)]
    before = dict(TABLES[table])
    for one in tables:
        del one[row]
    try:
        yield
    finally:
        for one in tables:
            one.clear()
            one.update(before)


def named(row: Row) -> str:
    """A row in words."""
    return f"{row[0].value}: {row[1].value}"
