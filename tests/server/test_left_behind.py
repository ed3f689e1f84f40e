"""What clients that are gone have left for the guest moves with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from moving_pair import moving_pair, pressed
from waiting import until

import spicehop
from spicehop.channels.serving.inputs import ButtonsChanged, InputEvent, KeyCame, PointerMoved
from spicehop.channels.serving.pipe import ServerPipe
from spicehop.demo.serial import parse_serial
from spicehop.errors import ProtocolError
from spicehop.guests.demo import DemoGuest
from spicehop.server.arrivals import ArrivalDesk
from spicehop.server.devices import DeviceDesk
from spicehop.server.held_keys import HeldKeys
from spicehop.server.input_gate import InputGate
from spicehop.server.left_behind import LEFT_INPUT, take_leftovers, with_leftovers
from spicehop.server.session import ServedSession
from spicehop.wire import envelope
from spicehop.wire.constants import ChannelType
from spicehop.wire.direct_link import SessionHanded, SessionWithdrawn
from spicehop.wire.envelope import Section

SHIFT, KEY_A = 0x2A, 0x1E
EVENTS: list[InputEvent] = [KeyCame(b"\x1e"), PointerMoved(1, -1, 1), KeyCame(b"\x9e"), ButtonsChanged(0)]


def closed_gate() -> InputGate:
    return InputGate(DemoGuest(320, 240), closed=True)


def test_input_of_a_client_that_is_gone_goes_with_the_guest() -> None:
    """That of one that is here goes with its client, and what its own guest did not get is not given to another."""
    here, there, desk, held = closed_gate(), closed_gate(), DeviceDesk({}), HeldKeys(lambda events: None)
    here.give(1, EVENTS)
    here.give(2, EVENTS[:1])
    assert with_leftovers(b"guest", desk, here, {}) == b"guest"
    here.leave(1)
    state = with_leftovers(b"guest", desk, here, {})
    for _ in range(2):
        assert take_leftovers(state, desk, there, held) == b"guest"
        assert there.left == tuple(EVENTS)
    assert here.held_by(2) == (EVENTS[0],)


def test_input_that_cannot_be_is_refused() -> None:
    broken = envelope.encode([Section(LEFT_INPUT, 1, 1, b"\x09\x01")])
    with pytest.raises(ProtocolError):
        take_leftovers(envelope.attach(b"guest", broken), DeviceDesk({}), closed_gate(), HeldKeys(lambda events: None))


@pytest.mark.parametrize("direct", [False, True], ids=["through the client", "host to host"])
@pytest.mark.parametrize("stays", [False, True], ids=["it goes", "it stays"])
async def test_a_client_ends_while_the_guest_stands_still(tmp_path: Path, direct: bool, stays: bool) -> None:
    """What it typed meanwhile reaches the guest, and no key of its stays down there."""
    async with moving_pair(tmp_path, direct=direct) as pair:
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True})
        async with spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client:
            port = await client.port("org.example.echo.0")
            client.keyboard.down(SHIFT)
            await until(lambda: pressed(pair.source) == [SHIFT], "a key is held")
            await pair.name_target()
            pair.move()
            await until(lambda: migration.describe().get("status") == "pre-switchover")
            client.keyboard.down(KEY_A)
            port.write(b"x" * 10_000)
            await asyncio.sleep(0.1)
            (session,) = pair.source.server.sessions
            session.abandon("the test ends it")
            if stays:
                migration.cancel()
            else:
                migration.go_on("pre-switchover")
            ends = ("completed", "cancelled")
            await until(lambda: migration.describe().get("status") in ends)
            keys = [(SHIFT, 1), (KEY_A, 1), (SHIFT, 0), (KEY_A, 0)]

            def arrived() -> bool:
                log = parse_serial("\n".join([*pair.source.lines, *pair.target.lines]))
                came = [(one.code, one.value) for one in log.keys if one.value != 2]
                return came == keys and max((total.size for total in log.port_totals), default=0) == 10_000

            await until(arrived, "its keys are up")


async def test_a_client_ends_when_its_state_is_at_the_target_and_the_guest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in that state for the guest reaches it there, and not a second time."""
    async with moving_pair(tmp_path, direct=True) as pair:
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True})
        async with spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client:
            port = await client.port("org.example.echo.0")
            await pair.name_target()
            pair.move()
            await until(lambda: migration.describe().get("status") == "pre-switchover")
            client.keyboard.down(KEY_A)
            client.keyboard.up(KEY_A)
            port.write(b"x" * 10_000)
            await asyncio.sleep(0.1)
            handed_over = ArrivalDesk._handed_over
            lost: list[ServedSession] = []

            def lose(desk: ArrivalDesk, session: ServedSession, message: SessionHanded) -> None:
                handed_over(desk, session, message)
                lost.extend((session, *pair.source.server.sessions))
                for one in lost:
                    one.abandon("the test ends it")

            monkeypatch.setattr(ArrivalDesk, "_handed_over", lose)
            migration.go_on("pre-switchover")
            await until(lambda: migration.describe().get("status") == "completed")
            assert len(lost) == 2
            keys = [(KEY_A, 1), (KEY_A, 0)]

            def arrived() -> bool:
                log = parse_serial("\n".join([*pair.source.lines, *pair.target.lines]))
                came = [(one.code, one.value) for one in log.keys]
                return came == keys and max((total.size for total in log.port_totals), default=0) == 10_000

            await until(arrived, "all is there")


