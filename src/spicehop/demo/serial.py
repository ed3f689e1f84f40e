"""Reads what the demo guest wrote to its serial line: the judge of what the guest has seen.

Each line is `<ROLE> <sequence> <what> name=value ...`. A migrated guest goes on writing at the QEMU it came to, often
in the middle of a line, so the files of all hops are joined in the order of the hops before they are read. The
sequence numbers of each role show whether a line is missing or doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"(INIT|SCREEN|KEYS|ECHO|AGENT) (\d+) (\S+) ?(.*)")
_KERNEL = re.compile(r"\[ *\d+\.\d+\] ")
"""What the kernel has to say while it boots is no fault of the guest's."""
_FIELD = re.compile(r"(\w+)=(\S*)")
PRESSED = 1
RELEASED = 0
REPEATED = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the guest."""

    role: str
    sequence: int
    """Counts the lines of this role from 0."""
    what: str
    fields: Mapping[str, str]

    def number(self, name: str, base: int = 10) -> int:
        return int(self.fields[name], base)

    @property
    def time(self) -> float:
        """The guest's own monotonic clock in seconds; 0 when the line has no time."""
        return float(self.fields.get("t", "0"))


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """One key event of the guest's keyboard."""

    number: int
    """Counts key events from 0."""
    code: int
    """Linux key code; for the keys of the main block the same as the scan code."""
    value: int
    """PRESSED, RELEASED or REPEATED."""
    time: float


@dataclass(frozen=True, slots=True)
class PortTotal:
    """What the echo port had received at one moment."""

    size: int
    """Bytes since the guest's start."""
    checksum: int
    """FNV-1a, 32 bits, of all of them."""
    why: str
    """`total` (every 64 KiB, and when idle), `sync` (F6), `closed` or `open` (the host's side of the port)."""


@dataclass(frozen=True, slots=True)
class ClipboardText:
    """A text that the guest's agent has received or sent."""

    received: bool
    size: int
    checksum: int
    """FNV-1a, 32 bits."""


@dataclass(frozen=True, slots=True)
class SerialLog:
    """The lines of one guest over all its hops, and what is wrong with them."""

    lines: tuple[Line, ...]
    faults: tuple[str, ...]
    """Sentences: lines missing, doubled or unreadable, and what the guest itself reported as a fault."""

    def of(self, role: str, *whats: str) -> tuple[Line, ...]:
        """The lines of a role, all or only those that say one of `whats`."""
        return tuple(line for line in self.lines if line.role == role and (not whats or line.what in whats))

    @property
    def is_ready(self) -> bool:
        return bool(self.of("INIT", "READY"))

    @property
    def keys(self) -> tuple[KeyEvent, ...]:
        return tuple(
            KeyEvent(line.number("n"), line.number("code"), line.number("value"), line.time)
            for line in self.of("KEYS", "key")
        )

    @property
    def port_totals(self) -> tuple[PortTotal, ...]:
        return tuple(
            PortTotal(line.number("bytes"), line.number("fnv", 16), line.what)
            for line in self.of("ECHO", "total", "sync", "closed", "open")
        )

    @property
    def clipboard_texts(self) -> tuple[ClipboardText, ...]:
        return tuple(
            ClipboardText(line.what == "clipboard-received", line.number("bytes"), line.number("fnv", 16))
            for line in self.of("AGENT", "clipboard-received", "clipboard-sending")
        )

    @property
    def syncs(self) -> int:
        """How often F6 was answered by the keys, and so by every role that came to it."""
        return len(self.of("KEYS", "sync"))

    @property
    def is_frozen(self) -> bool:
        """Whether the guest's drawing stands still (F7)."""
        return len(self.of("SCREEN", "frozen")) > len(self.of("SCREEN", "drawing"))


def parse_serial(text: str) -> SerialLog:
    """Reads the joined text; a last line without its end is left for later."""
    lines: list[Line] = []
    faults: list[str] = []
    following: dict[str, int] = {}
    *complete, _ = text.replace("\r", "").split("\n")
    for row in complete:
        match = _LINE.fullmatch(row)
        if match is None:
            if row and not (_KERNEL.match(row) and not lines):
                faults.append(f"an unreadable line: {row[:120]!r}")
            continue
        role, sequence, what, rest = match[1], int(match[2]), match[3], match[4]
        expected = following.get(role, 0)
        if what == "fault":
            faults.append(f"the guest's {role} reported: {rest}")
        if sequence > expected:
            faults.append(f"{role} lines {expected} to {sequence - 1} are missing")
        elif sequence < expected and what != "fault":
            faults.append(f"{role} line {sequence} came again")
        following[role] = max(expected, sequence + 1)
        lines.append(Line(role, sequence, what, dict(_FIELD.findall(rest))))
    return SerialLog(tuple(lines), tuple(faults))


def read_serial(paths: Iterable[Path]) -> SerialLog:
    """Reads the serial logs of one guest, given in the order of its hops; a file that is not there yet is empty."""
    return parse_serial(b"".join(path.read_bytes() for path in paths if path.exists()).decode(errors="replace"))
