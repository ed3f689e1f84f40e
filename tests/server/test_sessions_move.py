"""Sessions move between two servers by both carriers, and come back when the target does not take them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from moving_pair import MovingPair, Side, moving_pair, pressed, type_on, write_slowly
from raw_link import RawLink
from waiting import until

import spicehop
from spicehop.channels.serving.display import ServerDisplay
from spicehop.errors import OperationError
from spicehop.migration.arriving import RestoredChannel
from spicehop.migration.handing_direct import HostToHost
from spicehop.migration.leaving import ClientTarget
from spicehop.server.arrivals import ArrivalDesk
from spicehop.server.session import ServedSession
from spicehop.wire import base, main
from spicehop.wire.constants import ChannelType, LinkResult
from spicehop.wire.layout import Message

BOTH = pytest.mark.parametrize("direct", [False, True], ids=["through the client", "host to host"])
SHIFT = 0x2A


@BOTH
async def test_keys_and_port_bytes_go_on(tmp_path: Path, direct: bool) -> None:
    """Typing and streaming all the time: each key once, each byte in order, and the modifier stays held."""
    codes = [0x1E + number % 8 for number in range(400)]
    async with (
        moving_pair(tmp_path, direct=direct) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        port = await client.port("org.example.echo.0")
        client.keyboard.down(SHIFT)
        typing = asyncio.create_task(type_on(client, codes))
        sent = bytes(number % 251 for number in range(200_000))
        writing = asyncio.create_task(write_slowly(port, sent))
        await asyncio.sleep(0.2)
        await pair.name_target()
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone")
        await typing
        await writing
        echo = bytearray()
        async with asyncio.timeout(10):
            while len(echo) < len(sent):
                echo += await port.read()
        client.keyboard.up(SHIFT)
        await until(lambda: pressed(pair.source, pair.target) == [SHIFT, *codes], "all keys")
        assert bytes(echo) == sent
        (moved,) = pair.source.completed()
        (outcome,) = moved["clients"]  # type: ignore[misc]
        assert (outcome["scheme"], outcome["outcome"]) == ("seamless", "moved")
        assert outcome["carrier"] == ("direct" if direct else "client")
        assert not list(pair.source.server.sessions)


@BOTH
async def test_what_comes_while_the_guest_stands_still_is_not_lost(tmp_path: Path, direct: bool) -> None:
    codes = [0x1E + number % 8 for number in range(60)]
    async with (
        moving_pair(tmp_path, direct=direct) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True, "events": True})
        await pair.name_target()
        pair.move()
        await until(lambda: not pair.source.guest.running, "the guest stands still")
        await type_on(client, codes)
        await asyncio.sleep(0.1)
        assert pressed(pair.source) == []
        await until(lambda: migration.describe().get("status") == "pre-switchover")
        migration.go_on("pre-switchover")
        await until(lambda: pressed(pair.source, pair.target) == codes, "all keys")


@BOTH
async def test_a_cancelled_migration_leaves_everything_as_it_was(tmp_path: Path, direct: bool) -> None:
    codes = [0x1E + number % 8 for number in range(40)]
    async with (
        moving_pair(tmp_path, direct=direct) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True})
        await pair.name_target()
        pair.move()
        await until(lambda: migration.describe().get("status") == "pre-switchover")
        await type_on(client, codes[:20])
        migration.cancel()
        await until(lambda: pair.source.guest.running, "the guest runs again")
        await type_on(client, codes[20:])
        await until(lambda: pressed(pair.source) == codes, "all keys")
        await until(lambda: not list(pair.target.server.sessions), "the target has forgotten the client")
        assert not client.closed


async def test_a_session_comes_back_when_the_target_dies_before_main_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All channels but main are at the target then; what the client says afterwards reaches the guest here."""
    monkeypatch.setattr(HostToHost, "channels_handed", property(lambda self: False))
    before = [0x1E + number % 8 for number in range(30)]
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        migration = pair.source.control.migration
        await type_on(client, before)
        await until(lambda: pressed(pair.source) == before)
        await pair.name_target()
        pair.move()
        (session,) = pair.source.server.sessions
        await until(lambda: handed(pair, session.connection_id) == len(session.channels) - 1, "all but main have gone")
        with pytest.raises(OperationError, match="on their way"):
            await pair.name_target()
        await pair.target.server.listeners.close()
        for served in [one for each in pair.target.server.sessions for one in each.channels.values()]:
            served.stream.abort()
        await pair.target.control.direct_link.close("the target dies")
        await until(lambda: bool(pair.source.completed()), "the session is back")
        (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
        assert outcome["outcome"] == "stayed"
        assert migration.status == "postmigrate"
        await until(lambda: not client.lost_channels, "the client has its channels back")
        pair.source.server.run_guest()
        await type_on(client, before)
        await until(lambda: pressed(pair.source) == before * 2, "keys reach the guest here")
        assert not client.closed


def handed(pair: MovingPair, connection_id: int) -> int:
    """How many channels of a session have left the source."""
    session = pair.source.server.sessions.find(connection_id)
    assert session is not None
    return sum(served.machine.departure.value == "HandedOver" for served in session.channels.values())


class Wiretap:
    """Notes what a display channel of a server sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Message] = []
        plain = ServerDisplay.send

        def send(machine: ServerDisplay, message: Message) -> None:
            if self.side is not None and machine.media_clock is self.side.server.media_clock:
                self.sent.append(message)
            plain(machine, message)

        self.side: Side | None = None
        monkeypatch.setattr(ServerDisplay, "send", send)

    def drawn(self) -> list[Message]:
        """What changes the picture or takes room: everything but acknowledgement windows and pings."""
        return [one for one in self.sent if not isinstance(one, base.SetAck | base.Ping)]


FREEZE = 0x41  # F7


@BOTH
async def test_nothing_is_drawn_again(tmp_path: Path, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a frozen picture not a byte, and the client still shows it."""
    async with (
        moving_pair(tmp_path, direct=direct, size=(640, 480)) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await type_on(client, [FREEZE])
        await until(lambda: "frozen" in "\n".join(pair.source.lines))
        (session,) = pair.source.server.sessions
        await until(lambda: session.feeds[0].settled, "the picture stands")
        await pair.name_target()
        tap = Wiretap(monkeypatch)
        tap.side = pair.target
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone")
        (moved,) = pair.target.server.sessions
        await until(lambda: not moved.arriving and moved.feeds[0].settled, "the picture stands at the target")
        assert tap.drawn() == []
        picture = pair.target.guest.displays[0].pixels
        assert np.array_equal(client.screenshot().pixels[:, :, :3], picture[:, :, :3])


@BOTH
async def test_only_what_has_changed_between_the_servers_is_drawn(
    tmp_path: Path, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        moving_pair(tmp_path, direct=direct, size=(640, 480)) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await type_on(client, [FREEZE])
        await until(lambda: "frozen" in "\n".join(pair.source.lines))
        (session,) = pair.source.server.sessions
        await until(lambda: session.feeds[0].settled, "the picture stands")
        await pair.name_target()
        load = pair.target.guest.load

        def load_and_change(state: bytes) -> None:
            load(state)
            assert pair.target.guest.put_square(128, 192, 0x00FF00)

        monkeypatch.setattr(pair.target.guest, "load", load_and_change)
        tap = Wiretap(monkeypatch)
        tap.side = pair.target
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone")
        (moved,) = pair.target.server.sessions
        await until(lambda: bool(tap.drawn()) and moved.feeds[0].settled, "the square is drawn")
        boxes = [one.base.box for one in tap.drawn()]  # type: ignore[attr-defined]
        assert all(box.left >= 128 and box.right <= 192 and box.top >= 192 and box.bottom <= 256 for box in boxes)
        picture = pair.target.guest.displays[0].pixels
        await until(lambda: np.array_equal(client.screenshot().pixels[:, :, :3], picture[:, :, :3]), "the picture")


async def test_what_a_client_has_left_for_a_device_moves_with_the_guest(tmp_path: Path) -> None:
    """It was sent while the guest stood still, and its client is gone."""
    async with moving_pair(tmp_path, direct=False) as pair:
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True})
        async with spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client:
            port = await client.port("org.example.echo.0")
            pair.source.server.stop_guest()
            port.write(b"left behind")
            await port.drain()
            (slot,) = [one for key, one in pair.source.server.devices.slots.items() if one.name == "org.example.echo.0"]
            await until(lambda: slot.pipe is not None and slot.pipe.bytes_held == 11)
        await until(lambda: slot.leftover.size == 11, "the client is gone")
        pair.move()
        await until(lambda: migration.describe().get("status") == "pre-switchover")
        migration.go_on("pre-switchover")
        await until(lambda: pair.target.control.migration.status == "paused", "the guest has come")
        pair.target.server.run_guest()
        await until(lambda: "bytes=11 " in "\n".join(pair.target.lines), "its device has the bytes")


async def test_the_glz_window_goes_along_host_to_host(tmp_path: Path) -> None:
    """What it holds at the target is what it held at the source; some of it went while the guest ran."""
    async with (
        moving_pair(tmp_path, direct=True, size=(640, 480), compression="glz") as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        await client.wait_for_change()
        await pair.name_target()
        await asyncio.sleep(0.3)
        await type_on(client, [FREEZE])
        await until(lambda: "frozen" in "\n".join(pair.source.lines))
        (session,) = pair.source.server.sessions
        await until(lambda: session.feeds[0].settled, "the picture stands")
        window = session.feeds[0].painter.view.glz
        assert window is not None
        assert len(window)
        pair.move()
        await until(lambda: bool(pair.source.completed()), "the clients are gone")
        (moved,) = pair.target.server.sessions
        there = moved.feeds[0].painter.view.glz
        assert there is not None
        assert (there.next_id, there.pixels, len(there)) == (window.next_id, window.pixels, len(window))
        pair.target.guest.put_square(128, 192, 0x00FF00)
        await type_on(client, [FREEZE])
        await until(lambda: there.next_id > window.next_id, "more is drawn with it")
        await type_on(client, [FREEZE])
        await until(lambda: "frozen" in "\n".join(pair.target.lines))
        await until(lambda: moved.feeds[0].settled)
        picture = pair.target.guest.displays[0].pixels
        await until(lambda: np.array_equal(client.screenshot().pixels[:, :, :3], picture[:, :, :3]), "the picture")


async def test_a_client_that_was_not_here_yet_is_sent_after_the_guest(tmp_path: Path) -> None:
    """It has linked this server, and the guest goes on to the next one before the client has come over."""
    async with moving_pair(tmp_path, direct=False) as pair:
        links = []
        for kind in (ChannelType.MAIN, ChannelType.INPUTS):
            result, link = await RawLink.open(pair.source.server.port, kind, 0x1234_5678)
            assert result == LinkResult.OK
            links.append(link)
        pair.source.control.migration.name_client_target(ClientTarget("127.0.0.1", pair.target.server.port, 0))
        pair.move()
        await until(lambda: pair.target.guest.running, "the guest is at the target")
        assert not pair.source.completed()
        links[0].send(main.MigrateEnd())
        assert await links[0].first(main.MigrateSwitchHost)
        links[0].writer.close()
        await until(lambda: bool(pair.source.completed()), "the client is gone")


async def test_a_client_that_ends_while_the_target_is_asked_for_it_is_waited_for_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the simulator: it was told of the target when it was gone, and SPICE_MIGRATE_COMPLETED never came."""
    monkeypatch.setattr("spicehop.server.client_handover.OFFER_SECONDS", 0.1)
    async with moving_pair(tmp_path, direct=True) as pair:
        link = pair.source.control.direct_link.link
        assert link is not None
        link.message_received = lambda message: None  # the target's answer is lost
        async with spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}"):
            pair.source.control.migration.name_client_target(pair.target_address)
            assert pair.source.handover._offered
        await until(lambda: not list(pair.source.server.sessions), "the client is gone")
        await asyncio.sleep(0.2)
        assert not pair.source.handover._leaving
        pair.move()
        await until(lambda: bool(pair.source.completed()), "SPICE_MIGRATE_COMPLETED")


@BOTH
async def test_a_fault_of_ours_at_the_target_costs_one_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    restore = ArrivalDesk._restore
    faulty: list[int] = []

    def failing(desk: ArrivalDesk, session: ServedSession, restored: RestoredChannel, now: float) -> None:
        if session.connection_id in faulty:
            raise RuntimeError("planted")
        restore(desk, session, restored, now)

    monkeypatch.setattr(ArrivalDesk, "_restore", failing)
    async with moving_pair(tmp_path, direct=direct) as pair:
        uri = f"spice://127.0.0.1:{pair.source.server.port}"
        async with spicehop.connect(uri) as unlucky:
            (session,) = pair.source.server.sessions
            faulty.append(session.connection_id)
            async with spicehop.connect(uri) as client:
                await pair.name_target(2)
                pair.move()
                await until(lambda: bool(pair.source.completed()), "the clients are gone", timeout=20)
                await until(lambda: len(pair.target.server.sessions) == 1, "one is lost")
                await type_on(client, [0x1E])
                await until(lambda: pressed(pair.source, pair.target) == [0x1E], "the other goes on")
                await until(lambda: unlucky.closed or bool(unlucky.lost_channels))
