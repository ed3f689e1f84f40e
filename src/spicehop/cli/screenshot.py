"""`spicehop screenshot`: save a picture of a server's screen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from spicehop.cli.arguments import writable
from spicehop.cli.session import CaFile, HostSubject, PasswordFile, SessionOptions, TraceFile, Url, run
from spicehop.errors import OperationError, StateError, UsageError


def command(
    url: Url,
    out: Annotated[Path, typer.Argument(metavar="OUT.png", help="Where to write the picture.")],
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    host_subject: HostSubject = None,
    trace: TraceFile = None,
    display: Annotated[int, typer.Option(min=0, max=255, help="Which display, when there are several.")] = 0,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for a picture.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print file name and size as an object.")] = False,
) -> None:
    """Save a picture of a server's screen as PNG."""
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out} does not end in .png, the one format that is written")
    writable(out, "the picture")
    options = SessionOptions(url, password_file, trace=trace, ca_file=ca_file, host_subject=host_subject)
    width, height = run(lambda: _save(options, out, display, wait))
    if as_json:
        typer.echo(json.dumps({"file": str(out), "width": width, "height": height}))
    else:
        typer.echo(f"{out}: {width} x {height}")


async def _save(options: SessionOptions, out: Path, display: int, wait: float) -> tuple[int, int]:
    async with options.open() as session:
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            try:
                picture = session.screenshot(display)
            except StateError as error:
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise OperationError(f"there was no picture within {wait:g} s: {error}") from None
                try:
                    await session.wait_for_change(timeout=left)
                except TimeoutError:
                    pass
            else:
                break
        try:
            picture.save(out)
        except OSError as error:
            raise OperationError(f"{out} cannot be written: {error.strerror}") from None
        height, width = picture.pixels.shape[:2]
        return int(width), int(height)
