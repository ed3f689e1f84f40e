"""The demo that needs Python alone: our client at work in the demo guest of a server in a process of its own.

The client types numbered keys and streams numbered bytes through a port the whole time, puts texts on the clipboard and
fetches the guest's, watches the picture move and hears the sound. At the end the guest's drawing is frozen and both
sides' pictures are compared. What was lost is counted by the guest's own log, which the server's process writes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from spicehop.client.session import Session, connect
from spicehop.codecs import is_compiled
from spicehop.demo.exchange import Exchange
from spicehop.demo.hearing import Hearing
from spicehop.demo.keys import KEY_F6, KEY_F7, Charge, count_keys
from spicehop.demo.load import Seen, VideoWatch
from spicehop.demo.payload import count_port
from spicehop.demo.report import DemoReport, DeskReport, FrameCount
from spicehop.demo.serial import SerialLog, read_serial
from spicehop.demo.server_process import ServerProcess
from spicehop.demo.work import SETTLE_SECONDS, Progress, Work, compare, press
from spicehop.errors import ConnectionLost
from spicehop.trace import FileSink, Trace

ECHO_PORT = "org.example.echo.0"
UNCOMPILED = "the codecs run uncompiled, since there was no C compiler: images go as LZ4, else it is the same"
SHOW_SECONDS = 0.5
"""Time for the last key to be drawn before drawing is frozen."""


@dataclass(frozen=True, slots=True)
class ServerDemoOptions:
    """What the demo does."""

    directory: Path
    """Logs, traces and pictures go here."""
    rounds: int = 3
    """How often clipboard texts go both ways."""
    pause: float = 1.5
    """Seconds of work before, between and after them."""
    keys_per_second: float = 50.0
    port_bytes_per_second: int = 65536


class ServerDemo:
    """One run of the demo."""

    def __init__(self, options: ServerDemoOptions, progress: Progress = lambda sentence: None) -> None:
        self._options = options
        self._progress = progress
        self._begun = time.monotonic()

    async def run(self) -> DemoReport:
        """Run it; raises `OperationError` when it cannot be run to its end. A loss is in the report, not an error."""
        if not is_compiled():
            self._progress(UNCOMPILED)
        directory = self._options.directory
        directory.mkdir(parents=True, exist_ok=True)
        self._progress("a server starts, with a small desktop as its guest")
        server = ServerProcess(directory)
        async with AsyncExitStack() as stack:
            trace = stack.enter_context(Trace("client", time.monotonic, FileSink(directory / "trace.jsonl")))
            await stack.enter_async_context(server)
            session = await stack.enter_async_context(connect(server.url, trace=trace))
            try:
                shift = await self._shift(session, server)
            except ConnectionLost:
                if session.closed:
                    await session.wait_closed()  # says why
                raise
        return self._report(shift, server)

    async def _shift(self, session: Session, server: ServerProcess) -> _Shift:
        options = self._options
        exchange = Exchange(session, server.guest_log)
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
        async with work:
            for number in range(options.rounds):
                await asyncio.sleep(options.pause)
                await exchange.to_guest(10_000 * (number + 1))
                await asyncio.sleep(options.pause)
                await exchange.from_guest()
                work.check()
            await asyncio.sleep(options.pause)
            work.check()
        await asyncio.sleep(SHOW_SECONDS)
        self._progress("the guest's drawing is frozen, and the pictures are compared")
        press(session, KEY_F7)
        equal = await compare(session, server.control, options.directory / "after")
        press(session, KEY_F6)
        await asyncio.sleep(SHOW_SECONDS)
        interrupted = session.closed or bool(session.lost_channels)
        return _Shift(work, exchange, hearing, video, equal, interrupted)

    def _report(self, shift: _Shift, server: ServerProcess) -> DemoReport:
        log = read_serial([server.guest_log])
        work = shift.work
        keys = count_keys([key.code for key in work.typist.sent], log)
        to_guest, from_guest = shift.exchange.counts(log)
        directory = self._options.directory
        after = "after.png" if shift.equal else "after-differs.png"
        names = ("before.png", after, server.guest_log.name, "trace.jsonl", server.trace.name)
        return DemoReport(
            hops=(),
            keys=keys,
            charge=Charge((), keys.lost_indices),
            port=count_port(work.stream.sent, bytes(work.stream.echoed), log.port_totals),
            session_interrupted=shift.interrupted,
            seconds=time.monotonic() - self._begun,
            files={Path(name).stem: directory / name for name in names},
            desk=DeskReport(
                to_guest=to_guest,
                from_guest=from_guest,
                sound=shift.hearing.count(),
                frames=FrameCount(_drawn(work.frames.seen, log), len(work.frames.seen), shift.video.frames),
                picture_equal=shift.equal,
                log_faults=log.faults,
                server_ended_well=server.returncode == 0,
                compiled=is_compiled(),
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
