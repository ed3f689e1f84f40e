"""What the direct link is for: sessions go over it from host to host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from spicehop.errors import OperationError
from spicehop.migration.leaving import ClientTarget
from spicehop.server.direct_link_keeper import DirectLinkKeeper
from spicehop.wire.direct_link import LinkMessage, Side

PROBE_SECONDS = 1.0
"""For a target to let a client in."""


class SessionEnd(Protocol):
    """What speaks at one end of the link: the clients' leaving at the source, their arriving at the target."""

    @property
    def link_in_use(self) -> bool:
        """Whether sessions are on their way over it."""

    def link_opened(self, say: Callable[[LinkMessage], None]) -> None:
        """There is a link; `say` sends a message."""

    def link_message(self, message: LinkMessage) -> None:
        """The other server says something."""

    def link_lost(self, reason: str) -> None:
        """The link is gone."""


class LeavingEnd(SessionEnd, Protocol):
    """At the source."""

    last_target: ClientTarget | None

    def link_interrupted(self) -> bool:
        """The link is gone; whether sessions need another one, which then must come, or `link_lost`."""

    def link_lost(self, reason: str, *, target_lives: bool = False) -> None:
        """The link is gone for good; `target_lives` when the target can be reached all the same."""


class SessionLink:
    """Gives each link to the end that this server is. The source makes a link anew that was cut under sessions."""

    def __init__(self, keeper: DirectLinkKeeper, *, leaving: LeavingEnd, arriving: SessionEnd) -> None:
        self._keeper = keeper
        self._leaving = leaving
        self._arriving = arriving
        self._calling: asyncio.Task[None] | None = None
        keeper.changed = self._changed
        keeper.in_use = lambda: leaving.link_in_use or arriving.link_in_use

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
            target = self._leaving.last_target
            lives = target is not None and await _answers(target)
            self._leaving.link_lost(f"{reason}, and {error}", target_lives=lives)


async def _answers(target: ClientTarget) -> bool:
    """Whether somebody listens where clients go."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            transport, _ = await loop.create_connection(asyncio.Protocol, target.host, target.port or target.tls_port)
    except (OSError, UnicodeError, TimeoutError):
        return False
    transport.close()
    return True
