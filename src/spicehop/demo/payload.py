"""Numbered bytes for the port, the guest's clipboard text, and the checksum that the guest computes of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from spicehop.demo.serial import PortTotal

RECORD = 16
"""Bytes of one record of the port's stream: fifteen digits and a line feed."""
FNV_START = 0x811C9DC5
_FNV_PRIME = 0x01000193
_RECORD = re.compile(rb"(\d{15})\n")


def fnv1a(data: bytes, start: int = FNV_START) -> int:
    """FNV-1a with 32 bits, as the guest computes it."""
    value = start
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def numbered_bytes(offset: int, size: int) -> bytes:
    """`size` bytes of the port's stream from `offset` on."""
    first = offset // RECORD
    last = -(-(offset + size) // RECORD)
    records = b"".join(b"%015d\n" % number for number in range(first, last))
    return records[offset - first * RECORD :][:size]


POURED_PERIOD = RECORD << 17
"""Bytes after which the stream for high rates begins anew."""


@cache
def _pattern() -> bytes:
    return numbered_bytes(0, POURED_PERIOD)


def poured_bytes(offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on of a stream for high rates: numbered records that begin anew after 2 MiB."""
    pattern = _pattern()
    first = offset % len(pattern)
    part = pattern[first : first + size]
    while len(part) < size:
        part += pattern[: size - len(part)]
    return part


def clipboard_text(size: int) -> bytes:
    """The text that the guest's agent offers on F5, `size` bytes long (the guest's parameter `clip`)."""
    return b"".join(b"clip %08d\n" % number for number in range(-(-size // 14)))[:size]


@dataclass(frozen=True, slots=True)
class PortCount:
    """What became of the bytes of the port's stream."""

    sent: int
    """Bytes written by the client."""
    received: int
    """Bytes of the stream that came back, each counted once."""
    lost: int
    duplicated: int
    in_order: bool
    checksums_match: bool
    """Whether each total in the guest's log has the checksum of as many bytes of the stream."""
    guest_received: int
    """Bytes that the guest counted."""

    @property
    def is_complete(self) -> bool:
        return (
            self.lost == self.duplicated == 0
            and self.in_order
            and self.checksums_match
            and self.sent == self.guest_received
        )


def count_port(sent: int, echoed: bytes, totals: Sequence[PortTotal]) -> PortCount:
    """Judges a stream of `sent` numbered bytes by what was echoed and by the guest's own totals.

    When something is missing, whole records are counted; the rest of a cut record counts as lost.
    """
    guest_received = max((total.size for total in totals), default=0)
    matches = _checksums_match(totals)
    if echoed == numbered_bytes(0, len(echoed)) and len(echoed) <= sent:
        return PortCount(sent, len(echoed), sent - len(echoed), 0, True, matches, guest_received)
    numbers = [int(found) for found in _RECORD.findall(echoed)]
    distinct = {number for number in numbers if number < -(-sent // RECORD)}
    received = min(sent, len(distinct) * RECORD)
    duplicated = (len(numbers) - len(distinct)) * RECORD
    in_order = numbers == sorted(numbers)
    return PortCount(sent, received, sent - received, duplicated, in_order, matches, guest_received)


def _checksums_match(totals: Iterable[PortTotal]) -> bool:
    """Computes the checksum of the stream once, stopping at each size that the guest has named."""
    size, value = 0, FNV_START
    for total in sorted(totals, key=lambda total: total.size):
        value = fnv1a(numbered_bytes(size, total.size - size), value)
        size = total.size
        if value != total.checksum:
            return False
    return True
