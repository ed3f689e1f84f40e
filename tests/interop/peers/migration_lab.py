"""A guest that moves from QEMU to QEMU while our client works in it, and the account of what came through.

    async with Lab(image, folder) as lab:
        source = await lab.boot()
        session = await lab.connect(source)
        load = await lab.start_load(session)           # numbered keys, numbered bytes with echo
        target = await lab.incoming()
        await lab.invite(session, source, target)      # client_migrate_info, and our client has linked the target
        hop = await lab.move(session, source, target)  # migrate, until the session is there
        account = await lab.settle(load)               # stops the load, waits for the guest, counts

The judge is the guest's own log (`spicehop.demo.serial`); who is charged with a lost key, and when, says
`spicehop.demo.keys`. Every wait is bounded, and every process ends with the lab.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image
from qemu.qmp import EventListener, QMPClient

import spicehop
from spicehop.client import Session
from spicehop.client.ports import Port
from spicehop.demo.guest_image import GuestImage
from spicehop.demo.keys import Charge, KeyCount, KeyPlan, SentKey, StandStill, charge, count_keys
from spicehop.demo.payload import RECORD, PortCount, count_port, numbered_bytes
from spicehop.demo.qemu import ECHO_PORT, QemuOptions, QemuProcess
from spicehop.demo.serial import RELEASED, SerialLog, read_serial
from spicehop.errors import SpicehopError
from spicehop.migration import commands as c
from spicehop.migration.client import ClientState
from spicehop.migration.commands import MigrationOutcome
from spicehop.wire import inputs
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

HOST = "127.0.0.1"
INPUTS = (int(ChannelType.INPUTS), 0)
NOWHERE = "nowhere"
"""The server of a key that was never written to one."""
KEY_SECONDS = 0.02
"""50 keys a second."""
PORT_BYTES, PORT_SECONDS = 640, 0.01
"""64 kB a second."""
SYNC_CODE, FREEZE_CODE, GRAB_CODE = 0x40, 0x41, 0x3F
"""F6, F7 and F5 (see guest/guestd.c)."""


def repetitions(usual: int) -> int:
    """How often a test repeats what it shows: `usual` times, or as `SPICEHOP_REPEAT` says."""
    return int(os.environ.get("SPICEHOP_REPEAT", usual))


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, timeout: float = 20.0) -> None:
    """Wait until something is so; the test fails when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain: {what}"
        await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a QEMU, with QEMU's own time of it on this machine's CLOCK_MONOTONIC."""

    name: str
    data: dict[str, Any]
    at: float


class Machine:
    """One QEMU, and a monitor of the test's own that keeps every event."""

    def __init__(self, qemu: QemuProcess) -> None:
        self.qemu = qemu
        self.events: list[Happened] = []
        self._qmp = QMPClient(qemu.options.name)
        self._listener = EventListener()
        self._qmp.register_listener(self._listener)
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._qmp.connect(str(self.qemu.qmp_paths[-1]))
        self._listening = asyncio.get_running_loop().create_task(self._listen())
        await self.ask("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await self._qmp.disconnect()

    async def _listen(self) -> None:
        while True:
            event = await self._listener.get()
            stamp: dict[str, int] = event["timestamp"]  # type: ignore[assignment]
            age = time.time() - stamp["seconds"] - stamp["microseconds"] / 1e6
            data: dict[str, Any] = event.get("data", {})  # type: ignore[assignment]
            self.events.append(Happened(str(event["event"]), data, time.monotonic() - age))

    @property
    def server(self) -> str:
        """Its SPICE server, as in SentKey."""
        return f"{HOST}:{self.qemu.spice_port}"

    async def ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        async with asyncio.timeout(20):
            return await self._qmp.execute(command, arguments)

    async def status(self) -> str:
        return str((await self.ask("query-status"))["status"])

    def happened(self, name: str, **data: object) -> list[Happened]:
        """The events of this name, and with this data, so far."""
        return [one for one in self.events if one.name == name and data.items() <= one.data.items()]

    async def event(self, name: str, timeout: float = 20.0, **data: object) -> Happened:
        """The last event of this name and data, waiting until there is one."""
        await until(lambda: bool(self.happened(name, **data)), f"{name} {data} of {self.qemu.options.name}", timeout)
        return self.happened(name, **data)[-1]

    async def channels(self) -> int:
        """How many channels are connected to it."""
        return len((await self.ask("query-spice"))["channels"])


@dataclass(slots=True)
class Typed:
    """One key of the load, filled in as its messages are written."""

    code: int
    pressed_at: float = 0.0
    pressed_to: str = NOWHERE
    released_at: float = 0.0
    released_to: str = NOWHERE

    def sent(self) -> SentKey:
        return SentKey(self.code, self.pressed_at, self.pressed_to, self.released_at, self.released_to)


class Load:
    """Types the keys of a KeyPlan and streams numbered bytes through the echo port, until it is stopped."""

    def __init__(self, session: Session, port: Port) -> None:
        self.session = session
        self.typed: list[Typed] = []
        self.port_sent = 0
        self.port_written: list[tuple[float, int]] = []
        """(time, bytes so far) of each write."""
        self.echo = bytearray()
        self.echoed: list[tuple[float, int]] = []
        """(time, bytes so far) of each piece of echo."""
        self.typing = True
        self._port = port
        self._plan = KeyPlan()
        self._presses: deque[Typed] = deque()
        self._releases: deque[Typed] = deque()
        self._running = True
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.session.on_input_written(self._written)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work()) for work in (self._type, self._stream, self._read)]

    async def stop(self) -> None:
        """Stop typing and streaming; what is under way may still arrive."""
        self._running = False
        await asyncio.gather(*self._tasks[:2])

    def end(self) -> None:
        self._running = False
        for task in self._tasks:
            task.cancel()

    def echoed_at(self, moment: float) -> int:
        """Bytes of echo that had come by then."""
        return max((size for at, size in self.echoed if at <= moment), default=0)

    def written_at(self, moment: float) -> int:
        """Bytes that had been given to the port by then."""
        return max((size for at, size in self.port_written if at <= moment), default=0)

    async def _type(self) -> None:
        due = time.monotonic()
        while self._running and not self.session.closed:
            if self.typing:
                key = Typed(self._plan[len(self.typed)])
                self.typed.append(key)
                self._presses.append(key)
                self._releases.append(key)
                self.session.keyboard.down(key.code)
                await asyncio.sleep(KEY_SECONDS / 2)
                self.session.keyboard.up(key.code)
            due = max(due + KEY_SECONDS, time.monotonic() - 1)
            await asyncio.sleep(due - time.monotonic())

    def _written(self, message: Message, now: float) -> None:
        """Only the first time counts: after a migration releases and held keys are said again."""
        link = self.session.core.current(INPUTS)
        server = str(link.address) if link is not None else NOWHERE
        match message:
            case inputs.KeyDown() if self._presses and message.code == self._presses[0].code:
                key = self._presses.popleft()
                key.pressed_at, key.pressed_to = now, server
            case inputs.KeyUp() if self._releases and message.code == self._releases[0].code | 0x80:
                if self._releases[0].pressed_to != NOWHERE:
                    key = self._releases.popleft()
                    key.released_at, key.released_to = now, server
            case _:
                pass

    async def _stream(self) -> None:
        due = time.monotonic()
        with contextlib.suppress(SpicehopError):
            while self._running and not self.session.closed:
                self._port.write(numbered_bytes(self.port_sent, PORT_BYTES))
                self.port_sent += PORT_BYTES
                self.port_written.append((time.monotonic(), self.port_sent))
                due = max(due + PORT_SECONDS, time.monotonic() - 1)
                await asyncio.sleep(due - time.monotonic())

    async def _read(self) -> None:
        while piece := await self._port.read():
            self.echo += piece
            self.echoed.append((time.monotonic(), len(self.echo)))


