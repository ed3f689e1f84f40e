"""The guest's log: lines as the demo's guest under QEMU writes them to its serial line.

Each is `<ROLE> <sequence> <what> name=value ...`; the sequence counts the lines of the role, also over migrations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum


class Role(IntEnum):
    """Who writes a line."""

    INIT = 0
    SCREEN = 1
    KEYS = 2
    ECHO = 3
    AGENT = 4


class GuestLog:
    """Numbers the lines and hands each, without its line feed, to `write`."""

    def __init__(self, write: Callable[[str], None] | None) -> None:
        self._write = write
        self._sequences = [0] * len(Role)

    def line(self, role: Role, text: str, *, time: float | None = None) -> None:
        """Write a line; with `time` it ends with the guest's clock."""
        sequence = self._sequences[role]
        self._sequences[role] = sequence + 1
        if self._write is not None:
            stamp = "" if time is None else f" t={time:.6f}"
            self._write(f"{role.name} {sequence} {text}{stamp}")

    @property
    def sequences(self) -> tuple[int, ...]:
        """The number of the next line, by role."""
        return tuple(self._sequences)

    def restore(self, sequences: Sequence[int]) -> None:
        """Go on after a log that had these `sequences`."""
        self._sequences[:] = sequences
