"""The QMP adapter against a stand-in for QEMU's monitor."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from monitors import Monitor

from spicehop.conductor.qmp import QmpAddress, QmpPeer, QmpRefusal
from spicehop.errors import ConnectError, ConnectionLost, UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:4444", QmpAddress(host="host", port=4444)),
        ("[::1]:4444", QmpAddress(host="::1", port=4444)),
        ("tcp:host:4444", QmpAddress(host="host", port=4444)),
        ("/run/vm.qmp", QmpAddress(path="/run/vm.qmp")),
        ("vm.qmp", QmpAddress(path="vm.qmp")),
        ("./a:1", QmpAddress(path="./a:1")),
        ("unix:host:4444", QmpAddress(path="host:4444")),
    ],
)
def test_addresses(text: str, address: QmpAddress) -> None:
    assert QmpAddress.parse(text) == address


def test_a_file_that_looks_like_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vm:1").touch()
    assert QmpAddress.parse("vm:1") == QmpAddress(path="vm:1")
    assert QmpAddress.parse("tcp:vm:1") == QmpAddress(host="vm", port=1)


@pytest.mark.parametrize("text", ["", "unix:", "host:0", "host:65536", "tcp:host", "tcp:/run/x", "/run/"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError):
        QmpAddress.parse(text)


@pytest.mark.parametrize("text", ["host:4444", "[::1]:4444", "/run/vm.qmp"])
def test_addresses_read_as_they_were_given(text: str) -> None:
    assert str(QmpAddress.parse(text)) == text


async def test_commands_and_refusals(tmp_path: Path) -> None:
    answers = {"query-status": {"status": "running"}, "cont": ValueError("no bus")}
    async with Monitor(tmp_path / "m", answers) as monitor:
        peer = QmpPeer("source", QmpAddress(path=str(monitor.path)))
        await peer.connect()
        assert await peer.execute("query-status", {}) == {"status": "running"}
        with pytest.raises(QmpRefusal, match="no bus"):
            await peer.execute("cont", {})
        assert monitor.commands == ["qmp_capabilities", "query-status", "cont"]
        await peer.close()


async def test_every_event_is_given_out_before_the_end(tmp_path: Path) -> None:
    async with Monitor(tmp_path / "m", {}) as monitor:
        peer = QmpPeer("source", QmpAddress(path=str(monitor.path)))
        await peer.connect()
        for number in range(50):
            monitor.tell("STOP", number=number)
        monitor.hang_up()
        async with asyncio.timeout(5):
            heard = [data["number"] async for _, data in peer.events()]
        assert heard == list(range(50))
        with pytest.raises(ConnectionLost, match="the source's QMP connection ended"):
            await peer.execute("query-status", {})
        await peer.close()


async def test_an_event_before_the_first_command_is_not_missed(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m", {"qmp_capabilities": lambda: asyncio.get_running_loop().call_soon(tell) and {}})

    def tell() -> None:
        monitor.tell("POWERDOWN")

    async with monitor:
        peer = QmpPeer("source", QmpAddress(path=str(monitor.path)))
        await peer.connect()
        await peer.execute("query-status", {})
        monitor.hang_up()
        assert [name async for name, _ in peer.events()] == ["POWERDOWN"]
        await peer.close()


async def test_the_command_line_of_the_process_at_the_other_end(tmp_path: Path) -> None:
    async with Monitor(tmp_path / "m", {}) as monitor:
        peer = QmpPeer("source", QmpAddress(path=str(monitor.path)))
        assert peer.facts.command_line is None
        await peer.connect()
        assert peer.facts.command_line == tuple(sys.orig_argv)
        assert peer.facts.is_local
        await peer.close()


async def test_what_is_no_monitor(tmp_path: Path) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(garbage, tmp_path / "m"):
        with pytest.raises(ConnectError, match=r"the target's QMP monitor at .* does not answer"):
            await QmpPeer("target", QmpAddress(path=str(tmp_path / "m"))).connect()
