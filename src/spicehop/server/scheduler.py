"""When the server looks after everything: soon after something has happened, and when something is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SHORTEST_WAIT = 0.0005
"""Seconds between two turns of which the second is only due because of the first."""


class Scheduler:
    """Calls `turn(now)` whenever it was woken, and at the time that the last turn gave.

    A turn that raises was the last one: `failed` is told.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        turn: Callable[[float], float | None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._clock = clock
        self._turn = turn
        self._failed = failed
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.turns = 0

    def wake(self) -> None:
        """Have a turn soon; more calls until then are one."""
        if self._soon is None and not self._closed:
            self._soon = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._soon = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        self.turns += 1
        try:
            due = self._turn(self._clock())
        except Exception as error:
            self.close()
            self._failed(error)
            return
        if due is not None and not self._closed:
            delay = max(SHORTEST_WAIT, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._take_turn)

    def close(self) -> None:
        """No more turns."""
        self._closed = True
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
