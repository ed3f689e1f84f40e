"""Plays spice-gtk's part for `spicehop.demo.gtk_client`: a few lines of Python that say and do what a test wants."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spicehop.demo import gtk_client

_BEGIN = """
import json, os, signal, sys, time
if "--version" in sys.argv:
    print("0.42")
    sys.exit()
def say(event, t=1.0, **detail):
    print(json.dumps({"event": event, "t": t, **detail}), flush=True)
"""
OPEN = """
for kind in ("MainChannel", "InputsChannel"):
    say("channel-event", kind=kind, what="opened")
say("mark", mark=1)
say("agent", connected=True)
say("playing", format=1, channels=2)
"""
"""Its session is open."""
OBEY = """
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "stop-typing":
        open(command["file"], "w").write("[[12, 1, 2.0], [12, 0, 2.1], [13, 1, 2.2], [13, 0, 2.3]]")
        say("typing-stopped", file=command["file"], count=4)
    if command["do"] == "watched":
        say("watched", frames=[1, 2, 3])
    if command["do"] == "totals":
        say("totals", sound=192000)
    if command["do"] == "save":
        open(command["file"], "wb").write(b"P6 2 1 255 " + bytes(6))
        say("saved", file=command["file"])
    if command["do"] == "quit":
        break
"""
"""It does as it is told: it has typed two keys, seen three frames and heard a second, and shows two black pixels."""
DEAF = "signal.pause()"
"""It lives, and hears nothing."""


def fake_gtk(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Have the clients of this test run `lines`; `say(event, ...)` is there."""
    script = folder / "fake_gtk.py"
    script.write_text("\n".join((_BEGIN, *lines)))
    monkeypatch.setattr(gtk_client, "SCRIPT", script)
    monkeypatch.setattr(gtk_client, "SYSTEM_PYTHON", sys.executable)
