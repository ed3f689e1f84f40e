"""`spicehop serve`: a server, its guest and its control socket, from the settings to a signal or to `quit`."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from spicehop.errors import OperationError
from spicehop.guests.demo import DemoGuest
from spicehop.server.control_bridge import ServerControl
from spicehop.server.control_listener import ControlServer
from spicehop.server.server import SpiceServer
from spicehop.server.settings import Settings
from spicehop.server.socket_device import SocketDevice
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
        log = stack.enter_context(_GuestLog(settings.guest_log)) if settings.guest_log is not None else None
        agent = SocketDevice("agent", settings.agent_socket) if settings.agent_socket is not None else None
        note = None if log is None else log.write
        guest = DemoGuest(*settings.dimensions(), log=note, agent=agent)
        server = SpiceServer(guest, options, trace=trace)
        target = ServerControl(server, trace=trace, incoming=settings.incoming is not None)
        _end_at_signals(target, stack)
        await stack.enter_async_context(server)
        stack.push_async_callback(target.direct_link.close, "the server ends")
        stack.push_async_callback(target.migration.close)
        if agent is not None:
            await stack.enter_async_context(agent.listening(lambda: guest.running, server.wake))
        control = None
        if address is not None:
            control = ControlServer(target, address, trace=trace)
            stack.push_async_callback(control.close)
            await control.open()
        place = None
        if control is not None and address is not None:
            place = str(address.path) if address.path is not None else f"{address.host}:{control.port}"
        if settings.incoming not in (None, "defer"):
            await target.migration.await_guest(str(settings.incoming))
        # All that is here now stays: looking through it for garbage would hold everything up for 20 ms at a time.
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
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
        await _first(target.wait_ended(), server.wait_closed())


async def _first(*ends: Awaitable[None]) -> None:
    """Wait for one of them; raises what it raised, such as the guest's failure."""
    tasks = [asyncio.ensure_future(end) for end in ends]
    done, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()
    for task in done:
        task.result()


def _end_at_signals(target: ServerControl, stack: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, target.quit, "host-signal")
        stack.callback(loop.remove_signal_handler, number)


class _GuestLog:
    """The guest's log file. A disk that fills up ends the log, never the guest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise OperationError(f"the guest's log cannot be written to {path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def write(self, line: str) -> None:
        """One line, without the line feed."""
        if self._file.closed:
            return
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            print(f"spicehop: the guest's log in {self._path} ends early: {error.strerror}", file=sys.stderr)
            self._close()

    def _close(self) -> None:
        with suppress(OSError):
            self._file.close()
