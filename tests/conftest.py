"""What all tests share: the rule about real peers, and QEMUs with the demo guest.

Tests marked `peers` need the programs that `make test` installs. When one is missing they fail where it could have been
installed (as root on Debian) or where CI is set, so that a green run cannot mean that nothing was tried. Elsewhere they
are skipped, and one line at the end says so.

`pytest -n 3` shares the tests among three processes (`support/lanes.py`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).with_name("support")))

from lanes import WORKERS, Lanes, only_computes, step_aside

from spicehop.demo.guest_image import GuestImage, build_guest
from spicehop.demo.qemu import QemuOptions, QemuProcess

TOP = Path(__file__).parents[1]
INSTALLER = TOP / "scripts" / "install-peers"
PEERS_ARE_MISSING = "real peers are missing"

# In the background of a shell this run ignores SIGINT, and so does all that it starts: no Ctrl-C would end that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

StartQemu = Callable[[QemuOptions], Awaitable[QemuProcess]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--simulator-seed",
        type=int,
        default=None,
        help="first seed of tests/simulator/test_seeds.py, not the version's",
    )


def is_in_lane(config: pytest.Config) -> bool:
    """Whether this process is one of the three that share the tests."""
    return bool(getattr(config, "workerinput", {}).get("workercount") == WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Beside others no example is too slow; hypothesis itself sees it so where CI is set."""
    if is_in_lane(config):
        settings.register_profile("lanes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.load_profile("lanes")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Lanes | None:
    return Lanes() if len(config.getoption("tx")) == WORKERS else None


@cache
def missing_peers() -> tuple[str, ...]:
    """The names of what is not installed, by the installer's own account."""
    done = subprocess.run([INSTALLER, "--missing", "all"], capture_output=True, text=True, check=False, timeout=300)
    return tuple(done.stdout.splitlines()) if done.returncode == 0 else ("the installer's list",)


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    if is_in_lane(item.config) and only_computes(item.nodeid):
        step_aside()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("peers") is None or not missing_peers():
        return
    missing = ", ".join(missing_peers())
    if os.environ.get("CI") or can_install():
        pytest.fail(f"{PEERS_ARE_MISSING}, run `make test`, which installs them: {missing}", pytrace=False)
    pytest.skip(f"{PEERS_ARE_MISSING}: {missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [one for one in terminalreporter.getreports("skipped") if PEERS_ARE_MISSING in str(one.longrepr)]
    if skipped:
        count, missing = len(skipped), ", ".join(missing_peers())
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
