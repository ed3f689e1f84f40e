"""`spicehop serve` from the inside: how it ends when its guest or a disk does."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from small_guest import SmallGuest

from spicehop.server import running
from spicehop.server.running import Ready, serve
from spicehop.server.settings import Settings

SETTINGS = Settings(port=0, disable_ticketing=True)


class FailingGuest(SmallGuest):
    """A guest with a fault."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def advance(self, now: float) -> None:
        raise ZeroDivisionError


async def test_a_guest_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "DemoGuest", FailingGuest)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(serve(SETTINGS, lambda ready: None), 20)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full")
async def test_a_full_disk_ends_the_log_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    ready = asyncio.Event()
    full = Settings(port=0, disable_ticketing=True, guest_log=Path("/dev/full"))
    task = asyncio.ensure_future(serve(full, lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 20)
    await asyncio.sleep(0.3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    said = capsys.readouterr().err
    assert said == "spicehop: the guest's log in /dev/full ends early: No space left on device\n"


def test_what_is_said_when_it_is_ready() -> None:
    ready = Ready("demo", "::1", 5900, 5901, "spice", "control", 7)
    wanted = "the demo guest is at [::1]:5900, [::1]:5901 with TLS, spice; control socket control; process 7"
    assert str(ready) == wanted
    assert ready.as_json()["tls_port"] == 5901
