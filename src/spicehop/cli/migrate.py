"""`spicehop migrate`: move a virtual machine and its sessions from one QEMU to another."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spicehop.cli.arguments import writable
from spicehop.errors import UsageError

if TYPE_CHECKING:
    from spicehop.conductor import Conductor, Options
    from spicehop.conductor.run import Report
    from spicehop.migration.conducting_result import Result


class OnOff(StrEnum):
    """The values of `--seamless`."""

    ON = "on"
    OFF = "off"


def command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="QMP address of the QEMU to leave: a socket's path or HOST:PORT.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="QMP address of the QEMU to go to, started with -incoming defer.")
    ],
    spice: Annotated[
        str,
        typer.Option(
            metavar="HOST[:PORT[:TLSPORT]]",
            help="Where clients reach the target's SPICE server, when it is not what its query-spice says.",
        ),
    ] = "",
    uri: Annotated[
        str, typer.Option(metavar="URI", help="Where the machine is sent: tcp:HOST:PORT or unix:PATH, as for QEMU.")
    ] = "",
    ticket_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Set the ticket in this file's first line at the target; clients use their own one."
        ),
    ] = None,
    ticket_set: Annotated[
        bool, typer.Option("--ticket-set", help="The target's ticket has been set by other means.")
    ] = False,
    cert_subject: Annotated[
        str, typer.Option(metavar="SUBJECT", help="Subject of the target's certificate, for clients to check.")
    ] = "",
    seamless: Annotated[
        OnOff | None,
        typer.Option(help="What seamless-migration is at the source, when its command line cannot be read from here."),
    ] = None,
    keep_source: Annotated[
        bool, typer.Option("--keep-source", help="Leave the source's QEMU running, its machine stopped.")
    ] = False,
    require_links: Annotated[
        bool,
        typer.Option(
            "--require-links",
            help="Go back when a session has not linked to the target in 9 s, instead of letting it connect anew.",
        ),
    ] = False,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Do not try the target's SPICE port from here first.")
    ] = False,
    max_bandwidth: Annotated[
        str, typer.Option(metavar="BYTES", help="Bytes a second for the machine's memory; K, M and G are understood.")
    ] = "",
    downtime_limit: Annotated[
        int | None, typer.Option(metavar="MS", help="Milliseconds that the machine may stand still.")
    ] = None,
    direct_link: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="Where two spicehop servers connect for the sessions' state: unix:PATH, tcp:HOST[:PORT], auto or off; "
            "auto is a socket beside the target's control socket.",
        ),
    ] = "auto",
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Go back when the machine has not moved by then.")
    ] = 600.0,
    client_trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trace of a spicehop client, which knows the scheme.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the timeline of this migration, for 'spicehop trace'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one object.")] = False,
) -> int:
    """Move a virtual machine and its SPICE sessions from one QEMU to another.

    Clients are told of the target first, then the machine moves, and the source ends when its sessions live at the
    target. Ctrl-C and every failure go back, and the last line says where machine and sessions are.
    """
    writable(trace, "the trace")
    from spicehop.conductor import Options

    options = Options(
        source=source,
        target=target,
        spice=spice,
        uri=uri,
        ticket_file=ticket_file,
        ticket_is_set=ticket_set,
        cert_subject=cert_subject,
        seamless=None if seamless is None else seamless is OnOff.ON,
        keep_source=keep_source,
        require_links=require_links,
        probe=not no_probe,
        max_bandwidth=byte_count(max_bandwidth) if max_bandwidth else None,
        downtime_limit=downtime_limit,
        time_limit=timeout,
        direct_link=direct_link,
        client_trace=client_trace,
    )
    result = _conduct(options, trace, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        _print(result)
    return 0 if result.succeeded else 1


def byte_count(text: str) -> int:
    """`text` as a number of bytes: `500000`, `32M`; K, M and G are thousands, millions and milliards."""
    found = re.fullmatch(r"([0-9]{1,18})([KMGkmg]?)", text)
    if not found:
        raise UsageError(f"{text!r} is no number of bytes; give one like 500000 or 32M")
    return int(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[found[2].lower()]


def _conduct(options: Options, trace_path: Path | None, *, as_json: bool) -> Result:
    from spicehop.conductor import Conductor
    from spicehop.trace import FileSink, Trace

    sinks = [] if trace_path is None else [FileSink(trace_path)]
    with Trace("conductor", time.monotonic, *sinks) as timeline:
        if as_json or not sys.stdout.isatty():
            show = Lines(quiet=as_json)
            return asyncio.run(_run(Conductor(options, progress=show.report, trace=timeline)))
        with LiveProgress() as live:
            return asyncio.run(_run(Conductor(options, progress=live.report, trace=timeline)))


async def _run(conductor: Conductor) -> Result:
    loop = asyncio.get_running_loop()
    asked = False

    def interrupted() -> None:
        nonlocal asked
        if asked:
            conductor.abandon()
            return
        asked = True
        print("spicehop: going back; once more leaves everything as it is", file=sys.stderr)
        conductor.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    try:
        return await conductor.run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _print(result: Result) -> None:
    if result.succeeded:
        typer.echo(result.sentence)
    else:
        print(f"spicehop: {result.sentence}", file=sys.stderr)
    for session in result.sessions:
        carried = _CARRIED.get(session.carrier, "")
        typer.echo(f"session {session.connection_id}: {session.fate.value}{carried}{_because(session.reason)}")
        for name, fate in session.channels.items():
            typer.echo(f"  {name} {fate.value}{_because(session.channel_reasons.get(name))}")


_CARRIED = {"direct": ", its state host to host", "client": ", its state through the client"}


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


class Lines:
    """For a pipe or a file: only warnings, a line each on standard error. `quiet` says nothing: the result has them."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def report(self, report: Report) -> None:
        """Take one report of the conductor."""
        sentence = _warning(report)
        if sentence and not self._quiet:
            print(f"spicehop: warning: {sentence}", file=sys.stderr)


class LiveProgress:
    """For a terminal: the steps as they come, and a bar while the machine's memory is copied."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[sent]} sent"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("memory", total=None, sent="0", visible=False)

    def __enter__(self) -> LiveProgress:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def report(self, report: Report) -> None:
        """Take one report of the conductor."""
        from rich.filesize import decimal

        from spicehop.migration.conducting_events import ProgressReported, StepReported

        warning = _warning(report)
        if warning:
            self._progress.print("warning:", warning, markup=False)
        elif isinstance(report, StepReported) and report.step != "finished":
            self._progress.print(report.sentence, markup=False)
        elif isinstance(report, ProgressReported) and report.total:
            self._progress.update(
                self._task,
                total=report.total,
                completed=report.total - report.remaining,
                sent=decimal(report.transferred),
                visible=True,
            )


def _warning(report: Report) -> str:
    from spicehop.migration.conducting_events import FindingReported
    from spicehop.migration.preflight import Severity

    if isinstance(report, FindingReported) and report.finding.severity is Severity.WARNING:
        return report.finding.sentence
    return ""
