"""Sets of bits as lists of 32 bit words, as capabilities are sent (dossier A.6): bit n is in word n // 32."""

from __future__ import annotations

from collections.abc import Iterable


def words_of(bits: Iterable[int]) -> tuple[int, ...]:
    """As few words as hold the bits."""
    words: list[int] = []
    for bit in bits:
        words += [0] * (bit // 32 + 1 - len(words))
        words[bit // 32] |= 1 << bit % 32
    return tuple(words)


def bits_of(words: Iterable[int]) -> frozenset[int]:
    """The bits that the words hold."""
    return frozenset(32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1)
