"""Starting and ending spice-gtk, whatever it does. What it does at a server is in `tests/interop`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_gtk import DEAF, OBEY, OPEN, fake_gtk

from spicehop.demo import gtk_client
from spicehop.demo.gtk_client import GtkClient, spice_gtk_version
from spicehop.errors import OperationError


async def test_it_has_a_version_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gtk(tmp_path, monkeypatch)
    assert await spice_gtk_version() == "0.42"


async def test_it_has_none_without_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gtk_client, "SYSTEM_PYTHON", str(tmp_path / "python3"))
    assert await spice_gtk_version() is None


@pytest.mark.parametrize("script", ["import no_such_library", "import signal; signal.pause()"])
async def test_it_has_none_when_it_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    fake_gtk(tmp_path, monkeypatch)
    gtk_client.SCRIPT.write_text(script)
    monkeypatch.setattr(gtk_client, "VERSION_SECONDS", 1.0)
    assert await spice_gtk_version() is None


async def test_it_says_what_happens_and_does_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gtk(tmp_path, monkeypatch, OPEN, OBEY)
    heard: list[str] = []
    async with GtkClient(1, tmp_path) as client:
        client.listeners.append(lambda event: heard.append(event["event"]))
        await client.wait_event("mark", mark=1)
        client.send("totals")
        assert (await client.wait_event("totals"))["sound"] == 192000
    assert client.returncode == 0
    assert heard[-1] == "totals"


async def test_what_does_not_happen_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gtk(tmp_path, monkeypatch, OBEY)
    async with GtkClient(1, tmp_path) as client:
        with pytest.raises(OperationError, match=r"spice-gtk did not tell mark in 0\.2 s"):
            await client.wait_event("mark", timeout=0.2)


async def test_its_end_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gtk(tmp_path, monkeypatch, 'sys.stderr.write("Spice-CRITICAL **: 12:00:00.1: bad luck\\n")', "sys.exit(3)")
    async with GtkClient(1, tmp_path) as client:
        with pytest.raises(OperationError, match="spice-gtk ended with exit code 3 before it told mark"):
            await client.wait_event("mark")
    assert client.criticals == ["bad luck"]


async def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gtk_client, "QUIT_SECONDS", 0.2)
    fake_gtk(tmp_path, monkeypatch, OPEN, "print('{half an event', end='', flush=True)", DEAF)
    async with GtkClient(1, tmp_path) as client:
        await client.wait_event("playing")
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert client.ending == "was ended by signal 9"
