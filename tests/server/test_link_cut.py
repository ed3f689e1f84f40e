"""The direct link is cut at each step of a move: the session lives on, at the target or, taken back, at the source."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from moving_pair import moving_pair, pressed, type_on
from waiting import until

import spicehop
from spicehop.migration.leaving import LeavingSession
from spicehop.migration.leaving_table import LeavingInput, LeavingState

STEPS = [
    LeavingState.STATE_AHEAD,
    LeavingState.RESTORED_AHEAD,
    LeavingState.HANDING_CHANNELS,
    LeavingState.HANDING_MAIN,
    LeavingState.GOING,
]


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.value)
async def test_no_client_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: LeavingState, end: str
) -> None:
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await pair.name_target()
        cuts: list[asyncio.Task[None]] = []
        go_on = LeavingSession._step

        def step_and_cut(session: LeavingSession, happened: LeavingInput, now: float) -> None:
            go_on(session, happened, now)
            if session.state is step and not cuts:
                cuts.append(asyncio.create_task(getattr(pair, end).control.direct_link.close("cut by the test")))

        monkeypatch.setattr(LeavingSession, "_step", step_and_cut)
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
