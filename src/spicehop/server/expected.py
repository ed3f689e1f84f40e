"""Which clients may come here from another server: those that management, or the source itself, has announced."""

from __future__ import annotations

from collections.abc import Iterable


class ExpectedClients:
    """Connection ids. An announcement is used up when its client has linked its main channel."""

    def __init__(self) -> None:
        self._by_management: set[int] = set()
        self._by_source: set[int] = set()

    def announce(self, ids: Iterable[int]) -> None:
        """By management; takes the place of what it has announced before."""
        self._by_management = set(ids)

    def announce_one(self, connection_id: int) -> None:
        """By the source, over the direct link."""
        self._by_source.add(connection_id)

    def forget_source(self) -> None:
        """The direct link is gone."""
        self._by_source.clear()

    def accepts(self, connection_id: int) -> bool:
        """Whether it was announced."""
        return connection_id in self._by_management or connection_id in self._by_source

    def arrived(self, connection_id: int) -> None:
        """The client is here: nobody else comes under its id."""
        self._by_management.discard(connection_id)
        self._by_source.discard(connection_id)
