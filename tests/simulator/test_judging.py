"""The judge finds what is wrong: a simulator that finds nothing proves nothing."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.vmc import VmcChannel
from spicehop.simulator import FAULTS, Fault, Situation, World, judge
from spicehop.simulator.judging import gaps
from spicehop.simulator.qemu import MachineTimes
from spicehop.simulator.spice_channel import PortDevice

SENT = Random(1).randbytes(5000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=2, max_size=8, unique=True).map(sorted))
def test_missing_pieces_are_found(edges: list[int]) -> None:
    removed = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    kept, place = b"", 0
    for start, end in removed:
        kept, place = kept + SENT[place:start], end
    kept += SENT[place:]
    found = gaps(SENT, kept)
    if all(b[0] - a[1] > 16 for a, b in pairwise(removed)) and removed[-1][1] <= 4980:
        assert found.fault == ""
        assert found.lost == sum(end - start for start, end in removed)


@pytest.mark.parametrize(
    ("received", "words"),
    [
        (SENT[:100] + SENT[50:], "came again or too late"),
        (SENT[:100] + SENT[200:300] + SENT[100:200], "came again or too late"),
        (SENT[:100] + b"\0" * 20 + SENT[100:], "never sent"),
    ],
)
def test_repeated_late_and_foreign_bytes_are_faults(received: bytes, words: str) -> None:
    assert words in gaps(SENT, received).fault


def test_four_bytes_between_two_gaps_are_found() -> None:
    """Seed 63001290: a connection that lived for one message of four bytes."""
    found = gaps(SENT, SENT[:100] + SENT[200:204] + SENT[300:])
    assert (found.missing, found.fault) == (((100, 200), (204, 300)), "")


def test_a_whole_stream_has_no_gaps() -> None:
    assert gaps(SENT, SENT).missing == ()
    assert gaps(SENT, SENT).fault == ""


def sabotaged(monkeypatch: pytest.MonkeyPatch, kind: str) -> World:
    """A run in which one part does something that must be found."""
    situation = Situation(3, times=MachineTimes(last_copy=0.3))  # it stands still long enough for data to queue up
    world = World(situation)
    match kind:
        case "loses a message":
            take = VmcChannel.next_message
            count = iter(range(10**9))

            def lossy(channel: VmcChannel, now: float):
                message = take(channel, now)
                return take(channel, now) if message is not None and next(count) == 50 else message

            monkeypatch.setattr(VmcChannel, "next_message", lossy)
        case "forgets the data":
            monkeypatch.setattr(PortDevice, "restore", lambda device, data: None)
        case "never gives a deadline":
            monkeypatch.setattr(type(world.session), "next_deadline", lambda session: None)
        case "flushes twice":
            world.clock.after(2.0, lambda: _flush_again(world))
    return world.run()


def _flush_again(world: World) -> None:
    from spicehop.wire.base import MigrateFlushMark

    channel = world.session.inputs
    assert channel is not None
    channel.send(MigrateFlushMark())
    world.client.pump()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("loses a message", "the client did not hand each port byte to one connection"),
        ("forgets the data", "bytes lost"),
        ("never gives a deadline", "without a deadline"),
        ("flushes twice", "host 0 aborted: inputs:0: a flush mark came that nobody waits for"),
    ],
)
def test_a_planted_fault_is_found(kind: str, words: str, monkeypatch) -> None:
    assert any(words in sentence for sentence in judge(sabotaged(monkeypatch, kind)))


def test_every_fault_does_something() -> None:
    for name in FAULTS:
        world = World(Situation(4), Fault(name, time=2.0)).run()
        assert name in world.charges
