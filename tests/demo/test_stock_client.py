"""spice-gtk in the demo, whatever becomes of it: nothing is raised, nothing hangs, and the report says it.

Its part is played by a script here; `tests/interop/test_demo.py` has the real one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fake_gtk import DEAF, OBEY, OPEN, fake_gtk

from spicehop.demo import gtk_client, stock_client
from spicehop.demo.report import Hop
from spicehop.demo.serial import SerialLog, parse_serial
from spicehop.demo.stock_client import StockClient
from spicehop.demo.stock_report import StockReport
from spicehop.migration.conducting_result import ChannelFate, Fate, SessionOutcome
from spicehop.trace import MemorySink, Trace

OURS, THEIRS = 7, 8
MOVES = """
say("migration-state", t=5.0, state="migrating")
say("migration-state", t=5.25, state="none")
"""
REFUSED = 'say("channel-event", kind="MainChannel", what="error-connect")'


def hop(number: int, fate: Fate | None = Fate.SEAMLESS, reason: str = "") -> Hop:
    """A move of our session, and of the other one when it has a fate."""
    own = SessionOutcome(OURS, Fate.SEAMLESS, {"main:0": ChannelFate.MOVED}, carrier="direct")
    other = () if fate is None else (SessionOutcome(THEIRS, fate, {"main:0": ChannelFate.MOVED}, reason, "client"),)
    return Hop(number, "seamless", "", False, None, None, None, 1.0, "direct", (own, *other))


def guest_log(*codes: int) -> SerialLog:
    events = [(code, value) for code in codes for value in (1, 0)]
    rows = [f"KEYS {n} key n={n} code={code} value={value} t={n}.0\n" for n, (code, value) in enumerate(events)]
    return parse_serial("".join(rows))


class Demo:
    """What a demo does with spice-gtk, with one move."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
        fake_gtk(folder, monkeypatch, *lines)
        monkeypatch.setattr(gtk_client, "QUIT_SECONDS", 0.2)
        for name in ("JOIN_SECONDS", "STOP_SECONDS", "SAVE_SECONDS"):
            monkeypatch.setattr(stock_client, name, 2.0)
        monkeypatch.setattr(stock_client, "connection_ids", self._ids)
        monkeypatch.setattr(stock_client, "pixels_that_differ", self._compared)
        self.said: list[str] = []
        self.memory = MemorySink()
        self.moves = [hop(1)]
        self.shown: npt.NDArray[np.uint8] | None = None
        self._folder = folder

    async def run(self) -> StockReport:
        trace = Trace("client", lambda: 9.0, self.memory)
        async with StockClient("0.42", 1, self._folder, trace, self.said.append) as stock:
            await stock.join("control", {OURS}, keys_per_second=50)
            for move in self.moves:
                stock.follow(move)
            await stock.stop_work(0)
            await stock.compare("control", self._folder / "after")
        return stock.report(guest_log(12, 13, 30))

    async def _ids(self, control: str) -> set[int]:
        return {OURS, THEIRS}

    async def _compared(
        self, monitor: str, pictures: Path, shown: Callable[[], Awaitable[npt.NDArray[np.uint8]]]
    ) -> int:
        self.shown = await shown()
        return 0


async def test_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Demo(tmp_path, monkeypatch, OPEN, OBEY)
    report = await demo.run()
    assert list(report.problems) == []
    assert report.connection_id == THEIRS
    assert report.keys is not None
    assert (report.keys.sent, report.keys.received) == (2, 2)
    assert [(move.number, move.scheme, move.carrier) for move in report.moves] == [(1, "seamless", "client")]
    assert report.channels == ("main", "inputs")
    assert report.view is not None
    assert (report.view.frames, report.view.sound_seconds) == (3, 1.0)
    assert demo.shown is not None
    assert demo.shown.shape == (1, 2, 3)
    assert demo.said == []
    assert [(one.party, one.event, one.session) for one in demo.memory.records] == [
        ("spice-gtk", "stock.channel", THEIRS)
    ] * 2


async def test_its_moves_are_in_the_timeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Demo(tmp_path, monkeypatch, OPEN, OBEY.replace("break", MOVES.strip().replace("\n", "; ") + "; break"))
    await demo.run()
    assert [(one.event, one.time) for one in demo.memory.records[2:]] == [
        ("stock.migrating", 5.0),
        ("stock.migrated", 5.25),
    ]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("sys.exit(1)",), "spice-gtk ended with exit code 1 before it told its channels"),
        ((REFUSED, OBEY), "spice-gtk: its session was not opened"),
        ((OPEN, "time.sleep(0.5)", "os.kill(os.getpid(), 9)"), "spice-gtk was ended by signal 9"),
        ((DEAF,), "spice-gtk did not answer in 2 s"),
        ((OPEN, DEAF), "spice-gtk did not answer in 2 s"),
        ((OPEN, OBEY.replace("P6", "P?")), "spice-gtk: cannot identify image file"),
    ],
)
async def test_its_failure_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], sentence: str
) -> None:
    demo = Demo(tmp_path, monkeypatch, *lines)
    report = await demo.run()
    assert report.trouble.startswith(sentence)
    assert list(report.problems) == [f"{report.trouble}."]
    assert demo.said == [report.trouble]
    assert report.as_json()["trouble"] == report.trouble


@pytest.mark.parametrize(
    ("fate", "reason", "why"),
    [(Fate.LOST, "the client did not go in time", "the client did not go in time"), (Fate.LEFT, "", "left"),
     (None, "", "the source did not tell of it")],
)  # fmt: skip
async def test_a_lost_session_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: Fate | None, reason: str, why: str
) -> None:
    demo = Demo(tmp_path, monkeypatch, OPEN, OBEY)
    demo.moves = [hop(1), hop(2, fate, reason), hop(3, None)]
    report = await demo.run()
    assert list(report.problems) == [f"spice-gtk lost its session in move 2: {why}."]
    assert "1 of 3 moves seamless" in report.as_lines()[0]


async def test_another_scheme_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Demo(tmp_path, monkeypatch, OPEN, OBEY)
    demo.moves = [hop(1, Fate.SWITCH_HOST, "it was late")]
    assert list((await demo.run()).problems) == ["Migration 1 of spice-gtk was switch-host: it was late."]


async def test_channels_that_come_and_go_and_criticals_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = """
        say("channel-event", kind="CursorChannel", what="error-io")
        say("channel-gone", kind="CursorChannel")
        say("channel-event", kind="CursorChannel", what="opened")
        sys.stderr.write("(process:1): GSpice-CRITICAL **: 10:00:00.000: it is bad\\n")
"""
    demo = Demo(tmp_path, monkeypatch, OPEN, OBEY.replace('say("totals"', trouble.strip() + '\n        say("totals"'))
    report = await demo.run()
    assert report.closed == ("cursor error-io", "cursor gone")
    assert report.opened == ("cursor",)
    assert list(report.problems) == [
        "spice-gtk opened channels while it worked: cursor.",
        "spice-gtk closed channels while it worked: cursor error-io, cursor gone.",
        "spice-gtk called 1 things critical, first: it is bad.",
    ]
