"""`spicehop demo`: our client at work in a guest, everything counted, and a report."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spicehop.errors import UsageError

if TYPE_CHECKING:
    from spicehop.demo.report import DemoReport


def command(
    out: Annotated[
        Path, typer.Option(metavar="DIRECTORY", help="Where logs, traces and pictures go.")
    ] = Path("out/demo"),
    qemu: Annotated[
        bool, typer.Option("--qemu", help="Move a virtual machine there and back between two QEMUs.")
    ] = False,
    vga: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With --qemu: the display, qxl-vga (the default) or VGA.")
    ] = None,
    migrations: Annotated[
        int | None, typer.Option(metavar="N", help="How often the guest moves, 4 by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one object.")] = False,
) -> int:
    """Let our client work in a guest, count what arrives, and report.

    The guest is a small desktop that moves from server to server of ours while the client works; that needs Python
    alone. With --qemu it is a virtual machine that moves between two QEMUs. The exit code is 0 when nothing was lost
    but, with --qemu, keys that libspice itself drops while the machine stands still.
    """
    if not qemu and vga is not None:
        raise UsageError("--vga is for the demo with --qemu")
    if migrations is not None and migrations < 2:
        raise UsageError("--migrations must be 2 or more: the guest draws in one half of them, and not in the other")
    if vga not in (None, "qxl-vga", "VGA"):
        raise UsageError(f"--vga {vga!r} is not one of qxl-vga and VGA")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a directory")

    def progress(sentence: str) -> None:
        if not as_json:
            print(sentence, file=sys.stderr, flush=True)

    async def run() -> DemoReport:
        if qemu:
            from spicehop.demo.qemu_job import QemuDemo, QemuDemoOptions

            options = QemuDemoOptions(out, vga=vga or "qxl-vga", migrations=migrations or 4)
            return await QemuDemo(options, progress).run()
        from spicehop.demo.server_job import ServerDemo, ServerDemoOptions

        return await ServerDemo(ServerDemoOptions(out, migrations=migrations or 4), progress).run()

    report = asyncio.run(run())
    print(json.dumps(report.as_json(), indent=2) if as_json else report.as_text())
    return 1 if report.problems else 0
