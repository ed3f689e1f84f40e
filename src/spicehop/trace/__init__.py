"""One timeline of a migration: records, where they go, and what they tell.

with Trace("client", time.monotonic, FileSink("client.jsonl")) as trace:
    trace.record("migration.begin", session=7, scheme="seamless", host="b", port=5930)

records = read_all(["client.jsonl", "conductor.jsonl"])
print(table(records), *explain(records), sep="\\n")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from spicehop.trace.record import Record
from spicehop.trace.recorder import Trace
from spicehop.trace.redaction import redacted
from spicehop.trace.sinks import CallbackSink, FileSink, MemorySink, Sink

if TYPE_CHECKING:
    from spicehop.trace.analysis import Migration, Phase, migrations, phases
    from spicehop.trace.diagnosis import explain
    from spicehop.trace.reading import merge, read, read_all
    from spicehop.trace.text import phase_table, table

__all__ = [
    "CallbackSink",
    "FileSink",
    "MemorySink",
    "Migration",
    "Phase",
    "Record",
    "Sink",
    "Trace",
    "explain",
    "merge",
    "migrations",
    "phase_table",
    "phases",
    "read",
    "read_all",
    "redacted",
    "table",
]

_READING = {
    "Migration": "analysis",
    "Phase": "analysis",
    "explain": "diagnosis",
    "merge": "reading",
    "migrations": "analysis",
    "phase_table": "text",
    "phases": "analysis",
    "read": "reading",
    "read_all": "reading",
    "table": "text",
}


def __getattr__(name: str) -> object:
    """What reads traces is imported when it is used: whoever only writes one, such as a server, needs none of it."""
    if name not in _READING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_READING[name]}"), name)
