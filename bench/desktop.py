"""`python -m bench.desktop`: processor time and bytes for a fixed piece of desktop work at 1920x1080.

    --seconds 60    how long the work is
    --only ours     without QEMU
    --json          one object instead of a table

spicehop's server and QEMU with libspice-server show the same pixels at the same pace to the same client, spice-gtk
without a screen. Each does the work without a client and with one: the difference is what showing costs. The client's
picture must be the guest's in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.desktop_replay import Replay, changed_boxes, processor_seconds
from bench.desktop_script import FPS, HEIGHT, WIDTH, Work, paced
from spicehop.errors import OperationError
from spicehop.guests.demo import DemoGuest
from spicehop.guests.interface import Pixels

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop" / "peers"))

from spicehop.demo.gtk_client import GtkClient

SETTLE = 3.0  # seconds in which a video ends and its place is made exact
REFERENCES = {
    "QEMU, as it is": "",
    "QEMU, streaming-video=filter": ",streaming-video=filter",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took, seconds of processor time."""

    server: float
    client: float = 0.0
    received: int = 0
    """Bytes on the client's display channel."""
    pixels_apart: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """One server."""

    server: str
    without_client: float
    with_client: float
    client: float
    received: int
    pixels_apart: int

    @property
    def cost(self) -> float:
        """What showing costs, seconds of processor time."""
        return self.with_client - self.without_client

    @classmethod
    def of(cls, name: str, without: Spent, shown: Spent) -> Result:
        """From a run without a client and one with it."""
        return cls(name, without.server, shown.server, shown.client, shown.received, shown.pixels_apart)


Run = Callable[[], Awaitable[Pixels]]
"""Does the work once; returns what the guest shows in the end."""


async def unseen(pid: int, run: Run) -> Spent:
    """Do the work for nobody."""
    before = processor_seconds(pid)
    await run()
    await asyncio.sleep(SETTLE)
    return Spent(processor_seconds(pid) - before)


async def seen(pid: int, port: int, run: Run, folder: Path) -> Spent:
    """Do the work for a client, and look at its picture."""
    async with GtkClient(port, folder) as client:
        await client.wait_event("mark", timeout=60)
        await asyncio.sleep(1.0)
        received, before, before_client = await _received(client), processor_seconds(pid), processor_seconds(client.pid)
        wanted = await run()
        await asyncio.sleep(SETTLE)
        used, used_client = processor_seconds(pid) - before, processor_seconds(client.pid) - before_client
        size = await _received(client) - received
        apart = await _apart(client, wanted, folder)
        return Spent(used, used_client, size, apart)


async def _received(client: GtkClient) -> int:
    count = len(client.events)
    client.send("totals")
    await client.wait_for(lambda: any(one["event"] == "totals" for one in client.events[count:]), "totals")
    return int(next(one for one in client.events[count:] if one["event"] == "totals")["display_bytes"])


async def _apart(client: GtkClient, wanted: Pixels, folder: Path) -> int:
    apart = WIDTH * HEIGHT
    for attempt in range(20):
        file = folder / f"{attempt}.ppm"
        client.send("save", file=str(file))
        await client.wait_event("saved", file=str(file))
        shown = np.asarray(Image.open(file))
        if shown.shape[:2] == wanted.shape[:2]:
            apart = int((shown != wanted[..., 2::-1]).any(axis=2).sum())
        if not apart:
            break
        await asyncio.sleep(0.5)
    return apart


async def reference(seconds: float, name: str, spice: str, folder: Path) -> Result:
    """QEMU with libspice-server."""
    async with Replay(folder / "machine", spice) as machine:

        async def run() -> Pixels:
            guest = DemoGuest(WIDTH, HEIGHT, tone=False)
            guest.run(0.0)
            (display,) = guest.displays
            display.take_changes()
            await machine.show_all(display.pixels)
            work = Work(guest, seconds)

            async def frame() -> None:
                guest.advance(work.frame / FPS)
                await machine.show(display.pixels, changed_boxes(display.take_changes()))

            await paced(work, frame)
            await machine.caught_up()
            return display.pixels.copy()

        without = await unseen(machine.pid, run)
        return Result.of(name, without, await seen(machine.pid, machine.port, run, folder))


async def ours(seconds: float, folder: Path) -> Result:
    """Our server, started anew for each run: its guest begins at the same place."""
    spent: list[Spent] = []
    for with_client in (False, True):
        last = folder / "last.npy"
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(sys.executable, "-m", "bench.desktop_server", str(seconds), str(last)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            port = int(await asyncio.wait_for(process.stdout.readline(), 60))

            async def run(process: asyncio.subprocess.Process = process, last: Path = last) -> Pixels:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(b"go\n")
                async with asyncio.timeout(2 * seconds + 60):
                    if await process.stdout.readline() != b"done\n":
                        raise OperationError("our server did not do its work")
                pixels: Pixels = np.load(last)
                return pixels

            spent.append(await (seen(process.pid, port, run, folder) if with_client else unseen(process.pid, run)))
        finally:
            process.kill()
            await process.wait()
    return Result.of("spicehop", *spent)


async def measure(seconds: float, only: str | None) -> list[Result]:
    """All servers, one after the other."""
    results = []
    with tempfile.TemporaryDirectory(prefix="spicehop-bench-") as made:
        if only != "reference":
            results.append(await ours(seconds, Path(made)))
        for name, spice in REFERENCES.items() if only != "ours" else ():
            results.append(await reference(seconds, name, spice, Path(made)))
    return results


def table(results: list[Result], seconds: float) -> str:
    """The results as lines of text."""
    head = f"{f'{seconds:.0f} s of work at 1920x1080':<30} {'alone s':>8} {'client s':>9} {'cost s':>7}"
    lines = [f"{head} {'viewer s':>9} {'MB':>8} {'apart':>6}"]
    lines += [
        f"{one.server:<30} {one.without_client:>8.2f} {one.with_client:>9.2f} {one.cost:>7.2f}"
        f" {one.client:>9.2f} {one.received / 1e6:>8.2f} {one.pixels_apart:>6}"
        for one in results
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; the exit code is 1 when a picture was not the guest's."""
    parser = argparse.ArgumentParser(prog="bench.desktop", description="Measure desktop work beside QEMU.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the work is")
    parser.add_argument("--only", choices=("ours", "reference"), help="one of the two servers")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    results = asyncio.run(measure(given.seconds, given.only))
    if given.json:
        print(json.dumps([asdict(one) | {"cost": one.cost} for one in results], indent=1))
    else:
        print(table(results, given.seconds))
    return int(any(one.pixels_apart for one in results))


if __name__ == "__main__":
    sys.exit(main())
