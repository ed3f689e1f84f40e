"""Runs one QEMU with a SPICE server and the demo guest, on loopback, under TCG.

    image = build_guest()
    async with QemuProcess(image, QemuOptions(name="source"), directory) as source:
        await source.wait_ready()
        async with QemuProcess(image, QemuOptions(name="target", incoming="defer"), directory) as target:
            ...  # source.spice_port, source.qmp_paths[0], target.migration_uri

A QEMU ends with its `async with`, and also when this Python dies: the kernel kills it then (`setpriv --pdeathsig`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from spicehop.demo.guest_image import GuestImage
from spicehop.errors import OperationError, StateError

PROGRAM = "qemu-system-x86_64"
HOST = "127.0.0.1"
ECHO_PORT = "org.example.echo.0"
GUEST_UUID = "5b1ce40b-0000-4000-8000-000000000001"
_POLL_SECONDS = 0.05
_START_TRIES = 4
_START_SECONDS = 30.0
_PORT_TAKEN = ("address already in use", "failed to initialize spice server", "binding socket")


@dataclass(frozen=True, slots=True)
class QemuOptions:
    """One machine. The two of a migration differ in `name`, `incoming` and the options of the SPICE server only."""

    name: str = "vm"
    """Names the log files in the run's directory."""
    vga: str = "qxl-vga"
    """The display device: `qxl-vga`, `VGA` or `virtio-vga`."""
    memory_mib: int = 192
    seamless: bool = True
    """`seamless-migration` of the SPICE server; off makes migrations semi-seamless."""
    ticketing: bool = False
    """Whether clients must give a password. On without `ticket`, it is still to be set by QMP."""
    ticket: str | None = None
    """The password; implies `ticketing`."""
    spice_options: Mapping[str, str] = field(default_factory=dict)
    """More of `-spice`, for example `{"image-compression": "off", "jpeg-wan-compression": "always"}`."""
    guest_options: Mapping[str, int] = field(default_factory=dict)
    """Of the guest: `fps`, `tile` (pixels, 0: none), `band` (rows of a full-width picture in place of all other
    drawing, 0: none), `clip` (bytes), `chunk` (bytes an agent chunk, 0: no limit), `pace` (bytes
    the agent writes in a millisecond, 0: no limit)."""
    audio: bool = False
    usbredir: bool = False
    tablet: bool = False
    incoming: str | None = None
    """Waits for a migration instead of booting: `defer`, or an address as in `QemuProcess.migration_uri`."""
    monitors: int = 3
    """How many QMP sockets, at least one: each serves one program at a time."""
    arguments: tuple[str, ...] = ()
    """Appended to the command line."""
    environment: Mapping[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def qemu_command(
    image: GuestImage, options: QemuOptions, *, spice_port: int, sockets: Path, directory: Path
) -> list[str]:
    """The command line. `sockets` is a folder with a short name, for the QMP sockets; logs go to `directory`."""
    spice = {"port": str(spice_port), "addr": HOST, "seamless-migration": "on" if options.seamless else "off"}
    secret: list[str] = []
    if options.ticket is not None:
        secret = ["-object", f"secret,id=ticket,file={sockets / 'ticket'}"]
        spice["password-secret"] = "ticket"
    elif not options.ticketing:
        spice["disable-ticketing"] = "on"
    spice.update(options.spice_options)
    guest = {"fps": 25, "tile": 96, "clip": 65536, "chunk": 0, **options.guest_options}
    kernel_line = " ".join(["quiet", "console=ttyS0", *(f"{name}={value}" for name, value in guest.items())])
    command = [
        *(PROGRAM, "-accel", "tcg", "-M", "pc", "-cpu", "qemu64", "-m", str(options.memory_mib), "-nodefaults"),
        *("-name", options.name, "-uuid", GUEST_UUID),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", kernel_line),
        *("-device", options.vga, *secret, "-spice", ",".join(f"{key}={value}" for key, value in spice.items())),
        *("-serial", f"file:{directory / f'{options.name}.serial'}", "-device", "virtio-serial-pci"),
        *("-chardev", "spicevmc,id=agent,name=vdagent"),
        *("-device", "virtserialport,chardev=agent,name=com.redhat.spice.0"),
        *("-chardev", f"spiceport,id=echo,name={ECHO_PORT}"),
        *("-device", f"virtserialport,chardev=echo,name={ECHO_PORT}"),
    ]
    if options.tablet:
        command += ["-device", "virtio-tablet-pci"]
    if options.audio:
        command += ["-audiodev", "spice,id=audio", "-device", "intel-hda", "-device", "hda-duplex,audiodev=audio"]
    if options.usbredir:
        command += ["-device", "qemu-xhci", "-chardev", "spicevmc,id=usb,name=usbredir"]
        command += ["-device", "usb-redir,chardev=usb"]
    for number in range(options.monitors):
        command += ["-qmp", f"unix:{sockets / f'qmp{number}'},server=on,wait=off"]
    if options.incoming is not None:
        command += ["-incoming", options.incoming]
    return [*command, *options.arguments]


class QemuProcess:
    """One QEMU process; enter it to start it, leave it to end it.

    Logs stay in `directory`: `<name>.serial` is what the guest said here, `<name>.log` what QEMU said.
    """

    def __init__(self, image: GuestImage, options: QemuOptions, directory: Path) -> None:
        self.options = options
        self.serial_path = directory / f"{options.name}.serial"
        self.log_path = directory / f"{options.name}.log"
        self.spice_host = HOST
        self.spice_port = 0
        self.started_at = 0.0
        """CLOCK_MONOTONIC when the process was started."""
        self._image = image
        self._directory = directory
        self._sockets: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._running().returncode

    @property
    def qmp_paths(self) -> tuple[Path, ...]:
        """The QMP sockets."""
        return tuple(self._folder() / f"qmp{number}" for number in range(self.options.monitors))

    @property
    def migration_uri(self) -> str:
        """A Unix socket for a migration to this QEMU: for `migrate` at the source, and `migrate-incoming` here."""
        return f"unix:{self._folder() / 'migration'}"

    @property
    def log_text(self) -> str:
        """What QEMU itself has said so far."""
        return _text_of(self.log_path)

    async def start(self) -> None:
        """Starts QEMU and waits until its monitors and its SPICE server listen; OperationError gives QEMU's words."""
        if self._process is not None:
            raise StateError(f"QEMU {self.options.name} was started already")
        if shutil.which(PROGRAM) is None:
            raise OperationError(f"{PROGRAM} is missing: run scripts/install-peers demo-qemu")
        self._directory.mkdir(parents=True, exist_ok=True)
        self._sockets = Path(tempfile.mkdtemp(prefix="spicehop-"))
        if self.options.ticket is not None:
            (self._sockets / "ticket").write_text(self.options.ticket)
        try:
            for attempt in range(1, _START_TRIES + 1):
                self.spice_port = free_port()
                await self._launch()
                if await self._answers():
                    return
                said = self.log_text.strip()
                port_was_taken = any(words in said.lower() for words in _PORT_TAKEN)
                if not port_was_taken or attempt == _START_TRIES:
                    last = said.splitlines()[-1] if said else "it gave no reason"
                    raise OperationError(f"QEMU {self.options.name} did not start: {last}")
        except BaseException:
            await self.stop()
            raise

    async def wait_ready(self, timeout: float = 90.0) -> float:
        """Waits until the guest says READY on its serial line; returns the seconds since the start."""
        await self.wait_for(lambda: "INIT 0 READY" in _text_of(self.serial_path), "boot", timeout)
        return time.monotonic() - self.started_at

    async def wait_for(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Waits for `condition`; OperationError when the time is over, or when QEMU ends before."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.returncode is not None:
                raise OperationError(f"QEMU {self.options.name} ended ({self.returncode}) before the guest did {what}")
            if time.monotonic() > deadline:
                raise OperationError(f"the guest of QEMU {self.options.name} did not {what} in {timeout:g} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def wait(self, timeout: float = 30.0) -> int:
        """Waits for QEMU to end by itself and returns its exit status."""
        async with asyncio.timeout(timeout):
            return await self._running().wait()

    def kill(self) -> None:
        """Kills QEMU at once, as a crash would; does nothing when it has ended."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Ends QEMU, kindly and then by force, and removes its sockets. May be called at any time."""
        if self._process is not None and self._process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                await self.wait(5.0)
            except TimeoutError:
                self.kill()
                await self._process.wait()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    async def _launch(self) -> None:
        command = qemu_command(
            self._image,
            self.options,
            spice_port=self.spice_port,
            sockets=self._folder(),
            directory=self._directory,
        )
        (self._directory / f"{self.options.name}.command").write_text(" ".join(command) + "\n")
        self.serial_path.unlink(missing_ok=True)
        self.started_at = time.monotonic()
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.options.environment},
                start_new_session=True,
            )

    async def _answers(self) -> bool:
        """Whether it came up: a monitor answers when everything is set up. False when QEMU ended instead."""
        process = self._running()
        deadline = time.monotonic() + _START_SECONDS
        while process.returncode is None and time.monotonic() < deadline:
            try:
                async with asyncio.timeout(_START_SECONDS):
                    if await _monitor_answers(self.qmp_paths[0]):
                        return True
            except OSError:
                pass  # not listening yet, or QEMU ends
            await asyncio.sleep(_POLL_SECONDS / 2)
        return False

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise StateError(f"QEMU {self.options.name} has not been started")
        return self._process

    def _folder(self) -> Path:
        if self._sockets is None:
            raise StateError(f"QEMU {self.options.name} is not running")
        return self._sockets


async def _monitor_answers(path: Path) -> bool:
    """Whether QEMU executes a command. The greeting alone says little: it comes before the devices are made."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(b'{"execute": "qmp_capabilities"} {"execute": "query-status"}')
        while line := await reader.readline():
            if b'"running"' in line:
                return True
        return False
    finally:
        writer.close()


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
