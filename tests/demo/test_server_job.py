"""The demo of Python alone when it is cut short. `tests/interop/test_demo.py` runs it whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from spicehop.demo import gtk_client, server_job
from spicehop.demo.server_job import ServerDemo, ServerDemoOptions
from spicehop.demo.server_process import ServerProcess
from spicehop.errors import OperationError

WORKING = "the client types"


class Run:
    """A demo in a task, and its server."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.working = asyncio.Event()
        self.said: list[str] = []
        self.server = ServerProcess(folder, arguments=("--size", "640x480"))
        monkeypatch.setattr(server_job, "ServerProcess", lambda directory, arguments=(): self.server)
        self.task = asyncio.create_task(ServerDemo(ServerDemoOptions(folder), self._progress).run())

    def _progress(self, sentence: str) -> None:
        self.said.append(sentence)
        if sentence.startswith(WORKING):
            self.working.set()

    async def begun(self) -> None:
        """Wait until the client works."""
        async with asyncio.timeout(60):
            await self.working.wait()


async def test_a_server_that_dies_is_an_error_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch)
    await run.begun()
    run.server.kill()
    with pytest.raises(OperationError, match="ended: "):
        async with asyncio.timeout(30):
            await run.task


async def test_no_server_is_left_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch)
    await run.begun()
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert run.server.returncode == 0


async def test_without_spice_gtk_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gtk_client, "SYSTEM_PYTHON", str(tmp_path / "python3"))
    run = Run(tmp_path, monkeypatch)
    await run.begun()
    await asyncio.sleep(0.2)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert run.said[0] == server_job.NO_SPICE_GTK
    assert len([sentence for sentence in run.said if "spice-gtk" in sentence]) == 1
