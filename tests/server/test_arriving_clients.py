"""Clients that come with the guest: who is let in, what they get before they are here, and how they leave."""

from __future__ import annotations

import asyncio
import time

import pytest
from raw_link import RawLink, opened
from small_guest import SmallGuest
from waiting import until

from spicehop.server import ServerOptions, SpiceServer
from spicehop.server.expected import ExpectedClients
from spicehop.trace import MemorySink, Trace
from spicehop.wire import display, main
from spicehop.wire.constants import ChannelType, LinkResult

COMING = 0x1234_5678
LETTING_IN = ServerOptions(accept_unannounced=True)


async def arriving(server: SpiceServer) -> tuple[RawLink, RawLink]:
    """The main and the display channel of a client that is not here yet."""
    links = []
    for kind in (ChannelType.MAIN, ChannelType.DISPLAY):
        result, link = await RawLink.open(server.port, kind, COMING)
        assert result == LinkResult.OK
        links.append(link)
    await until(lambda: any(session.parked for session in server.sessions), "the display channel is parked")
    return links[0], links[1]


async def test_nobody_is_let_in_unannounced_unless_that_is_wanted() -> None:
    async with SpiceServer(SmallGuest()) as server:
        result, _ = await RawLink.open(server.port, ChannelType.MAIN, COMING)
        assert result == LinkResult.BAD_CONNECTION_ID
        assert not list(server.sessions)


async def test_a_client_gets_nothing_before_it_is_here_and_everything_then() -> None:
    async with SpiceServer(SmallGuest(), LETTING_IN) as server:
        link, screen = await arriving(server)
        screen.send(display.Init(0, 0, 0, 0))  # too early: it waits
        for one in (link, screen):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await one.reader.read(1)
        link.send(main.MigrateEnd())
        init = await link.first(main.Init)
        assert isinstance(init, main.Init)
        assert init.session_id == COMING
        assert await screen.first(display.SurfaceCreate)
        assert not next(iter(server.sessions)).arriving


async def test_a_number_that_is_taken_lets_nobody_in() -> None:
    async with SpiceServer(SmallGuest(), LETTING_IN) as server:
        _, number = await opened(server.port)
        result, _ = await RawLink.open(server.port, ChannelType.MAIN, number)
        assert result == LinkResult.BAD_CONNECTION_ID
        assert len(server.sessions) == 1


async def test_a_client_that_stays_away_leaves_nothing_behind() -> None:
    async with SpiceServer(SmallGuest(), LETTING_IN) as server:
        link, screen = await arriving(server)
        link.writer.close()
        await screen.closed()
        await until(lambda: not list(server.sessions), "the session is over")
        other, _ = await opened(server.port)
        other.send(main.MigrateEnd())  # means nothing here
        other.send(main.AttachChannels())
        assert await other.first(main.ChannelsList)


async def test_who_was_announced_is_let_in_once() -> None:
    async with SpiceServer(SmallGuest()) as server:
        server.expected.announce([COMING])
        link, _ = await arriving(server)
        assert not server.expected.accepts(COMING)
        link.writer.close()
        await until(lambda: not list(server.sessions), "the session is over")
        result, _ = await RawLink.open(server.port, ChannelType.MAIN, COMING)
        assert result == LinkResult.BAD_CONNECTION_ID
        server.expected.announce([COMING])
        server.expected.announce([])
        result, _ = await RawLink.open(server.port, ChannelType.MAIN, COMING)
        assert result == LinkResult.BAD_CONNECTION_ID


@pytest.mark.parametrize(
    ("announced", "letting_in", "taken", "result", "said"),
    [
        (True, False, False, LinkResult.OK, None),
        (True, True, False, LinkResult.OK, None),
        (False, True, False, LinkResult.OK, ("unannounced-migration-accepted", "nobody has announced it")),
        (False, False, False, LinkResult.BAD_CONNECTION_ID, ("migration-refused", "nobody has announced it")),
        (True, False, True, LinkResult.BAD_CONNECTION_ID, ("migration-refused", "its number is taken")),
        (False, True, True, LinkResult.BAD_CONNECTION_ID, ("migration-refused", "its number is taken")),
    ],
)
async def test_the_trace_says_who_was_refused_and_who_came_unannounced(
    announced: bool, letting_in: bool, taken: bool, result: LinkResult, said: tuple[str, str] | None
) -> None:
    sink = MemorySink()
    options = ServerOptions(accept_unannounced=letting_in)
    async with SpiceServer(SmallGuest(), options, trace=Trace("server", time.monotonic, sink)) as server:
        there, number = await opened(server.port) if taken else (None, COMING)
        server.expected.announce([number] if announced else [])
        found, link = await RawLink.open(server.port, ChannelType.MAIN, number)
        assert found == result
        doors = [one for one in sink.records if one.event.endswith(("-refused", "-accepted"))]
        shown = [(one.event.removeprefix("server."), one.detail["reason"], one.session) for one in doors]
        assert shown == ([] if said is None else [(*said, number)])
        assert all(one.detail["host"] == "127.0.0.1" for one in doors)
        for one in (there, link):
            if one is not None:
                one.writer.close()


def test_a_new_announcement_takes_the_place_of_managements_last_one_alone() -> None:
    expected = ExpectedClients()
    expected.announce([1, 2])
    expected.announce_one(3)
    expected.announce([2, 4])
    assert [one for one in range(6) if expected.accepts(one)] == [2, 3, 4]
    expected.arrived(2)
    expected.arrived(3)
    expected.arrived(5)  # nobody has announced it, and it came all the same
    assert [one for one in range(6) if expected.accepts(one)] == [4]
    expected.announce_one(1)
    expected.forget_source()
    assert [one for one in range(6) if expected.accepts(one)] == [4]
