"""Collects pieces of a byte stream until enough is there to parse."""

from __future__ import annotations

from spicehop.wire.buffers import Data

_SMALL = 4096
"""Smaller pieces are gathered in one buffer: an object for each would cost more than its bytes."""


class Gatherer:
    """Holds what cannot be parsed yet. Costs at most two copies of a byte, and memory close to what is held.

    The caller feeds data, parses the view it gets, and gives back what it could not parse with `keep`.
    """

    __slots__ = ("_blocks", "_needed", "_tail", "held")

    def __init__(self) -> None:
        self.held = 0
        """Bytes that were fed and not yet parsed."""
        self._blocks: list[Data] = []
        self._tail = bytearray()
        self._needed = 0

    def feed(self, data: Data, minimum: int) -> memoryview | None:
        """All that is held, with `data` at its end; None as long as it is too little to go on."""
        if not self.held and len(data) >= max(self._needed, minimum):
            self.held = len(data)
            return memoryview(data)
        self._append(data)
        if self.held < max(self._needed, minimum):
            return None
        self._close_tail()
        whole = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        return memoryview(whole)

    def keep(self, rest: memoryview, needed: int) -> None:
        """Hold only `rest` from now on; parsing goes on when there are `needed` bytes, 0 when that is not known."""
        self.held = len(rest)
        self._blocks = [bytes(rest)] if self.held else []
        if self._tail:
            self._tail = bytearray()
        self._needed = needed

    def take(self) -> bytes:
        """Take all that is held away."""
        self._close_tail()
        rest = b"".join(self._blocks)
        self._blocks, self.held, self._needed = [], 0, 0
        return rest

    def _append(self, data: Data) -> None:
        self.held += len(data)
        if len(data) >= _SMALL:
            self._close_tail()
            self._blocks.append(data)
        else:
            self._tail += data

    def _close_tail(self) -> None:
        if self._tail:
            self._blocks.append(bytes(self._tail))
            self._tail = bytearray()
