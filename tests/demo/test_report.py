"""The demo's report: what it prints, and when it calls a run a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicehop.demo.exchange import ClipboardCount
from spicehop.demo.hearing import SoundCount
from spicehop.demo.keys import Charge, KeyCount
from spicehop.demo.payload import PortCount
from spicehop.demo.report import DemoReport, DeskReport, FrameCount, Hop, spread

DRAWING = Hop(1, "seamless", "", False, 0.08, None, None, 1.0)
FROZEN = Hop(2, "seamless", "", True, None, 100_500, True, 1.0)
GOOD = DemoReport(
    hops=(DRAWING, FROZEN),
    keys=KeyCount(100, (7,), (), {}, ()),
    charge=Charge((7,), ()),
    port=PortCount(1600, 1600, 0, 0, True, True, 1600),
    session_interrupted=False,
    seconds=12.0,
)
DESK = DeskReport(
    to_guest=ClipboardCount(2, 300, 300),
    from_guest=ClipboardCount(2, 400, 400),
    sound=SoundCount(100, 1.0, 0, True),
    frames=FrameCount(30, 28, 25),
    picture_equal=True,
    log_faults=(),
    server_ended_well=True,
    compiled=True,
)
AT_ONE_SERVER = replace(GOOD, hops=(), keys=KeyCount(100, (), (), {}, ()), charge=Charge((), ()), desk=DESK)


def test_a_key_that_libspice_dropped_is_no_problem() -> None:
    assert GOOD.problems == ()


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (replace(GOOD, charge=Charge((), (7,))), "1 keys were lost that libspice cannot be charged with"),
        (replace(GOOD, keys=KeyCount(100, (), (3,), {}, ())), "1 keys came twice"),
        (replace(GOOD, port=PortCount(1600, 1584, 16, 0, True, True, 1600)), "stream is not whole"),
        (replace(GOOD, port=PortCount(1600, 1600, 0, 0, True, False, 1600)), "stream is not whole"),
        (replace(GOOD, session_interrupted=True), "interrupted"),
        (replace(GOOD, hops=(DRAWING, replace(FROZEN, picture_equal=False))), "differs"),
        (replace(GOOD, hops=(DRAWING,)), "No pictures were compared"),
        (replace(GOOD, hops=(replace(DRAWING, scheme="switch-host", reason="late"), FROZEN)), "was switch-host: late"),
    ],
)
def test_every_loss_is_a_problem_with_its_sentence(report: DemoReport, words: str) -> None:
    assert len(report.problems) == 1
    assert words in report.problems[0]
    assert words in report.as_text()


def test_the_object_for_machines_has_what_is_promised() -> None:
    printed = GOOD.as_json()
    assert printed["scheme"] == ["seamless", "seamless"]
    assert printed["migrations"] == 2
    assert printed["blackout_ms"] == {"min": 80.0, "median": 80.0, "max": 80.0}
    assert printed["redrawn_bytes"] == 100_500
    assert printed["picture_equal"] is True
    assert printed["fallbacks"] == []
    for name in ("keys", "port"):
        assert {"sent", "received", "lost", "duplicated"} <= printed[name].keys()


def test_a_fallback_is_named() -> None:
    report = replace(GOOD, hops=(replace(DRAWING, scheme="semi-seamless", reason="no state"), FROZEN))
    assert report.as_json()["fallbacks"] == [{"migration": 1, "scheme": "semi-seamless", "reason": "no state"}]


def test_a_spread_of_nothing_is_nothing() -> None:
    assert spread([]) == {"min": None, "median": None, "max": None}
    assert spread([3.0, 1.0, 2.04]) == {"min": 1.0, "median": 2.0, "max": 3.0}


def test_without_migrations_nothing_is_charged_to_libspice() -> None:
    lost = replace(AT_ONE_SERVER, keys=KeyCount(100, (7,), (), {}, ()), charge=Charge((), (7,)))
    assert AT_ONE_SERVER.problems == ()
    assert lost.problems == ("1 keys were lost.",)
    assert "libspice" not in lost.as_text()
    assert "migration" not in lost.as_text()


@pytest.mark.parametrize(
    ("desk", "words"),
    [
        (replace(DESK, to_guest=ClipboardCount(2, 300, 100)), "300 bytes of clipboard texts to the guest 100 came"),
        (replace(DESK, from_guest=ClipboardCount(2, 400, 0)), "400 bytes of clipboard texts from the guest 0 came"),
        (replace(DESK, sound=SoundCount(0, 0.0, 0, False)), "No sound came"),
        (replace(DESK, sound=SoundCount(9, 0.1, 0, False)), "The sound is not what the guest plays"),
        (replace(DESK, frames=FrameCount(30, 1, 0)), "The picture did not move"),
        (replace(DESK, picture_equal=False), "The client's picture differs from the server's"),
        (replace(DESK, log_faults=("KEYS line 3 came again",)), "not as it should be: KEYS line 3 came again"),
        (replace(DESK, server_ended_well=False), "did not end when it was asked to"),
    ],
)
def test_every_loss_at_one_server_is_a_problem_with_its_sentence(desk: DeskReport, words: str) -> None:
    report = replace(AT_ONE_SERVER, desk=desk)
    assert len(report.problems) == 1
    assert words in report.problems[0]
    assert words in report.as_text()


def test_the_object_of_one_server_has_the_same_names_and_more() -> None:
    printed = AT_ONE_SERVER.as_json()
    assert printed.keys() - GOOD.as_json().keys() == {"clipboard", "sound", "frames", "compiled"}
    assert printed["migrations"] == 0
    assert printed["scheme"] == printed["fallbacks"] == printed["problems"] == []
    assert printed["blackout_ms"] == {"min": None, "median": None, "max": None}
    assert printed["redrawn_bytes"] is None
    assert printed["picture_equal"] is True
