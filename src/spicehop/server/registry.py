"""The sessions of a server by their connection ids."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from spicehop.server.session import ServedSession


class SessionRegistry:
    """Knows who is there. A connection id cannot be guessed: it lets channels in."""

    def __init__(self, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self.random_bits = random_bits
        """Where ids come from."""
        self._by_id: dict[int, ServedSession] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[ServedSession]:
        return iter(tuple(self._by_id.values()))

    def new_ids(self) -> tuple[int, int]:
        """The number and the connection id of the next session."""
        self._count += 1
        while True:
            connection_id = self.random_bits(32)
            if connection_id and connection_id not in self._by_id:
                return self._count, connection_id

    def add(self, session: ServedSession) -> None:
        """A session begins."""
        self._by_id[session.connection_id] = session

    def remove(self, session: ServedSession) -> None:
        """A session is over."""
        self._by_id.pop(session.connection_id, None)

    def find(self, connection_id: int) -> ServedSession | None:
        """The session of a connection id."""
        return self._by_id.get(connection_id)