async def test_what_the_source_takes_back_is_left_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when its client has closed its links here before the target hears of that: else it would come twice."""
    async with moving_pair(tmp_path, direct=True) as pair:
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True})
        async with spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client:
            await pair.name_target()
            pair.move()
            await until(lambda: migration.describe().get("status") == "pre-switchover")
            client.keyboard.down(KEY_A)
            await asyncio.sleep(0.1)
            handed_over = ArrivalDesk._handed_over
            left: list[int] = []

            def lose(desk: ArrivalDesk, session: ServedSession, message: SessionHanded) -> None:
                handed_over(desk, session, message)
                session.abandon("it stays")
                left.append(len(desk._orphaned))
                desk.link_message(SessionWithdrawn(session.connection_id, "the guest stays"))
                left.append(len(desk._orphaned))

            monkeypatch.setattr(ArrivalDesk, "_handed_over", lose)
            migration.go_on("pre-switchover")
            await until(lambda: bool(left), "the state has come")
            assert left == [1, 0]


async def test_no_device_is_free_while_the_guest_goes(tmp_path: Path) -> None:
    """The owner of a port has gone over before another client: that one is not offered the port at the source."""
    url_of = "spice://127.0.0.1:{}".format
    async with (
        moving_pair(tmp_path, direct=False) as pair,
        spicehop.connect(url_of(pair.source.server.port)) as owner,
        spicehop.connect(url_of(pair.source.server.port)) as other,
    ):
        await owner.port("org.example.echo.0")
        pair.source.server.input_gate.close()
        first = min(pair.source.server.sessions, key=lambda session: session.number)
        first.abandon("it has gone over")
        await asyncio.sleep(0.2)
        assert "port:0" not in other.lost_channels
        assert not other.ports
        pair.source.server.input_gate.open()
        pair.source.server.wake()
        await until(lambda: bool(other.ports), "the port is free again")


@pytest.mark.parametrize("direct", [False, True], ids=["through the client", "host to host"])
async def test_more_than_a_guest_that_stands_still_is_given_moves(tmp_path: Path, direct: bool) -> None:
    """Beyond that the client is not read; but when it leaves it is, with all that was on its way."""
    size = 70 << 20
    async with (
        moving_pair(tmp_path, direct=direct) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        migration = pair.source.control.migration
        migration.change_capabilities({"pause-before-switchover": True})
        await client.port("org.example.echo.0")
        await pair.name_target()
        pair.move()
        await until(lambda: migration.describe().get("status") == "pre-switchover")
        (session,) = pair.source.server.sessions
        pipe = session.channels[ChannelType.PORT, 0].machine
        assert isinstance(pipe, ServerPipe)
        pipe.accept(bytes(size))
        migration.go_on("pre-switchover")
        await until(lambda: bool(pair.source.completed()), "the clients are gone")
        (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
        assert outcome["carrier"] == ("direct" if direct else "client")
        (there,) = pair.target.server.sessions
        await until(lambda: not there.arriving and (ChannelType.PORT, 0) in there.channels, "the port is there")
        restored = there.channels[ChannelType.PORT, 0].machine
        assert isinstance(restored, ServerPipe)
        assert restored.bytes_accepted == size
        assert not client.lost_channels


async def test_a_device_is_kept_for_who_comes_with_it(tmp_path: Path) -> None:
    """Whoever links the target meanwhile does not get the port of a client that has still to link it there."""
    url_of = "spice://127.0.0.1:{}".format
    async with (
        moving_pair(tmp_path, direct=True) as pair,
        spicehop.connect(url_of(pair.source.server.port)) as owner,
    ):
        await owner.port("org.example.echo.0")
        await pair.name_target()
        server = pair.target.server
        [coming] = server.sessions
        port = (ChannelType.PORT, 0)
        coming.parked.pop(port).fail("it was too slow")
        async with spicehop.connect(url_of(server.port)) as other:
            assert not other.ports
            assert "port:0" not in other.lost_channels
            coming.abandon("it does not come")
            server.input_gate.open()
            server.wake()
            await until(lambda: bool(other.ports), "the port is free")
