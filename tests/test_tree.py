"""What every committed file keeps to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
LONGEST_MODULE = 700
# Written in parts, so that this file does not find itself.
MACHINE_PATH = re.compile("/" + r"(?:work|root|farm|home/[a-z]+|Users/[A-Za-z]+)/")
REGISTRY = re.compile("pypi" + r"\.|python" + r"hosted\.|(?:deb|security|snapshot)\." + r"debian|npm" + r"js\.")


def committed(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=TOP, capture_output=True, text=True, check=True
    )
    return [TOP / name for name in listed.stdout.split("\0") if name and (TOP / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("forbidden", [MACHINE_PATH, REGISTRY], ids=["path of one machine", "registry host"])
def test_no_file_names(forbidden: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(TOP)}:{number}"
        for path in committed()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


def test_modules_are_short() -> None:
    modules = committed("src/*.py", "src/*.pxd", "src/*.c")
    assert modules
    long = {path.name: lines for path in modules if (lines := len(text_of(path).splitlines())) >= LONGEST_MODULE}
    assert long == {}


def test_nothing_is_left_undone() -> None:
    """A stub that says so is found; one that does not say so is for the other tests."""
    mark = re.compile("TO" + "DO|FIX" + "ME|NotImplemented" + "Error")
    assert [path.name for path in committed("src", "bench", "examples") if mark.search(text_of(path))] == []
