"""Each example does with a real guest what it says."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import Authority
from PIL import Image
from qemu.qmp import QMPClient

from spicehop.demo.guest_image import GuestImage
from spicehop.demo.payload import fnv1a
from spicehop.demo.qemu import ECHO_PORT, QemuOptions, QemuProcess
from spicehop.demo.serial import SerialLog, read_serial
from spicehop.demo.server_process import ServerProcess

pytestmark = pytest.mark.peers
EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 90.0
LETTERS = {"h": 35, "i": 23}
ENTER, LEFT_CTRL, LEFT_SHIFT, RIGHT = 28, 29, 42, 106


@dataclass(frozen=True, slots=True)
class Guest:
    """One machine for all examples, with the event loop that its process needs."""

    qemu: QemuProcess
    loop: asyncio.Runner
    image: GuestImage
    folder: Path

    @property
    def url(self) -> str:
        return f"spice://{self.qemu.spice_host}:{self.qemu.spice_port}"

    def log(self) -> SerialLog:
        return read_serial([self.qemu.serial_path])

    def wait_log(self, condition: object, what: str) -> SerialLog:
        assert callable(condition)
        self.loop.run(self.qemu.wait_for(lambda: bool(condition(self.log())), what, 30))
        return self.log()

    def press(self, key: str) -> None:
        """As if at the machine itself, so without a client."""

        async def send() -> None:
            monitor = QMPClient("examples")
            await monitor.connect(str(self.qemu.qmp_paths[0]))
            try:
                await monitor.execute("send-key", {"keys": [{"type": "qcode", "data": key}], "hold-time": 10})
            finally:
                await monitor.disconnect()

        self.loop.run(send())


@pytest.fixture(scope="module")
def guest(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("examples")
    with asyncio.Runner() as loop:
        qemu = QemuProcess(guest_image, QemuOptions(name="vm", guest_options={"clip": 1000}), folder)
        loop.run(qemu.start())
        try:
            loop.run(qemu.wait_ready())
            yield Guest(qemu, loop, guest_image, folder)
        finally:
            loop.run(qemu.stop())


def command(name: str, *words: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *words]


def example(name: str, *words: str) -> str:
    """Run an example that must succeed without a warning; what it printed."""
    done = subprocess.run(command(name, *words), capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def codes(log: SerialLog, value: int) -> list[int]:
    return [event.code for event in log.keys if event.value == value]


def test_connect_and_type(guest: Guest) -> None:
    assert example("connect_and_type.py", guest.url, "hi") == "typed 2 characters into vm"
    log = guest.wait_log(lambda log: ENTER in codes(log, 0), "log the keys")
    assert codes(log, 1)[-3:] == [LETTERS["h"], LETTERS["i"], ENTER]


def test_screenshot(guest: Guest) -> None:
    path = guest.folder / "picture.png"
    assert example("screenshot.py", guest.url, str(path)).startswith("saved 1024 x 768 pixels in ")
    assert Image.open(path).size == (1024, 768)


def test_port_stream(guest: Guest) -> None:
    assert example("port_stream.py", guest.url, ECHO_PORT) == "200000 bytes came back, the same"
    guest.press("f6")  # every part of the guest logs how far it is
    log = guest.wait_log(lambda log: log.port_totals and log.port_totals[-1].size == 200_000, "count the port's bytes")
    assert log.port_totals[-1].checksum == fnv1a(b"".join(b"%07d\n" % number for number in range(25_000)))


def test_clipboard_for_the_guest(guest: Guest) -> None:
    text = "Grüße an den Gast"
    assert example("clipboard.py", guest.url, text) == f"the guest has fetched {len(text)} characters"
    log = guest.wait_log(lambda log: any(one.received for one in log.clipboard_texts), "log the clipboard")
    received = [one for one in log.clipboard_texts if one.received][-1]
    assert (received.size, received.checksum) == (len(text.encode()), fnv1a(text.encode()))


def first_line(process: subprocess.Popen[str]) -> str:
    """What the example prints first, not waiting for ever."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    assert ready, "it printed nothing"
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> None:
    """Kill it if it still runs."""
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_clipboard_of_the_guest(guest: Guest) -> None:
    process = subprocess.Popen(
        command("clipboard.py", guest.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert first_line(process) == "waiting for the guest's clipboard"
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            guest.press("f5")  # the agent may not have heard yet that a client is there
            time.sleep(0.5)
        out, err = process.communicate(timeout=10)
    finally:
        ended(process)
    assert (process.returncode, err) == (0, "")
    assert out.strip() == "1000 characters: 'clip 00000000\\nclip 00000001\\nclip 0000000'"


def test_hold_a_key(guest: Guest) -> None:
    before = len(guest.log().keys)
    said = example("hold_a_key.py", guest.url)
    assert said in [f"pressed Ctrl-Shift-Right, moved {how} 40, 30 and clicked" for how in ("to", "by")]
    log = guest.wait_log(lambda log: len(log.keys) >= before + 6, "log the keys")
    assert [(event.code, event.value) for event in log.keys[before:] if event.value < 2] == [
        *[(LEFT_CTRL, 1), (LEFT_SHIFT, 1), (RIGHT, 1)],
        *[(RIGHT, 0), (LEFT_SHIFT, 0), (LEFT_CTRL, 0)],
    ]


def test_over_tls(guest: Guest, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair()
    access = ("--tls-port", "0", "--cert", str(pair.certificate), "--key", str(pair.key), "--disable-ticketing")
    server = ServerProcess(tmp_path, access=access)
    guest.loop.run(server.__aenter__())
    try:
        url, ca_file = f"spice://127.0.0.1?tls-port={server.tls_port}", str(authority.certificate)
        for subject in ([], ["CN=127.0.0.1"]):
            connected = f"connected over TLS to 127.0.0.1:{server.tls_port}"
            assert example("over_tls.py", url, ca_file, *subject) == connected
        wrong = command("over_tls.py", url, ca_file, "CN=another")
        done = subprocess.run(wrong, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.returncode == 1
        assert done.stderr.endswith("its certificate is of another subject: CN=127.0.0.1\n")
    finally:
        guest.loop.run(server.__aexit__(None, None, None))


def test_watch_a_migration(guest: Guest) -> None:
    """The last of this file: the machine is elsewhere afterwards."""
    target = QemuProcess(guest.image, QemuOptions(name="target", incoming="defer"), guest.folder)
    guest.loop.run(target.start())
    process = subprocess.Popen(
        command("watch_a_migration.py", guest.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert first_line(process) == f"connected to 127.0.0.1:{guest.qemu.spice_port}"
        peers = [str(guest.qemu.qmp_paths[1]), str(target.qmp_paths[1])]
        moved = subprocess.run(
            [sys.executable, "-m", "spicehop.cli.app", "migrate", *peers, "--uri", target.migration_uri],
            capture_output=True, text=True, check=False, timeout=SECONDS, env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip
        assert moved.returncode == 0, moved.stderr
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        ended(process)
        guest.loop.run(target.stop())
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        f"about to move to 127.0.0.1:{target.spice_port}",
        f"moved to 127.0.0.1:{target.spice_port}: seamless",
    ]
    assert " channels in " in lines[2]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_run_here_and_is_short(path: Path) -> None:
    assert 20 <= len(path.read_text().splitlines()) <= 50
    assert f'"{path.name}"' in Path(__file__).read_text()
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 1
    assert f"python {path.name} spice://" in done.stderr
