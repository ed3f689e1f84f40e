"""The demo that needs Python alone: our client at work in the demo guest, while that moves from server to server.

Every server is a process of its own; the conductor moves the guest from the one to a new one, and the session goes
along: by turns over a direct link between the servers, and with its state carried by the client. The client types
numbered keys and streams numbered bytes through a port the whole time, puts texts on the clipboard and fetches the
guest's, watches the picture move and hears the sound. In the second half the guest's drawing is frozen: what is drawn
then is redrawing, and both sides' pictures are compared. What was lost is counted by the guest's own log, which the
servers' processes write.

Where spice-gtk is installed it is at the same servers beside our client, without a screen: it types keys of its own,
goes along with each move, sees, hears and fetches the guest's texts. The port is our client's, which comes first: a
server gives it to one client.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from spicehop.client.session import Session, connect
from spicehop.codecs import is_compiled
from spicehop.conductor import Options
from spicehop.demo.exchange import Exchange
from spicehop.demo.gtk_client import SYSTEM_PYTHON, spice_gtk_version
from spicehop.demo.hearing import Hearing
from spicehop.demo.hops import Hopper
from spicehop.demo.keys import KEY_F6, KEY_F7, Charge, count_keys
from spicehop.demo.load import Seen, VideoWatch
from spicehop.demo.payload import count_port
from spicehop.demo.report import DemoReport, DeskReport, FrameCount, Hop
from spicehop.demo.serial import SerialLog, read_serial
from spicehop.demo.server_process import ServerProcess
from spicehop.demo.stock_client import StockClient
from spicehop.demo.work import SETTLE_SECONDS, Progress, Work, compare, freeze_when_due, press
from spicehop.errors import ConnectionLost
from spicehop.trace import FileSink, MemorySink, Trace
from spicehop.trace.page import html
from spicehop.trace.picture import svg

ECHO_PORT = "org.example.echo.0"
UNCOMPILED = "the codecs run uncompiled, since there was no C compiler: images go as LZ4, else it is the same"
NO_SPICE_GTK = (
    f"spice-gtk is not installed for {SYSTEM_PYTHON} (on Debian gir1.2-spiceclientglib-2.0 and python3-gi): "
    "our client works alone"
)
SHOW_SECONDS = 0.5
"""Time for the last key to be drawn before drawing is frozen."""


@dataclass(frozen=True, slots=True)
class ServerDemoOptions:
    """What the demo does."""

    directory: Path
    """Logs, traces and pictures go here."""
    migrations: int = 4
    """How often the guest moves. Before, at and after each move clipboard texts go both ways."""
    pause: float = 1.0
    """Seconds of work before, between and after that."""
    keys_per_second: float = 50.0
    port_bytes_per_second: int = 65536


class ServerDemo:
    """One run of the demo."""

    def __init__(self, options: ServerDemoOptions, progress: Progress = lambda sentence: None) -> None:
        self._options = options
        self._progress = progress
        self._begun = time.monotonic()
        self._memory = MemorySink()
        self._servers: list[ServerProcess] = []
        self._hops: list[Hop] = []
        self._stock: StockClient | None = None

    async def run(self) -> DemoReport:
        """Run it; raises `OperationError` when it cannot be run to its end. A loss is in the report, not an error."""
        if not is_compiled():
            self._progress(UNCOMPILED)
        directory = self._options.directory
        directory.mkdir(parents=True, exist_ok=True)
        for earlier in directory.glob("after*.png"):  # of another run, and perhaps by another name than today's
            earlier.unlink()
        version = await spice_gtk_version()
        if version is None:
            self._progress(NO_SPICE_GTK)
        self._progress("a server starts, with a small desktop as its guest")
        async with AsyncExitStack() as stack:
            sinks = self._memory, FileSink(directory / "trace.jsonl")
            trace = stack.enter_context(Trace("client", time.monotonic, *sinks))
            server = await self._server(stack)
            session = await stack.enter_async_context(connect(server.url, trace=trace))
            if version is not None:
                port = server.port or 0
                self._stock = StockClient(version, port, directory, trace, self._progress)
            try:
                shift = await self._shift(stack, session, trace)
            except ConnectionLost:
                if session.closed:
                    await session.wait_closed()  # says why
                raise
        return self._report(shift)

    async def _server(self, stack: AsyncExitStack) -> ServerProcess:
        """Start a server; the first has the guest, and each later one waits for it."""
        number = len(self._servers)
        folder = self._options.directory / f"server-{number}"
        folder.mkdir(exist_ok=True)
        waiting = ("--incoming", "defer") if number else ()
        arguments = ("--seamless-migration", "on", *waiting)
        server = await stack.enter_async_context(ServerProcess(folder, arguments=arguments))
        self._servers.append(server)
        return server

    async def _shift(self, stack: AsyncExitStack, session: Session, trace: Trace) -> _Shift:
        options = self._options
        exchange = Exchange(session, lambda: [server.guest_log for server in self._servers])
        await asyncio.sleep(SETTLE_SECONDS)
        session.screenshot().save(options.directory / "before.png")
        self._progress("the client types, streams, copies and pastes, watches and hears")
        hearing, video = Hearing(session), VideoWatch(session)
        work = Work(
            session,
            ECHO_PORT,
            keys_per_second=options.keys_per_second,
            port_bytes_per_second=options.port_bytes_per_second,
            progress=self._progress,
        )
        hopper = Hopper(session, work.frames, trace, self._memory)
        async with AsyncExitStack() as beside:
            if self._stock is not None:
                await self._begin_beside(await beside.enter_async_context(self._stock), session)
            async with work:
                await self._work(stack, session, work, exchange, hopper)
            if self._stock is not None:
                await self._stock.stop_work(exchange.offers)
            await asyncio.sleep(SHOW_SECONDS)
            self._progress("the pictures are compared")
            control = self._servers[-1].control
            equal = await compare(session, control, options.directory / "after")
            if self._stock is not None:
                await self._stock.compare(control, options.directory / "after-spice-gtk")
            press(session, KEY_F6)
            await asyncio.sleep(SHOW_SECONDS)
            interrupted = session.closed or bool(session.lost_channels)
        return _Shift(work, exchange, hearing, video, equal, interrupted)

    async def _begin_beside(self, stock: StockClient, session: Session) -> None:
        """Our client has all its channels, so spice-gtk takes none of them from it."""
        self._progress("spice-gtk comes beside it, and types keys of its own")
        ours = {session.core.connection_id}
        await stock.join(self._servers[0].control, ours, keys_per_second=self._options.keys_per_second)

    async def _work(
        self, stack: AsyncExitStack, session: Session, work: Work, exchange: Exchange, hopper: Hopper
    ) -> None:
        """All moves, and what is done at each. The guest's drawing is frozen in the end."""
        options = self._options
        frozen = False
        for number in range(1, options.migrations + 1):
            frozen = await freeze_when_due(session, number, options.migrations, frozen=frozen)
            await asyncio.sleep(options.pause)
            await exchange.to_guest(10_000 * number)
            _, hop = await asyncio.gather(
                exchange.to_guest(100_000 * number), self._hop(stack, hopper, number, frozen=frozen)
            )
            self._hops.append(hop)
            if self._stock is not None:
                self._stock.follow(hop)
            await exchange.from_guest()
            work.check()
        await asyncio.sleep(options.pause)
        work.check()
        if not frozen:
            press(session, KEY_F7)

    async def _hop(self, stack: AsyncExitStack, hopper: Hopper, number: int, *, frozen: bool) -> Hop:
        directly = number % 2 == 1
        way = "from server to server" if directly else "through the client"
        still = ", drawing frozen" if frozen else ""
        self._progress(f"move {number} of {self._options.migrations}, the state goes {way}{still}")
        source = self._servers[-1]
        target = await self._server(stack)
        folder = Path(target.control).parent
        conduct = Options(
            source=source.control,
            target=target.control,
            uri=f"unix:{folder / 'guest'}",
            direct_link="auto" if directly else "off",
        )
        pictures = self._options.directory / f"server-{number}" / "picture"
        hop = await hopper.hop(number, conduct, target.control, pictures, frozen=frozen)
        ours = hopper.session.core.connection_id
        return replace(hop, carrier=next((one.carrier for one in hop.sessions if one.connection_id == ours), ""))

    def _report(self, shift: _Shift) -> DemoReport:
        log = read_serial([server.guest_log for server in self._servers])
        work = shift.work
        keys = count_keys([key.code for key in work.typist.sent], log)
        to_guest, from_guest = shift.exchange.counts(log)
        directory = self._options.directory
        records = self._memory.records
        (directory / "timeline.html").write_text(html(records, title="spicehop demo"), encoding="utf-8")
        (directory / "timeline.svg").write_text(svg(records, title="spicehop demo"), encoding="utf-8")
        after = "after.png" if shift.equal else "after-differs.png"
        names = ("before.png", after, "timeline.html", "trace.jsonl")
        files = {Path(name).stem: directory / name for name in names}
        stock = self._stock.report(log) if self._stock is not None else None
        if stock is not None and stock.pixels_differ is not None:
            files["spice-gtk"] = directory / f"after-spice-gtk{'-differs' if stock.pixels_differ else ''}.png"
        return DemoReport(
            hops=tuple(self._hops),
            keys=keys,
            charge=Charge((), keys.lost_indices),
            port=count_port(work.stream.sent, bytes(work.stream.echoed), log.port_totals),
            session_interrupted=shift.interrupted,
            seconds=time.monotonic() - self._begun,
            files=files,
            desk=DeskReport(
                to_guest=to_guest,
                from_guest=from_guest,
                sound=shift.hearing.count(),
                frames=FrameCount(_drawn(work.frames.seen, log), len(work.frames.seen), shift.video.frames),
                picture_equal=shift.equal,
                log_faults=log.faults,
                server_ended_well=all(server.returncode == 0 for server in self._servers),
                compiled=is_compiled(),
                stock=stock,
            ),
        )


@dataclass(frozen=True, slots=True)
class _Shift:
    """What a run has gathered."""

    work: Work
    exchange: Exchange
    hearing: Hearing
    video: VideoWatch
    equal: bool
    interrupted: bool


def _drawn(seen: list[Seen], log: SerialLog) -> int:
    """Frames that the guest drew from the first that was seen until its drawing was frozen."""
    frozen = log.of("SCREEN", "frozen")
    return frozen[-1].number("frame") - seen[0].frame if seen and frozen else 0
