"""A client that brings what libspice-server leaves of its channels: what it is told first, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from raw_link import RawLink
from small_guest import SmallGuest
from waiting import until

from spicehop.server import ServerOptions, SpiceServer
from spicehop.wire import base, cursor, display, inputs, main
from spicehop.wire import migration_data as md
from spicehop.wire.constants import ChannelType, LinkResult, MouseMode
from spicehop.wire.layout import Message

COMING = 0x1234_5678
KINDS = (ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR)
BODIES = {
    ChannelType.DISPLAY: md.DisplayMigrationData(
        34, 0, 1, 1000, 1, (0, 0, 0, 0), 1, 1000, 4, 12, md.SurfaceList((0, 3))
    ),
    ChannelType.INPUTS: md.InputsMigrationData(3),
    ChannelType.MAIN: md.MainMigrationData(md.NO_DEVICE, 0, 0, 0, 0, 0, b"", 0, 0, 0, 0),
}


class Coming:
    """A client that is linked here, and whose server is libspice."""

    def __init__(self, server: SpiceServer, links: dict[int, RawLink]) -> None:
        self.server = server
        self.links = links

    def bring(self) -> None:
        for kind, body in BODIES.items():
            self.links[kind].send(base.MigrateData(body.encode()))

    @property
    def is_here(self) -> bool:
        return not next(iter(self.server.sessions)).arriving


@pytest.fixture
async def coming() -> AsyncIterator[Coming]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(SpiceServer(SmallGuest(), ServerOptions(accept_unannounced=True)))
        links = {}
        for kind in KINDS:
            result, links[kind] = await RawLink.open(server.port, kind, COMING)
            assert result == LinkResult.OK
            stack.callback(links[kind].writer.close)
        links[ChannelType.MAIN].send(main.MigrateDstDoSeamless(1))
        assert await links[ChannelType.MAIN].first(main.MigrateDstSeamlessAck)
        yield Coming(server, links)


async def heard(link: RawLink, last: type[Message]) -> list[type[Message]]:
    """The classes of what a link hears up to the first of a class."""
    found: list[type[Message]] = []
    while not found or found[-1] is not last:
        found.append(type(await link.first(Message)))
    return found


async def test_each_channel_is_told_what_libspice_has_not(coming: Coming) -> None:
    coming.bring()
    words = await heard(coming.links[ChannelType.DISPLAY], display.Mark)
    assert words[:5] == [
        base.SetAck,
        display.InvalAllPixmaps,
        display.InvalAllPalettes,
        display.SurfaceDestroy,
        display.InvalAllPalettes,
    ]
    assert words[5] is display.SurfaceCreate
    assert await heard(coming.links[ChannelType.CURSOR], cursor.Set) == [
        base.SetAck,
        cursor.InvalAll,
        cursor.Hide,
        cursor.Set,
    ]
    coming.links[ChannelType.INPUTS].send(inputs.MouseMotion(1, 0, 0))
    assert await heard(coming.links[ChannelType.INPUTS], inputs.MouseMotionAck) == [
        inputs.KeyModifiers,
        inputs.MouseMotionAck,
    ]
    link = coming.links[ChannelType.MAIN]
    assert await link.first(main.MultiMediaTime)
    mode = await link.first(main.MouseMode)
    assert isinstance(mode, main.MouseMode)
    assert mode.current == MouseMode.SERVER
    assert coming.is_here


async def test_state_that_is_here_before_the_guest_waits_for_it(coming: Coming) -> None:
    coming.server.input_gate.close()
    coming.bring()
    coming.links[ChannelType.INPUTS].send(inputs.KeyDown(0x1E))
    await asyncio.sleep(0.2)
    assert not coming.is_here
    coming.server.arrivals.guest_came()
    coming.server.run_guest()
    assert await coming.links[ChannelType.INPUTS].first(inputs.KeyModifiers)
    guest = coming.server.guest
    assert isinstance(guest, SmallGuest)
    await until(lambda: bool(guest.keys), "the key")
    assert coming.is_here
