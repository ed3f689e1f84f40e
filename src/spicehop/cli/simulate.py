"""`spicehop simulate`: many migrations on a virtual clock, with faults, judged by invariants."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spicehop.errors import OperationError, UsageError

if TYPE_CHECKING:
    from spicehop.simulator import Verdict
    from spicehop.simulator.journeys import JourneyVerdict


class Form(StrEnum):
    """What the client's peers are."""

    QEMU = "qemu"
    SPICEHOP = "spicehop"
    BOTH = "both"


def command(
    seed: Annotated[int, typer.Option(min=0, help="The first seed; it decides everything about a run.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="How many runs of each form, each with the next seed.")] = 20,
    form: Annotated[
        Form, typer.Option(help="Migrations between models of QEMU, between servers of our own, or both.")
    ] = Form.BOTH,
    fault: Annotated[str, typer.Option(help="Only this fault, at every step of the situation of --seed.")] = "",
    stride: Annotated[int, typer.Option(min=1, help="With --fault: at every so many steps only.")] = 25,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Count how often each row of the migration's tables is taken.")
    ] = False,
    show: Annotated[bool, typer.Option("--chart", help="Print the sequence chart of a failed run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Run migrations on a virtual clock, with faults: against models of QEMU, and between our own servers.

    No socket is opened and no time passes. A run is bad when a port byte or a key came twice, in the wrong order or got
    lost without anything to charge it to, when somebody waited without a deadline, or when a report was not true.
    """
    gc.set_threshold(100_000, 20, 20)  # a run makes many small things, and nearly all of them are gone after it
    counts: Counter[str] = Counter()
    failed: list[Verdict | JourneyVerdict] = []
    with _counting(wanted=coverage) as rows:
        for verdict in _verdicts(seed, runs, form, fault, stride):
            counts[verdict.outcome or "unfinished"] += 1
            if not verdict.good:
                failed.append(verdict)
                if not as_json:
                    typer.echo(f"{_name(verdict)}: {'; '.join(verdict.violations)}")
                    if show:
                        typer.echo(verdict.chart)
        taken = _taken(rows) if rows is not None else {}
    total = sum(counts.values())
    if as_json:
        report: dict[str, object] = {"runs": total, "outcomes": dict(counts)}
        if coverage:
            report["rows"] = taken
        typer.echo(json.dumps(report | {"failed": [one.as_json() for one in failed]}))
    else:
        for table, found in taken.items():
            missing = [row for row, number in found.items() if not number]
            typer.echo(f"{table}: {len(found) - len(missing)} of {len(found)} rows taken")
            for row in missing:
                typer.echo(f"  never: {row}")
        endings = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
        typer.echo(f"{total} runs ({endings}), {len(failed)} failed")
    if failed:
        if as_json:
            raise typer.Exit(1)
        raise OperationError(f"{len(failed)} of {total} simulated runs failed, the first with {_name(failed[0])}")


def _verdicts(seed: int, runs: int, form: Form, fault: str, stride: int) -> Iterator[Verdict | JourneyVerdict]:
    from spicehop.demo.simulated_server import SimulatedServer
    from spicehop.simulator import FAULTS, drawn, every_step, explore
    from spicehop.simulator.journeys import explore_journeys, mishap_at_every_step
    from spicehop.simulator.mishaps import MISHAPS
    from spicehop.simulator.moving import journey

    known = {Form.QEMU: dict.fromkeys(FAULTS), Form.SPICEHOP: dict.fromkeys(MISHAPS)}
    forms: tuple[Form, ...] = (Form.QEMU, Form.SPICEHOP) if form is Form.BOTH else (form,)
    if fault:
        names = dict.fromkeys(name for one in forms for name in known[one])
        if fault not in names:
            raise UsageError(f"no fault is called {fault!r}; they are {', '.join(names)}")
        forms = tuple(one for one in forms if fault in known[one])
    for one in forms:
        if one is Form.QEMU:
            yield from every_step(drawn(seed), (fault,), stride=stride) if fault else explore(seed, runs)
        elif fault:
            yield from mishap_at_every_step(journey(seed), SimulatedServer, (fault,), stride=stride)
        else:
            yield from explore_journeys(seed, runs, SimulatedServer)


def _counting(*, wanted: bool) -> AbstractContextManager[Any]:
    if not wanted:
        return nullcontext()
    from spicehop.demo import simulated_server  # noqa: F401 - what is counted has to be imported before
    from spicehop.simulator.coverage import counted

    return counted()


def _taken(rows: Any) -> dict[str, dict[str, int]]:
    from spicehop.simulator.coverage import TABLES, named

    return {name: {named(row): rows[name][row] for row in table} for name, table in TABLES.items()}


def _name(verdict: Verdict | JourneyVerdict) -> str:
    words = verdict.as_json()
    name = f"form {words['form']}, seed {words['seed']}"
    return f"{name}, {words['fault']}" if words["fault"] else name
