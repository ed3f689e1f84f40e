"""Three workers for pytest-xdist, so that tests which are easily disturbed have the machine for themselves.

`pytest -n 3`, as `make test` does:

- the first worker runs, one by one and in order, the tests that are sensitive: clients at work while their guest moves;
- the second runs beside them what only computes, and takes nothing but the processor time that nobody else wants;
- the third joins the first when the sensitive ones are over, and both share the tests that wait for real programs and
  clocks, but not to the second: file by file, two at a time.

What a test is goes by its folder or file, and one that is not named here is sensitive.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Protocol

WORKERS = 3
COMPUTING = (
    *("tests/bench/", "tests/channels/", "tests/codecs/", "tests/guests/", "tests/migration/", "tests/painting/"),
    *("tests/raster/", "tests/simulator/", "tests/trace/", "tests/wire/"),
    *("tests/interop/test_pixman.py", "tests/test_lanes.py", "tests/test_packages.py", "tests/test_tree.py"),
)
"""No clock runs in these: they may be as slow as they like."""
SOCIABLE = (
    *("tests/interop/test_libspice_at_one_end.py", "tests/interop/test_serve_agent_cut.py"),
    *("tests/interop/test_conductor.py", "tests/interop/test_examples.py", "tests/interop/test_guest.py"),
    *("tests/interop/test_pictures.py", "tests/interop/test_serve_conducted.py", "tests/interop/test_serve_control.py"),
    *("tests/interop/test_serve_moves.py", "tests/interop/test_serve_viewer.py", "tests/interop/test_serve_memory.py"),
    *("tests/interop/test_serve_vdagent.py", "tests/interop/test_libspice_target.py", "tests/interop/test_commands.py"),
    "tests/interop/test_relay.py",
    *("tests/server/", "tests/cli/", "tests/client/", "tests/conductor/", "tests/demo/", "tests/transport/"),
)
"""These bear one other test beside them, and are begun in this order: what takes longest comes first."""
LOWEST = 19
AHEAD = 2
"""Tests that a worker has in hand: it begins one only when it knows the next."""


def only_computes(test: str) -> bool:
    """Whether the test of this name may be slow without harm."""
    return test.startswith(COMPUTING)


def is_sociable(test: str) -> bool:
    """Whether it bears another test beside it."""
    return test.startswith(SOCIABLE)


def by_file(tests: Sequence[str]) -> Iterator[list[str]]:
    """The tests of each file, the files as SOCIABLE has them: fixtures are made for a file."""

    def place(test: str) -> int:
        return next(place for place, path in enumerate(SOCIABLE) if test.startswith(path))

    for _, group in groupby(sorted(tests, key=place), key=lambda test: test.partition("::")[0]):
        yield list(group)


class Worker(Protocol):
    """What is needed of xdist's `WorkerController`."""

    @property
    def shutting_down(self) -> bool:
        """Whether it gets no more tests."""

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Run these of the tests it has collected, after those it has."""

    def shutdown(self) -> None:
        """End when all of them have run."""


class Lane:
    """Tests that one worker runs, in order, or another one after it has died."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.waiting: deque[str] = deque()
        self._in_hand: list[str] = []
        self._numbers: dict[str, int] = {}

    @property
    def is_over(self) -> bool:
        """Whether every test has ended."""
        return not self.waiting and not self._in_hand

    @property
    def wants_more(self) -> bool:
        """Whether its worker could take a test that is not here."""
        return self.worker is not None and not self.waiting and len(self._in_hand) < AHEAD

    def occupy(self, worker: Worker, tests: Sequence[str]) -> None:
        """By a worker that has collected these tests, of which some will be for it."""
        self.worker = worker
        self._numbers = {test: number for number, test in enumerate(tests)}

    def feed(self) -> None:
        """Keep the worker in tests."""
        while self.worker is not None and self.waiting and len(self._in_hand) < AHEAD:
            if self.worker.shutting_down:
                return
            test = self.waiting.popleft()
            self._in_hand.append(test)
            self.worker.send_runtest_some([self._numbers[test]])

    def close(self) -> None:
        """There will be no more than is here."""
        if self.worker is not None and not self.waiting and not self.worker.shutting_down:
            self.worker.shutdown()

    def ended(self, number: int) -> str:
        """The name of the test of this number, which has."""
        test = next(test for test in self._in_hand if self._numbers[test] == number)
        self._in_hand.remove(test)
        return test

    def leave(self) -> str | None:
        """The worker is gone: the test it died of, or nothing when it had none to do."""
        self.worker = None
        died_of = self._in_hand.pop(0) if self._in_hand else None
        self.waiting.extendleft(reversed(self._in_hand))
        self._in_hand.clear()
        return died_of


class Lanes:
    """A scheduler as xdist wants one."""

    def __init__(self) -> None:
        self._first, self._computing, self._joining = self._lanes = (Lane(), Lane(), Lane())
        self._sensitive: set[str] = set()
        """Those that have not ended."""
        self._shared: deque[list[str]] = deque()
        """The files that the first and the joining worker have not begun."""
        self._nodes: dict[Worker, Lane | None] = {}
        self._is_begun = False

    @property
    def nodes(self) -> list[Worker]:
        """The workers."""
        return list(self._nodes)

    @property
    def collection_is_completed(self) -> bool:
        """Whether all workers have collected."""
        return self._is_begun

    @property
    def tests_finished(self) -> bool:
        """Whether nobody needs to be told anything any more."""
        return self._is_begun and not self._shared and not any(lane.waiting for lane in self._lanes)

    @property
    def has_pending(self) -> bool:
        """Whether tests have not ended."""
        return bool(self._shared) or not all(lane.is_over for lane in self._lanes)

    def add_node(self, node: Worker) -> None:
        """A worker is there, and collects."""
        self._nodes[node] = None

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """It has collected. It is one of the three, or goes on where one died."""
        free = [lane for lane in self._lanes if lane.worker is None]
        lane = self._nodes[node] = next((lane for lane in free if lane.waiting), free[0])
        lane.occupy(node, collection)
        if not self._is_begun and all(lane.worker is not None for lane in self._lanes):
            self._is_begun = True
            self._share_out(collection)

    def _share_out(self, tests: Sequence[str]) -> None:
        self._computing.waiting.extend(filter(only_computes, tests))
        self._shared.extend(by_file([test for test in tests if is_sociable(test)]))
        rest = [test for test in tests if not only_computes(test) and not is_sociable(test)]
        self._first.waiting.extend(rest)
        self._sensitive.update(rest)

    def schedule(self) -> None:
        """All have collected, or one that took the place of another."""
        for lane in (self._first, self._joining):
            may_share = lane is self._first or not self._sensitive
            if may_share and lane.wants_more and self._shared:
                lane.waiting.extend(self._shared.popleft())
        for lane in self._lanes:
            lane.feed()
            if lane is self._computing or not self._shared:
                lane.close()

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:
        """A test has ended."""
        lane = self._nodes[node]
        assert lane is not None
        self._sensitive.discard(lane.ended(item_index))
        self.schedule()

    def remove_node(self, node: Worker) -> str | None:
        """A worker has ended, or died of the test returned."""
        lane = self._nodes.pop(node)
        died_of = lane.leave() if lane is not None else None
        self._sensitive.discard(died_of or "")
        return died_of


@cache
def step_aside() -> None:
    """Leave the processor to all others, for good.

    Where Linux groups processes by session (autogroup), niceness counts only within a session; so this makes one of its
    own, and the whole group nice.
    """
    with contextlib.suppress(OSError):
        os.setsid()
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(LOWEST))
    os.nice(LOWEST)
