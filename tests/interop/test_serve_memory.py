"""How much memory a server takes with the demo guest at 1920x1080, and how much more with each further client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from gtk_driver import GtkClient
from served_demo import ENTER, F7, LETTERS, ServerProcess, session_open
from waiting import until

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
MB = 1_000_000
FURTHER = 4


async def test_one_client_and_further_idle_ones(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Callable[[str, object], None]
) -> None:
    async with ServerProcess(tmp_path, "--size", "1920x1080") as server:
        client = await start_gtk_client(server.port)
        await session_open(client)
        client.send("keys", codes=[code for letter in LETTERS * 5 for code in (letter, ENTER)], hz=50)
        await client.wait_event("typed")
        await asyncio.sleep(1.0)
        client.send("key", code=F7)
        await until(lambda: server.lines.has("SCREEN", "frozen"), "the picture stands still")
        await asyncio.sleep(1.5)  # what was lossy is exact by then
        first = server.resident
        report("resident with one client, MB", round(first / MB, 1))
        for number in range(FURTHER):
            further = await start_gtk_client(server.port, name=f"further-{number}")
            await further.wait_event("mark")
            await further.wait_event("agent", connected=True)
        await asyncio.sleep(1.0)
        each = (server.resident - first) / FURTHER
        report("resident for each further idle client, MB", round(each / MB, 2))
        assert first < 120 * MB
        assert each < 8 * MB
        assert not client.criticals
