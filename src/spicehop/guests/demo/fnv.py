"""FNV-1a with 32 bits, fast enough to check a stream while it runs.

The checksum is a chain of one multiplication a byte. Its lowest eight bits do not depend on the others, so they are
found first, bit by bit for all bytes at once; with them the rest is a plain sum of products.
"""

from __future__ import annotations

import numpy as np

from spicehop.guests.demo.colours import Bytes
from spicehop.wire.layout import Data

FNV_START = 0x811C9DC5
FNV_PRIME = 0x01000193
_LOW_PRIME = np.uint8(FNV_PRIME & 0xFF)
_BLOCK = 16_384
_SHORT = 32

_powers = np.full(_BLOCK + 1, FNV_PRIME, np.uint32)
_powers[0] = 1
np.multiply.accumulate(_powers, out=_powers)


def fnv1a(data: Data, start: int = FNV_START) -> int:
    """The checksum of `data`, continuing one of what came before it."""
    if len(data) <= _SHORT:
        for byte in data:
            start = ((start ^ byte) * FNV_PRIME) & 0xFFFF_FFFF
        return start
    every = np.frombuffer(data, np.uint8)
    for first in range(0, len(every), _BLOCK):
        start = _block(every[first : first + _BLOCK], start)
    return start


def _block(data: Bytes, start: int) -> int:
    size = len(data)
    lowest = np.zeros(size, np.uint8)  # the lowest eight bits that each byte meets, as far as they are known
    mixed = np.zeros(size, np.uint8)  # and the same with the byte mixed in
    bits = np.empty(size, np.uint8)
    for bit in range(8):
        mask = np.uint8(1 << bit)
        given = data & mask
        # The product's bit is that of the lower bits' product, and this bit itself, for the prime is odd.
        bits[0] = start & 1 << bit
        np.bitwise_xor(mixed[:-1] * _LOW_PRIME & mask, given[:-1], out=bits[1:])
        np.bitwise_xor.accumulate(bits, out=bits)
        lowest |= bits
        mixed |= bits ^ given
    difference = mixed.astype(np.int32) - lowest
    total = int(np.dot(difference.astype(np.uint32), _powers[size:0:-1]))
    return (start * int(_powers[size]) + total) & 0xFFFF_FFFF
