"""Opening and ending a session with servers on loopback, good ones and bad ones. Nothing is left on the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fake_server import CHANNELS, FAULTS, FakeServer

from spicehop import connect
from spicehop.client import runner as runner_module
from spicehop.client import session as session_module
from spicehop.errors import (
    ConnectError,
    ConnectionLost,
    LinkError,
    OperationError,
    SpicehopError,
    StateError,
    UsageError,
)
from spicehop.migration import commands as c
from spicehop.migration import links
from spicehop.migration import session as core_module
from spicehop.wire import base, display, inputs, main, vmc
from spicehop.wire.constants import LinkResult

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("tidy")]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers have little time."""
    monkeypatch.setattr(links, "LINK_DEADLINE", 0.15)
    monkeypatch.setattr(core_module, "OPENING_DEADLINE", 0.15)
    monkeypatch.setattr(session_module, "SETTLE_TIMEOUT", 0.1)
    monkeypatch.setattr(runner_module, "CLOSE_TIMEOUT", 0.1)


# -- opening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mini_header", [True, False])
async def test_a_session_opens_works_and_ends(mini_header: bool) -> None:
    async with FakeServer(mini_header=mini_header) as server:
        async with connect(server.url) as session:
            assert session.guest_name == "fake guest"
            assert {channel.name for channel in session.core.channels.values()} == {"main:0", *CHANNELS}
            assert list(session.ports) == ["org.example.port:1"]
            assert (session.screenshot().width, session.screenshot().height) == (32, 16)
            assert not session.closed
            assert not session.migrating
            server.say("main:0", base.Ping(1, 2))
            await server.hear("main:0", base.Pong)
        assert session.closed
        await session.wait_closed()
        await session.close()


async def test_a_password_is_sent_encrypted_and_must_be_right() -> None:
    async with FakeServer(password="Grüße") as server:
        async with connect(server.url, password="Grüße") as session:
            assert session.guest_name
        with pytest.raises(LinkError, match="does not accept the password") as refused:
            async with connect(server.url, password="wrong"):
                raise AssertionError("it opened")
        assert refused.value.code == LinkResult.PERMISSION_DENIED
        assert "wrong" not in str(refused.value)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("impatient")
async def test_a_bad_server_ends_in_one_sentence_and_in_time(fault: str) -> None:
    async with FakeServer(fault=fault) as server:
        began = time.monotonic()
        with pytest.raises(SpicehopError) as failed:
            async with connect(server.url):
                raise AssertionError("it opened")
        assert time.monotonic() - began < 4
        assert failed.value.exit_code == 1
        assert str(failed.value)
        assert "\n" not in str(failed.value)
        assert "Errno" not in str(failed.value)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.endswith(("at once", "after init"))])
@pytest.mark.usefixtures("impatient")
async def test_a_channel_that_goes_wrong_costs_itself_only(fault: str) -> None:
    async with FakeServer(fault=fault, faulty=["display:0"]) as server, connect(server.url) as session:
        await session.keyboard.press("a")
        await server.hear("inputs:0", inputs.KeyUp)
        assert not session.closed
        with pytest.raises(StateError):
            session.screenshot()


@pytest.mark.usefixtures("impatient")
async def test_a_lost_channel_is_linked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spicehop.migration.restoring.RESTORE_PAUSE", 0.02)
    async with FakeServer() as server, connect(server.url) as session:
        before = server.connections
        server.close("display:0")
        await server.until(lambda: server.connections > before)
        await server.hear("display:0", display.Init)
        assert session.lost_channels == {}
        server.close("inputs:0")
        await server.until(lambda: server.connections > before + 1)
        await session.keyboard.press("a")
        await server.hear("inputs:0", inputs.KeyUp)
        assert [text.partition(":0: ")[0] for text in session.interruptions] == ["display", "inputs"]


async def test_a_server_that_lacks_a_channel_it_lists_is_not_waited_for() -> None:
    async with FakeServer() as server:
        server.missing.add("port:1")
        began = time.monotonic()
        async with connect(server.url) as session:
            assert time.monotonic() - began < 3
            assert "does not have this channel" in session.lost_channels["port:1"]


async def test_nobody_listens() -> None:
    async with FakeServer() as server:
        url = server.url
    with pytest.raises(ConnectError, match="connection refused"):
        async with connect(url):
            raise AssertionError("it opened")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
