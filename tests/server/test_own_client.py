"""A session of our own client with the server, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from small_guest import SmallGuest
from waiting import until

import spicehop
from spicehop.channels.main import LinkKnowledge
from spicehop.errors import LinkError
from spicehop.raster.region import Box
from spicehop.server import ServerOptions, SpiceServer
from spicehop.wire.constants import ChannelType

TIMEOUT = 10.0


@pytest.fixture
def guest() -> SmallGuest:
    return SmallGuest()


@pytest.fixture
async def server(guest: SmallGuest) -> AsyncIterator[SpiceServer]:
    async with SpiceServer(guest) as server:
        yield server


def url(server: SpiceServer) -> str:
    return f"spice://127.0.0.1:{server.port}"


async def test_the_client_shows_the_guests_pixels(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as session:
        await until(lambda: np.array_equal(session.screenshot().pixels, guest.screen.pixels))
        assert session.guest_name == "small"
        guest.screen.fill(Box(10, 20, 100, 120), 0x123456)
        server.wake()
        await until(lambda: np.array_equal(session.screenshot().pixels, guest.screen.pixels))


async def test_another_size(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as session:
        guest.screen.resize(640, 400)
        server.wake()
        await until(lambda: session.screenshot().pixels.shape == (400, 640, 4))
        await until(lambda: np.array_equal(session.screenshot().pixels, guest.screen.pixels))


async def test_keys_arrive_in_order(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as session:
        await session.keyboard.type("hello")
        await until(lambda: len(guest.keys) == 10)
    assert [key[0] for key in guest.keys[::2]] == [0x23, 0x12, 0x26, 0x26, 0x18]
    assert [key[0] for key in guest.keys[1::2]] == [0xA3, 0x92, 0xA6, 0xA6, 0x98]


async def test_held_keys_go_up_when_the_client_is_gone(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as session:
        session.keyboard.down(0x1D)
        await until(lambda: guest.keys == [b"\x1d"])
        (served,) = [one for one in next(iter(server.sessions)).channels.values() if one.key == (ChannelType.INPUTS, 0)]
        served.fail("cut")
        await until(lambda: guest.keys == [b"\x1d", b"\x9d"])


async def test_the_pointer_has_a_place(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as session:
        await until(lambda: session.core.main.mouse_mode == 2)
        session.mouse.move(30, 40)
        await until(lambda: ("placed", 0, 30, 40, 0) in guest.input)


async def test_a_port_echoes(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as session:
        port = await session.port("org.example.echo.0")
        data = bytes(range(256)) * 4096
        port.write(data)
        received = b""
        async with asyncio.timeout(TIMEOUT):
            while len(received) < len(data):
                received += await port.read()
        assert received == data
        assert bytes(guest.ports[0].got) == data


async def test_a_password(guest: SmallGuest) -> None:
    async with SpiceServer(guest, ServerOptions(password="secret")) as server:
        async with spicehop.connect(url(server), password="secret") as session:
            assert session.screenshot().pixels.shape == (240, 320, 4)
        with pytest.raises(LinkError):
            async with spicehop.connect(url(server), password="wrong"):
                pass
        server.ticket.expire(server.clock() - 1)
        with pytest.raises(LinkError):
            async with spicehop.connect(url(server), password="secret"):
                pass


async def test_a_client_that_says_how_fast_its_link_is(server: SpiceServer) -> None:
    stated = LinkKnowledge(round_trip=0.3, rate=50_000.0)
    async with spicehop.connect(url(server), link=stated) as session:
        assert session.core.main.link == stated
        (served,) = server.sessions
        assert served.main is not None
        await until(lambda: served.main.stated is not None)  # type: ignore[union-attr]
        heard = served.main.stated
        assert heard is not None
        assert (heard.round_trip, heard.rate) == (0.3, 50_000.0)


async def test_two_screens() -> None:
    guest = SmallGuest(screens=2)
    async with SpiceServer(guest) as server, spicehop.connect(url(server)) as session:
        guest.screens[1].fill(Box(8, 8, 40, 40), 0x777777)
        server.wake()
        for number in (0, 1):
            await until(lambda n=number: np.array_equal(session.screenshot(n).pixels, guest.screens[n].pixels))  # type: ignore[misc]


async def test_two_clients(guest: SmallGuest, server: SpiceServer) -> None:
    async with spicehop.connect(url(server)) as one, spicehop.connect(url(server)) as other:
        await until(lambda: len(server.sessions) == 2)
        await one.keyboard.type("ab")
        await other.keyboard.type("c")
        await until(lambda: len(guest.keys) == 6)
        for session in (one, other):
            await until(lambda s=session: np.array_equal(s.screenshot().pixels, guest.screen.pixels))  # type: ignore[misc]
        assert "org.example.echo.0" in one.ports
        assert "org.example.echo.0" not in other.ports
    await until(lambda: len(server.sessions) == 0)
