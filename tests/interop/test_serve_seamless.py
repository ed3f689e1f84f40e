"""Sessions move between two `spicehop serve`, there and back, and nothing is lost; the judge is the guest's own log.

`SPICEHOP_REPEAT` says how often each goes from one server to the next; twice when it does not.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from captured import CapturedConnection, CapturedMessage, drawn, image_of, read_captures, sends_pixels
from certificates import Authority
from migration_lab import repetitions
from moving_load import (
    F7,
    F11,
    F12,
    FIRST_CODES,
    SECOND_CODES,
    SECOND_HELD,
    Account,
    GtkWorker,
    OwnWorker,
    PourPlan,
    Worker,
    assert_shows_the_guest,
    frozen,
    settle,
    tap,
    texts_from_guest,
    texts_to_guest,
)
from relay import Relay
from waiting import until

import spicehop
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.moving_servers import Move, MovingServers
from spicehop.demo.serial import parse_serial, read_serial
from spicehop.demo.server_process import ANYBODY
from spicehop.guests.demo.scene import MENU_SURFACE, PLANET_SURFACE
from spicehop.wire.constants import ChannelType
from spicehop.wire.image import FromCache, SurfaceImage

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
Report = Callable[[str, object], None]
LAB_SERVER = (str(Path(__file__).with_name("peers") / "lab_server.py"),)
CARRIERS = pytest.mark.parametrize("carrier", ["client", "direct"])
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Setting:
    """Who moves, and over what."""

    name: str
    clients: tuple[str, ...] = ("spice-gtk",)
    tls: bool = False
    ticket: bool = False
    latency: float = 0.0
    """Seconds each way between clients and servers."""
    rate: int = 5 * MEGABYTE
    clipboard: int = 10 * MEGABYTE

    def __str__(self) -> str:
        return self.name


SETTINGS = (
    Setting("spice-gtk"),
    Setting("our client", ("own",)),
    Setting("two spice-gtk", ("spice-gtk", "spice-gtk")),
    Setting("spice-gtk, TLS and ticket", tls=True, ticket=True),
    Setting("our client, TLS and ticket", ("own",), tls=True, ticket=True),
    Setting("spice-gtk, 50 ms each way", latency=0.05, clipboard=2 * MEGABYTE),
    Setting("our client, 50 ms each way", ("own",), latency=0.05, clipboard=2 * MEGABYTE),
)


class Lab:
    """Moving servers behind relays, and clients at them that are at work."""

    def __init__(
        self, folder: Path, stack: AsyncExitStack, carrier: str, setting: Setting, *, captures: bool, **given: object
    ) -> None:
        self.folder = folder
        self.captures = captures
        self.relays: dict[str, Relay] = {}
        self.workers: list[Worker] = []
        self.stack = stack
        self.setting = setting
        self.secret = "swordfish" if setting.ticket else None
        access = list(ANYBODY[:2])
        self.ca = None
        if setting.tls:
            authority = Authority(folder)
            pair = authority.pair()
            self.ca = authority.certificate
            access = ["--tls-port", "0", "--cert", str(pair.certificate), "--key", str(pair.key)]
        if self.secret is None:
            access.append("--disable-ticketing")
        else:
            ticket = folder / "ticket"
            ticket.write_text(f"{self.secret}\n")
            access += ["--ticket-file", str(ticket)]
        self.servers = MovingServers(folder, carrier=carrier, access=tuple(access), door=self._door, **given)  # type: ignore[arg-type]

    @asynccontextmanager
    async def _door(self, port: int, name: str) -> AsyncIterator[int]:
        capture = self.folder / "captures" if self.captures else None
        async with Relay(port, name=name, capture=capture) as relay:
            relay.delay = self.setting.latency
            self.relays[name] = relay
            yield relay.port

    async def connect(self, start_gtk_client: StartGtkClient, *, stuck: int | None = None) -> None:
        """All clients of the setting, in order; the first has the port. That of the number `stuck` may be critical."""
        here = self.servers.here
        for number, kind in enumerate(self.setting.clients):
            mine = (SECOND_CODES, SECOND_HELD) if number else (FIRST_CODES,)
            if kind == "own":
                port = f":{here.port}" if self.ca is None else f"?tls-port={here.tls_port}"
                session = await self.stack.enter_async_context(
                    spicehop.connect(f"spice://127.0.0.1{port}", password=self.secret, ca_file=self.ca)
                )
                self.workers.append(OwnWorker(session, *mine))
                continue
            fatal = number != stuck
            options = ("--tls-port", str(here.tls_port), "--ca-file", str(self.ca)) if self.ca is not None else ()
            client = await start_gtk_client(
                here.port or 0, name=f"gtk-{number}", password=self.secret, options=options, fatal_criticals=fatal
            )
            await client.wait_event("channel-event", kind="InputsChannel", what="opened")
            await client.wait_event("mark")
            await client.wait_event("agent", connected=True)
            if number == 0:
                await client.wait_event("port", opened=True)
            self.workers.append(GtkWorker(client, self.folder, *mine))
        await asyncio.sleep(0.3)

    def begin(self, plan: PourPlan | None) -> None:
        for number, worker in enumerate(self.workers):
            worker.begin(None if number else plan)

    async def texts_came(self, timeout: float = 60.0) -> None:
        """Wait until all clipboards are where they belong; what is missing then shows in the account."""

        def all_there() -> bool:
            """Looks at little: relays live in this process, and what takes long here delays the clients."""
            said = b"".join(line for path in self.servers.logs for line in path.open("rb") if b" clipboard-" in line)
            sent, came = texts_to_guest(parse_serial(said.decode()), self.workers)
            offered, fetched = texts_from_guest(self.workers)
            return (sent == came and offered == fetched) or any(worker.troubles() for worker in self.workers)

        try:
            async with asyncio.timeout(timeout):
                while not all_there():
                    await asyncio.sleep(0.5)
        except TimeoutError:
            pass

    def has_said(self, what: str) -> bool:
        """Whether the guest's agent has."""
        return bool(read_serial(self.servers.logs).of("AGENT", what))

    def displays_at_the_target(self) -> list[CapturedConnection]:
        """What has passed on the display connections to where the guest is now."""
        name = f"{self.servers.here.number}-plain"
        found = read_captures(self.folder / "captures", name, self.relays[name].passages)
        return [one for one in found if one.channel == ChannelType.DISPLAY]

    async def settle(self) -> Account:
        return await settle(self.servers.logs, self.workers)

    def assert_moved(self, move: Move, *, carrier: str) -> None:
        expected = [("seamless", carrier, "moved")] * len(self.workers)
        assert move.outcomes == expected, move.clients
        assert move.source_returncode == 0


