"""The demo's report: what it prints, and when it calls a run a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicehop.demo.exchange import ClipboardCount
from spicehop.demo.hearing import SoundCount
from spicehop.demo.keys import Charge, KeyCount
from spicehop.demo.payload import PortCount
from spicehop.demo.report import DemoReport, DeskReport, FrameCount, Hop, spread
from spicehop.demo.stock_report import StockMove, StockReport, StockView

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
STOCK = StockReport(
    version="0.42",
    connection_id=7,
    channels=("main", "display", "inputs"),
    moves_made=2,
    moves=tuple(StockMove(n, "seamless", "direct", "", {"main:0": "moved"}, 0.25) for n in (1, 2)),
    keys=KeyCount(90, (), (), {}, ()),
    view=StockView(20, 12.5, 2, 2),
    pixels_differ=0,
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
    assert printed.keys() - GOOD.as_json().keys() == {"clipboard", "sound", "frames", "compiled", "spice_gtk"}
    assert printed["spice_gtk"] is None
    assert printed["migrations"] == 0
    assert printed["scheme"] == printed["fallbacks"] == printed["problems"] == []
    assert printed["blackout_ms"] == {"min": None, "median": None, "max": None}
    assert printed["redrawn_bytes"] is None
    assert printed["picture_equal"] is True


BESIDE = replace(AT_ONE_SERVER, hops=(DRAWING, FROZEN), desk=replace(DESK, stock=STOCK))


def test_spice_gtk_has_its_lines_and_its_object() -> None:
    assert BESIDE.problems == ()
    text = BESIDE.as_text()
    assert text.count("seamless, 0.25 s") == 2
    assert "spice-gtk 0.42 beside it: 2 of 2 moves seamless; 3 channels, none opened or closed; 0 criticals" in text
    assert "  keys    90 typed, 90 received, 0 lost, 0 doubled" in text
    assert "  view    20 frames seen, 12.5 s of sound, 2 of 2 clipboard texts whole" in text
    assert "  picture equal to the server's own" in text
    printed = BESIDE.as_json()["spice_gtk"]
    assert printed["scheme"] == ["seamless"] * 2
    assert printed["keys"] == {"sent": 90, "received": 90, "lost": 0, "duplicated": 0}
    assert printed["channels"] == {"had": ["main", "display", "inputs"], "opened": [], "closed": []}
    assert (printed["criticals"], printed["pixels_differ"], printed["trouble"]) == ([], 0, "")
    assert printed["moves"][1]["channels"] == {"main:0": "moved"}


def test_without_spice_gtk_nothing_is_printed_of_it() -> None:
    assert "spice-gtk" not in AT_ONE_SERVER.as_text()
    assert "spice-gtk" not in GOOD.as_text()


@pytest.mark.parametrize(
    ("stock", "words"),
    [
        (replace(STOCK, keys=KeyCount(90, (3,), (), {}, ())), "1 keys of spice-gtk were lost"),
        (replace(STOCK, keys=KeyCount(90, (), (3,), {}, ())), "1 keys of spice-gtk came twice"),
        (replace(STOCK, opened=("display",)), "spice-gtk opened channels while it worked: display"),
        (replace(STOCK, closed=("main closed",)), "spice-gtk closed channels while it worked: main closed"),
        (replace(STOCK, criticals=("a != b",)), "spice-gtk called 1 things critical, first: a != b"),
        (replace(STOCK, view=StockView(20, 12.5, 2, 1)), "Of 2 clipboard texts 1 came whole to spice-gtk"),
        (replace(STOCK, view=StockView(1, 12.5, 2, 2)), "The picture of spice-gtk did not move"),
        (replace(STOCK, view=StockView(20, 0.0, 2, 2)), "No sound came to spice-gtk"),
        (replace(STOCK, pixels_differ=12), "12 pixels of spice-gtk's picture differ from the server's"),
        (replace(STOCK, pixels_differ=None), "No picture of spice-gtk was compared"),
        (replace(STOCK, pixels_differ=None, trouble="spice-gtk was late"), "spice-gtk was late"),
        (replace(STOCK, moves=STOCK.moves[:1], trouble="spice-gtk lost it in move 2: gone"), "lost it in move 2: gone"),
    ],
)
def test_every_loss_of_spice_gtk_is_a_problem_with_its_sentence(stock: StockReport, words: str) -> None:
    report = replace(BESIDE, desk=replace(DESK, stock=stock))
    assert len(report.problems) == 1
    assert words in report.problems[0]
    assert words in report.as_text()
