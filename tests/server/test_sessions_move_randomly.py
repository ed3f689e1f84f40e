"""Moves with something that happens at a random moment: cancelled, the direct link cut, the guest held still.

Whatever happens, the session lives on with the guest, each key reaches the guest once and in order, and the port's
bytes are whole. `SPICEHOP_SEEDS` says how many seeds are tried.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from moving_pair import moving_pair, pressed, type_on, write_slowly
from waiting import until

import spicehop

SEEDS = range(int(os.environ.get("SPICEHOP_SEEDS", "8")))


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    direct, pause = chance.random() < 0.6, chance.random() < 0.5
    mishap = chance.choice(["nothing", "cancel", "cut the link", "late client"])
    codes = [0x1E + number % 8 for number in range(200)]
    sent = bytes(number % 251 for number in range(60_000))
    async with (
        moving_pair(tmp_path, direct=direct) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": pause})
        port = await client.port("org.example.echo.0")
        typing = asyncio.create_task(type_on(client, codes))
        writing = asyncio.create_task(write_slowly(port, sent))
        await asyncio.sleep(chance.uniform(0, 0.1))
        if mishap == "late client":
            pair.source.control.migration.name_client_target(pair.target_address)
        else:
            await pair.name_target()
        pair.move()
        await asyncio.sleep(chance.uniform(0, 0.04))
        if mishap == "cancel":
            migration.cancel()
        elif mishap == "cut the link" and direct:
            await pair.target.control.direct_link.close("cut by the test")
        if pause and mishap != "cancel":
            await until(lambda: migration.describe().get("status") not in ("setup", "active"))
            await asyncio.sleep(chance.uniform(0, 0.3))
            if migration.describe().get("status") == "pre-switchover":
                migration.go_on("pre-switchover")
        ends = ("completed", "cancelled", "failed")
        await until(
            lambda: migration.describe().get("status") in ends, f"{migration.describe()}, {mishap}", timeout=20
        )
        moved = migration.describe()["status"] == "completed"
        if moved:
            await until(lambda: bool(pair.source.completed()), "the clients are gone", timeout=20)
            (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
            scheme = outcome["scheme"]
        at_work = await asyncio.gather(typing, writing, return_exceptions=True)
        assert not client.closed
        if mishap == "cut the link" and direct and moved and outcome["carrier"] != "client":
            # Between restore and MIGRATE neither server knows what the other has: the client begins anew there, or is
            # at the source again. After that the session goes on, and what was under way on the link is lost with it.
            return
        if moved and scheme != "seamless":
            # What was on its way is lost then, and the client begins anew: it lives, and that is all.
            assert mishap == "late client", outcome
            return
        assert at_work == [None, None]
        await until(lambda: pressed(pair.source, pair.target) == codes, f"all keys, seed {seed}, {mishap}")
        echo = bytearray()
        async with asyncio.timeout(10):
            while len(echo) < len(sent):
                echo += await port.read()
        assert bytes(echo) == sent
