"""Starts and drives one stock client (gtk_client.py) from a test."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SCRIPT = Path(__file__).with_name("gtk_client.py")
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's Python, which has `gi`; another one in front of it in PATH has not."""
LONGEST_LINE = 1 << 20

Event = dict[str, Any]


class GtkClient:
    """spice-gtk connected to a port of this machine; enter it to start it, leave it to end it.

    With `fatal_criticals` the library ends its process at the first thing it calls critical, so that a test sees it.
    libspice-server itself provokes one when a port channel migrates (C5, "Port INIT"), so such tests switch that off
    and look at `criticals`, or except the text of that one (`--except`). `options` are further ones of gtk_client.py.
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
        self.echo_path = directory / f"{name}.echo"
        self._log_path = directory / f"{name}.log"
        self._command = [SYSTEM_PYTHON, str(SCRIPT), "127.0.0.1", str(port), "--echo", str(self.echo_path)]
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
        with self._log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *self._command),
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
        if self._process.returncode is None:
            try:
                self.send("quit")
                async with asyncio.timeout(5):
                    await self._process.wait()
            except (TimeoutError, ConnectionError):
                self._process.kill()
                await self._process.wait()
        await self._reader

    @property
    def returncode(self) -> int | None:
        assert self._process is not None
        return self._process.returncode

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_text(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def criticals(self) -> list[str]:
        """What the library called critical, one sentence each."""
        return re.findall(r"CRITICAL \*\*: [\d:.]*:? ?(.*)", self.log_text)

    @property
    def echo(self) -> bytes:
        """What came back from the port so far."""
        return self.echo_path.read_bytes()

    def send(self, command: str, **arguments: object) -> None:
        """Sends one of the commands that gtk_client.py lists."""
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
        await self.wait_for(lambda: self.seen(event, **detail) is not None, f"{event} {detail}", timeout)
        found = self.seen(event, **detail)
        assert found is not None
        return found

    async def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Waits until `condition` holds, looking after each event; AssertionError says what did not happen."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: condition() or self.returncode is not None)
        except TimeoutError:
            raise AssertionError(f"the stock client did not see {what} in {timeout:g} s: {self.log_text}") from None
        assert condition(), f"the stock client ended ({self.returncode}) before {what}: {self.log_text}"

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        await self._process.wait()
        async with self._changed:
            self._changed.notify_all()