@dataclass(frozen=True, slots=True)
class Hop:
    """One migration of the session, with the times of what the QEMUs and the client told. CLOCK_MONOTONIC."""

    outcome: MigrationOutcome
    still: StandStill
    stopped: float
    completed: float
    """MIGRATION completed at the source."""
    resumed: float
    handed_over: float | None
    """SPICE_MIGRATE_COMPLETED; None when the source did not live to say it."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the guest saw of the load."""

    keys: KeyCount
    charged: Charge
    port: PortCount
    log: SerialLog
    circumstances: tuple[str, ...]
    """Of each key lost that is not libspice's: when it was written, to whom, and what happened near."""

    @property
    def figures(self) -> dict[str, object]:
        """For reports: sent and received, lost and to whom it is charged, doubled."""
        keys, port = self.keys, self.port
        return {
            "keys_sent": keys.sent,
            "keys_lost": keys.lost,
            "keys_charged_to_libspice": len(self.charged.libspice),
            "keys_ours": len(self.charged.ours),
            "keys_duplicated": keys.duplicated,
            "port_sent": port.sent,
            "port_lost": port.lost,
            "port_duplicated": port.duplicated,
        }

    @property
    def stuck_keys(self) -> list[int]:
        return stuck_keys(self.log)

    def assert_nothing_lost(self) -> None:
        """Not one key and not one byte."""
        assert self.keys.lost == 0, self.figures
        self.assert_only_keys_of_libspice()

    def assert_only_keys_of_libspice(self) -> None:
        """Nothing lost but keys that libspice is charged with, nothing doubled, the guest content with its devices."""
        assert self.log.faults == ()
        assert self.charged.ours == (), (self.figures, self.circumstances)
        assert self.keys.duplicated == 0, self.figures
        assert self.stuck_keys == [], self.figures
        assert self.port.is_complete, self.port


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the session with its time."""

    event: c.SessionEvent
    at: float


@dataclass(slots=True)
class Lab:
    """See the module. `machines` are the QEMUs that the guest has run in, in order."""

    image: GuestImage
    folder: Path
    machines: list[Machine] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    """What the session told, without its messages."""
    stills: list[StandStill] = field(default_factory=list)
    latency: float = 0.0
    """Seconds that what the client writes is under way to a server."""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _started: int = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # -- machines -----------------------------------------------------------------------------------------------

    async def boot(self, options: QemuOptions | None = None) -> Machine:
        """The QEMU that the guest starts in, once it is up."""
        machine = await self._launch(replace(options or QemuOptions(), name=self._name()))
        await machine.qemu.wait_ready()
        self.machines.append(machine)
        return machine

    async def incoming(self, *, listens: bool = True, spice_options: Mapping[str, str] | None = None) -> Machine:
        """A QEMU like the one before, waiting for the guest; it has yet to be told where, unless it `listens`.

        `spice_options` are those of `-spice` that differ.
        """
        options = self.machines[-1].qemu.options
        options = replace(options, spice_options={**options.spice_options, **(spice_options or {})})
        machine = await self._launch(replace(options, name=self._name(), incoming="defer"))
        if listens:
            await machine.ask("migrate-incoming", {"uri": machine.qemu.migration_uri})
        return machine

    def _name(self) -> str:
        self._started += 1
        return f"qemu{self._started}"

    async def _launch(self, options: QemuOptions) -> Machine:
        qemu = await self._stack.enter_async_context(QemuProcess(self.image, options, self.folder))
        machine = Machine(qemu)
        self._stack.push_async_callback(machine.close)
        await machine.open()
        return machine

    async def enter(self, context: Any) -> Any:
        """Enter something that shall end with the lab."""
        return await self._stack.enter_async_context(context)

    # -- the session --------------------------------------------------------------------------------------------

    async def connect(self, machine: Machine, port: int | None = None, **options: Any) -> Session:
        """A session of our client, by way of another port where a relay listens."""
        url = f"spice://{HOST}:{port or machine.qemu.spice_port}"
        session: Session = await self._stack.enter_async_context(spicehop.connect(url, **options))
        session.listeners.append(self._heard)
        return session

    def _heard(self, event: c.SessionEvent) -> None:
        if not isinstance(event, c.MessageReceived):
            self.told.append(Told(event, time.monotonic()))

    def noted(self, event: str, channel: str = "") -> list[float]:
        """When the client noted this on its trace."""
        return [
            one.at
            for one in self.told
            if isinstance(one.event, c.Noted) and one.event.event == event and channel in ("", one.event.channel)
        ]

    def detail(self, event: str, name: str) -> str:
        """A detail of the last note of this event, as text."""
        notes = [one.event for one in self.told if isinstance(one.event, c.Noted) and one.event.event == event]
        return str(notes[-1].detail.get(name, "")) if notes else ""

    async def start_load(self, session: Session) -> Load:
        load = Load(session, await session.port(ECHO_PORT))
        load.start()
        self._stack.callback(load.end)
        return load

    # -- migrations ---------------------------------------------------------------------------------------------

    async def invite(
        self, session: Session, source: Machine, target: Machine, *, port: int | None = None, host: str = HOST
    ) -> None:
        """Send the client to the target and wait until it has linked it."""
        await self.inform(source, port or target.qemu.spice_port, host)
        ready = (ClientState.READY_SEAMLESS, ClientState.READY_SEMI_SEAMLESS)
        await until(lambda: session.core.state in ready, "the client links the target")

    async def inform(self, source: Machine, port: int, host: str = HOST) -> None:
        """`client_migrate_info`."""
        await source.ask("client_migrate_info", {"protocol": "spice", "hostname": host, "port": port, "tls-port": 0})

    async def launch(self, source: Machine, target: Machine) -> None:
        """`migrate`, without waiting."""
        await source.ask("migrate", {"uri": target.qemu.migration_uri})

    async def keep_copying(self, source: Machine) -> None:
        """Let the next migration take for ever."""
        await source.ask("migrate-set-parameters", {"max-bandwidth": 1 << 20, "downtime-limit": 0})

    async def stop_copying(self, source: Machine) -> None:
        """Let a migration that takes for ever stop its machine at once and send the rest then."""
        await source.ask("migrate-set-parameters", {"max-bandwidth": 0, "downtime-limit": 20_000})

    async def copy_as_usual(self, source: Machine) -> None:
        """QEMU's own parameters again, for the next migration."""
        await source.ask("migrate-set-parameters", {"max-bandwidth": 128 << 20, "downtime-limit": 300})

    async def pause_before_switchover(self, source: Machine) -> None:
        """Let the next migration stop its guest and then wait for `go_on`."""
        await source.ask(
            "migrate-set-capabilities",
            {"capabilities": [{"capability": "pause-before-switchover", "state": True}]},
        )

    async def paused(self, source: Machine) -> None:
        await source.event("MIGRATION", status="pre-switchover")

    async def go_on(self, source: Machine) -> None:
        await source.ask("migrate-continue", {"state": "pre-switchover"})

    async def move(self, session: Session, source: Machine, target: Machine, timeout: float = 30.0) -> Hop:
        """Migrate now, and wait until the session is at the target."""
        count = len(session.migrations)
        await self.launch(source, target)
        return await self.arrive(session, source, target, count + 1, timeout)

    async def arrive(
        self, session: Session, source: Machine, target: Machine, count: int, timeout: float = 30.0
    ) -> Hop:
        """Wait for the end of a migration that was launched: the session's `count`th."""
        outcome = await session.wait_for_migration(timeout, count=count)
        return await self.record(source, target, outcome)

    async def record(
        self, source: Machine, target: Machine, outcome: MigrationOutcome, *, source_lives: bool = True
    ) -> Hop:
        """The times of a migration that the client has behind it; from now on the guest is at the target."""
        stopped = (await source.event("STOP")).at
        completed = (await source.event("MIGRATION", status="completed")).at
        resumed = (await target.event("RESUME")).at
        handed_over = (await source.event("SPICE_MIGRATE_COMPLETED")).at if source_lives else None
        moved = [at for at in self.noted("channel.migrate", "inputs:0") if at >= stopped - 0.05]
        still = StandStill(outcome.source, stopped - self.latency, moved[0] if moved else outcome.switched)
        self.stills.append(still)
        self.machines.append(target)
        return Hop(outcome, still, stopped, completed, resumed, handed_over)

    async def quit(self, machine: Machine) -> None:
        """End a QEMU that the guest has left."""
        await machine.close()
        await machine.qemu.stop()

    # -- the account --------------------------------------------------------------------------------------------

    def serial(self) -> SerialLog:
        """What the guest has said so far, in all its QEMUs."""
        return read_serial(machine.qemu.serial_path for machine in self.machines)

    async def tap(self, session: Session, code: int) -> None:
        """Press and release a key that is not counted."""
        session.keyboard.down(code)
        await asyncio.sleep(0.01)
        session.keyboard.up(code)

    async def settle(self, load: Load, *, complete: bool = True) -> Account:
        """Stop the load, wait until the guest has seen all of it, and count. With losses the echo is not `complete`."""
        session = load.session
        await load.stop()
        syncs = self.serial().syncs
        if complete:
            with contextlib.suppress(AssertionError):
                await until(lambda: len(load.echo) >= load.port_sent, "the whole echo", 10)
        else:
            await self._quiet(load)
        await self.tap(session, SYNC_CODE)
        try:
            await until(lambda: self.serial().syncs > syncs, "the guest answers F6")
        except AssertionError:
            log = self.serial()
            raise AssertionError(f"the guest does not answer F6; it said last {log.lines[-8:]}, {log.faults}") from None
        with contextlib.suppress(AssertionError):  # releases are said again after a migration, one by one
            await until(lambda: stuck_keys(self.serial()) == [], "every key is up", 5)
        if complete:
            with contextlib.suppress(AssertionError):
                await until(
                    lambda: max((one.size for one in self.serial().port_totals), default=0) >= load.port_sent, "", 5
                )
        log = self.serial()
        sent = [key.sent() for key in load.typed]
        keys = count_keys([key.code for key in sent], log)
        charged = charge(keys, sent, self.stills)
        port = count_port(load.port_sent, bytes(load.echo), log.port_totals)
        lost = tuple(self._circumstances(index, sent[index], keys) for index in charged.ours)
        return Account(keys, charged, port, log, lost)

    def _circumstances(self, index: int, key: SentKey, keys: KeyCount) -> str:
        near = min(self.stills, key=lambda still: abs(still.stopped_at - key.pressed_at), default=None)
        since = f"{1000 * (key.pressed_at - near.stopped_at):.0f} ms after a stop" if near is not None else "no stop"
        where = "to that source" if near is not None and key.pressed_to == near.server else f"to {key.pressed_to}"
        mask = f", masked by {keys.masked[index]}" if index in keys.masked else ""
        return f"key {index} {since}, {where}{mask}"

    async def _quiet(self, load: Load) -> None:
        size = -1
        while size != len(load.echo):
            size = len(load.echo)
            await asyncio.sleep(1.0)

    async def freeze(self, session: Session) -> None:
        """Let the guest stop drawing."""
        await self.tap(session, FREEZE_CODE)
        await until(lambda: self.serial().is_frozen, "the guest stops drawing")

    async def pixels_apart(self, session: Session) -> int:
        """How many pixels of the client's picture are not as in the machine's screendump, once they have had time.

        A video stream ends about a second after the last frame, with a lossless picture.
        """
        machine = self.machines[-1]
        path = self.folder / f"{machine.qemu.options.name}.png"
        deadline = time.monotonic() + 10
        while True:
            await asyncio.sleep(0.25)
            await machine.ask("screendump", {"filename": str(path), "format": "png"})
            here, there = session.screenshot().rgb(), np.asarray(Image.open(path).convert("RGB"))
            apart = int((here != there).any(axis=2).sum()) if here.shape == there.shape else here.size
            if apart == 0 or time.monotonic() > deadline:
                return apart


def stuck_keys(log: SerialLog) -> list[int]:
    """Codes of the keys that the guest takes for held."""
    last = {event.code: event.value for event in log.keys}
    return [code for code, value in last.items() if value != RELEASED]


def missing_records(load: Load) -> list[int]:
    """The byte offsets of the records of the port's stream that did not come back."""
    there = {int(number) for number in re.findall(rb"(\d{15})\n", load.echo)}
    return [number * RECORD for number in range(load.port_sent // RECORD) if number not in there]


def in_flight(load: Load, hop: Hop) -> tuple[int, int]:
    """The part of the port's stream that a scheme which hands nothing over may lose (dossier C5), as byte offsets.

    What had not come back when the machine stopped, and what was written until the client left the source.
    """
    return load.echoed_at(hop.stopped), load.written_at(hop.outcome.switched)
