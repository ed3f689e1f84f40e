"""Starts spice-gtk without a screen, a process of its own (gtk_script.py), tells it what to do and hears what happens.

    async with GtkClient(port, directory) as client:
        await client.wait_session()
        client.send("keys", codes=[30, 48], hz=50)
        await client.wait_event("typed")

The process ends with its `async with`, and also when this Python dies, where the system can see to that (`setpriv`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spicehop.demo.server_process import ending_with_us
from spicehop.errors import OperationError

SCRIPT = Path(__file__).with_name("gtk_script.py")
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's Python, which has `gi`; another one in front of it in PATH has not, nor has a virtual environment."""
LONGEST_LINE = 1 << 20
QUIT_SECONDS = 5.0
VERSION_SECONDS = 30.0

Event = dict[str, Any]


async def spice_gtk_version() -> str | None:
    """The version of the spice-gtk that `GtkClient` would start, None where there is none."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(SYSTEM_PYTHON, "-I", str(SCRIPT), "--version"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(VERSION_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode().strip() or None if process.returncode == 0 else None


class GtkClient:
    """spice-gtk connected to a port of this machine; enter it to start it, leave it to end it.

    With `fatal_criticals` the library ends its process at the first thing it calls critical, so that a test sees it.
    libspice-server itself provokes one when a port channel migrates (C5, "Port INIT"), so such tests switch that off
    and look at `criticals`, or except the text of that one (`--except`). `options` are further ones of gtk_script.py.
    """

    def __init__(
        self,
        port: int,
        directory: Path,
        *,
        name: str = "gtk",
        password: str | None = None,
        fatal_criticals: bool = True,
        options: tuple[str, ...] = (),
    ) -> None:
        self.events: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = []
        """Called with each event when it comes."""
        self.echo_path = directory / f"{name}.echo"
        self.log_path = directory / f"{name}.log"
        """What the library has to say."""
        self._command = [SYSTEM_PYTHON, "-I", str(SCRIPT), "127.0.0.1", str(port), "--echo", str(self.echo_path)]
        self._command += options
        if password is not None:
            self._command += ["--password", password]
        self._environment = {**os.environ, "GSETTINGS_BACKEND": "memory"}
        if fatal_criticals:
            self._environment["G_DEBUG"] = "fatal-criticals"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*ending_with_us("KILL"), *self._command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                limit=LONGEST_LINE,
                start_new_session=True,
            )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._reader is not None
        try:
            if self._process.returncode is None:
                self.send("quit")
                async with asyncio.timeout(QUIT_SECONDS):
                    await self._process.wait()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        await self._reader

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        assert self._process is not None
        return self._process.returncode

    @property
    def ending(self) -> str:
        """How it ended, in words to follow its name."""
        code = self.returncode
        if code is None:
            return "runs"
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def criticals(self) -> list[str]:
        """What the library called critical, one sentence each."""
        return re.findall(r"CRITICAL \*\*: [\d:.]*:? ?(.*)", self.log_text)

    @property
    def echo(self) -> bytes:
        """What came back from the port so far."""
        return self.echo_path.read_bytes()

    def send(self, command: str, **arguments: object) -> None:
        """Sends one of the commands that gtk_script.py lists."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")

    def seen(self, event: str, **detail: object) -> Event | None:
        """The first event of that name with these details, if it has come."""
        wanted = {"event": event, **detail}
        return next((one for one in self.events if wanted.items() <= one.items()), None)

    async def wait_session(self, timeout: float = 20.0) -> None:
        """Waits until the client can be used: input, a picture, the port and the agent."""
        await self.wait_event("channel-event", kind="InputsChannel", what="opened", timeout=timeout)
        await self.wait_event("mark", timeout=timeout)
        await self.wait_event("port", opened=True, timeout=timeout)
        await self.wait_event("agent", connected=True, timeout=timeout)

    async def wait_event(self, event: str, *, timeout: float = 20.0, **detail: object) -> Event:
        """Waits for the first event of that name with these details."""
        await self.wait_for(lambda: self.seen(event, **detail) is not None, f"{event} {detail or ''}".strip(), timeout)
        found = self.seen(event, **detail)
        assert found is not None
        return found

    async def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Waits until `condition` holds, looking after each event; `OperationError` says what did not happen, and has
        what the library said as a note.
        """
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: condition() or self.returncode is not None)
        except TimeoutError:
            raise self._failure(f"spice-gtk did not tell {what} in {timeout:g} s") from None
        if not condition():
            raise self._failure(f"spice-gtk {self.ending} before it told {what}")

    def _failure(self, sentence: str) -> OperationError:
        error = OperationError(sentence)
        error.add_note(self.log_text)
        return error

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if not line.endswith(b"\n"):
                break  # it was killed while it wrote
            event = json.loads(line)
            async with self._changed:
                self.events.append(event)
                self._changed.notify_all()
            for listener in self.listeners:
                listener(event)
        await self._process.wait()
        async with self._changed:
            self._changed.notify_all()
