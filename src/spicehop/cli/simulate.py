"""`spicehop simulate`: many migrations against model peers, with faults, judged by invariants."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from spicehop.errors import OperationError, UsageError

if TYPE_CHECKING:
    from spicehop.simulator import Verdict


def command(
    seed: Annotated[int, typer.Option(min=0, help="The first seed; it decides everything about a run.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="How many runs, each with the next seed.")] = 20,
    fault: Annotated[str, typer.Option(help="Only this fault, at every step of the situation of --seed.")] = "",
    stride: Annotated[int, typer.Option(min=1, help="With --fault: at every so many steps only.")] = 25,
    show: Annotated[bool, typer.Option("--chart", help="Print the sequence chart of a failed run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Run migrations against model peers on a virtual clock, with faults.

    No socket is opened and no time passes. A run is bad when a port byte or a key came twice, in the wrong order or got
    lost without anything to charge it to, when somebody waited without a deadline, or when a report was not true.
    """
    counts: Counter[str] = Counter()
    failed: list[Verdict] = []
    for verdict in _verdicts(seed, runs, fault, stride):
        counts[verdict.outcome or "unfinished"] += 1
        if not verdict.good:
            failed.append(verdict)
            if not as_json:
                typer.echo(f"{_name(verdict)}: {'; '.join(verdict.violations)}")
                if show:
                    typer.echo(verdict.chart)
    total = sum(counts.values())
    if as_json:
        typer.echo(json.dumps({"runs": total, "outcomes": dict(counts), "failed": [_as_json(one) for one in failed]}))
    else:
        endings = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
        typer.echo(f"{total} runs ({endings}), {len(failed)} failed")
    if failed:
        if as_json:
            raise typer.Exit(1)
        raise OperationError(f"{len(failed)} of {total} simulated runs failed, the first with {_name(failed[0])}")


def _verdicts(seed: int, runs: int, fault: str, stride: int) -> Iterator[Verdict]:
    from spicehop.simulator import FAULTS, drawn, every_step, explore

    if not fault:
        return explore(seed, runs)
    if fault not in FAULTS:
        raise UsageError(f"no fault is called {fault!r}; they are {', '.join(FAULTS)}")
    return every_step(drawn(seed), (fault,), stride=stride)


def _name(verdict: Verdict) -> str:
    fault = f", {verdict.fault}" if verdict.fault is not None else ""
    return f"seed {verdict.situation.seed}{fault}"


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "seed": verdict.situation.seed,
        "scheme": verdict.situation.scheme,
        "fault": str(verdict.fault) if verdict.fault is not None else "",
        "outcome": verdict.outcome,
        "violations": list(verdict.violations),
    }
