"""Where records go: memory, a file of JSON lines, or a function."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Protocol

from spicehop.errors import OperationError
from spicehop.trace.record import Record


class Sink(Protocol):
    """Takes the records of a trace, in the order in which they were made."""

    def accept(self, record: Record) -> None:
        """Take one record."""

    def close(self) -> None:
        """No record follows."""


class MemorySink:
    """Keeps the records in `records`; what tests assert on."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def accept(self, record: Record) -> None:
        self.records.append(record)

    def close(self) -> None:
        """Nothing to release: the records stay."""


class FileSink:
    """Writes one JSON line a record, each at once, so that a killed process leaves a readable file.

    Raises OperationError when the file cannot be opened. A disk that fills up later ends the file, never the session:
    `failure` then holds the sentence.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.failure = ""
        self._path = path
        try:
            self._file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            raise OperationError(f"the trace cannot be written to {path}: {error.strerror}") from None

    def accept(self, record: Record) -> None:
        if self.failure or self._file.closed:
            return
        try:
            self._file.write(record.to_line() + "\n")
        except OSError as error:
            self.failure = f"the trace in {self._path} ends early: {error.strerror}"

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or f"the trace in {self._path} ends early: {error.strerror}"


class CallbackSink:
    """Hands each record to `function`: live views and logs."""

    def __init__(self, function: Callable[[Record], None]) -> None:
        self._function = function

    def accept(self, record: Record) -> None:
        self._function(record)

    def close(self) -> None:
        """Nothing to release."""
