"""Runs `spicehop serve` with the demo guest, as a process of its own.

    async with ServerProcess(directory) as server:
        ...  # server.url, server.control, server.guest_log

The server ends with its `async with`, and also when this Python dies, where the system can see to that (`setpriv`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from spicehop.errors import OperationError

START_SECONDS = 60.0
STOP_SECONDS = 10.0
ANYBODY = ("--port", "0", "--disable-ticketing")


class ServerProcess:
    """One server; logs go to `directory`: `guest.serial` is what the guest said, `server.log` what the server said.

    `access` says how clients come in, `arguments` everything else, as the command line has it. `program` is what this
    Python runs.
    """

    def __init__(
        self,
        directory: Path,
        *,
        arguments: tuple[str, ...] = (),
        access: tuple[str, ...] = ANYBODY,
        program: tuple[str, ...] = ("-m", "spicehop"),
    ) -> None:
        self.guest_log = directory / "guest.serial"
        self.log = directory / "server.log"
        self.trace = directory / "server.jsonl"
        self.url = ""
        """Where clients come in without TLS."""
        self.port: int | None = None
        self.tls_port: int | None = None
        self.control = ""
        """Path of the control socket."""
        self.returncode: int | None = None
        """How it ended."""
        self._arguments = (*access, *arguments)
        self._program = program
        self._folder: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="spicehop-"))  # a short name: the path of a socket is limited
        self.control = str(self._folder / "control")
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def kill(self) -> None:
        """Kill the server at once, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _start(self) -> None:
        for path in (self.guest_log, self.trace):
            path.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *ending_with_us("TERM"),
                *(sys.executable, *self._program, "serve", "--json", "--guest", "demo", "--control", self.control),
                *("--guest-log", str(self.guest_log), "--trace", str(self.trace), *self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise OperationError(f"the server was not ready within {START_SECONDS:.0f} s") from None
        ready = json.loads(line) if line else {}
        if "port" not in ready:
            await self._ended(STOP_SECONDS)  # its last words come before
            raise OperationError(f"the server did not start: {ready.get('error') or self._last_words()}")
        self.port, self.tls_port = ready["port"], ready["tls_port"]
        if self.port is not None:
            self.url = f"spice://{ready['host']}:{self.port}"

    async def _stop(self) -> None:
        process = self._process
        if process is not None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            if not await self._ended(STOP_SECONDS):
                process.kill()
                await process.wait()
            self.returncode = process.returncode
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _ended(self, timeout: float) -> bool:
        assert self._process is not None
        try:
            async with asyncio.timeout(timeout):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _last_words(self) -> str:
        said = self.log.read_text(errors="replace").strip().splitlines()
        return said[-1].removeprefix("spicehop: ") if said else "it gave no reason"


def ending_with_us(how: str) -> tuple[str, ...]:
    """What in front of a command line has the kernel end the process when this one dies, by the signal named `how`."""
    return ("setpriv", "--pdeathsig", how, "--") if shutil.which("setpriv") else ()
