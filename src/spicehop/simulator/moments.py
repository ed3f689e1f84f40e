"""When something goes wrong: a moment after a machine has come to a state.

At a time drawn at random hardly anything happens in a state that lasts for a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from spicehop.simulator.coverage import TABLES, Row, watched


@dataclass(frozen=True, slots=True)
class Moment:
    """`wait` seconds after a machine of that table has come to that state for the `count`-th time in the run."""

    table: str
    """One of `coverage.TABLES`."""
    state: str
    """The state's name in words, as in the table."""
    count: int = 1
    wait: float = 0.0

    def __str__(self) -> str:
        again = f" for the {self.count}. time" if self.count > 1 else ""
        return f"{self.wait:.4f} s after {self.table} has come to {self.state}{again}"


def drawn_moment(random: Random, tables: tuple[str, ...], latency: float) -> Moment:
    """Any state of one of these tables, and soon after it, measured by how long a message is under way."""
    table = random.choice(tables)
    states = sorted({row[0].value for row in TABLES[table]})
    wait = random.choice((0.0, 0.0, 0.5, 1.0, 2.0, 4.0)) * latency * random.random()
    return Moment(table, random.choice(states), random.choice((1, 1, 1, 2, 3)), wait)


@contextmanager
def awaited(
    moment: Moment | None, come: Callable[[float], object], ready: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Call `come` with `Moment.wait` when a machine comes to that state meanwhile, and `ready` says that it counts."""
    if moment is None:
        yield
        return
    left = moment.count

    def told(table: str, row: Row, after: object) -> None:
        nonlocal left
        if table == moment.table and getattr(after, "value", "") == moment.state and after is not row[0] and ready():
            left -= 1
            if left == 0:
                come(moment.wait)

    with watched(told):
        yield
