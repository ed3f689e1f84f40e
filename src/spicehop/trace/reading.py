"""Trace files back into records, and several of them into one timeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import TextIO

from spicehop.errors import OperationError, UsageError
from spicehop.trace.record import Record

MAX_LINE = 1 << 20
"""Longest line accepted, in characters. Our own lines stay far below; a foreign file may have no line ends at all."""


def read(path: str | PathLike[str], *, offset: float = 0.0) -> list[Record]:
    """The records of one JSON-lines file, each time moved by `offset` seconds.

    Raises OperationError when the file cannot be read and UsageError, with the line's number, when it is no trace.
    An unfinished last line is left out: the process that wrote it was killed.
    """
    name = fspath(path)
    records: list[Record] = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in _lines(file):
                try:
                    record = Record.from_line(line)
                except UsageError as error:
                    if not line.endswith("\n") and records:
                        break
                    raise UsageError(f"{name}, line {number}: {error}; is this a trace of spicehop?") from None
                records.append(replace(record, time=record.time + offset) if offset else record)
    except OSError as error:
        raise OperationError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        last = len(records) + 1
        raise UsageError(f"{name}, line {last} or later: this is not text; is this a trace of spicehop?") from None
    if not records:
        raise UsageError(f"{name}, line 1: there is no record in this file; is this a trace of spicehop?")
    return records


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if line.strip():
            yield number, line


def merge(*timelines: Iterable[Record]) -> list[Record]:
    """All records in the order of their times; equal times keep the order in which the timelines were given."""
    return sorted((record for timeline in timelines for record in timeline), key=lambda record: record.time)


def read_all(paths: Sequence[str | PathLike[str]], *, offsets: Mapping[str, float] | None = None) -> list[Record]:
    """Several files as one timeline. `offsets` moves the records of the file of that name by seconds.

    Raises what `read` raises, and UsageError for an offset of a file that is not among `paths`.
    """
    moved = dict(offsets or {})
    timelines = [read(path, offset=moved.pop(fspath(path), 0.0)) for path in paths]
    if moved:
        raise UsageError(f"there is an offset for {', '.join(moved)}, which is not among the files to read")
    return merge(*timelines)
