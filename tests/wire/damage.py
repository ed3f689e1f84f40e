"""Every way to cut and to flip bytes, and the one thing that may come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from spicehop.errors import ProtocolError


def truncations(data: bytes) -> Iterator[bytes]:
    """All shorter beginnings."""
    for size in range(len(data)):
        yield data[:size]


def bit_flips(data: bytes) -> Iterator[bytes]:
    """All variants with one bit turned."""
    for position in range(len(data)):
        for bit in range(8):
            yield data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def forged_counts(data: bytes) -> Iterator[bytes]:
    """All variants with four bytes in a row at their greatest, where a count or an offset might be."""
    for position in range(len(data) - 3):
        yield data[:position] + b"\xff\xff\xff\xff" + data[position + 4 :]


def survives(decode: Callable[[bytes], Any], data: bytes) -> bool:
    """Whether `decode` makes something of the bytes; anything but `ProtocolError` goes through to the test."""
    try:
        decode(data)
    except ProtocolError:
        return False
    return True
