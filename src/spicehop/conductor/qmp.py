"""One QEMU's monitor: the thin asyncio side of the conductor, on `qemu.qmp`.

The event listener is registered before the connection is made, so no event between connecting and the first command
is missed. QEMU's monitor serves one program at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError, Runstate

from spicehop.errors import ConnectError, ConnectionLost, OperationError, UsageError
from spicehop.migration.conducting_events import PeerFacts

CONNECT_LIMIT = 5.0
"""Seconds for a monitor to accept and greet."""

# A monitor that goes away is told as ConnectionLost; qemu.qmp would also print it.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class QmpAddress:
    """Where a monitor listens: a Unix socket's `path`, or `host` and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> QmpAddress:
        """Read `HOST:PORT` (IPv6 in brackets) or the path of a socket; `unix:` and `tcp:` say which it is.

        Raises UsageError for anything else.
        """
        if text.startswith("unix:"):
            text = text.removeprefix("unix:")
        else:
            forced = text.startswith("tcp:")
            found = re.fullmatch(r"(?:tcp:)?(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):([0-9]{1,5})", text)
            if found and (forced or not Path(text).exists()):
                if not 0 < int(found[2]) < 65536:
                    raise UsageError(f"{text!r} names no port between 1 and 65535")
                return cls(host=found[1].strip("[]"), port=int(found[2]))
            if forced:
                raise UsageError(f"{text!r} is no QMP address; give HOST:PORT or the path of a socket")
        if not text or text.endswith("/"):
            raise UsageError(f"{text!r} is no QMP address; give HOST:PORT or the path of a socket")
        return cls(path=text)

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class QmpRefusal(OperationError):
    """QEMU answered a command with an error; the sentence is its own."""


class QmpPeer:
    """A connected monitor. `name` says whose it is, in sentences: `source`, `target`."""

    def __init__(self, name: str, address: QmpAddress) -> None:
        self.name = name
        self.address = address
        self.facts = PeerFacts(host=address.host)
        self._client = QMPClient(name)
        self._listener = EventListener()
        self._client.register_listener(self._listener)

    async def connect(self) -> None:
        """Connect and negotiate. Raises ConnectError with a sentence that says which monitor did not answer."""
        where = f"the {self.name}'s QMP monitor at {self.address}"
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                if self.address.path:
                    await self._connect_unix()
                else:
                    await self._client.connect((self.address.host, self.address.port))
        except TimeoutError:
            raise ConnectError(
                f"{where} accepts connections but does not greet; another program may be using it"
            ) from None
        except (OSError, QMPError, EOFError) as error:
            raise ConnectError(f"{where} does not answer: {_reason(error)}") from None

    async def _connect_unix(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, self.address.path)
            self.facts = PeerFacts(command_line=_command_line(connection))
            await self._client.connect(connection)
        except BaseException:
            connection.close()
            raise

    async def execute(self, command: str, arguments: Mapping[str, object]) -> object:
        """Run one command. Raises QmpRefusal when QEMU answers with an error, ConnectionLost when it cannot answer."""
        try:
            return await self._client.execute(command, dict(arguments) or None)
        except ExecuteError as error:
            raise QmpRefusal(str(error)) from None
        except (QMPError, OSError, EOFError) as error:
            raise ConnectionLost(f"the {self.name}'s QMP connection ended ({_reason(error)})") from None

    async def events(self) -> AsyncIterator[tuple[str, Mapping[str, object]]]:
        """Name and data of each event, until the connection ends."""
        ended = asyncio.ensure_future(self._ended())
        heard: asyncio.Future[Message] | None = None
        try:
            while not self._listener.empty() or not ended.done():
                heard = asyncio.ensure_future(self._listener.get())
                await asyncio.wait((heard, ended), return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    await asyncio.sleep(0)
                if not heard.done():
                    heard.cancel()
                    continue
                event = heard.result()
                data = event.get("data")
                yield str(event["event"]), data if isinstance(data, Mapping) else {}
        finally:
            ended.cancel()
            if heard is not None:
                heard.cancel()

    async def _ended(self) -> None:
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()

    async def close(self) -> None:
        """End the connection; QEMU goes on."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_LIMIT):
                await self._client.disconnect()


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            # asyncio puts the address into strerror; an address that cannot be looked up has a negative errno.
            number = cause.errno or 0
            return os.strerror(number) if number > 0 else cause.strerror or str(cause)
        if isinstance(cause, EOFError):
            return "the other side hung up"
        cause = getattr(cause, "exc", None) or cause.__cause__
    return str(error) or type(error).__name__


def _command_line(connection: socket.socket) -> tuple[str, ...] | None:
    """The arguments of the process that listens at the other end of a Unix socket, when this user may read them."""
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = struct.unpack("3i", credentials)[0]
        words = Path("/proc", str(pid), "cmdline").read_bytes()
    except (OSError, AttributeError, struct.error):
        return None
    return tuple(os.fsdecode(word) for word in words.split(b"\0")[:-1]) or None
