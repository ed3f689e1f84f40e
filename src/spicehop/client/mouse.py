"""The session's pointer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spicehop.channels.inputs import InputsChannel
from spicehop.channels.main import MainChannel
from spicehop.errors import ConnectionLost, StateError
from spicehop.wire.constants import MouseButton, MouseMode


class Mouse:
    """Moves and clicks. In client mode positions are absolute, in pixels; in server mode movements are relative."""

    def __init__(
        self, main: MainChannel, channel: Callable[[], InputsChannel | None], changed: Callable[[], None]
    ) -> None:
        self._main = main
        self._inputs = channel
        self._changed = changed

    @property
    def absolute(self) -> bool:
        """Whether `move` takes positions; else it takes movements."""
        return self._main.mouse_mode == MouseMode.CLIENT

    def move(self, x: int, y: int) -> None:
        """Move to (x, y) when `absolute`, else by (x, y)."""
        self._channel().move(x, y, self._main.mouse_mode)
        self._changed()

    def down(self, button: int = MouseButton.LEFT) -> None:
        """Press a `MouseButton`."""
        self._channel().button_down(button)
        self._changed()

    def up(self, button: int = MouseButton.LEFT) -> None:
        """Release a `MouseButton`."""
        self._channel().button_up(button)
        self._changed()

    async def click(self, button: int = MouseButton.LEFT, *, seconds: float = 0.02) -> None:
        """Press and release a button."""
        self.down(button)
        try:
            await asyncio.sleep(seconds)
        finally:
            try:
                self.up(button)
            except ConnectionLost:
                pass  # a session that has ended has released it

    def _channel(self) -> InputsChannel:
        channel = self._inputs()
        if channel is None:
            raise StateError("the server has no inputs channel")
        return channel
