"""The demo's report: what it prints, and when it calls a run a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicehop.demo.keys import Charge, KeyCount
from spicehop.demo.payload import PortCount
from spicehop.demo.report import DemoReport, Hop, spread

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
