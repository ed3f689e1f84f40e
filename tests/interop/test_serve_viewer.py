"""remote-viewer, in a real window of an X server, at our server: what it shows, what is typed into it, its size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served_demo import ENTER, F8, Lines, freeze, serving, settled, tap
from virtual_screen import VirtualScreen
from waiting import until

from spicehop.guests.demo import DemoGuest
from spicehop.server import SpiceServer

pytestmark = pytest.mark.peers
CODES = dict(zip("qwertyuiopasdfghjklzxcvbnm", [*range(16, 26), *range(30, 39), *range(44, 51)], strict=True))
CODES[" "] = 57


async def viewer_at(screen: VirtualScreen, server: SpiceServer, lines: Lines) -> str:
    """Start remote-viewer, wait until it shows the guest and shares its clipboard; returns the window."""
    await screen.start("remote-viewer", f"spice://127.0.0.1:{server.port}")
    window = await screen.window("spicehop demo")
    await until(lambda: lines.has("AGENT", "capabilities"), "the viewer talks to the guest's agent")
    await until(lambda: any(session.feeds for session in server.sessions), "the viewer has a display")
    await screen.run("xdotool", "windowfocus", window)
    return window


async def assert_window_shows(screen: VirtualScreen, server: SpiceServer, guest: DemoGuest, folder: Path) -> None:
    """Somewhere on the screen are exactly the guest's pixels; the file `screen.png` shows it."""
    await settled(server)
    for _ in range(40):
        wanted = np.ascontiguousarray(guest.displays[0].pixels[..., 2::-1])
        place = screen.find(wanted)
        Image.fromarray(screen.picture()).save(folder / "screen.png")
        if place is not None:
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"the window does not show the guest's {wanted.shape[:2]} pixels: {folder / 'screen.png'}")


@pytest.mark.parametrize("size", [(1024, 768), (1920, 1080)], ids="{0[0]}x{0[1]}".format)
async def test_a_window_shows_the_guest_and_types(
    tmp_path: Path, size: tuple[int, int], report: Callable[[str, object], None]
) -> None:
    text = ["the quick brown fox", "jumps over the lazy dog"] * 3
    async with (
        serving(size=size) as (server, guest, lines),
        VirtualScreen(tmp_path, size[0] + 80, size[1] + 160) as screen,
    ):
        window = await viewer_at(screen, server, lines)
        await screen.run("xdotool", "mousemove", "--window", window, "400", "300")
        await until(lambda: lines.has(" move n=", "kind=absolute"), "the pointer")
        await screen.run("xdotool", "click", "1")
        await until(lambda: lines.has(" button n=1 "), "a click")
        for line in text:
            await screen.run("xdotool", "type", "--delay", "15", line, timeout=60)
            await screen.run("xdotool", "key", "Return")  # `type` has another key for a line's end
        codes = [code for line in text for code in (*map(CODES.__getitem__, line), ENTER)]
        await until(lambda: len(lines.key_events()) >= 2 * len(codes), "the keys")
        assert [code for code, value in lines.key_events() if value == 1] == codes
        tap(server, guest, F8)
        await asyncio.sleep(0.5)
        tap(server, guest, F8)
        await screen.run("xdotool", "mousemove", str(size[0] + 70), str(size[1] + 150))
        await freeze(server, guest)
        await assert_window_shows(screen, server, guest, tmp_path)
        report("pixels that differ", 0)
        assert "CRITICAL" not in screen.log("remote-viewer")


async def test_a_window_of_another_size(tmp_path: Path) -> None:
    """The guest takes the size of the window, and what it then draws is shown exactly."""
    async with serving() as (server, guest, lines), VirtualScreen(tmp_path, 1500, 1100) as screen:
        window = await viewer_at(screen, server, lines)
        await screen.run("xdotool", "mousemove", "1490", "1090")
        await screen.run("xdotool", "windowsize", window, "1250", "930")
        await until(lambda: lines.has("SCREEN", "resized"), "the guest takes another size")
        await asyncio.sleep(1.0)
        await freeze(server, guest)
        await assert_window_shows(screen, server, guest, tmp_path)
        assert guest.displays[0].pixels.shape[:2] != (768, 1024)
