"""The server as a process of its own: it starts, ends, and says why when it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

import spicehop
from spicehop.demo.serial import read_serial
from spicehop.demo.server_process import ServerProcess
from spicehop.errors import OperationError


def is_there(path: Path) -> bool:
    return path.exists()


async def test_it_serves_and_ends_with_its_block(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, arguments=("--size", "640x480")) as server:
        async with spicehop.connect(server.url) as session:
            assert session.screenshot().width == 640
        folder = Path(server.control).parent
        assert is_there(folder)
    assert server.returncode == 0
    assert not is_there(folder)
    log = read_serial([server.guest_log])
    assert log.is_ready
    assert log.faults == ()


async def test_it_gives_the_servers_reason(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, arguments=("--size", "64x"))
    with pytest.raises(OperationError, match="the server did not start: --size '64x' is not of the form"):
        await server.__aenter__()
    assert server.returncode == 2
    assert not is_there(Path(server.control).parent)
