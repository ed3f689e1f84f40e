"""A server of ours with the demo guest, and what tests do to it through a stock client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from waiting import until

from spicehop.demo.gtk_client import GtkClient
from spicehop.guests.demo import DemoGuest
from spicehop.guests.demo.geometry import Geometry
from spicehop.guests.demo.scene import WindowKind
from spicehop.server import ServerOptions, SpiceServer

ENTER, F7, F8 = 28, 65, 66
LETTERS = [0x1E, 0x30, 0x2E, 0x20, 0x12, 0x21, 0x22, 0x23]


class Lines(list[str]):
    """The guest's log."""

    def key_events(self) -> list[tuple[int, int]]:
        """(code, value) of each key event, in order."""
        found = []
        for line in self:
            if " key n=" in line:
                words = dict(word.split("=") for word in line.split() if "=" in word)
                found.append((int(words["code"]), int(words["value"])))
        return found

    def has(self, *parts: str) -> bool:
        """Whether a line holds all these parts."""
        return any(all(part in line for part in parts) for line in self)


class ServerProcess:
    """`spicehop serve` with the demo guest, a process of its own; enter it to start it, leave it to end it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.log_path = folder / "guest.log"
        self._errors = folder / "serve.log"
        command = [sys.executable, "-m", "spicehop", "serve", "--json", "--port", "0", "--disable-ticketing"]
        self._command = [*command, "--guest-log", str(self.log_path), *flags]
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        with self._errors.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        assert line, f"the server did not start: {self._errors.read_text()}"
        self.port = json.loads(line)["port"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def lines(self) -> Lines:
        """The guest's log so far."""
        return Lines(self.log_path.read_text().splitlines())

    @property
    def resident(self) -> int:
        """Bytes of memory that the process has now."""
        return self._memory("VmRSS")

    @property
    def most_resident(self) -> int:
        """The most bytes of memory that it ever had."""
        return self._memory("VmHWM")

    @property
    def processor_seconds(self) -> float:
        """Processor time that it has used, user and system."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, name: str) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@asynccontextmanager
async def serving(
    options: ServerOptions | None = None, size: tuple[int, int] = (1024, 768)
) -> AsyncIterator[tuple[SpiceServer, DemoGuest, Lines]]:
    """The server, its guest, and the guest's log."""
    lines = Lines()
    guest = DemoGuest(*size, log=lines.append)
    async with SpiceServer(guest, options) as server:
        yield server, guest, lines


async def session_open(client: GtkClient) -> None:
    """Wait until the client can type, look and write to the port."""
    await client.wait_event("channel-event", kind="InputsChannel", what="opened")
    await client.wait_event("mark")
    await client.wait_event("port", opened=True)


def tap(server: SpiceServer, guest: DemoGuest, code: int) -> None:
    """Press and release a key of the guest, by no client."""
    guest.key(bytes([code]))
    guest.key(bytes([code | 0x80]))
    server.wake()


async def settled(server: SpiceServer) -> None:
    """Wait until every client was sent all there is to see."""

    def all_settled() -> bool:
        return all(feed.settled for session in server.sessions for feed in session.feeds.values())

    await until(all_settled, "every client has the picture")


async def freeze(server: SpiceServer, guest: DemoGuest) -> None:
    """Let the picture stand still, and every client have it."""
    tap(server, guest, F7)
    await settled(server)


def title_of(guest: DemoGuest, kind: WindowKind) -> tuple[int, int]:
    """A pixel in the title bar of a window that is where the guest first puts it."""
    height, width = guest.displays[0].pixels.shape[:2]
    place = next(place for place in Geometry(width, height).first_places() if place.kind == kind)
    return place.x + 30, place.y + 6


async def work(client: GtkClient, server: SpiceServer, guest: DemoGuest, lines: Lines) -> None:
    """Type until the notes scroll, drag two windows over others, and let the film fill the screen for a while.

    The log scrolls and the planet moves by themselves meanwhile.
    """
    codes = [code for letter in LETTERS * 5 for code in (letter, ENTER)]
    before = len(lines.key_events())
    client.send("keys", codes=codes, hz=100)
    await client.wait_event("typed")
    await until(lambda: len(lines.key_events()) >= before + 2 * len(codes), "the keys")
    for number, (kind, dx, dy) in enumerate(((WindowKind.FILM, -250, 130), (WindowKind.NOTES, 180, 90))):
        x, y = title_of(guest, kind)
        client.send("drag", x=x, y=y, dx=dx, dy=dy, steps=15)
        await client.wait_for(lambda: len([e for e in client.events if e["event"] == "dragged"]) > number, "a drag")  # noqa: B023
    await until(lambda: len([line for line in lines if " button n=" in line]) >= 4, "the buttons")
    tap(server, guest, F8)
    await asyncio.sleep(0.6)
    tap(server, guest, F8)
    await asyncio.sleep(0.2)


async def picture(client: GtkClient, folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """What the client shows, `(height, width, 3)`."""
    file = folder / f"{name}.ppm"
    client.send("save", file=str(file))
    await client.wait_event("saved", file=str(file))
    return np.asarray(Image.open(file))


async def assert_shows(client: GtkClient, guest: DemoGuest, folder: Path, name: str = "shown") -> None:
    """The client shows the guest's pixels; it may need a moment to draw what it has received."""
    wanted = guest.displays[0].pixels[..., 2::-1]
    for attempt in range(20):
        shown = await picture(client, folder, f"{name}-{attempt}")
        if np.array_equal(shown, wanted):
            return
        await asyncio.sleep(0.1)
    assert shown.shape == wanted.shape, f"the client shows {shown.shape}, the guest has {wanted.shape}"
    differs = (shown != wanted).any(axis=2)
    rows, columns = np.nonzero(differs)
    area = f"rows {rows.min()}-{rows.max()}, columns {columns.min()}-{columns.max()}"
    raise AssertionError(f"{int(differs.sum())} pixels differ, in {area}")
