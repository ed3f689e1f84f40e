"""`spicehop trace`: one timeline of several trace files, as a table, JSON, sentences or a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spicehop.cli.arguments import writable
from spicehop.errors import UsageError
from spicehop.trace import explain, migrations, phase_table, read_all, table


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Trace files, one JSON record a line.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print records, phases and sentences as one object.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a self-contained page.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a picture.")] = None,
    only_explain: Annotated[bool, typer.Option("--explain", help="Print only what happened, in sentences.")] = False,
    offset: Annotated[
        list[str] | None, typer.Option(metavar="FILE=SECONDS", help="Move one file's times; may be repeated.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page and the picture.")] = "Migration timeline",
) -> None:
    """Show the timeline of a migration, and explain it.

    Times are of one machine's monotonic clock, so files of the client, the conductor and others can be given together.
    """
    writable(html, "the page")
    writable(svg, "the picture")
    records = read_all(files, offsets=_offsets(offset or []))
    if html is not None:
        from spicehop.trace.page import html as page

        html.write_text(page(records, title=title), encoding="utf-8")
    if svg is not None:
        from spicehop.trace.picture import svg as picture

        svg.write_text(picture(records, title=title), encoding="utf-8")
    found = migrations(records)
    if as_json:
        outcome = {
            "migrations": [
                {
                    "number": migration.number,
                    "scheme": migration.scheme,
                    "outcome": migration.outcome,
                    "begin": migration.begin,
                    "phases": [
                        {
                            "name": phase.name,
                            "session": phase.session,
                            "channel": phase.channel,
                            "start": phase.start,
                            "duration_ms": round(phase.duration * 1000, 3),
                        }
                        for phase in migration.phases
                    ],
                }
                for migration in found
            ],
            "explanation": explain(records),
            "records": [json.loads(record.to_line()) for record in records],
        }
        typer.echo(json.dumps(outcome, ensure_ascii=False))
        return
    if not only_explain:
        typer.echo(table(records))
        for migration in found:
            if len(found) > 1:
                typer.echo(f"Migration {migration.number}")
            typer.echo(phase_table(migration))
    for sentence in explain(records):
        typer.echo(sentence)


def _offsets(pairs: list[str]) -> dict[str, float]:
    offsets: dict[str, float] = {}
    for pair in pairs:
        name, separator, seconds = pair.rpartition("=")
        try:
            offsets[name] = float(seconds)
        except ValueError:
            separator = ""
        if not separator or not name:
            raise UsageError(f"--offset {pair!r} is not of the form FILE=SECONDS, such as client.jsonl=-0.25")
    return offsets
