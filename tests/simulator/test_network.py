"""The model network delivers in order whatever the pieces, and loses what TCP would lose."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.simulator.clock import VirtualClock
from spicehop.simulator.network import WINDOW, Conditions, End, Network

ADDRESS = ("127.0.0.1", 1)


class Owner:
    """Collects what an end gets."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = ""
        self.end: End | None = None

    def data_received(self, end: End, data: bytes) -> None:
        self.data += data

    def connection_lost(self, end: End, reason: str) -> None:
        self.lost = reason


def pair(conditions: Conditions | None = None, seed: int = 1) -> tuple[VirtualClock, End, Owner, End, Owner]:
    clock = VirtualClock(0.0)
    network = Network(clock, Random(seed), conditions)
    near, far = Owner(), Owner()

    def accept(end: End) -> None:
        far.end, end.owner = end, far

    def made(end: End) -> None:
        near.end, end.owner = end, near

    network.listen(ADDRESS, "server", accept)
    network.connect("client", ADDRESS, made, pytest.fail)
    run(clock)
    assert near.end is not None
    assert far.end is not None
    return clock, near.end, near, far.end, far


def run(clock: VirtualClock) -> None:
    while clock.step():
        pass


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=10), st.integers(0, 99), st.sampled_from([1, 7, 5000]))
def test_bytes_arrive_once_and_in_order(parts: list[bytes], seed: int, piece: int) -> None:
    clock, near, _, _, far = pair(Conditions(0.001, 0.01, 1, piece), seed)
    for part in parts:
        near.send(part)
    near.close()
    run(clock)
    assert bytes(far.data) == b"".join(parts)
    assert far.lost == "closed by the client"


def test_a_reader_that_pauses_fills_the_window() -> None:
    clock, near, _, far_end, far = pair()
    writable: list[int] = []
    near.on_writable = lambda: writable.append(1)
    far_end.pause()
    near.send(bytes(3 * WINDOW))
    run(clock)
    assert not near.writable
    assert far.data == b""
    far_end.resume()
    run(clock)
    assert near.writable
    assert writable == [1]
    assert len(far.data) == 3 * WINDOW


def test_closing_with_unread_bytes_resets_the_connection() -> None:
    clock, near, near_owner, far_end, _ = pair()
    far_end.pause()
    near.send(b"never read")
    run(clock)
    far_end.close()
    assert near_owner.lost == "reset by the server"


def test_finishing_sends_the_rest_and_is_no_reset() -> None:
    clock, near, near_owner, far_end, far = pair()
    near.send(b"last words")
    near.finish()
    far_end.send(b"too late")
    run(clock)
    assert far.data == b"last words"
    assert far.lost == "closed by the client"
    assert near_owner.data == b""


def test_a_reset_loses_what_is_under_way() -> None:
    clock, near, near_owner, _, far = pair()
    near.send(b"lost")
    near.connection.reset("cut")
    run(clock)
    assert (far.data, far.lost, near_owner.lost) == (b"", "cut", "cut")


def test_a_stall_delays_and_keeps_the_order() -> None:
    clock, near, _, _, far = pair(Conditions(1.0, 0.5))
    near.send(b"before, ")
    clock.after(0.5, lambda: near.connection.stall(5))
    clock.after(0.7, lambda: near.send(b"behind"))
    begun = clock.now
    run(clock)
    assert far.data == b"before, behind"
    assert clock.now >= begun + 5


def test_nobody_there_is_told() -> None:
    clock = VirtualClock(0.0)
    network = Network(clock, Random(1))
    failed: list[str] = []
    network.connect("client", ADDRESS, pytest.fail, failed.append)
    run(clock)
    assert failed == ["connection refused"]
