"""A guest's state in pages: what the target has of it already, and what still has to go.

The state goes ahead while the guest runs; at the switch-over only pages that have changed since go once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from spicehop.errors import ProtocolError
from spicehop.wire.guest_stream import DIGEST_BYTES, PAGE_BYTES, End, Page

MAX_STATE = 64 * 1024 * 1024
"""Largest state of a guest that is taken."""


class PageLedger:
    """The source's side: what was sent."""

    def __init__(self) -> None:
        self._sent = bytearray()

    def changed(self, state: bytes) -> list[int]:
        """Offsets of the pages of `state` that the target does not have so; an empty state has none."""
        # Slices that are copied compare many times as fast as views.
        sent, page, length = self._sent, PAGE_BYTES, len(state)
        return [at for at in range(0, length, page) if sent[at : min(at + page, length)] != state[at : at + page]]

    def page(self, state: bytes, at: int) -> Page:
        """That page, which is then counted as sent. Pages go in order, so that there are no holes."""
        data = state[at : at + PAGE_BYTES]
        self._sent[at : at + len(data)] = data
        return Page(at, data)

    def rest(self, state: bytes) -> Iterator[Page]:
        """Everything that is missing for `state`."""
        for at in self.changed(state):
            yield self.page(state, at)


class PageStore:
    """The target's side: what has come. It holds no more than was sent to it."""

    def __init__(self, limit: int = MAX_STATE) -> None:
        self._limit = limit
        self._state = bytearray()

    def __len__(self) -> int:
        return len(self._state)

    def take(self, page: Page) -> None:
        """Put a page in its place; `ProtocolError` for one that leaves a hole or goes beyond the limit."""
        end = page.offset + len(page.data)
        if page.offset > len(self._state) or len(page.data) > PAGE_BYTES:
            raise ProtocolError(f"a page at {page.offset} does not join the {len(self._state)} bytes before it")
        if end > self._limit:
            raise ProtocolError(f"a guest's state of more than {self._limit} bytes is not taken")
        self._state[page.offset : end] = page.data

    def complete(self, end: End) -> bytes:
        """The state; `ProtocolError` when it is not what the source says it is."""
        if end.length > len(self._state):
            raise ProtocolError(f"{len(self._state)} of {end.length} bytes of the guest's state came")
        state = bytes(self._state[: end.length])
        if bytes(end.digest) != digest(state):
            raise ProtocolError("the guest's state is not what the source has sent")
        return state


def digest(state: bytes) -> bytes:
    """The checksum of a whole state."""
    return hashlib.blake2b(state, digest_size=DIGEST_BYTES).digest()


def end_of(state: bytes, *, runs: bool) -> End:
    """The frame that closes this state."""
    return End(len(state), tuple(digest(state)), int(runs))
