"""A timeline as a table of plain text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from spicehop.trace.analysis import Migration, migrations
from spicehop.trace.record import Record
from spicehop.trace.redaction import JSON

_HEAD = ("ms", "party", "session", "channel", "event", "detail")
_PER_CHANNEL = ("flush", "data", "swap", "moved")


def table(records: Iterable[Record], *, detail_width: int = 72) -> str:
    """All records, one a line, times in milliseconds since the first one; longer details are cut.

    A blank line separates migrations.
    """
    ordered = sorted(records, key=lambda record: record.time)
    if not ordered:
        return "no records\n"
    begin = ordered[0].time
    openers = {id(migration.records[0]) for migration in migrations(ordered)}
    rows = [(record, _row(record, begin, detail_width)) for record in ordered]
    widths = [max(len(_HEAD[i]), *(len(row[i]) for _, row in rows)) for i in range(len(_HEAD))]
    lines = [_line(_HEAD, widths), _line(tuple("-" * width for width in widths), widths)]
    for record, row in rows:
        if id(record) in openers and len(lines) > 2:
            lines.append("")
        lines.append(_line(row, widths))
    return "\n".join(lines) + "\n"


def phase_table(migration: Migration) -> str:
    """The phases of one migration: when each began after the announcement, and how long it took."""
    head = ("phase", "channel", "begins, ms", "takes, ms")
    rows = [
        (phase.label, phase.channel, _ms(phase.start - migration.begin), _ms(phase.duration))
        for phase in sorted(migration.phases, key=lambda phase: (phase.start, phase.end))
    ]
    widths = [max(len(head[i]), *(len(row[i]) for row in rows)) if rows else len(head[i]) for i in range(4)]
    lines = [
        "  ".join(
            (cells[0].ljust(widths[0]), cells[1].ljust(widths[1]), cells[2].rjust(widths[2]), cells[3].rjust(widths[3]))
        ).rstrip()
        for cells in (head, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join(lines) + "\n"


def detail_text(detail: Mapping[str, JSON]) -> str:
    """`name=value` pairs; values that are not plain words as JSON. What QMP has under `data` is shown without it."""
    flat: dict[str, JSON] = {}
    for name, value in detail.items():
        if name == "data" and isinstance(value, Mapping):
            flat.update(value)
        else:
            flat[name] = value
    return " ".join(f"{name}={_value(value)}" for name, value in flat.items() if value not in (None, ""))


def _value(value: JSON) -> str:
    if isinstance(value, str) and value and not any(c.isspace() or not c.isprintable() for c in value):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _row(record: Record, begin: float, detail_width: int) -> tuple[str, ...]:
    detail = detail_text(record.detail)
    if len(detail) > detail_width:
        detail = detail[: detail_width - 1] + "…"
    session = str(record.session) if record.session else ""
    return (_ms(record.time - begin), record.party, session, record.channel, record.event, detail)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first = cells[0].rjust(widths[0])
    rest = (cell.ljust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join((first, *rest)).rstrip()