async def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(ConnectError, match="no connection to"):
        async with connect(f"spice://{host}:5900"):
            raise AssertionError("it opened")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"schemes": ("teleport",)}, "teleport is not a migration scheme"),
        ({"password": "x" * 61}, "longer than"),
        ({"password": "a\0b"}, "NUL"),
        ({"map_host": {"here": "there:0"}}, "neither HOST nor HOST:PORT"),
    ],
)
async def test_arguments_that_cannot_be_used(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        async with connect("spice://127.0.0.1:1", **arguments):
            raise AssertionError("it opened")


async def test_a_connect_that_is_cancelled_leaves_nothing_behind() -> None:
    async with FakeServer(fault="silent after the message") as server:

        async def open_it() -> None:
            async with connect(server.url):
                raise AssertionError("it opened")

        task = asyncio.create_task(open_it())
        await server.until(lambda: server.connections)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_connect_to_a_machine_that_does_not_answer_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def never(*_: object, **given: object) -> None:
        begun.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(runner_module, "open_stream", never)

    async def open_it() -> None:
        async with connect("spice://192.0.2.1:5900"):
            raise AssertionError("it opened")

    task = asyncio.create_task(open_it())
    await begun.wait()
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1


async def test_an_error_in_the_block_ends_the_session_and_comes_out() -> None:
    async with FakeServer() as server:

        async def work() -> None:
            async with connect(server.url) as session:
                session.keyboard.down(0x1E)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await work()
        assert (await server.hear("inputs:0", inputs.KeyUp))[0].code == 0x9E


# -- the end --------------------------------------------------------------------------------------------------------


async def test_closing_releases_held_keys_and_buttons() -> None:
    async with FakeServer() as server:
        async with connect(server.url) as session:
            session.keyboard.down(0x2A)
            session.keyboard.down(0xE01D)
            session.mouse.down()
        released = await server.hear("inputs:0", inputs.KeyUp, count=2)
        assert [one.code for one in released] == [0xAA, 0x9DE0]
        assert len(await server.hear("inputs:0", inputs.MouseRelease)) == 1


async def test_closing_sends_what_a_port_still_holds() -> None:
    async with FakeServer() as server:
        async with connect(server.url) as session:
            port = session.ports["org.example.port:1"]
            for number in range(300):
                port.write(b"%04d" % number)
        await server.until(lambda: len(server.port_bytes()) == 1200)
        assert server.port_bytes() == b"".join(b"%04d" % number for number in range(300))


@pytest.mark.usefixtures("impatient")
async def test_closing_does_not_wait_for_a_server_that_reads_nothing() -> None:
    async with FakeServer() as server:
        async with connect(server.url) as session:
            server.reads = False
            await asyncio.sleep(0.03)
            session.ports["org.example.port:1"].write(bytes(20_000_000))
            began = time.monotonic()
        assert time.monotonic() - began < 2


async def test_a_server_that_goes_ends_the_session_everywhere() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        port = session.ports["org.example.port:1"]
        reading = asyncio.create_task(port.read())
        changing = asyncio.create_task(session.wait_for_change(30))
        waiting = asyncio.create_task(session.wait_closed())
        clipboard = asyncio.create_task(session.clipboard.read())
        await asyncio.sleep(0.02)
        server.close("main:0")
        assert await reading == b""
        for task in (changing, waiting, clipboard):
            with pytest.raises(ConnectionLost):
                await task
        assert session.closed
        for act in (
            lambda: session.keyboard.down(0x1E),
            lambda: session.mouse.move(1, 1),
            lambda: port.write(b"x"),
        ):
            with pytest.raises(ConnectionLost):
                act()


async def test_keys_that_are_held_when_the_session_ends_are_no_error() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with session.keyboard.hold("Ctrl"):
            server.close("main:0")
            with pytest.raises(ConnectionLost):
                await session.wait_closed()
        with pytest.raises(ConnectionLost):
            await session.keyboard.press("a")


async def test_a_failing_listener_disturbs_nothing(tidy: list[dict[str, Any]]) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with FakeServer() as server, connect(server.url) as session:
        session.listeners.append(fail)
        session.on_input_written(fail)
        session.picture.observers.append(fail)
        await session.keyboard.press("a")
        server.say("display:0", display.SurfaceCreate(1, 8, 8, 32, 0))
        await server.hear("inputs:0", inputs.KeyUp)
        server.say("main:0", main.MultiMediaTime(5), base.Ping(1, 1))
        await server.hear("main:0", base.Pong)
        assert not session.closed
        session.listeners.clear()
    assert tidy
    for context in tidy:
        assert isinstance(context["exception"], ZeroDivisionError)
        context["expected"] = True


async def test_notices_of_the_server_are_kept() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        server.say("main:0", base.Notify(0, 1, 1, 0, b"keyboard channel is insecure"), base.Ping(1, 1))
        await server.hear("main:0", base.Pong)
        assert session.notices == ["keyboard channel is insecure"]


async def test_waiting_for_what_does_not_come() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        with pytest.raises(TimeoutError):
            await session.wait_for_change(0.02)
        with pytest.raises(TimeoutError):
            await session.wait_for_migration(0.02)
        with pytest.raises(TimeoutError):
            await session.port("no such port", 0.02)
        with pytest.raises(KeyError):
            session.ports["no such port"]
        with pytest.raises(StateError, match="no display 7"):
            session.screenshot(7)


async def test_a_change_is_noticed() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        waiting = asyncio.create_task(session.wait_for_change(5))
        await asyncio.sleep(0.01)
        fill = display.DrawFill(
            display.DisplayBase(0, display.Rect(0, 0, 8, 8), display.Clip()),
            display.Brush(1, 0x00FF00),
            8,
            display.QMask(),
        )
        server.say("display:0", fill)
        await waiting
        assert tuple(session.screenshot().pixels[0, 0][:3]) == (0, 255, 0)


async def test_a_session_that_migrates_by_switch_host_goes_on() -> None:
    async with FakeServer() as first, FakeServer() as second, connect(first.url) as session:
        session.keyboard.down(0x2A)
        await first.hear("inputs:0", inputs.KeyDown)
        first.say("main:0", main.MigrateSwitchHost(second.port, 0, b"127.0.0.1"))
        outcome = await session.wait_for_migration(5)
        assert (outcome.scheme, session.server.port) == ("switch-host", second.port)
        await second.until(lambda: "port:1" in second.channels)
        port = await session.port("org.example.port:1")
        port.write(b"at the second")
        await second.hear("port:1", vmc.VmcData)
        session.keyboard.up(0x2A)
        await second.hear("inputs:0", inputs.KeyUp)


async def test_a_session_that_migrates_seamlessly_goes_on() -> None:
    async with FakeServer() as first, FakeServer() as second, connect(first.url) as session:
        port = session.ports["org.example.port:1"]
        first.say("main:0", main.MigrateBeginSeamless(second.port, 0, b"127.0.0.1", b"", 1))
        await second.hear("main:0", main.MigrateDstDoSeamless)
        second.say("main:0", main.MigrateDstSeamlessAck())
        await first.hear("main:0", main.MigrateConnectedSeamless)
        port.write(b"<before>")
        await first.hear("port:1", vmc.VmcData)
        for name in (*CHANNELS, "main:0"):
            first.say(name, base.Migrate(3))
            await first.hear(name, base.MigrateFlushMark)
            port.write(b"<%s>" % name.encode())
            first.say(name, base.MigrateData(b"state of " + name.encode()))
            data = await second.hear(name, base.MigrateData)
            assert data[0].data == b"state of " + name.encode()
        outcome = await session.wait_for_migration(5)
        assert (outcome.scheme, outcome.reason) == ("seamless", "")
        assert (first.port_bytes() + second.port_bytes()).startswith(b"<before><display:0><inputs:0><port:1>")
        assert session.screenshot().width == 32
        assert session.migrations == [outcome]


@pytest.mark.usefixtures("impatient")
async def test_a_target_with_an_impossible_name_is_answered_with_an_error() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        for host in (b"", b"\xff\xfe", b"a" * 300, b"with space"):
            server.channels["main:0"].heard.clear()
            server.say("main:0", main.MigrateBegin(1, 0, host))
            await server.hear("main:0", main.MigrateConnectError)
        assert not session.closed


async def test_a_listener_hears_every_event() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        heard: list[c.SessionEvent] = []
        session.listeners.append(heard.append)
        server.say("main:0", main.MultiMediaTime(5), base.Ping(1, 1))
        await server.hear("main:0", base.Pong)
        assert any(isinstance(event, c.MessageReceived) for event in heard)


async def test_the_end_is_heard_with_its_reason() -> None:
    async with FakeServer() as server, connect(server.url) as session:
        server.close("main:0")
        with pytest.raises(OperationError, match="ended"):
            await session.wait_closed()
