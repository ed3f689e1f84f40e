"""One timeline of a migration: records, where they go, and what they tell.

with Trace("client", time.monotonic, FileSink("client.jsonl")) as trace:
    trace.record("migration.begin", session=7, scheme="seamless", host="b", port=5930)

records = read_all(["client.jsonl", "conductor.jsonl"])
print(table(records), *explain(records), sep="\\n")
"""

from __future__ import annotations

from spicehop.trace.analysis import Migration, Phase, migrations, phases
from spicehop.trace.diagnosis import explain
from spicehop.trace.reading import merge, read, read_all
from spicehop.trace.record import Record
from spicehop.trace.recorder import Trace
from spicehop.trace.redaction import redacted
from spicehop.trace.sinks import CallbackSink, FileSink, MemorySink, Sink
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
