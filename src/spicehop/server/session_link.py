"""What the direct link is for: sessions go over it from host to host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spicehop.server.direct_link_keeper import DirectLinkKeeper
from spicehop.wire.direct_link import LinkMessage, Side


class SessionEnd(Protocol):
    """What speaks at one end of the link: the clients' leaving at the source, their arriving at the target."""

    def link_opened(self, say: Callable[[LinkMessage], None]) -> None:
        """There is a link; `say` sends a message."""

    def link_message(self, message: LinkMessage) -> None:
        """The other server says something."""

    def link_lost(self, reason: str) -> None:
        """The link is gone."""


class SessionLink:
    """Gives each link to the end that this server is."""

    def __init__(self, keeper: DirectLinkKeeper, *, leaving: SessionEnd, arriving: SessionEnd) -> None:
        self._keeper = keeper
        self._leaving = leaving
        self._arriving = arriving
        keeper.changed = self._changed

    def _changed(self) -> None:
        opened = self._keeper.link
        if opened is None:
            return
        end = self._arriving if self._keeper.side is Side.TARGET else self._leaving
        opened.message_received = end.link_message
        opened.closed = end.link_lost
        end.link_opened(opened.send)
