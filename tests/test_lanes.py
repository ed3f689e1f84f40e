"""Three workers share the tests: who gets which, when, and what happens when one dies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lanes import COMPUTING, SOCIABLE, Lanes, is_sociable, only_computes

TOP = Path(__file__).parents[1]
SENSITIVE = [f"tests/interop/test_serve_seamless.py::test_{number}" for number in range(4)]
COMPUTED = [f"tests/wire/test_b.py::test_{number}" for number in range(3)]
GUEST = [f"tests/interop/test_guest.py::test_{number}" for number in range(3)]
SERVER = [f"tests/server/test_c.py::test_{number}" for number in range(2)]
OTHERS = [f"tests/server/test_d.py::test_{number}" for number in range(2)]
TESTS = [*GUEST, *COMPUTED[:2], *SENSITIVE, *COMPUTED[2:], *SERVER, *OTHERS]


class FakeWorker:
    """Runs nothing, and knows what it was told to."""

    def __init__(self, lanes: Lanes, tests: Sequence[str] = TESTS) -> None:
        self.tests = tests
        self.told: list[str] = []
        self.shutting_down = False
        self._lanes = lanes
        lanes.add_node(self)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.told += [self.tests[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True

    def collect(self) -> None:
        self._lanes.add_node_collection(self, self.tests)
        if self._lanes.collection_is_completed:
            self._lanes.schedule()

    def end(self, *tests: str) -> None:
        for test in tests:
            assert test in self.told
            self._lanes.mark_test_complete(self, self.tests.index(test))


def three_workers(tests: Sequence[str] = TESTS) -> tuple[Lanes, FakeWorker, FakeWorker, FakeWorker]:
    lanes = Lanes()
    first, second, third = (FakeWorker(lanes, tests) for _ in range(3))
    for worker in (first, second, third):
        assert worker.told == []
        worker.collect()
    return lanes, first, second, third


def test_the_sensitive_have_only_what_computes_beside_them() -> None:
    _, first, second, third = three_workers()
    assert (first.told, second.told, third.told) == (SENSITIVE[:2], COMPUTED[:2], [])
    first.end(*SENSITIVE[:2])
    second.end(COMPUTED[0])
    assert (first.told, second.told, third.told) == (SENSITIVE, COMPUTED, [])
    assert second.shutting_down
    first.end(SENSITIVE[2])
    assert first.told == [*SENSITIVE, GUEST[0]]
    assert third.told == []


def test_what_is_left_is_shared_by_file() -> None:
    lanes, first, second, third = three_workers()
    first.end(*SENSITIVE)
    assert (first.told[4:], third.told) == (GUEST[:2], SERVER)
    assert not lanes.tests_finished
    third.end(SERVER[0])
    assert third.told == [*SERVER, OTHERS[0]]
    first.end(GUEST[0])
    assert first.told[4:] == GUEST
    assert first.shutting_down
    third.end(SERVER[1])
    assert third.told == [*SERVER, *OTHERS]
    assert third.shutting_down
    second.end(*COMPUTED[:2])
    assert lanes.tests_finished
    assert lanes.has_pending
    first.end(*GUEST[1:])
    third.end(*OTHERS)
    second.end(COMPUTED[2])
    assert [lanes.remove_node(worker) for worker in (first, second, third)] == [None] * 3
    assert not lanes.has_pending


def test_another_worker_goes_on_where_one_died() -> None:
    lanes, first, second, third = three_workers()
    first.end(SENSITIVE[0])
    assert lanes.remove_node(first) == SENSITIVE[1]
    second.end(*COMPUTED)
    assert not lanes.tests_finished
    fourth = FakeWorker(lanes)
    fourth.collect()
    assert fourth.told == SENSITIVE[2:]
    fourth.end(SENSITIVE[2])
    assert third.told == []
    assert lanes.remove_node(fourth) == SENSITIVE[3]
    fifth = FakeWorker(lanes)
    fifth.collect()
    assert fifth.told == GUEST[:2]
    assert third.told == SERVER


def test_one_that_died_of_the_last_is_replaced_by_one_with_nothing_to_do() -> None:
    lanes, _, second, _ = three_workers()
    second.end(*COMPUTED[:2])
    assert lanes.remove_node(second) == COMPUTED[2]
    fourth = FakeWorker(lanes)
    fourth.collect()
    assert fourth.told == []
    assert fourth.shutting_down


def test_who_has_nothing_to_do_ends_at_once() -> None:
    _, first, second, third = three_workers(COMPUTED)
    assert first.shutting_down
    assert third.shutting_down
    assert second.told == COMPUTED[:2]


def test_no_more_is_sent_to_a_worker_that_is_told_to_stop() -> None:
    _, first, _, _ = three_workers()
    first.shutdown()
    first.end(SENSITIVE[0])
    assert first.told == SENSITIVE[:2]


def test_what_is_not_named_is_sensitive() -> None:
    new = "tests/new/test_new.py::test_something"
    assert not only_computes(new)
    assert not is_sociable(new)
    assert all((TOP / path).exists() for path in (*COMPUTING, *SOCIABLE))
