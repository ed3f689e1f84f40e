"""`spicehop type`: type a text into a server."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from spicehop.cli.session import CaFile, HostSubject, MapHost, PasswordFile, SessionOptions, TraceFile, Url, run


def command(
    url: Url,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to type, as on a US keyboard.")],
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    host_subject: HostSubject = None,
    trace: TraceFile = None,
    map_host: MapHost = None,
    enter: Annotated[bool, typer.Option("--enter", help="Press Enter behind the text.")] = False,
    rate: Annotated[float, typer.Option(min=1.0, max=1000.0, help="Keys a second.")] = 50.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print how many characters were typed as an object.")] = False,
) -> None:
    """Type a text into a server.

    The text is shown to every user of this machine while the command runs: type no passwords with it.
    """
    options = SessionOptions(url, password_file, tuple(map_host or ()), trace, ca_file, host_subject)
    whole = text + ("\n" if enter else "")
    run(lambda: _type(options, whole, 1 / rate))
    if as_json:
        typer.echo(json.dumps({"typed": len(whole)}))


async def _type(options: SessionOptions, text: str, interval: float) -> None:
    async with options.open() as session:
        await session.keyboard.type(text, interval=interval)
        await asyncio.sleep(interval)
