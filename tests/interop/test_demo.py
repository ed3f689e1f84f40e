"""`spicehop demo`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 240
"""Seconds for one run."""


@pytest.mark.peers
@pytest.mark.parametrize(("vga", "migrations"), [("qxl-vga", 4), ("VGA", 2)])
def test_the_demo_with_qemu_loses_nothing(vga: str, migrations: int, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "spicehop", "demo", "--qemu", "--json", "--out", str(tmp_path))
    options = ("--vga", vga, "--migrations", str(migrations))
    done = subprocess.run((*command, *options), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["problems"]
    assert report["scheme"] == ["seamless"] * migrations
    assert report["keys"]["lost_by_spicehop"] == report["keys"]["duplicated"] == 0
    assert report["keys"]["received"] > 100
    assert report["port"]["sent"] == report["port"]["received"] == report["port"]["guest_received"] > 0
    assert report["picture_equal"] is True
    assert report["redrawn_bytes"] > 0
    assert report["blackout_ms"]["median"] > 0
    for path in report["files"].values():
        assert Path(path).stat().st_size > 0
    assert "Task was destroyed" not in done.stderr


def test_the_demo_of_python_alone_loses_nothing(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "spicehop", "demo", "--json", "--out", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["problems"]
    assert (report["migrations"], report["scheme"], report["fallbacks"]) == (4, ["seamless"] * 4, [])
    assert report["carriers"] == ["direct", "client"] * 2
    assert report["blackout_ms"]["median"] > 0
    assert report["redrawn_bytes"] < 100  # SET_ACK and a ping
    assert report["picture_equal"] is True
    assert report["keys"]["sent"] == report["keys"]["received"] > 300
    assert report["port"]["sent"] == report["port"]["received"] == report["port"]["guest_received"] > 0
    for texts in report["clipboard"].values():
        assert texts["sent"] == texts["received"] > 0
    assert report["sound"]["is_tone"] is True
    assert report["sound"]["seconds"] > 5
    assert report["frames"]["drawn"] >= report["frames"]["seen"] > 10
    for path in report["files"].values():
        assert Path(path).stat().st_size > 0
    assert done.stderr == ""
