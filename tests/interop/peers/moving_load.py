"""Clients at work while their guest moves, and the account of what became of their work by the guest's own log.

    worker = GtkWorker(client, folder)      # or OwnWorker(session)
    worker.begin(PourPlan(rate=500_000))    # types without end, pours into the port and reads the echo
    worker.hold(LEFT_SHIFT)
    ...
    await worker.end(servers.logs)          # all of it stops; what is under way has come back, or is late
    judge(servers.logs, [worker]).assert_nothing_lost()

Each client has keys of its own, so that one log can tell whose they were.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from waiting import until

from spicehop.client import Session
from spicehop.client.ports import Port
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.keys import KeyPlan, align
from spicehop.demo.moving_servers import Place
from spicehop.demo.payload import POURED_PERIOD, clipboard_text, poured_bytes
from spicehop.demo.serial import PRESSED, RELEASED, REPEATED, SerialLog, read_serial
from spicehop.guests.demo.agent_outbox import numbered_hash
from spicehop.guests.demo.fnv import FNV_PRIME, FNV_START, fnv1a

ECHO_PORT = "org.example.echo.0"
LEFT_SHIFT, RIGHT_SHIFT = 42, 54
F5, F6, F7, F11, F12 = 63, 64, 65, 87, 88
COMMANDS = (F5, F6, F7)
FIRST_CODES = KeyPlan().codes(20_000)
FIRST_HELD = LEFT_SHIFT
SECOND_CODES = tuple(range(71, 84))
"""Keypad keys; nothing but the keys themselves tells which was lost, which is enough when none is."""
SECOND_HELD = RIGHT_SHIFT
SETTLE_SECONDS = 20.0
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PourPlan:
    """What is poured into the echo port; rate and sizes in bytes."""

    rate: int = 64_000
    piece: int = 640
    window: int = 1 << 20
    """How far ahead of the echo."""


@dataclass(frozen=True, slots=True)
class Poured:
    """What came of it at the client."""

    sent: int
    echoed: int
    right: bool
    """Whether the echo is the start of what was sent, byte for byte."""
    wrong: str = ""


class Worker(Protocol):
    """A client at work."""

    codes: tuple[int, ...]
    held: int
    poured: Poured | None
    events: list[tuple[int, int]]
    """(code, pressed or released) of each key event that the client was given, in order."""
    given: list[int]
    """Sizes of the texts offered to the guest, in order."""
    wanted: int
    """How often the guest was asked for its text."""
    came: list[tuple[int, bool]]
    """Size of each text that came from the guest, and whether it is the right one."""

    def begin(self, plan: PourPlan | None) -> None:
        """Type, and pour when there is a plan."""

    async def end(self) -> None:
        """Stop, and wait for what is under way."""

    def down(self, code: int) -> None:
        """Press a key."""

    def up(self, code: int) -> None:
        """Release it."""

    async def offer(self, size: int) -> None:
        """Offer a text to the guest, whose agent fetches it."""

    async def fetch(self) -> None:
        """Have the guest offer its text, and fetch it without waiting for it."""

    async def picture(self) -> npt.NDArray[np.uint8]:
        """What the client shows, `(height, width, 3)`."""

    def troubles(self) -> list[str]:
        """Everything that a migration must not show."""


def tap(worker: Worker, code: int) -> None:
    """Press and release."""
    worker.down(code)
    worker.up(code)


class GtkWorker:
    """spice-gtk; its session is open."""

    def __init__(
        self, client: GtkClient, folder: Path, codes: Sequence[int] = FIRST_CODES, held: int = FIRST_HELD
    ) -> None:
        self.client = client
        self.codes, self.held = tuple(codes), held
        self.poured: Poured | None = None
        self.events: list[tuple[int, int]] = []
        self.given: list[int] = []
        self.wanted = 0
        self._folder = folder
        self._name = client.echo_path.stem
        self._begun_with = len(client.events)
        self._pours = False
        self._pictures = 0

    def begin(self, plan: PourPlan | None) -> None:
        self._begun_with = len(self.client.events)
        self.client.send("type", codes=self.codes, hz=50)
        if plan is not None:
            self._pours = True
            self.client.send("pour", rate=plan.rate, piece=plan.piece, window=plan.window)

    async def end(self) -> None:
        file = self._folder / f"{self._name}.keys.json"
        self.client.send("stop-typing", file=str(file))
        await self.client.wait_event("typing-stopped", file=str(file))
        self.events = [(code, value) for code, value, _ in json.loads(file.read_text())]
        if self._pours:
            self.client.send("stop-pouring")
            told = await self.client.wait_event("poured", timeout=60)
            wrong = self.client.seen("echo-wrong")
            self.poured = Poured(told["sent"], told["echoed"], told["right"], str(wrong or ""))

    def down(self, code: int) -> None:
        self.client.send("down", code=code)

    def up(self, code: int) -> None:
        self.client.send("up", code=code)

    async def offer(self, size: int) -> None:
        self.given.append(size)
        self.client.send("offer", size=size)
        await self.client.wait_event("offered", size=size)

    async def fetch(self) -> None:
        self.wanted += 1
        tap(self, F5)

    @property
    def came(self) -> list[tuple[int, bool]]:
        return [(one["size"], one["numbered"]) for one in self.client.events if one["event"] == "clipboard"]

    async def picture(self) -> npt.NDArray[np.uint8]:
        file = self._folder / f"{self._name}-{self._pictures}.ppm"
        self._pictures += 1
        self.client.send("save", file=str(file))
        await self.client.wait_event("saved", file=str(file))
        return np.asarray(Image.open(file))

    def troubles(self) -> list[str]:
        bad = ("channel-event", "channel-gone", "channel-came", "disconnected", "surface", "mark")
        since = self.client.events[self._begun_with :]
        found = [json.dumps(one) for one in since if one["event"] in bad]
        found += [f"critical: {text}" for text in self.client.criticals]
        if self.client.returncode is not None:
            found.append(f"the client ended with {self.client.returncode}: {self.client.log_text[-300:]}")
        return found


class OwnWorker:
    """Our client, in this process; its session is open."""

    def __init__(self, session: Session, codes: Sequence[int] = FIRST_CODES, held: int = FIRST_HELD) -> None:
        self.session = session
        self.codes, self.held = tuple(codes), held
        self.poured: Poured | None = None
        self.events: list[tuple[int, int]] = []
        self.given: list[int] = []
        self.wanted = 0
        self.came: list[tuple[int, bool]] = []
        self._working = False
        self._typing: asyncio.Task[None] | None = None
        self._pour: _Pour | None = None
        self._plan: PourPlan | None = None
        self._fetches: list[asyncio.Task[None]] = []
        self._never_had: set[str] = set()

    def begin(self, plan: PourPlan | None) -> None:
        self._working = True
        self._never_had = set(self.session.lost_channels)  # another client has them
        self._typing = asyncio.create_task(self._type())
        if plan is not None:
            self._pour = _Pour(self.session.ports[ECHO_PORT], plan)

    async def end(self) -> None:
        self._working = False
        assert self._typing is not None
        await self._typing
        if self._pour is not None:
            self.poured = await self._pour.end()
        if self._fetches:
            await asyncio.wait(self._fetches, timeout=PATIENCE_SECONDS)
            for fetch in self._fetches:
                fetch.cancel()

    async def _type(self) -> None:
        due = time.monotonic()
        for code in itertools.cycle(self.codes):
            if not self._working:
                return
            self.down(code)
            await asyncio.sleep(0.01)
            self.up(code)
            due = max(due + 0.02, time.monotonic() - 0.1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def down(self, code: int) -> None:
        self.session.keyboard.down(code)
        self.events.append((code, 1))

    def up(self, code: int) -> None:
        self.session.keyboard.up(code)
        self.events.append((code, 0))

    async def offer(self, size: int) -> None:
        self.given.append(size)
        await self.session.clipboard.write(clipboard_text(size).decode())

    async def fetch(self) -> None:
        self.wanted += 1
        tap(self, F5)
        self._fetches.append(asyncio.create_task(self._fetch()))

    async def _fetch(self) -> None:
        text = (await self.session.clipboard.read(timeout=120)).encode()
        self.came.append((len(text), text == clipboard_text(len(text))))

    async def picture(self) -> npt.NDArray[np.uint8]:
        return self.session.screenshot().rgb()

    def troubles(self) -> list[str]:
        session = self.session
        found = [
            f"{name} was lost: {reason}"
            for name, reason in session.lost_channels.items()
            if name not in self._never_had
        ]
        found += [f"interrupted: {one}" for one in session.interruptions]
        found += [f"aborted: {one}" for one in session.aborted_migrations]
        found += [f"moved {one.scheme}: {one}" for one in session.migrations if str(one.scheme) != "seamless"]
        found += [f"a fetch failed: {one.exception()}" for one in self._fetches if one.done() and one.exception()]
        return [*found, *(["the session is closed"] if session.closed else [])]


class _Pour:
    """The pattern to a port, and the echo beside it."""

    def __init__(self, port: Port, plan: PourPlan) -> None:
        self._port, self._plan = port, plan
        self._sent = self._echoed = 0
        self._wrong = ""
        self._writes = True
        self._writing = asyncio.create_task(self._write())
        self._reading = asyncio.create_task(self._read())
        self._came_at = time.monotonic()

    async def _write(self) -> None:
        begun, base = time.monotonic(), 0
        while self._writes:
            wanted = base + self._plan.rate * (time.monotonic() - begun)
            while self._sent + self._plan.piece <= min(wanted, self._echoed + self._plan.window):
                self._port.write(poured_bytes(self._sent, self._plan.piece))
                self._sent += self._plan.piece
            if wanted - self._sent > self._plan.rate:
                begun, base = time.monotonic(), self._sent
            await asyncio.sleep(0.01)

    async def _read(self) -> None:
        while data := await self._port.read():
            if not self._wrong and data != poured_bytes(self._echoed, len(data)):
                self._wrong = f"the echo is wrong somewhere in the {len(data)} bytes from {self._echoed} on"
            self._echoed += len(data)
            self._came_at = time.monotonic()

    async def end(self) -> Poured:
        self._writes = False
        await self._writing
        while self._echoed < self._sent and time.monotonic() < self._came_at + PATIENCE_SECONDS:
            await asyncio.sleep(0.02)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        return Poured(self._sent, self._echoed, not self._wrong, self._wrong)


# -- the account ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyAccount:
    """One client's keys: what it was given to send, and what the guest saw."""

    sent: int
    lost: int
    doubled: int
    repeats: int
    in_order: bool
    """Whether presses and releases are exactly those sent, in that order."""
    first_difference: str
    still_held: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What became of everything."""

    keys: tuple[KeyAccount, ...]
    poured: Poured | None
    guest_received: int
    """Bytes of the port that the guest counted."""
    checksums_right: bool
    to_guest: tuple[int, int]
    """Texts sent, and come whole."""
    from_guest: tuple[int, int]
    troubles: tuple[str, ...]
    log_faults: tuple[str, ...]
    seconds: float = field(default=0.0)

    def __str__(self) -> str:
        keys = "; ".join(
            f"{one.sent} keys, {one.lost} lost, {one.doubled} doubled, {one.repeats} repeats"
            f"{'' if one.in_order else f', NOT as sent: {one.first_difference}'}"
            f"{f', still held {one.still_held}' if one.still_held else ''}"
            for one in self.keys
        )
        port = "no port"
        if self.poured is not None:
            right = "right" if self.poured.right and self.checksums_right else f"WRONG {self.poured.wrong}"
            port = (
                f"port {self.poured.sent} sent, {self.guest_received} at the guest, {self.poured.echoed} back, {right}"
            )
        texts = (
            f"texts {self.to_guest[1]}/{self.to_guest[0]} to, {self.from_guest[1]}/{self.from_guest[0]} from the guest"
        )
        rest = "; ".join((*self.troubles, *self.log_faults)) or "no trouble"
        return f"{keys} | {port} | {texts} | {rest}"

    @property
    def nothing_lost(self) -> bool:
        """Whether all came, once, in order, and nobody saw more than a pause."""
        port = self.poured
        return (
            all(one.in_order and not one.still_held for one in self.keys)
            and (port is None or (port.right and port.echoed == port.sent == self.guest_received))
            and self.checksums_right
            and self.to_guest[0] == self.to_guest[1]
            and self.from_guest[0] == self.from_guest[1]
            and not self.troubles
            and not self.log_faults
        )

    def assert_nothing_lost(self) -> None:
        """Not one key, not one byte, no trouble."""
        assert self.nothing_lost, str(self)


async def settle(logs: Sequence[Path], workers: Sequence[Worker]) -> Account:
    """End the work of all, wait until the guest has everything or seems never to get it, and judge."""
    for worker in workers:
        await worker.end()
    deadline = time.monotonic() + SETTLE_SECONDS
    quiet_since, before = time.monotonic(), -1
    while time.monotonic() < deadline:
        account = await _judged(logs, workers)
        if account.nothing_lost:
            return account
        size = sum(path.stat().st_size for path in logs if path.exists())
        if size != before:
            quiet_since, before = time.monotonic(), size
        elif account.troubles and time.monotonic() > quiet_since + 5:
            break
        await asyncio.sleep(0.4)
    return await _judged(logs, workers)


async def _judged(logs: Sequence[Path], workers: Sequence[Worker]) -> Account:
    """Beside the relays, which live in this process: the checksums of gigabytes take minutes, and a server does not
    wait that long for its clients' answers.
    """
    return await asyncio.to_thread(judge, logs, workers)


def judge(logs: Sequence[Path], workers: Sequence[Worker]) -> Account:
    """The account as of now."""
    log = read_serial(logs)
    pourers = [worker for worker in workers if worker.poured is not None]
    return Account(
        keys=tuple(_keys(worker, log) for worker in workers),
        poured=pourers[0].poured if pourers else None,
        guest_received=max((total.size for total in log.port_totals), default=0),
        checksums_right=not pourers or _checksums_right(log),
        to_guest=texts_to_guest(log, workers),
        from_guest=texts_from_guest(workers),
        troubles=tuple(trouble for worker in workers for trouble in worker.troubles()),
        log_faults=log.faults,
    )


def texts_to_guest(log: SerialLog, workers: Sequence[Worker]) -> tuple[int, int]:
    """Texts that clients have offered, and of these what came whole."""
    given = Counter((size, numbered_hash(size)) for worker in workers for size in worker.given)
    received = Counter((one.size, one.checksum) for one in log.clipboard_texts if one.received)
    return given.total(), (received & given).total()


def texts_from_guest(workers: Sequence[Worker]) -> tuple[int, int]:
    """Texts that the guest has offered, once for each client, and of these what came whole."""
    offered = sum(worker.wanted for worker in workers) * len(workers)
    return offered, sum(right for worker in workers for _, right in worker.came)


def _keys(worker: Worker, log: SerialLog) -> KeyAccount:
    mine = {*worker.codes, worker.held, *(code for code, _ in worker.events)}
    seen = [event for event in log.keys if event.code in mine]
    came = [(event.code, event.value) for event in seen if event.value in (PRESSED, RELEASED)]
    sent = worker.events
    presses = [code for code, value in sent if value == PRESSED]
    seen_presses = [code for code, value in came if value == PRESSED]
    matches = align(presses, seen_presses) if presses else [None] * len(seen_presses)
    held: set[int] = set()
    for code, value in came:
        (held.add if value == PRESSED else held.discard)(code)
    place = next((at for at, (one, other) in enumerate(zip(sent, came, strict=False)) if one != other), None)
    if place is None and len(sent) != len(came):
        place = min(len(sent), len(came))
    difference = (
        "" if place is None else f"from {place} on sent {sent[place : place + 4]}, came {came[place : place + 4]}"
    )
    return KeyAccount(
        sent=len(presses),
        lost=len(presses) - sum(index is not None for index in matches),
        doubled=sum(index is None for index in matches),
        repeats=sum(event.value == REPEATED for event in seen),
        in_order=sent == came,
        first_difference=difference,
        still_held=tuple(sorted(held)),
    )


_STRIDE = 1 << 16
_STRIDE_FACTOR = pow(FNV_PRIME, _STRIDE, 1 << 32)
_strides: list[int] = [FNV_START]
"""The pattern's checksums at every so many bytes. They are the same for every test."""