@asynccontextmanager
async def moving_lab(
    folder: Path, carrier: str, setting: Setting = SETTINGS[0], *, captures: bool = False, **given: object
) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        lab = Lab(folder, stack, carrier, setting, captures=captures, **given)
        await stack.enter_async_context(lab.servers)
        yield lab


@CARRIERS
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
async def test_nothing_is_lost(
    start_gtk_client: StartGtkClient,
    tmp_path: Path,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    carrier: str,
    setting: Setting,
) -> None:
    """Typing, a modifier held over each move, a port's stream, a clipboard to the guest or from it, there and back.

    In every second move the guest stands still for half a second before it goes.
    """
    monkeypatch.setenv("LAB_CLIPBOARD", str(setting.clipboard))
    announce = setting.ticket and carrier == "client"  # else whoever comes is let in
    async with moving_lab(tmp_path, carrier, setting, program=LAB_SERVER, announce=announce) as lab:
        await lab.connect(start_gtk_client)
        lab.begin(PourPlan(setting.rate, piece=setting.rate // 50, window=2 * MEGABYTE))
        await asyncio.sleep(0.5)
        for number in range(repetitions(2)):
            await lab.servers.prepare()
            for worker in lab.workers:
                worker.down(worker.held)
            await lab.servers.invite(sessions=len(lab.workers))
            await (lab.workers[0].fetch() if number % 2 else lab.workers[0].offer(setting.clipboard))
            await asyncio.sleep(0.05)
            move = await lab.servers.go(hold=0.5 if number % 4 in (1, 2) else None)
            lab.assert_moved(move, carrier=carrier)
            report(f"move {number}", f"{1000 * (move.handed_over_at - move.stopped_at):.1f} ms from STOP to the end")
            await asyncio.sleep(0.2)
            for worker in lab.workers:
                worker.up(worker.held)
            await lab.texts_came()
        account = await lab.settle()
        report("account", account)
        account.assert_nothing_lost()
        lab.workers[0].down(F7)
        lab.workers[0].up(F7)
        await frozen(lab.servers.logs)
        for worker in lab.workers:
            await assert_shows_the_guest(worker, lab.servers.here, tmp_path)


# -- where the reference loses or aborts (shared/reference-results.md, section 4) --------------------------------------


@CARRIERS
@pytest.mark.parametrize("direction", ["to the guest", "from the guest"])
async def test_one_clipboard_over_three_servers(
    start_gtk_client: StartGtkClient,
    tmp_path: Path,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    carrier: str,
    direction: str,
) -> None:
    """One message of the agent, in chunks of 2,048 bytes, is under way at each move. libspice aborts there (B1)."""
    size = 40 * MEGABYTE
    monkeypatch.setenv("LAB_CLIPBOARD", str(size))
    async with moving_lab(tmp_path, carrier, program=LAB_SERVER) as lab:
        await lab.connect(start_gtk_client)
        lab.begin(None)
        (worker,) = lab.workers
        begins, ends = ("clipboard-begins", "clipboard-received")
        if direction == "from the guest":
            begins, ends = ("clipboard-sending", "clipboard-sent")
        await lab.servers.prepare()
        await lab.servers.invite()
        await (worker.offer(size) if direction == "to the guest" else worker.fetch())
        await until(lambda: lab.has_said(begins), "the text is under way")
        for number in range(2):
            move = await lab.servers.go()
            lab.assert_moved(move, carrier=carrier)
            if number == 0:
                await lab.servers.prepare()
                await lab.servers.invite()
        assert not read_serial(lab.servers.logs[:-1]).of("AGENT", ends), "the text was there before the last move"
        await lab.texts_came()
        account = await lab.settle()
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_twelve_seconds_and_a_thousand_messages(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, kind: str
) -> None:
    """With 128 messages queued libspice never sees the flush mark behind them, and gives the port up (B3)."""
    async with moving_lab(tmp_path, carrier, Setting(kind, (kind,))) as lab:
        await lab.connect(start_gtk_client)
        lab.begin(PourPlan(rate=64_000, piece=640, window=64 * MEGABYTE))
        await asyncio.sleep(0.5)
        await lab.servers.prepare()
        await lab.servers.invite()
        move = await lab.servers.go(hold=12.0)
        lab.assert_moved(move, carrier=carrier)
        after = move.handed_over_at - move.completed_at
        report("s from the guest's completion to SPICE_MIGRATE_COMPLETED", f"{after:.3f}")
        assert after < 1.0
        await asyncio.sleep(1)
        account = await lab.settle()
        report("account", account)
        account.assert_nothing_lost()


@CARRIERS
async def test_a_stuck_client_costs_the_other_nothing(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str
) -> None:
    """One of two is stopped by the system before the guest goes, and goes on when all is over."""
    setting = Setting("two", ("spice-gtk", "spice-gtk"))
    async with moving_lab(tmp_path, carrier, setting) as lab:
        await lab.connect(start_gtk_client, stuck=1)
        lab.begin(PourPlan(rate=500_000, piece=10_000))
        await asyncio.sleep(0.5)
        await lab.servers.prepare()
        await lab.servers.invite(sessions=2)
        first, second = lab.workers
        assert isinstance(second, GtkWorker)
        os.kill(second.client.pid, signal.SIGSTOP)
        try:
            move = await lab.servers.go()
        finally:
            os.kill(second.client.pid, signal.SIGCONT)
        after = move.handed_over_at - move.completed_at
        report("ms that the guest stood still", f"{1000 * move.stood_still:.1f}")
        report("s from the guest's completion to SPICE_MIGRATE_COMPLETED", f"{after:.2f}")
        report("clients", [(one["outcome"], one["scheme"], one["reason"]) for one in move.clients])
        assert move.stood_still < 1.0
        assert after < 10.5
        assert ("seamless", carrier, "moved") in move.outcomes
        await asyncio.sleep(1)
        report("the stuck one", second.troubles())
        account = await settle(lab.servers.logs, [first])
        report("account", account)
        account.assert_nothing_lost()


# -- nothing is drawn again --------------------------------------------------------------------------------------------


async def one_at_a_frozen_screen(lab: Lab, start: StartGtkClient) -> Worker:
    """The lab's one client works, and the guest draws no more."""
    await lab.connect(start)
    (worker,) = lab.workers
    lab.begin(None)
    await asyncio.sleep(1)
    tap(worker, F7)
    await frozen(lab.servers.logs)
    await asyncio.sleep(1.5)
    return worker


@CARRIERS
@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_a_frozen_screen_is_not_drawn_again(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, kind: str
) -> None:
    """While it is typed the picture stands still: 0 image bytes from any target (the reference: 100 kB)."""
    async with moving_lab(tmp_path, carrier, Setting(kind, (kind,)), captures=True) as lab:
        worker = await one_at_a_frozen_screen(lab, start_gtk_client)
        for _ in range(repetitions(2)):
            lab.assert_moved(await lab.servers.move(), carrier=carrier)
            await asyncio.sleep(1)
            (display,) = lab.displays_at_the_target()
            images = drawn(display)
            report("display messages of the target", [(one.name, one.size) for one in display.sent()])
            assert images == []
            await assert_shows_the_guest(worker, lab.servers.here, tmp_path)
        tap(worker, F7)
        await frozen(lab.servers.logs, still=False)
        await asyncio.sleep(1)
        account = await lab.settle()
        account.assert_nothing_lost()
        tap(worker, F7)
        await frozen(lab.servers.logs)
        await assert_shows_the_guest(worker, lab.servers.here, tmp_path)


@CARRIERS
@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_only_what_has_changed_between_the_servers_is_drawn(
    start_gtk_client: StartGtkClient,
    tmp_path: Path,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    carrier: str,
    kind: str,
) -> None:
    """A square of 64x64 pixels: that, and at the next move, where it is the same again, nothing."""
    async with moving_lab(tmp_path, carrier, Setting(kind, (kind,)), captures=True, program=LAB_SERVER) as lab:
        worker = await one_at_a_frozen_screen(lab, start_gtk_client)
        x, y = 448, 256
        monkeypatch.setenv("LAB_SQUARE", f"{x},{y},0x20c040")
        for number in range(2):
            lab.assert_moved(await lab.servers.move(), carrier=carrier)
            await asyncio.sleep(1)
            (display,) = lab.displays_at_the_target()
            boxes = [one.decoded().base.box for one in drawn(display)]  # type: ignore[attr-defined]
            report("drawn", [(one.name, one.size) for one in drawn(display)])
            assert all(x <= box.left < box.right <= x + 64 and y <= box.top < box.bottom <= y + 64 for box in boxes)
            area = sum((box.right - box.left) * (box.bottom - box.top) for box in boxes)
            assert area == (0 if number else 64 * 64)
            await assert_shows_the_guest(worker, lab.servers.here, tmp_path)
        (await lab.settle()).assert_nothing_lost()


@CARRIERS
@pytest.mark.parametrize("kind", ["spice-gtk", "own"])
async def test_what_the_client_keeps_is_used_and_not_sent_again(
    start_gtk_client: StartGtkClient, tmp_path: Path, report: Report, carrier: str, kind: str
) -> None:
    """Off-screen surfaces and cached images that the source has given it, at the target: not a pixel is sent.

    The planet, a surface, goes to another place and back; the menu, a surface as long as it is open, opens and closes.
    """
    async with moving_lab(tmp_path, carrier, Setting(kind, (kind,)), captures=True, program=LAB_SERVER) as lab:
        worker = await one_at_a_frozen_screen(lab, start_gtk_client)
        for key in (F11, F11, F11, F11, F12, F12, F12):  # all that is seen of both; the menu is open in the end
            tap(worker, key)
            await asyncio.sleep(0.3)
        (display,) = lab.displays_at_the_target()
        known = {image.descriptor.id for image in map(image_of, display.sent()) if image is not None}
        for _ in range(repetitions(2)):
            lab.assert_moved(await lab.servers.move(), carrier=carrier)
            await asyncio.sleep(0.5)
            (display,) = lab.displays_at_the_target()
            assert drawn(display) == []
            for number, key in enumerate((F11, F11, F12, F12)):
                before = len(display.sent())
                tap(worker, key)
                await asyncio.sleep(0.5)
                (display,) = lab.displays_at_the_target()
                said = display.sent()[before:]
                report(f"key {number}", [(one.name, one.size, _source_of(one)) for one in said])
                await assert_shows_the_guest(worker, lab.servers.here, tmp_path)
            sent = display.sent()
            assert not [one for one in sent if sends_pixels(one)]
            images = [image for image in map(image_of, sent) if image is not None]
            surfaces = [one.payload.surface_id for one in images if isinstance(one.payload, SurfaceImage)]
            cached = {one.descriptor.id for one in images if isinstance(one.payload, FromCache)}
            assert surfaces.count(PLANET_SURFACE) == 2
            assert cached
            assert cached <= known
            created = [one.decoded().surface_id for one in sent if one.name == "SURFACE_CREATE"]  # type: ignore[attr-defined]
            assert created == [MENU_SURFACE]  # the menu is opened once, and had been closed
        (await lab.settle()).assert_nothing_lost()


def _source_of(message: CapturedMessage) -> str:
    """Where what it draws comes from."""
    image = image_of(message)
    return "" if image is None else type(image.payload).__name__
