"""How much memory a server takes with the demo guest at 1920x1080, and how much more with each further client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from served_demo import ENTER, F7, F8, LETTERS, ServerProcess, session_open
from waiting import until

from spicehop.demo.gtk_client import GtkClient
from spicehop.guests.demo.geometry import Geometry
from spicehop.guests.demo.scene import WindowKind

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
MB = 1_000_000
MOST = 120 * MB
FURTHER = 4
WIDTH, HEIGHT = 1920, 1080
DRAGS = (
    (WindowKind.FILM, -250, 130),
    (WindowKind.NOTES, 180, 90),
    (WindowKind.FILM, 200, -90),
    (WindowKind.NOTES, -120, 40),
)
"""A window, and how far to the right and down it goes."""
FILM_SECONDS = 4


async def test_one_client_and_further_idle_ones(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Callable[[str, object], None]
) -> None:
    async with ServerProcess(tmp_path, "--size", f"{WIDTH}x{HEIGHT}") as server:

        def resident(when: str) -> int:
            report(f"resident {when}, MB", round(server.resident / MB, 1))
            assert server.resident < MOST, when
            return server.resident

        client = await start_gtk_client(server.port)
        await session_open(client)
        client.send("keys", codes=[code for letter in LETTERS * 5 for code in (letter, ENTER)], hz=50)
        await client.wait_event("typed")
        await asyncio.sleep(1.0)
        resident("after typing")
        await drag_windows(client)
        await asyncio.sleep(1.0)
        resident("after four window drags")
        client.send("key", code=F8)
        for second in range(FILM_SECONDS):
            await asyncio.sleep(1.0)
            resident(f"after {second + 1} s of film on the whole screen")
        client.send("key", code=F8)
        await asyncio.sleep(1.0)
        resident("after the film")
        client.send("key", code=F7)
        await until(lambda: server.lines.has("SCREEN", "frozen"), "the picture stands still")
        await asyncio.sleep(1.5)  # what was lossy is exact by then
        first = resident("with one client, the picture still")
        report("most resident with one client, MB", round(server.most_resident / MB, 1))
        assert server.most_resident < MOST
        for number in range(FURTHER):
            further = await start_gtk_client(server.port, name=f"further-{number}")
            await further.wait_event("mark")
            await further.wait_event("agent", connected=True)
        await asyncio.sleep(1.0)
        each = (server.resident - first) / FURTHER
        report("resident for each further idle client, MB", round(each / MB, 2))
        assert each < 8 * MB
        assert not client.criticals


async def drag_windows(client: GtkClient) -> None:
    """Drag windows by their titles, one after the other."""
    titles = {place.kind: (place.x + 30, place.y + 6) for place in Geometry(WIDTH, HEIGHT).first_places()}
    for number, (kind, dx, dy) in enumerate(DRAGS, 1):
        x, y = titles[kind]
        titles[kind] = x + dx, y + dy
        client.send("drag", x=x, y=y, dx=dx, dy=dy, steps=15)
        await client.wait_for(lambda: [event["event"] for event in client.events].count("dragged") >= number, "a drag")  # noqa: B023
