"""The pointer: positions in client mode, movements in server mode, buttons."""

from __future__ import annotations

import asyncio

import pytest
from fake_server import FakeServer

from spicehop import connect
from spicehop.errors import UsageError
from spicehop.wire import inputs, main
from spicehop.wire.constants import MouseButton, MouseMode

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("tidy")]


async def test_positions_in_client_mode() -> None:
    """The session asks for client mode wherever it is offered."""
    async with FakeServer() as server, connect(server.url) as session:
        await server.hear("main:0", main.MouseModeRequest)
        assert session.mouse.absolute
        session.mouse.move(20, 10)
        session.mouse.move(-5, 7.6)
        assert await server.hear("inputs:0", inputs.MousePosition, count=2) == [
            inputs.MousePosition(20, 10, 0, 0),
            inputs.MousePosition(0, 8, 0, 0),
        ]


async def test_movements_in_server_mode() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        server.say("main:0", main.MouseMode(MouseMode.SERVER, MouseMode.SERVER))
        while session.mouse.absolute:
            await asyncio.sleep(0.005)
        session.mouse.move(20, -10)
        assert await server.hear("inputs:0", inputs.MouseMotion) == [inputs.MouseMotion(20, -10, 0)]


async def test_a_click() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        await session.mouse.click(MouseButton.RIGHT, seconds=0)
        assert await server.hear("inputs:0", inputs.MouseRelease) == [inputs.MouseRelease(MouseButton.RIGHT, 0)]
        assert await server.hear("inputs:0", inputs.MousePress) == [inputs.MousePress(MouseButton.RIGHT, 4)]


async def test_a_click_that_is_cancelled_leaves_no_button_down() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        clicking = asyncio.create_task(session.mouse.click(seconds=10))
        await server.hear("inputs:0", inputs.MousePress)
        clicking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await clicking
        assert await server.hear("inputs:0", inputs.MouseRelease)


async def test_a_button_that_there_is_not() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with pytest.raises(UsageError, match="not a mouse button"):
            session.mouse.down(0)
        with pytest.raises(UsageError):
            await session.mouse.click(99)
