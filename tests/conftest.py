"""What all tests share: the rule about real peers, and QEMUs with the demo guest.

Tests marked `peers` need the programs that `make test` installs. When one is missing they fail where it could have been
installed (as root on Debian) or where CI is set, so that a green run cannot mean that nothing was tried. Elsewhere they
are skipped, and one line at the end says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path

import pytest

from spicehop.demo.guest_image import GuestImage, build_guest
from spicehop.demo.qemu import QemuOptions, QemuProcess

TOP = Path(__file__).parents[1]
INSTALLER = TOP / "scripts" / "install-peers"
skipped_for_peers: list[str] = []

StartQemu = Callable[[QemuOptions], Awaitable[QemuProcess]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--simulator-seed",
        type=int,
        default=None,
        help="first seed of tests/simulator/test_seeds.py, not the version's",
    )


@cache
def missing_peers() -> tuple[str, ...]:
    """The names of what is not installed, by the installer's own account."""
    done = subprocess.run([INSTALLER, "--missing", "all"], capture_output=True, text=True, check=False, timeout=60)
    return tuple(done.stdout.splitlines()) if done.returncode == 0 else ("the installer's list",)


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("peers") is None or not missing_peers():
        return
    missing = ", ".join(missing_peers())
    if os.environ.get("CI") or can_install():
        pytest.fail(f"real peers are missing, run `make test`, which installs them: {missing}", pytrace=False)
    skipped_for_peers.append(item.nodeid)
    pytest.skip(f"real peers are missing: {missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if skipped_for_peers:
        count, missing = len(skipped_for_peers), ", ".join(missing_peers())
        terminalreporter.write_line(f"{count} tests with real peers were skipped; `make test` installs: {missing}")


@pytest.fixture(scope="session")
def guest_image() -> GuestImage:
    """The demo guest, built once."""
    return build_guest()


@pytest.fixture
async def start_qemu(guest_image: GuestImage, tmp_path: Path) -> AsyncIterator[StartQemu]:
    """Starts QEMUs that end with the test, however it ends; their logs are in the test's folder."""
    async with AsyncExitStack() as stack:

        async def start(options: QemuOptions) -> QemuProcess:
            return await stack.enter_async_context(QemuProcess(guest_image, options, tmp_path))

        yield start
