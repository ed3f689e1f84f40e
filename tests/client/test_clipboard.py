"""The clipboard both ways, through an agent that is there, that is not, and that goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fake_server import FakeServer
from guest_agent import Guest

from spicehop import connect
from spicehop.client.session import Session
from spicehop.errors import ConnectionLost, OperationError, StateError, UsageError
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import ClipboardType, Selection
from spicehop.wire.layout import Message

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("tidy")]
TEXT = ClipboardType.UTF8_TEXT
GRAB = agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,))
REQUEST = agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)


class LiveGuest(Guest):
    """An agent that a test can wait for."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server.channels["main:0"].end)
        self._fake = server
        self._read = 0
        self._heard: list[agent.AgentMessage] = []

    def tell(self, *messages: agent.AgentMessage) -> None:
        self._fake.say_raw("main:0", self.says(*messages))

    async def hear(self, kind: type[agent.AgentMessage]) -> agent.AgentMessage:
        """The next message of a class."""

        def found() -> agent.AgentMessage | None:
            heard: list[Message] = self._fake.channels["main:0"].heard
            fresh, self._read = heard[self._read :], len(heard)
            self._heard += self.hears(fresh)
            slices = sum(isinstance(one, main.AgentData) for one in fresh)
            if slices:
                self._fake.say("main:0", main.AgentToken(slices))
            return next((one for one in self._heard if isinstance(one, kind)), None)

        await self._fake.until(lambda: found() is not None)
        message = found()
        assert message is not None
        self._heard.remove(message)
        return message


@asynccontextmanager
async def with_agent() -> AsyncIterator[tuple[FakeServer, Session, LiveGuest]]:
    async with FakeServer(agent=True) as server, connect(server.url) as session:
        guest = LiveGuest(server)
        await guest.hear(agent.AnnounceCapabilities)
        server.say_raw("main:0", guest.hello())
        await guest.hear(agent.AnnounceCapabilities)
        yield server, session, guest


@pytest.mark.parametrize("text", ["", "Grüße", "x" * 300_000])
async def test_text_for_the_guest(text: str) -> None:
    async with with_agent() as (_, session, guest):
        assert session.clipboard.available
        await session.clipboard.write(text)
        assert await guest.hear(agent.ClipboardGrab) == GRAB
        guest.tell(REQUEST)
        answer = await guest.hear(agent.Clipboard)
        assert isinstance(answer, agent.Clipboard)
        assert bytes(answer.data).decode() == text
        await session.clipboard.wait_fetched()
        assert session.clipboard.queued == 0


async def test_text_that_the_guest_does_not_fetch() -> None:
    async with with_agent() as (_, session, _):
        await session.clipboard.write("text")
        with pytest.raises(StateError, match="did not fetch"):
            await session.clipboard.wait_fetched(0.02)


@pytest.mark.parametrize("text", ["", "Grüße", "x" * 300_000])
async def test_text_from_the_guest(text: str) -> None:
    async with with_agent() as (_, session, guest):
        reading = asyncio.create_task(session.clipboard.read())
        guest.tell(GRAB)
        await guest.hear(agent.ClipboardRequest)
        assert session.clipboard.offers_text
        guest.tell(agent.Clipboard(Selection.CLIPBOARD, TEXT, text.encode()))
        assert await reading == text


async def test_text_that_is_none_is_still_read() -> None:
    async with with_agent() as (_, session, guest):
        reading = asyncio.create_task(session.clipboard.read())
        guest.tell(GRAB)
        await guest.hear(agent.ClipboardRequest)
        guest.tell(agent.Clipboard(Selection.CLIPBOARD, TEXT, b"\xff"))
        assert await reading == "\ufffd"


async def test_waiting_for_text() -> None:
    async with with_agent() as (_, session, guest):
        waiting = asyncio.create_task(session.clipboard.wait_for_text())
        guest.tell(GRAB)
        await waiting


async def test_without_an_agent_there_is_a_sentence() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        assert not session.clipboard.available
        with pytest.raises(StateError, match="no agent that shares its clipboard"):
            await session.clipboard.write("text", timeout=0.02)
        with pytest.raises(StateError, match="offers no text"):
            await session.clipboard.read(timeout=0.02)


async def test_a_guest_that_does_not_answer_there_is_a_sentence() -> None:
    async with with_agent() as (_, session, guest):
        guest.tell(GRAB)
        with pytest.raises(StateError, match="did not send its clipboard"):
            await session.clipboard.read(timeout=0.05)


async def test_an_agent_that_cannot_be_read_is_an_error_and_the_session_goes_on() -> None:
    async with with_agent() as (server, session, _):
        reading = asyncio.create_task(session.clipboard.read())
        await asyncio.sleep(0.01)
        server.say("main:0", main.AgentData(b"\x09" * 40))
        with pytest.raises(OperationError, match="cannot be read"):
            await reading
        assert not session.closed


async def test_text_that_is_no_text() -> None:
    async with with_agent() as (_, session, _):
        with pytest.raises(UsageError, match="half a character"):
            await session.clipboard.write("\ud800")


async def test_the_end_of_the_session_ends_waiting() -> None:
    async with with_agent() as (server, session, _):
        reading = asyncio.create_task(session.clipboard.read())
        writing = asyncio.create_task(session.clipboard.write("x"))
        await asyncio.sleep(0.01)
        await writing
        server.close("main:0")
        with pytest.raises(ConnectionLost):
            await reading


async def test_a_size_for_the_guests_monitor() -> None:
    async with with_agent() as (_, session, guest):
        session.resize(1280, 720)
        wanted = await guest.hear(agent.MonitorsConfig)
        assert isinstance(wanted, agent.MonitorsConfig)
        assert [(one.width, one.height) for one in wanted.monitors] == [(1280, 720)]
        with pytest.raises(UsageError):
            session.resize(0, 720)
