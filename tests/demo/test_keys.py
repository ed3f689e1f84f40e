"""Counting keys: what was lost or doubled is found by the codes alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.demo.keys import (
    OTHER_CODES,
    SHORTEST_RETURN,
    TYPED_CODES,
    KeyCount,
    KeyPlan,
    SentKey,
    StandStill,
    align,
    charge,
    count_keys,
)
from spicehop.demo.serial import SerialLog, parse_serial

PLAN = KeyPlan().codes(600)


def guest_log(events: list[tuple[int, int]]) -> SerialLog:
    rows = [f"KEYS {n} key n={n} code={code} value={value} t={n / 100:.6f}\n" for n, (code, value) in enumerate(events)]
    return parse_serial("".join(rows))


def typed(codes: list[int]) -> list[tuple[int, int]]:
    return [event for code in codes for event in ((code, 1), (code, 0))]


@pytest.mark.parametrize("keys", [TYPED_CODES, OTHER_CODES])
def test_a_plan_never_repeats_itself_nearby(keys: tuple[int, ...]) -> None:
    codes = KeyPlan(typed=keys).codes(8000)
    assert set(codes) == set(keys)
    for index, code in enumerate(codes):
        assert code not in codes[max(0, index - SHORTEST_RETURN) : index]
    triples = list(zip(codes, codes[1:], codes[2:], strict=False))
    assert len(set(triples)) == len(triples)


def test_two_clients_keys_are_told_apart() -> None:
    assert not set(TYPED_CODES) & set(OTHER_CODES)
    first, second = list(PLAN[:100]), list(KeyPlan(typed=OTHER_CODES).codes(100))
    both = [event for pair in zip(typed(first), typed(second[1:] + second[:1]), strict=True) for event in pair]
    log = guest_log(both)
    assert count_keys(first, log).lost == count_keys(first, log).duplicated == 0
    assert count_keys(second[1:], log, OTHER_CODES).duplicated_indices == (99,)
    assert count_keys([*second[1:], second[0]], log, OTHER_CODES).received == 100


def test_a_plan_is_the_same_each_time() -> None:
    assert KeyPlan()[5] == KeyPlan().codes(10)[5]
    assert KeyPlan(2).codes(50) != KeyPlan().codes(50)


def test_all_keys_arrive() -> None:
    count = count_keys(PLAN, guest_log(typed(list(PLAN))))
    assert (count.sent, count.received, count.lost, count.duplicated) == (600, 600, 0, 0)
    assert count.masked == {}
    assert count.unreleased == ()


@given(st.sets(st.integers(0, 599), max_size=120))
@settings(max_examples=60, deadline=None)
def test_every_lost_key_is_named(lost: set[int]) -> None:
    count = count_keys(PLAN, guest_log(typed([code for index, code in enumerate(PLAN) if index not in lost])))
    assert count.lost == len(lost)
    assert count.duplicated == 0
    # Which keys a long gap took can only be unclear when the same codes stand at its two ends.
    found = [code for index, code in enumerate(PLAN) if index not in set(count.lost_indices)]
    assert found == [code for index, code in enumerate(PLAN) if index not in lost]


@pytest.mark.parametrize("gap", [range(100, 101), range(200, 296), range(40), range(560, 600)])
def test_a_gap_is_named_exactly(gap: range) -> None:
    count = count_keys(PLAN, guest_log(typed([code for index, code in enumerate(PLAN) if index not in gap])))
    assert count.lost_indices == tuple(gap)


@given(st.integers(0, 598))
@settings(max_examples=30, deadline=None)
def test_a_doubled_key_is_found(where: int) -> None:
    codes = [*PLAN[: where + 1], PLAN[where], *PLAN[where + 1 :]]
    count = count_keys(PLAN, guest_log(typed(codes)))
    assert (count.lost, count.duplicated) == (0, 1)


def test_repeats_and_function_keys_do_not_count() -> None:
    events = [*typed(list(PLAN[:5])), (PLAN[5], 1), (PLAN[5], 2), (PLAN[5], 2), (PLAN[5], 0), (64, 1), (64, 0)]
    count = count_keys(PLAN[:6], guest_log(events))
    assert (count.lost, count.duplicated) == (0, 0)


def test_a_lost_release_masks_the_next_press() -> None:
    code = PLAN[10]
    again = PLAN.index(code, 11)
    events = typed(list(PLAN[: again + 5]))
    events.remove((code, 0))
    events.reverse()
    events.remove((code, 1))
    events.reverse()
    count = count_keys(PLAN[: again + 5], guest_log(events))
    assert count.lost_indices == (again,)
    assert count.masked == {again: 10}
    assert count.unreleased == (10,)


def test_a_lost_press_of_a_released_key_is_not_masked() -> None:
    again = PLAN.index(PLAN[10], 11)
    count = count_keys(PLAN, guest_log(typed([*PLAN[:again], *PLAN[again + 1 :]])))
    assert count.lost_indices == (again,)
    assert count.masked == {}


@given(st.lists(st.integers(0, 3), max_size=14), st.lists(st.integers(0, 3), max_size=14))
@settings(max_examples=150, deadline=None)
def test_alignment_is_the_longest_common_subsequence(sent: list[int], received: list[int]) -> None:
    matches = align(sent, received)
    pairs = [(index, received[number]) for number, index in enumerate(matches) if index is not None]
    assert all(sent[index] == code for index, code in pairs)
    assert [index for index, _ in pairs] == sorted({index for index, _ in pairs})
    longest = [[0] * (len(received) + 1) for _ in range(len(sent) + 1)]
    for i, one in enumerate(sent):
        for j, other in enumerate(received):
            same = longest[i][j] + 1
            longest[i + 1][j + 1] = same if one == other else max(longest[i][j + 1], longest[i + 1][j])
    assert len(pairs) == longest[-1][-1]


SOURCE, TARGET = "source", "target"
STILL = StandStill(SOURCE, stopped_at=10.0, moved_at=10.4)


@pytest.mark.parametrize(
    ("pressed_at", "server", "is_ours"),
    [
        (9.949, SOURCE, True),  # too early
        (9.951, SOURCE, False),  # QEMU drops input a little before it says STOP
        (10.2, SOURCE, False),
        (10.4, SOURCE, False),
        (10.401, SOURCE, True),  # the client had seen MIGRATE
        (10.2, TARGET, True),
    ],
)
def test_a_lost_press_is_charged_by_when_and_where_it_went(pressed_at: float, server: str, is_ours: bool) -> None:
    sent = [SentKey(30, pressed_at, server, pressed_at + 0.01, server)]
    found = charge(KeyCount(1, (0,), (), {}, ()), sent, [STILL])
    assert found.ours == ((0,) if is_ours else ())
    assert found.libspice == (() if is_ours else (0,))


@pytest.mark.parametrize(("released_at", "is_ours"), [(10.1, False), (9.9, True)])
def test_a_masked_press_is_charged_by_its_holders_release(released_at: float, is_ours: bool) -> None:
    sent = [SentKey(30, 9.8, SOURCE, released_at, SOURCE), SentKey(30, 10.6, TARGET, 10.61, TARGET)]
    found = charge(KeyCount(2, (1,), (), {1: 0}, (0,)), sent, [STILL])
    assert found.ours == ((1,) if is_ours else ())
