"""The installer names the package of everything from Debian that the tests and the demo use.

A package that somebody installed by hand would hide a line missing there, until the first fresh machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
INSTALLER = TOP / "scripts" / "install-peers"

DEMO_PROGRAMS = ("qemu-system-x86_64", "busybox", "gcc", "cpio", "depmod", "modprobe", "setpriv")
INSTALLER_PROGRAMS = ("bash", "apt-get", "apt-cache", "dpkg-query", "dpkg-deb", "awk", "tar", "cmp", "find", "xargs")
TEST_PROGRAMS = (
    *("tshark", "dpkg", "git", "make", "openssl", "setpriv"),
    *("remote-viewer", "Xvfb", "xdotool", "xclip", "spice-vdagent", "spice-vdagentd"),
)
DEMO_FILES = (
    # QEMU finds these modules by itself, and says little when one is missing.
    "/usr/lib/*/qemu/chardev-spice.so",
    "/usr/lib/*/qemu/ui-spice-core.so",
    "/usr/lib/*/qemu/audio-spice.so",
    "/usr/lib/*/qemu/hw-display-qxl.so",
    "/usr/lib/*/qemu/hw-display-virtio-gpu.so",
    "/usr/lib/*/qemu/hw-usb-redirect.so",
    "/usr/lib/*/qemu/accel-tcg-x86_64.so",
    "/usr/lib/*/libc.a",
    "/usr/include/linux/input.h",
)
TEST_FILES = (
    "/usr/bin/python3",
    "/usr/lib/python3/dist-packages/gi/__init__.py",
    "/usr/lib/*/girepository-1.0/SpiceClientGLib-2.0.typelib",
    # spice-gtk knows no SASL mechanism without these, and says little.
    "/usr/lib/*/sasl2/libscram.so.2",
    "/usr/lib/*/sasl2/libplain.so.2",
)

pytestmark = pytest.mark.peers


@cache
def named(which: str) -> frozenset[str]:
    listed = subprocess.run([INSTALLER, "--packages", which], capture_output=True, text=True, check=True)
    return frozenset(listed.stdout.split())


@cache
def brought(which: str) -> frozenset[str]:
    """The packages named and all that they cannot be installed without; what they only recommend is not installed."""
    wanted = "${Package}\t${Depends}, ${Pre-Depends}\n"
    shown = subprocess.run(["dpkg-query", "-W", "-f", wanted], capture_output=True, text=True, check=True)
    needs: dict[str, set[str]] = {}
    for row in shown.stdout.splitlines():
        package, listed = row.split("\t")
        needs[package] = {re.split(r"[ :(|]", one.strip())[0] for one in listed.split(",") if one.strip()}
    found: set[str] = set()
    waiting = set(named(which))
    while waiting:
        package = waiting.pop()
        found.add(package)
        waiting |= needs.get(package, set()) - found
    return frozenset(found)


def owners(path: Path) -> set[str]:
    """The packages that own a file. /bin is a link to /usr/bin here, and dpkg knows only one of the names."""
    folder = path.parent.resolve()
    names = {str(path), str(folder / path.name), str(path.resolve()), str(folder / path.name).removeprefix("/usr")}
    shown = subprocess.run(["dpkg", "-S", *names], capture_output=True, text=True, check=False)
    return {row.split(":")[0] for row in shown.stdout.splitlines() if not row.startswith("diversion")}


def is_on_every_machine(package: str) -> bool:
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Essential} ${Priority}", package], capture_output=True, text=True, check=False
    )
    return bool({"yes", "required"} & set(shown.stdout.split()))


def assert_named(paths: list[Path], which: str) -> None:
    assert paths, "not found on this machine"
    for path in paths:
        found = owners(path)
        assert found, f"{path} belongs to no package"
        is_brought = found & brought(which) or any(map(is_on_every_machine, found))
        assert is_brought, f"{path} is of {found}, which the installer does not name for {which}"


def program_path(name: str) -> Path:
    """Where Debian has the program: a version manager's own folder may come first in PATH."""
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
    assert found, f"{name} is missing"
    return Path(found)


@pytest.mark.parametrize("program", [*DEMO_PROGRAMS, *INSTALLER_PROGRAMS])
def test_programs_of_the_demo(program: str) -> None:
    assert_named([program_path(program)], "demo-qemu")


@pytest.mark.parametrize("program", TEST_PROGRAMS)
def test_programs_of_the_tests(program: str) -> None:
    assert_named([program_path(program)], "all")


@pytest.mark.parametrize("pattern", DEMO_FILES)
def test_files_of_the_demo(pattern: str) -> None:
    assert_named(sorted(Path("/").glob(pattern[1:])), "demo-qemu")


@pytest.mark.parametrize("pattern", TEST_FILES)
def test_files_of_the_tests(pattern: str) -> None:
    assert_named(sorted(Path("/").glob(pattern[1:])), "all")


def test_no_program_is_run_that_is_not_listed() -> None:
    """Looks for lists that start with the name of a program of this machine, in all of our Python files."""
    started = set()
    for folder in ("src", "tests", "bench", "examples"):
        for path in (TOP / folder).rglob("*.py"):
            started |= set(re.findall(r'[\[(]\*?\(?"([a-z][a-z0-9_.-]+)", \*?\[?"-', path.read_text()))
    programs = {name for name in started if shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")}
    assert programs <= {*DEMO_PROGRAMS, *INSTALLER_PROGRAMS, *TEST_PROGRAMS}
