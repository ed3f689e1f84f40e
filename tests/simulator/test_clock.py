"""The virtual clock keeps appointments in order and jumps between them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spicehop.simulator.clock import VirtualClock


@given(st.lists(st.floats(0, 100), max_size=20))
def test_appointments_are_kept_in_the_order_of_their_times(delays: list[float]) -> None:
    clock = VirtualClock(0.0)
    kept: list[tuple[float, int]] = []
    for number, delay in enumerate(delays):
        clock.after(delay, lambda number=number: kept.append((clock.now, number)))
    while clock.step():
        pass
    assert kept == sorted((delay, number) for number, delay in enumerate(delays))
    assert clock.next_time is None


def test_what_is_cancelled_is_not_done() -> None:
    clock = VirtualClock(0.0)
    clock.after(1, lambda: kept.append(1)).cancel()
    kept: list[int] = []
    clock.after(2, lambda: kept.append(2))
    assert clock.next_time == 2
    assert clock.step()
    assert not clock.step()
    assert kept == [2]


def test_the_past_is_now() -> None:
    clock = VirtualClock(10.0)
    clock.at(3.0, lambda: None)
    assert clock.next_time == 10.0
