"""`spicehop serve`: a server, its guest and its control socket, from the settings to a signal or to `quit`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from spicehop.errors import OperationError
from spicehop.guests.demo import DemoGuest
from spicehop.server.control_bridge import ServerControl
from spicehop.server.control_listener import ControlServer
from spicehop.server.server import SpiceServer
from spicehop.server.settings import Settings
from spicehop.trace import FileSink, Trace


@dataclass(frozen=True, slots=True)
class Ready:
    """What a server that is ready says of itself."""

    guest: str
    host: str
    port: int | None
    tls_port: int | None
    unix: str | None
    control: str | None
    """The path of the control socket, or its host and port."""
    pid: int

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        """One line for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        ways = [f"{host}:{self.port}"] if self.port is not None else []
        if self.tls_port is not None:
            ways.append(f"{host}:{self.tls_port} with TLS")
        if self.unix is not None:
            ways.append(self.unix)
        control = f"; control socket {self.control}" if self.control is not None else ""
        return f"the {self.guest} guest is at {', '.join(ways)}{control}; process {self.pid}"


async def serve(settings: Settings, announce: Callable[[Ready], None]) -> None:
    """Serve until SIGTERM, SIGINT or the command `quit`, and tell the clients why. `announce` is called when ready."""
    options = settings.options()
    address = settings.control_address()
    async with AsyncExitStack() as stack:
        trace = None
        if settings.trace is not None:
            trace = stack.enter_context(Trace("server", time.monotonic, FileSink(settings.trace)))
        log = stack.enter_context(_open_log(settings.guest_log)) if settings.guest_log is not None else None
        guest = DemoGuest(*settings.dimensions(), log=None if log is None else lambda line: _write(log, line))
        server = SpiceServer(guest, options, trace=trace)
        target = ServerControl(server)
        _end_at_signals(target, stack)
        await stack.enter_async_context(server)
        control = None
        if address is not None:
            control = ControlServer(target, address)
            stack.push_async_callback(control.close)
            await control.open()
        place = None
        if control is not None and address is not None:
            place = str(address.path) if address.path is not None else f"{address.host}:{control.port}"
        announce(
            Ready(
                settings.guest,
                options.host,
                server.listeners.port,
                server.listeners.tls_port,
                None if options.unix_path is None else str(options.unix_path),
                place,
                os.getpid(),
            )
        )
        await target.wait_ended()


def _end_at_signals(target: ServerControl, stack: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, target.quit, "host-signal")
        stack.callback(loop.remove_signal_handler, number)


def _open_log(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise OperationError(f"the guest's log cannot be written to {path}: {error.strerror}") from None


def _write(log: TextIO, line: str) -> None:
    log.write(f"{line}\n")
