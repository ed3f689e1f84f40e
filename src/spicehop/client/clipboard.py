"""The guest's clipboard, as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spicehop.channels.agent import Agent
from spicehop.errors import ConnectionLost, OperationError, StateError, UsageError
from spicehop.wire.agent_constants import ClipboardType


class Clipboard:
    """Shares text with the guest through its agent; needs an agent that shares its clipboard."""

    def __init__(self, agent: Agent, changed: Callable[[], None]) -> None:
        self._agent = agent
        self._changed = changed
        self._wakeup = asyncio.Event()
        self._ended = False
        self._fetches = 0

    @property
    def available(self) -> bool:
        """Whether the guest has an agent that shares its clipboard."""
        return self._agent.has_clipboard

    @property
    def offers_text(self) -> bool:
        """Whether the guest has put text on its clipboard."""
        return ClipboardType.UTF8_TEXT in self._agent.offered

    @property
    def queued(self) -> int:
        """Bytes for the guest's agent that are not yet sent."""
        return self._agent.bytes_queued

    async def write(self, text: str, *, timeout: float = 5.0) -> None:
        """Put `text` on the clipboard; the guest fetches it when something there pastes.

        `StateError` when the guest has no agent with a clipboard within `timeout` seconds.
        """
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            raise UsageError("the text holds half a character, which no clipboard takes") from None
        await self._until(lambda: self.available, timeout, "the guest has no agent that shares its clipboard")
        self._fetches = self._agent.fetches
        self._agent.offer_text(encoded)
        self._changed()

    async def wait_fetched(self, timeout: float = 30.0) -> None:
        """Wait until the guest has fetched what was last written; `StateError` when it has not by then."""
        await self._until(self._is_fetched, timeout, "the guest did not fetch the clipboard")

    def _is_fetched(self) -> bool:
        return self._agent.fetches > self._fetches and not self._agent.bytes_queued

    async def read(self, *, timeout: float = 30.0) -> str:
        """The text on the guest's clipboard; `StateError` when it holds none within `timeout` seconds.

        `OperationError` when the guest's agent sends what cannot be read.
        """
        await self._until(lambda: self.offers_text, timeout, "the guest's clipboard offers no text")
        before = self._agent.receptions
        self._agent.request_text()
        self._changed()
        await self._until(lambda: self._agent.receptions > before, timeout, "the guest did not send its clipboard")
        return (self._agent.received or b"").decode("utf-8", "replace")

    async def wait_for_text(self, timeout: float = 30.0) -> None:
        """Wait until the guest offers text."""
        await self._until(lambda: self.offers_text, timeout, "the guest's clipboard offers no text")

    async def _until(self, condition: Callable[[], bool], timeout: float, otherwise: str) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    if self._ended:
                        raise ConnectionLost("the session has ended")
                    if self._agent.trouble:
                        raise OperationError(self._agent.trouble)
                    self._wakeup.clear()
                    await self._wakeup.wait()
        except TimeoutError:
            raise StateError(otherwise) from None

    def wake(self) -> None:
        """For the session: look again."""
        self._wakeup.set()

    def end(self) -> None:
        """For the session: it is over."""
        self._ended = True
        self._wakeup.set()
