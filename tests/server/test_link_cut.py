"""The direct link is cut at each step of a move: the source makes another one, and nothing is lost. Where there can be
no other the session lives on, at the target or, taken back, at the source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from moving_pair import MovingPair, moving_pair, pressed, type_on, write_slowly
from waiting import until

import spicehop
from spicehop.errors import OperationError
from spicehop.migration.handing_direct import HostToHost
from spicehop.migration.leaving import LeavingSession
from spicehop.migration.leaving_table import LeavingInput, LeavingState

STEPS = [
    LeavingState.STATE_AHEAD,
    LeavingState.AWAITING_RESTORE,
    LeavingState.HANDING_CHANNELS,
    LeavingState.HANDING_MAIN,
    LeavingState.GOING,
]
Cut = Callable[[MovingPair], Awaitable[None]]


def cut_at(monkeypatch: pytest.MonkeyPatch, pair: MovingPair, step: LeavingState, cut: Cut) -> list[asyncio.Task[None]]:
    """The cut is begun when the session comes to that step, once."""
    cuts: list[asyncio.Task[None]] = []
    go_on = LeavingSession._step

    def step_and_cut(session: LeavingSession, happened: LeavingInput, now: float) -> None:
        go_on(session, happened, now)
        if session.state is step and not cuts:
            cuts.append(asyncio.ensure_future(cut(pair)))  # type: ignore[arg-type]

    monkeypatch.setattr(LeavingSession, "_step", step_and_cut)
    return cuts


def drop(end: str) -> Cut:
    """The connection ends, and both servers live."""

    async def cut(pair: MovingPair) -> None:
        link = getattr(pair, end).control.direct_link.link
        assert link is not None
        assert link._transport is not None
        link._transport.abort()

    return cut


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.value)
async def test_another_link_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: LeavingState, end: str
) -> None:
    data = bytes(range(256)) * 400
    codes = [0x10 + number % 25 for number in range(150)]
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await pair.name_target()
        port = await client.port("org.example.echo.0")
        cuts = cut_at(monkeypatch, pair, step, drop(end))
        work = asyncio.gather(type_on(client, codes), write_slowly(port, data))
        pair.move()
        await work
        await until(lambda: bool(pair.source.completed()), "the clients are gone", timeout=20)
        (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
        assert len(cuts) == 1
        assert (outcome["outcome"], outcome["scheme"]) == ("moved", "seamless")
        # A state that was cut off on its way goes through the client.
        assert outcome["carrier"] == "direct" or step is LeavingState.STATE_AHEAD
        await until(lambda: pressed(pair.source, pair.target) == codes, "every key is there")
        echo = bytearray()
        async with asyncio.timeout(10):
            while len(echo) < len(data):
                echo += await port.read()
        assert bytes(echo) == data


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.value)
async def test_no_client_is_lost_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: LeavingState, end: str
) -> None:
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await pair.name_target()
        cuts = cut_at(monkeypatch, pair, step, lambda pair: getattr(pair, end).control.direct_link.close("by the test"))
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone", timeout=20)
        (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
        assert len(cuts) == 1
        await cuts[0]
        stays = outcome["outcome"] == "stayed"
        assert stays or outcome["outcome"] == "moved"
        if stays:
            assert "the direct link is gone" in outcome["reason"]
        here, gone = (pair.source, pair.target) if stays else (pair.target, pair.source)
        await until(lambda: (len(here.server.sessions), len(gone.server.sessions)) == (1, 0), "one has the session")
        assert not client.closed
        if not stays:
            await type_on(client, [0x1E])
            await until(lambda: pressed(pair.source, pair.target) == [0x1E], "the key is there")


async def test_a_client_is_sent_on_where_the_target_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken back, it would stay with a server whose guest has gone."""
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await pair.name_target()

        async def cut(pair: MovingPair) -> None:
            await pair.target.control.direct_link.close("by the test")

        cuts = cut_at(monkeypatch, pair, LeavingState.HANDING_CHANNELS, cut)
        monkeypatch.setattr(HostToHost, "channels_handed", property(lambda self: False))
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone", timeout=20)
        (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
        assert len(cuts) == 1
        assert outcome["outcome"] == "moved"
        there = pair.target.server.sessions
        await until(lambda: [one.initialized for one in there] == [True], "it has begun anew")
        await until(lambda: (3, 0) in next(iter(there)).channels, "it can type")
        await type_on(client, [0x1E])
        await until(lambda: pressed(pair.source, pair.target) == [0x1E], "the key is there")


async def test_management_cannot_close_it_under_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}"),
    ):
        await pair.name_target()
        refusals: list[str] = []

        async def close(pair: MovingPair) -> None:
            for side in (pair.source, pair.target):
                with pytest.raises(OperationError, match="on their way"):
                    await side.control.direct_link.hang_up()
                refusals.append("refused")

        cut_at(monkeypatch, pair, LeavingState.HANDING_MAIN, close)
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone", timeout=20)
        (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
        assert (outcome["outcome"], outcome["carrier"]) == ("moved", "direct")
        assert refusals == ["refused", "refused"]
        await pair.source.control.direct_link.hang_up()
        assert pair.source.control.direct_link.link is None


async def test_the_event_waits_for_the_target_to_have_all_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spicehop.migration.leaving.LEAVE_SECONDS", 1000.0)
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}"),
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}"),
    ):
        await pair.name_target(2)
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone")
        clients = pair.source.completed()[0]["clients"]
        assert [(one["outcome"], one["carrier"]) for one in clients] == [("moved", "direct")] * 2  # type: ignore[attr-defined]
        assert pair.target.server.arrivals.link_in_use is False
