"""`python -m bench.blackout`: how long a client sees no new picture while its guest moves, beside QEMU with libspice.

    --moves 20             how many moves for each line
    --round-trips 0,20,100 between client and servers, in ms; the servers are linked without delay
    --only ours            without QEMU
    --json                 one object instead of a table

The blackout is from the arrival of the source's last picture message to that of the target's first, as our client takes
them; the client is the same for both. What is allowed follows from the time that the guest itself stood still (STOP to
RESUME): that and 0.2 round trips and 5 ms host to host, that and 2 round trips and 10 ms through the client. The demo
guest draws a frame as it stops and as it goes on; QEMU's guest draws 25 a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import spicehop
from bench.slow_link import measured, slow_link
from spicehop.client import Session
from spicehop.demo.guest_image import build_guest
from spicehop.demo.moving_servers import MovingServers, Place
from spicehop.errors import OperationError
from spicehop.migration import commands as c
from spicehop.wire.constants import ChannelType

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop" / "peers"))

from migration_lab import Lab  # type: ignore[import-not-found]

REFERENCE = "QEMU"
ALLOWED = {"direct": (0.2, 0.005), "client": (2.0, 0.010)}
"""Round trips and seconds beyond the guest's stop, by carrier."""
MOST_TOLD = 1000.0
"""Milliseconds from a client's switch to SPICE_MIGRATE_COMPLETED."""
SETTLE = 1.0


@dataclass(frozen=True, slots=True)
class Blackout:
    """One move; seconds."""

    gap: float
    stood_still: float
    told: float | None = None
    """From the client's switch, of its main channel, to SPICE_MIGRATE_COMPLETED."""

    @property
    def beyond(self) -> float:
        """What the move of the session has added."""
        return self.gap - self.stood_still


@dataclass(frozen=True, slots=True)
class Line:
    """The moves of one kind; milliseconds."""

    server: str
    carrier: str
    round_trip: float
    moves: int
    median: float
    least: float
    most: float
    stood_still: float
    beyond: float
    """Median of the blackouts, less the guest's own stop each."""
    allowed: float | None
    """For `beyond`."""
    told: float | None
    """The longest that SPICE_MIGRATE_COMPLETED came behind the client's switch."""

    @classmethod
    def of(cls, server: str, carrier: str, round_trip: float, found: list[Blackout]) -> Line:
        """From moves at a round trip in seconds, which a byte takes over the same link."""
        gaps = [1000 * one.gap for one in found]
        allowed = None
        if server != REFERENCE:
            trips, fixed = ALLOWED[carrier]
            allowed = 1000 * (trips * round_trip + fixed)
        stood = statistics.median(1000 * one.stood_still for one in found)
        beyond = statistics.median(1000 * one.beyond for one in found)
        median = statistics.median(gaps)
        events = [1000 * one.told for one in found if one.told is not None]
        told = max(events) if events else None
        spread = min(gaps), max(gaps)
        return cls(server, carrier, 1000 * round_trip, len(found), median, *spread, stood, beyond, allowed, told)

    @property
    def missed(self) -> str | None:
        """A sentence when it took longer than it may."""
        if self.told is not None and self.told > MOST_TOLD:
            return f"{self.carrier}: SPICE_MIGRATE_COMPLETED came {self.told:.0f} ms after the client's switch"
        if self.allowed is None or self.beyond <= self.allowed:
            return None
        return (
            f"{self.carrier} at {self.round_trip:.0f} ms: {self.beyond:.1f} ms beyond the guest's stop, "
            f"{self.allowed:.1f} ms are allowed"
        )


class PictureWatch:
    """When picture messages came, and when the display's connection was exchanged."""

    def __init__(self, session: Session) -> None:
        self.gaps: list[float] = []
        """One for each exchange, once a picture has come after it."""
        self.switched_at = 0.0
        """When the main channel's connection was exchanged last, which is the last of all."""
        self._came = asyncio.Event()
        self._last = 0.0
        self._before: float | None = None
        session.listeners.append(self._happened)

    def _happened(self, event: c.SessionEvent) -> None:
        now = time.monotonic()
        match event:
            case c.ChannelSwapped() if event.key[0] == ChannelType.MAIN:
                self.switched_at = now
            case c.ChannelSwapped() | c.ChannelOpened() if event.key[0] == ChannelType.DISPLAY and self._last:
                self._before = self._last
            case c.MessageReceived() if event.key[0] == ChannelType.DISPLAY:
                if event.message.NAME.startswith(("DRAW_", "STREAM_DATA", "COPY_BITS")):
                    if self._before is not None:
                        self.gaps.append(now - self._before)
                        self._before = None
                        self._came.set()
                    self._last = now

    async def gap(self, number: int) -> float:
        """The gap of that exchange."""
        async with asyncio.timeout(20):
            while len(self.gaps) <= number:
                self._came.clear()
                await self._came.wait()
        return self.gaps[number]


