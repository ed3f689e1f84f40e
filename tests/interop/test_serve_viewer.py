"""remote-viewer on a screen of its own, with our server: the window shows the guest's pixels."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from spicehop.guests.demo import DemoGuest
from spicehop.server import SpiceServer

pytestmark = pytest.mark.peers
TIMEOUT = 30.0
F7 = 65
POINTER_PIXELS = 32 * 32
"""The viewer draws the guest's pointer over the picture; nothing else may differ."""
XWD_FIELDS = struct.Struct(">25I")
XWD_COLOUR_BYTES = 12

Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class Screen:
    """An X server without a monitor; its picture is a file."""

    def __init__(self, folder: Path, display: str) -> None:
        self._file = folder / "Xvfb_screen0"
        self.display = display

    def picture(self) -> Picture:
        """`(height, width, 3)` B, G, R."""
        data = self._file.read_bytes()
        fields = XWD_FIELDS.unpack_from(data)
        header, width, height, row_bytes, colours = (fields[i] for i in (0, 4, 5, 12, 19))
        rows = np.frombuffer(data, np.uint8, row_bytes * height, header + colours * XWD_COLOUR_BYTES)
        return rows.reshape(height, row_bytes // 4, 4)[:, :width, :3]


@asynccontextmanager
async def started(*command: str, **options: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the block."""
    process = await asyncio.create_subprocess_exec("setpriv", "--pdeathsig", "KILL", "--", *command, **options)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def screen(folder: Path, width: int, height: int) -> AsyncIterator[Screen]:
    size = f"{width}x{height}x24"
    options = ("-screen", "0", size, "-fbdir", str(folder), "-nolisten", "tcp", "-displayfd", "1")
    quiet = asyncio.subprocess.DEVNULL
    async with started("Xvfb", *options, stdout=asyncio.subprocess.PIPE, stderr=quiet) as server:
        assert server.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            number = (await server.stdout.readline()).decode().strip()
        yield Screen(folder, f":{number}")


def differences(shown: Picture, wanted: Picture) -> int | None:
    """How many pixels differ where the first row of `wanted` is found; None when it is nowhere."""
    height, width = wanted.shape[:2]
    for top in range(shown.shape[0] - height + 1):
        row = shown[top]
        starts = np.flatnonzero((row[: len(row) - width + 1] == wanted[0, 0]).all(axis=1))
        for left in starts.tolist():
            if np.array_equal(row[left : left + width], wanted[0]):
                window = shown[top : top + height, left : left + width]
                return int((window != wanted).any(axis=2).sum())
    return None


async def test_the_window_shows_the_guest(tmp_path: Path) -> None:
    guest = DemoGuest(1024, 768)
    log = tmp_path / "viewer.log"
    async with SpiceServer(guest) as server, screen(tmp_path, 1280, 1024) as monitor:
        environment = {
            **os.environ,
            "DISPLAY": monitor.display,
            "G_DEBUG": "fatal-criticals",
            "GSETTINGS_BACKEND": "memory",
            "HOME": str(tmp_path),
        }
        with log.open("wb") as errors:
            url = f"spice://127.0.0.1:{server.port}"
            async with started("remote-viewer", url, env=environment, stderr=errors) as viewer:
                await asyncio.sleep(5.0)
                guest.key(bytes([F7]))
                guest.key(bytes([F7 | 0x80]))
                server.wake()
                found = None
                for _ in range(40):
                    await asyncio.sleep(0.25)
                    found = differences(monitor.picture(), guest.displays[0].pixels[..., :3])
                    if found is not None and found <= POINTER_PIXELS:
                        break
                assert viewer.returncode is None, log.read_text(errors="replace")
                assert found is not None, "the guest's picture is nowhere on the screen"
                assert found <= POINTER_PIXELS
                assert "CRITICAL" not in log.read_text(errors="replace")