@cache
def _stride(first: int, low: int) -> int:
    """The checksum of a stride of the pattern from `first` on, which begins with the checksum `low` below 256."""
    return fnv1a(poured_bytes(first, _STRIDE), low)


def _next_stride(first: int, start: int) -> int:
    """The checksum that a stride makes of `start`.

    What each byte adds depends on the lowest eight bits only, and the pattern comes again: of gigabytes little is new.
    """
    low = start & 0xFF
    return (_stride(first % POURED_PERIOD, low) + (start - low) * _STRIDE_FACTOR) & 0xFFFF_FFFF


@cache
def _checksum(size: int) -> int:
    """That of the first `size` bytes of the pattern."""
    while len(_strides) * _STRIDE <= size:
        _strides.append(_next_stride((len(_strides) - 1) * _STRIDE, _strides[-1]))
    whole, rest = divmod(size, _STRIDE)
    return fnv1a(poured_bytes(whole * _STRIDE, rest), _strides[whole])


def _checksums_right(log: SerialLog) -> bool:
    """Whether each total in the log has the checksum of as many bytes of the pattern."""
    return all(_checksum(total.size) == total.checksum for total in log.port_totals)


async def assert_shows_the_guest(worker: Worker, place: Place, folder: Path) -> None:
    """The client shows what the server's screendump shows, pixel for pixel; the picture stands still."""
    file = folder / f"dump-{place.number}.ppm"
    for _ in range(30):
        await place.monitor.ask("screendump", filename=str(file))
        dump = np.asarray(Image.open(file).convert("RGB"))
        shown = await worker.picture()
        if shown.shape == dump.shape and np.array_equal(shown, dump):
            return
        await asyncio.sleep(0.2)
    assert shown.shape == dump.shape
    rows, columns = np.nonzero((shown != dump).any(axis=2))
    raise AssertionError(
        f"{len(rows)} pixels differ, rows {rows.min()}-{rows.max()}, columns {columns.min()}-{columns.max()}"
    )


async def frozen(logs: Sequence[Path], *, still: bool = True) -> None:
    """Wait until the guest's log says that its picture stands still, or no longer does."""
    what = "the picture is frozen" if still else "it is not"
    # A hundred servers have much to read.
    await until(lambda: read_serial(logs).is_frozen is still, what, interval=0.25)
