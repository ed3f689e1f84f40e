"""The one direct link of a server process, and the commands that set it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from control_target import FakeTarget
from waiting import until

from spicehop.errors import ConnectError, OperationError, UsageError
from spicehop.server.control import CommandError, ControlRequest
from spicehop.server.control_commands import Commands
from spicehop.server.direct_link_keeper import MOST_CALLS, DirectLinkKeeper
from spicehop.trace import MemorySink, Trace
from spicehop.wire import direct_link as wire

OFFER = wire.SessionOffered(7, ((1, 0),))


class Server:
    """A keeper, what it told, and what came on its link."""

    def __init__(self) -> None:
        self.sink = MemorySink()
        self.keeper = DirectLinkKeeper(
            lambda: "guest", time.monotonic, trace=Trace("server", time.monotonic, self.sink)
        )
        self.keeper.changed = self._changed
        self.seen: list[bool] = []
        self.messages: list[wire.LinkMessage] = []

    def _changed(self) -> None:
        self.seen.append(self.keeper.link is not None)
        if self.keeper.link is not None:
            self.keeper.link.message_received = self.messages.append

    @property
    def role(self) -> tuple[object, object]:
        facts = self.keeper.describe()
        return facts["role"], facts["connected"]

    @property
    def recorded(self) -> list[str]:
        return [f"{record.event} {record.detail['role']}" for record in self.sink.records]


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Server, Server]]:
    pair = Server(), Server()
    async with asyncio.timeout(30):
        yield pair
        for server in pair:
            await server.keeper.close()


@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_from_none_to_connected_and_back(servers: tuple[Server, Server], way: str, tmp_path: Path) -> None:
    source, target = servers
    there, back = (source.keeper.certificate, target.keeper.certificate) if way == "tcp" else (None, None)
    wanted = "tcp:127.0.0.1:0" if way == "tcp" else f"unix:{tmp_path / 'link'}"
    address = await target.keeper.listen(wanted, there)
    assert (source.role, target.role) == (("none", False), ("target", False))
    await source.keeper.connect(address, back)
    await until(lambda: target.keeper.link is not None)
    assert (source.role, target.role) == (("source", True), ("target", True))
    assert source.keeper.describe()["peer"] == address
    assert str(target.keeper.describe()["peer"]).startswith(wanted.removesuffix(":0"))
    assert source.keeper.link is not None
    source.keeper.link.send(OFFER)
    await until(lambda: target.messages == [OFFER])
    await source.keeper.close()
    await until(lambda: target.role == ("target", False))
    assert source.role == ("none", False)
    assert target.keeper.describe()["reason"] == "management has closed it"
    await target.keeper.close()
    assert target.role == ("none", False)
    assert source.seen == target.seen == [True, False]
    assert source.recorded == ["direct-link.opened source", "direct-link.ended source"]
    assert target.recorded == [
        "direct-link.listening target",
        "direct-link.opened target",
        "direct-link.ended target",
    ]


async def test_messages_at_once_find_who_is_told(servers: tuple[Server, Server], tmp_path: Path) -> None:
    """The first message can come in the same bytes as the Hello."""
    _, target = servers
    await target.keeper.listen(f"unix:{tmp_path / 'link'}", None)
    _, writer = await asyncio.open_unix_connection(tmp_path / "link")
    writer.write(wire.PREAMBLE + wire.encode_frame(wire.Hello(1, 1, "guest")) + wire.encode_frame(OFFER))
    await until(lambda: target.messages == [OFFER])
    writer.close()


async def test_there_is_one_link(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = servers
    address = await target.keeper.listen(f"unix:{tmp_path / 'link'}", None)
    for again in (target.keeper.listen(f"unix:{tmp_path / 'other'}", None), target.keeper.connect(address, None)):
        with pytest.raises(OperationError, match="There is a direct link already; direct-link-close ends it"):
            await again
    await source.keeper.connect(address, None)
    with pytest.raises(OperationError, match="already"):
        await source.keeper.connect(address, None)


async def test_after_an_end_it_can_be_made_again(servers: tuple[Server, Server], tmp_path: Path) -> None:
    """The target still listens; the source only has to connect."""
    source, target = servers
    address = await target.keeper.listen(f"unix:{tmp_path / 'link'}", None)
    for _ in range(3):
        await source.keeper.connect(address, None)
        await until(lambda: target.keeper.link is not None)
        assert target.keeper.link is not None
        target.keeper.link.close("once more")
        await until(lambda: source.role == ("none", False) and target.role == ("target", False))
        assert source.keeper.describe()["reason"] == "once more"


@pytest.mark.parametrize(
    ("address", "certificate", "error"),
    [
        ("frob:1", None, "Parameter 'address' expects unix:PATH or tcp:HOST:PORT"),
        ("tcp:frob", None, "error parsing address 'frob'"),
        ("tcp:127.0.0.1:1", None, "Parameter 'certificate' is missing"),
        ("tcp:127.0.0.1:1", "x", "Parameter 'certificate' expects one certificate in PEM"),
        ("unix:/nowhere/link", None, "No such file or directory"),
        ("unix:/" + "x" * 200, None, "path too long|too long"),
    ],
)
async def test_what_cannot_be_leaves_none(
    servers: tuple[Server, Server], address: str, certificate: str | None, error: str
) -> None:
    source, target = servers
    for work, server in (
        (target.keeper.listen(address, certificate), target),
        (source.keeper.connect(address, certificate), source),
    ):
        with pytest.raises((OperationError, UsageError), match=error):
            await work
        assert server.role == ("none", False)


async def test_a_close_ends_a_call_that_is_being_made(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source, _ = servers
    held = await asyncio.start_unix_server(lambda reader, writer: None, tmp_path / "link")
    work = asyncio.ensure_future(source.keeper.connect(f"unix:{tmp_path / 'link'}", None))
    await until(lambda: source.role == ("source", False))
    await asyncio.sleep(0.05)
    await source.keeper.close()
    with pytest.raises(ConnectError, match="management has closed it"):
        await work
    assert source.role == ("none", False)
    held.close()


# -- commands ----------------------------------------------------------------------------------------------------------


class Desk:
    """No time and no keyboard."""

    def wall_clock(self) -> float:
        return 0.0

    def press(self, numbers: list[int], hold: float) -> None:
        raise AssertionError


async def test_each_command() -> None:
    target = FakeTarget()
    commands = Commands(target, Desk())

    async def run(command: str, **arguments: object) -> object:
        return await commands.perform(ControlRequest(command, arguments, {}))

    assert await run("direct-link-certificate") == {"certificate": "PEM"}
    assert await run("direct-link-listen", address="tcp:h:0", certificate="PEM") == {"address": "tcp:h:01"}
    assert await run("direct-link-connect", address="unix:x") == {}
    assert await run("direct-link-close") == {}
    assert await run("query-direct-link") == {"role": "none"}
    assert target.link.done == [("listen", "tcp:h:0", "PEM"), ("connect", "unix:x", None), ("close",)]
    for arguments, sentence in (
        ({}, "Parameter 'address' is missing"),
        ({"address": 1}, "Invalid parameter type for 'address', expected: string"),
        ({"address": "unix:x", "certificate": 1}, "Invalid parameter type for 'certificate', expected: string"),
        ({"address": "unix:x", "key": ""}, "Parameter 'key' is unexpected"),
        ({"address": "unix:absent"}, "there is no direct link to unix:absent"),
    ):
        with pytest.raises(CommandError, match=sentence):
            await run("direct-link-connect", **arguments)


async def test_a_link_that_was_cut_is_made_anew(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = servers
    await target.keeper.listen(f"unix:{tmp_path / 'link'}", None)
    assert not source.keeper.may_call_again
    await source.keeper.connect(f"unix:{tmp_path / 'link'}", None)
    for _ in range(MOST_CALLS):
        assert source.keeper.may_call_again
        assert source.keeper.link is not None
        source.keeper.link._transport.abort()  # type: ignore[union-attr]
        await until(lambda: source.keeper.link is None)
        await source.keeper.call_again()
        assert source.role == ("source", True)
    assert not source.keeper.may_call_again  # it is of no use


async def left_alone(servers: tuple[Server, Server], tmp_path: Path) -> Server:
    """A source whose target is gone."""
    source, target = servers
    await target.keeper.listen(f"unix:{tmp_path / 'link'}", None)
    await source.keeper.connect(f"unix:{tmp_path / 'link'}", None)
    await target.keeper.close()
    await until(lambda: source.keeper.link is None)
    return source


async def test_nobody_calls_again_where_the_target_is_gone(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source = await left_alone(servers, tmp_path)
    with pytest.raises(ConnectError, match="no direct link"):
        await source.keeper.call_again()
    assert source.role == ("none", False)
    assert source.recorded[-1] == "direct-link.failed none"


async def test_management_that_closes_it_wants_no_other(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source = await left_alone(servers, tmp_path)
    await source.keeper.close()
    assert not source.keeper.may_call_again
    with pytest.raises(ConnectError, match="management"):
        await source.keeper.call_again()
