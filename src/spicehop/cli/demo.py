"""`spicehop demo`: move a real virtual machine there and back while a client works in it, and report."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from spicehop.errors import UsageError


def command(
    out: Annotated[
        Path, typer.Option(metavar="DIRECTORY", help="Where logs, traces and pictures go.")
    ] = Path("out/demo"),
    vga: Annotated[str, typer.Option(metavar="DEVICE", help="The machine's display: qxl-vga or VGA.")] = "qxl-vga",
    migrations: Annotated[int, typer.Option(metavar="N", help="How often the machine moves.")] = 4,
    qemu: Annotated[bool, typer.Option("--qemu", help="Use two QEMUs (the only demo there is today).")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one object.")] = False,
) -> int:
    """Move a real virtual machine there and back while a client types in it, and report.

    The exit code is 0 when nothing was lost but keys that libspice itself drops while the machine stands still.
    """
    if migrations < 2:
        raise UsageError("--migrations must be 2 or more: the guest draws in one half of them, and not in the other")
    if vga not in ("qxl-vga", "VGA"):
        raise UsageError(f"--vga {vga!r} is not one of qxl-vga and VGA")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a directory")
    from spicehop.demo.job import DemoOptions, QemuDemo

    def progress(sentence: str) -> None:
        if not as_json:
            print(sentence, file=sys.stderr, flush=True)

    report = asyncio.run(QemuDemo(DemoOptions(out, vga=vga, migrations=migrations), progress).run())
    print(json.dumps(report.as_json(), indent=2) if as_json else report.as_text())
    return 1 if report.problems else 0
