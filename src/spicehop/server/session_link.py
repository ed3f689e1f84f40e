"""What the direct link is for: sessions go over it from host to host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from spicehop.errors import OperationError
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


class LeavingEnd(SessionEnd, Protocol):
    """At the source."""

    def link_interrupted(self) -> bool:
        """The link is gone; whether sessions need another one, which then must come, or `link_lost`."""


class SessionLink:
    """Gives each link to the end that this server is. The source makes a link anew that was cut under sessions."""

    def __init__(self, keeper: DirectLinkKeeper, *, leaving: LeavingEnd, arriving: SessionEnd) -> None:
        self._keeper = keeper
        self._leaving = leaving
        self._arriving = arriving
        self._calling: asyncio.Task[None] | None = None
        keeper.changed = self._changed

    def _changed(self) -> None:
        opened = self._keeper.link
        if opened is None:
            return
        is_target = self._keeper.side is Side.TARGET
        end = self._arriving if is_target else self._leaving
        opened.message_received = end.link_message
        opened.closed = end.link_lost if is_target else self._source_lost
        end.link_opened(opened.send)

    def _source_lost(self, reason: str) -> None:
        if self._keeper.may_call_again and self._leaving.link_interrupted():
            self._calling = asyncio.get_running_loop().create_task(self._call_again(reason))
        else:
            self._leaving.link_lost(reason)

    async def _call_again(self, reason: str) -> None:
        try:
            await self._keeper.call_again()
        except OperationError as error:
            self._leaving.link_lost(f"{reason}, and {error}")
