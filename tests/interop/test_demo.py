"""`spicehop demo`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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


def desk_demo(folder: Path, **environment: str) -> tuple[dict[str, Any], str]:
    """The report of the demo with our own servers, which must have lost nothing, and what it told meanwhile."""
    command = (sys.executable, "-m", "spicehop", "demo", "--json", "--out", str(folder))
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, env={**os.environ, **environment}, check=False
    )
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
    return report, done.stderr


def test_the_demo_of_python_alone_loses_nothing(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "libspice-client-glib-2.0.so.8").touch()  # in front of the one that is perhaps installed
    report, said = desk_demo(tmp_path / "out", LD_LIBRARY_PATH=str(hidden))
    assert report["spice_gtk"] is None
    assert report["files"].keys() == {"before", "after", "timeline", "trace"}
    assert said == ""


@pytest.mark.peers
def test_spice_gtk_goes_along_in_the_demo(tmp_path: Path) -> None:
    report, said = desk_demo(tmp_path)
    stock = report["spice_gtk"]
    assert stock["scheme"] == report["scheme"]
    assert [move["carrier"] for move in stock["moves"]] == report["carriers"]
    for move in stock["moves"]:
        assert set(move["channels"].values()) == {"moved"}
        assert move["seconds"] > 0
    assert stock["keys"]["sent"] == stock["keys"]["received"] > 300
    assert stock["keys"]["duplicated"] == 0
    assert set(stock["channels"]["had"]) == {"main", "display", "inputs", "cursor", "playback"}
    assert stock["channels"]["opened"] == stock["channels"]["closed"] == stock["criticals"] == []
    assert stock["view"]["frames"] > 10
    assert stock["view"]["sound_seconds"] > 5
    assert stock["view"]["whole_texts"] == stock["view"]["texts"] == 4
    assert stock["pixels_differ"] == 0
    ours = Image.open(report["files"]["after"])
    assert ours.tobytes() == Image.open(report["files"]["spice-gtk"]).tobytes()
    assert Path(report["files"]["timeline"]).read_text().count('class="stock"') >= 4
    assert said == ""
