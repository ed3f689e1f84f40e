"""What the commands that open a session share: its options, and running it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from spicehop.cli.arguments import PASSWORD_VARIABLE, host_map, password, server_address, writable
from spicehop.trace import FileSink, Trace

if TYPE_CHECKING:
    from spicehop.client import Session

T = TypeVar("T")

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="The server: spice://HOST[:PORT], HOST:PORT, or spice://HOST?tls-port=PORT over TLS."
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"File whose first line is the password; - is standard input. Else ${PASSWORD_VARIABLE} is taken.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Over TLS: the authorities (PEM) that sign servers' certificates. Else the system's are taken.",
    ),
]
HostSubject = Annotated[
    str | None,
    typer.Option(metavar="SUBJECT", help="Over TLS: the subject that the certificate must have, in place of the host."),
]
MapHost = Annotated[
    list[str] | None,
    typer.Option(metavar="FROM=TO", help="Connect to TO when a migration sends the session to FROM; may be repeated."),
]
TraceFile = Annotated[Path | None, typer.Option("--trace", metavar="FILE", help="Write what happens as JSON lines.")]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the command line says about a session, not yet looked at."""

    url: str
    password_file: Path | None = None
    map_host: tuple[str, ...] = ()
    trace: Path | None = None
    ca_file: Path | None = None
    host_subject: str | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Session]:
        """Open the session, and close it and its trace at the end. Raises what `spicehop.client.connect` raises."""
        address = server_address(self.url)
        mapping = host_map(self.map_host)
        secret = password(self.password_file)
        writable(self.trace, "the trace")
        from spicehop.client import connect

        sinks = (FileSink(self.trace),) if self.trace is not None else ()
        with Trace("client", time.monotonic, *sinks) as trace:
            async with connect(
                address,
                password=secret,
                ca_file=self.ca_file,
                host_subject=self.host_subject or "",
                map_host=mapping,
                trace=trace,
            ) as session:
                yield session


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a command's work. Ctrl-C cancels it, so that held keys are released before the command ends."""

    async def whole() -> T:
        return await work()

    return asyncio.run(whole())
