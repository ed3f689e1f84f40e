"""Typing text, pressing keys by name, and letting go of them whatever happens."""

from __future__ import annotations

import asyncio

import pytest
from fake_server import FakeServer

from spicehop import connect
from spicehop.client.keyboard import NAMES, PLAIN, SHIFTED, scancode_of
from spicehop.errors import StateError, UsageError
from spicehop.wire import inputs
from spicehop.wire.layout import Message

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("tidy")]
SHIFT, CTRL, A = 0x2A, 0x1D, 0x1E


async def keys(server: FakeServer, count: int) -> list[tuple[str, int]]:
    """What the server has heard of the keyboard, once it is `count` messages."""

    def heard() -> list[Message]:
        return [one for one in server.channels["inputs:0"].heard if isinstance(one, inputs.KeyDown | inputs.KeyUp)]

    await server.until(lambda: len(heard()) >= count)
    await asyncio.sleep(0.03)
    return [
        ("down", one.code)
        if isinstance(one, inputs.KeyDown)
        else ("up", one.code & ~(0x8000 if one.code > 255 else 0x80))
        for one in heard()
        if isinstance(one, inputs.KeyDown | inputs.KeyUp)
    ]


BY_NAME = {
    "a": 0x1E,
    "A": 0x1E,
    "1": 0x02,
    "!": 0x02,
    " ": 0x39,
    "_": 0x0C,
    "/": 0x35,
    "\\": 0x2B,
    "`": 0x29,
    "Enter": 0x1C,
    "enter": 0x1C,
    "F1": 0x3B,
    "F10": 0x44,
    "F11": 0x57,
    "Page Up": 0xE049,
    "page_up": 0xE049,
    "Right Ctrl": 0xE01D,
    "Super": 0xE05B,
    "AltGr": 0xE038,
}


@pytest.mark.parametrize(("key", "code"), BY_NAME.items())
def test_keys_by_name(key: str, code: int) -> None:
    assert scancode_of(key) == code


@pytest.mark.parametrize("key", ["", "ß", "Enterr", "F13", "aa", "\n\n"])
def test_a_key_that_there_is_not(key: str) -> None:
    with pytest.raises(UsageError, match="no key is called"):
        scancode_of(key)


def test_the_layout_has_every_printable_character_once() -> None:
    printable = {chr(code) for code in range(0x20, 0x7F)}
    assert set(PLAIN) | set(SHIFTED) >= printable
    assert not set(PLAIN) & set(SHIFTED)
    assert len(set(NAMES.values())) == len(NAMES)


async def test_text_is_typed_with_shift_where_it_needs_it() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        await session.keyboard.type("aB!\n", interval=0.002)
        assert await keys(server, 12) == [
            *[("down", A), ("up", A)],
            *[("down", SHIFT), ("down", 0x30), ("up", 0x30), ("up", SHIFT)],
            *[("down", SHIFT), ("down", 0x02), ("up", 0x02), ("up", SHIFT)],
            *[("down", 0x1C), ("up", 0x1C)],
        ]


async def test_text_with_a_character_that_has_no_key_types_nothing() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with pytest.raises(UsageError, match="'ß' is not on a US keyboard"):
            await session.keyboard.type("aß")
        await session.keyboard.press("b", seconds=0)
        assert await keys(server, 2) == [("down", 0x30), ("up", 0x30)]


async def test_typing_that_is_cancelled_leaves_no_key_down() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        typing = asyncio.create_task(session.keyboard.type("AAAA", interval=10))
        await keys(server, 2)
        typing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await typing
        assert await keys(server, 4) == [("down", SHIFT), ("down", A), ("up", A), ("up", SHIFT)]
        assert session.core.inputs is not None
        assert not session.core.inputs.keys_held


async def test_a_press_that_is_cancelled_leaves_no_key_down() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        pressing = asyncio.create_task(session.keyboard.press("a", seconds=10))
        await keys(server, 1)
        pressing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pressing
        assert await keys(server, 2) == [("down", A), ("up", A)]


async def test_held_keys_are_released_in_reverse_also_on_errors() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with pytest.raises(ZeroDivisionError), session.keyboard.hold("Ctrl", "Shift"):
            raise ZeroDivisionError
        assert await keys(server, 4) == [("down", CTRL), ("down", SHIFT), ("up", SHIFT), ("up", CTRL)]


async def test_an_unknown_key_holds_nothing() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with pytest.raises(UsageError), session.keyboard.hold("Ctrl", "Hyper"):
            raise AssertionError("it was held")
        await session.keyboard.press("a", seconds=0)
        assert await keys(server, 2) == [("down", A), ("up", A)]


async def test_a_held_shift_stays_held_behind_typing() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with session.keyboard.hold("Shift"):
            await session.keyboard.type("A", interval=0.002)
            with session.keyboard.hold("Shift"):
                pass
            assert session.core.inputs is not None
            assert session.core.inputs.holds(SHIFT)
        assert await keys(server, 4) == [("down", SHIFT), ("down", A), ("up", A), ("up", SHIFT)]


async def test_a_server_without_a_keyboard() -> None:
    async with FakeServer(channels=("display:0",)) as server, connect(server.url) as session:
        with pytest.raises(StateError, match="no inputs channel"):
            await session.keyboard.press("a")
        with pytest.raises(StateError), session.keyboard.hold("Ctrl"):
            raise AssertionError("it was held")
        with pytest.raises(StateError):
            await session.mouse.click()


async def test_who_watches_hears_each_key_when_it_is_written() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        written: list[Message] = []
        session.on_input_written(lambda message, _: written.append(message))
        await session.keyboard.press("a", seconds=0)
        await server.hear("inputs:0", inputs.KeyUp)
        assert written == [inputs.KeyDown(A), inputs.KeyUp(A | 0x80)]


async def test_scan_codes_that_are_none() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        for code in (0, 0x80, 0xE000, 0x11E):
            with pytest.raises(UsageError, match="not a scan code"):
                session.keyboard.down(code)