async def ours(carrier: str, round_trip: float, moves: int, folder: Path) -> list[Blackout]:
    """The demo guest from `spicehop serve` to `spicehop serve`."""

    def door(port: int, name: str) -> AbstractAsyncContextManager[int]:
        return slow_link(port, round_trip / 2)

    found = []
    async with (
        MovingServers(folder, carrier=carrier, door=door) as servers,
        spicehop.connect(f"spice://127.0.0.1:{servers.here.port}") as session,
    ):
        watch = PictureWatch(session)
        for number in range(moves):
            await servers.prepare()
            await servers.invite()
            await asyncio.sleep(SETTLE)
            move = await servers.go()
            wanted = [("seamless", carrier, "moved")]
            if move.outcomes != wanted:
                reasons = [one["reason"] for one in move.clients]
                raise OperationError(f"move {number} by {carrier} ended as {move.outcomes} {reasons}")
            told = move.handed_over_at - watch.switched_at
            stood_still = _told_at(servers.here, "qmp.RESUME") - _told_at(servers.places[-2], "qmp.STOP")
            found.append(Blackout(await watch.gap(number), stood_still, told))
    return found


def _told_at(place: Place, event: str) -> float:
    """When a server told the event, by its own trace."""
    lines = [line for line in place.server.trace.read_text().splitlines() if f'"{event}"' in line]
    return float(json.loads(lines[-1])["t"])


async def reference(round_trip: float, moves: int, folder: Path) -> list[Blackout]:
    """A Linux guest from QEMU to QEMU."""
    found = []
    async with Lab(build_guest(), folder) as lab, AsyncExitStack() as stack:

        async def front(port: int) -> int:
            return await stack.enter_async_context(slow_link(port, round_trip / 2))

        source = await lab.boot()
        session = await lab.connect(source, await front(source.qemu.spice_port))
        watch = PictureWatch(session)
        for number in range(moves):
            target = await lab.incoming()
            await lab.invite(session, source, target, port=await front(target.qemu.spice_port))
            await asyncio.sleep(SETTLE)
            hop = await lab.move(session, source, target)
            found.append(Blackout(await watch.gap(number), hop.resumed - hop.stopped))
            await lab.quit(source)
            source = target
    return found


Measured = tuple[list[Line], list[str]]
"""What was measured, and why something could not be."""


async def measure(round_trips: list[float], moves: int, *, only_ours: bool, say: Callable[[str], None]) -> Measured:
    """All lines, the servers of one round trip one after the other."""
    lines: list[Line] = []
    problems: list[str] = []
    for round_trip in round_trips:
        real = await measured(round_trip) if round_trip else 0.0
        kinds = [("spicehop", "direct"), ("spicehop", "client")]
        kinds += [] if only_ours else [(REFERENCE, "client")]
        for server, carrier in kinds:
            say(f"{server}, {carrier}, {1000 * round_trip:.0f} ms")
            with tempfile.TemporaryDirectory(prefix="blackout-") as place:
                try:
                    if server == REFERENCE:
                        found = await reference(round_trip, moves, Path(place))
                    else:
                        found = await ours(carrier, round_trip, moves, Path(place))
                except OperationError as error:
                    problems.append(f"{server}, {carrier}, {1000 * round_trip:.0f} ms: {error}")
                    continue
            lines.append(Line.of(server, carrier, real, found))
    return lines, problems


def table(lines: list[Line]) -> str:
    """For people."""
    rows = [
        "round trip  server    carrier  moves  blackout (least-most)      guest stop  beyond  allowed  ratio  of QEMU's"
        "  event after"
    ]
    for line in lines:
        beside = next((one for one in lines if one.server == REFERENCE and one.round_trip == line.round_trip), None)
        allowed = f"{line.allowed:5.1f} ms  {line.beyond / line.allowed:5.2f}" if line.allowed else "       -      -"
        told = f"{line.told:8.1f} ms" if line.told is not None else "          -"
        share = f"{line.median / beside.median:9.2f}" if beside is not None and beside is not line else "        -"
        rows.append(
            f"{line.round_trip:7.0f} ms  {line.server:8}  {line.carrier:7}  {line.moves:5}  "
            f"{line.median:6.1f} ms ({line.least:6.1f}-{line.most:6.1f})  {line.stood_still:7.1f} ms  "
            f"{line.beyond:5.1f}  {allowed}  {share}  {told}"
        )
    return "\n".join(rows)


def main() -> int:
    """Returns the exit code: 1 when something took longer than it may."""
    parser = argparse.ArgumentParser(prog="bench.blackout", description="Measure what a client sees of a migration.")
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--round-trips", default="0,20,100", help="ms, with commas")
    parser.add_argument("--only", choices=["ours"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        trips = [float(trip) / 1000 for trip in given.round_trips.split(",")]
    except ValueError:
        parser.error(f"--round-trips {given.round_trips!r} is not milliseconds with commas between, such as 0,20,100")
    progress: Callable[[str], None] = lambda text: print(text, file=sys.stderr)  # noqa: E731
    lines, problems = asyncio.run(measure(trips, given.moves, only_ours=given.only is not None, say=progress))
    problems += [line.missed for line in lines if line.missed is not None]
    if given.json:
        print(json.dumps({"lines": [asdict(line) for line in lines], "problems": problems}, indent=1))
    else:
        print(table(lines))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
