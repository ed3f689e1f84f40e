"""The demo with QEMU: a client works in a virtual machine while it moves from QEMU to QEMU, and everything is counted.

Two QEMUs at a time, under TCG. The client types numbered keys and streams numbered bytes through a port the whole
time. In the first half of the migrations the guest draws, which shows the blackout; in the second half its drawing is
frozen, so that every display byte after a switch is redrawing and the pictures can be compared.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from spicehop.client.session import Session, connect
from spicehop.conductor import Options
from spicehop.demo.guest_image import GuestImage, build_guest
from spicehop.demo.hops import Hopper
from spicehop.demo.keys import KEY_F6, StandStill, charge, count_keys
from spicehop.demo.payload import count_port
from spicehop.demo.qemu import ECHO_PORT, QemuOptions, QemuProcess
from spicehop.demo.report import DemoReport, Hop
from spicehop.demo.serial import read_serial
from spicehop.demo.work import SETTLE_SECONDS, Progress, Work, freeze_when_due, press
from spicehop.trace import FileSink, MemorySink, Trace
from spicehop.trace.page import html
from spicehop.trace.picture import svg


@dataclass(frozen=True, slots=True)
class QemuDemoOptions:
    """What the demo does."""

    directory: Path
    """Logs, traces and pictures go here."""
    vga: str = "qxl-vga"
    migrations: int = 4
    keys_per_second: float = 50.0
    port_bytes_per_second: int = 65536
    pause: float = 2.0
    """Seconds of work before each migration."""


class QemuDemo:
    """One run of the demo."""

    def __init__(self, options: QemuDemoOptions, progress: Progress = lambda sentence: None) -> None:
        self._options = options
        self._progress = progress
        self._memory = MemorySink()
        self._hops: list[Hop] = []
        self._machines: list[QemuProcess] = []

    async def run(self) -> DemoReport:
        """Run it; raises `OperationError` when it cannot be run to its end. A loss is in the report, not an error."""
        begun = time.monotonic()
        directory = self._options.directory
        directory.mkdir(parents=True, exist_ok=True)
        image = await asyncio.to_thread(build_guest, None, self._progress)
        trace = Trace("client", time.monotonic, self._memory, FileSink(directory / "trace.jsonl"))
        async with AsyncExitStack() as stack:
            stack.callback(trace.close)
            machine = await self._machine(stack, image, 0)
            self._progress("the guest boots")
            await machine.wait_ready()
            url = f"spice://{machine.spice_host}:{machine.spice_port}"
            session = await stack.enter_async_context(connect(url, trace=trace))
            return await self._work(stack, session, machine, image, trace, begun)

    async def _machine(self, stack: AsyncExitStack, image: GuestImage, number: int) -> QemuProcess:
        options = QemuOptions(
            name=f"machine-{number}", vga=self._options.vga, incoming="defer" if number else None
        )
        machine = await stack.enter_async_context(QemuProcess(image, options, self._options.directory))
        self._machines.append(machine)
        return machine

    async def _work(
        self,
        stack: AsyncExitStack,
        session: Session,
        machine: QemuProcess,
        image: GuestImage,
        trace: Trace,
        begun: float,
    ) -> DemoReport:
        options = self._options
        await asyncio.sleep(SETTLE_SECONDS)
        session.screenshot().save(options.directory / "before.png")
        work = Work(
            session,
            ECHO_PORT,
            keys_per_second=options.keys_per_second,
            port_bytes_per_second=options.port_bytes_per_second,
            progress=self._progress,
        )
        hopper = Hopper(session, work.frames, trace, self._memory)
        async with work:
            frozen = False
            for number in range(1, options.migrations + 1):
                frozen = await freeze_when_due(session, number, options.migrations, frozen=frozen)
                await asyncio.sleep(options.pause)
                work.check()
                target = await self._machine(stack, image, number)
                self._hops.append(await self._hop(number, hopper, machine, target, frozen=frozen))
                await machine.stop()
                machine = target
            await asyncio.sleep(options.pause)
            work.check()
        press(session, KEY_F6)
        await asyncio.sleep(1.0)
        session.screenshot().save(options.directory / "after.png")
        interrupted = session.closed or bool(session.lost_channels)
        return self._report(work, begun, interrupted=interrupted)

    async def _hop(self, number: int, hopper: Hopper, source: QemuProcess, target: QemuProcess, *, frozen: bool) -> Hop:
        self._progress(f"migration {number} of {self._options.migrations}" + (", drawing frozen" if frozen else ""))
        conduct = Options(
            source=str(source.qmp_paths[0]), target=str(target.qmp_paths[0]), uri=target.migration_uri
        )
        pictures = self._options.directory / f"machine-{number}"
        return await hopper.hop(number, conduct, str(target.qmp_paths[1]), pictures, frozen=frozen)

    def _report(self, work: Work, begun: float, *, interrupted: bool) -> DemoReport:
        log = read_serial([machine.serial_path for machine in self._machines])
        sent = work.typist.sent
        keys = count_keys([key.code for key in sent], log)
        records = self._memory.records
        directory = self._options.directory
        (directory / "timeline.html").write_text(html(records, title="spicehop demo"), encoding="utf-8")
        (directory / "timeline.svg").write_text(svg(records, title="spicehop demo"), encoding="utf-8")
        names = ("before.png", "after.png", "timeline.html", "trace.jsonl")
        return DemoReport(
            hops=tuple(self._hops),
            keys=keys,
            charge=charge(keys, sent, self._stand_stills()),
            port=count_port(work.stream.sent, bytes(work.stream.echoed), log.port_totals),
            session_interrupted=interrupted,
            seconds=time.monotonic() - begun,
            files={Path(name).stem: directory / name for name in names},
        )

    def _stand_stills(self) -> list[StandStill]:
        """For each migration: when the source's machine stopped, and when inputs went to the target."""
        records = self._memory.records
        stops = [record.time for record in records if record.event == "qmp.STOP" and record.party == "source"]
        handed = [record for record in records if record.event == "channel.migrate"]
        moves = [record.time for record in handed if record.channel == "inputs:0"]
        servers = [f"{machine.spice_host}:{machine.spice_port}" for machine in self._machines]
        found: list[StandStill] = []
        for server, stop in zip(servers, stops, strict=False):
            moved = next((move for move in moves if move >= stop), stop)
            found.append(StandStill(server, stop, moved))
        return found
