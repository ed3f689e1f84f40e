"""The clock for sound and video: what MAIN_INIT, START, DATA and STREAM_DATA carry, in milliseconds.

A session that moves keeps its clock, for a client plays by it: a clock that jumps back, or ahead by more than half a
second, makes a stock client begin anew (dossier F).
"""

from __future__ import annotations

_MILLISECONDS = 1000
_U32 = 0xFFFFFFFF
MOST_ON_THE_WAY = 10.0
"""Seconds that a state can have been on its way; two hosts whose clocks differ by more are not believed."""


class MediaClock:
    """A server's; all its clients have the same."""

    def __init__(self) -> None:
        self._offset = 0
        self._adopted = False

    def time(self, now: float) -> int:
        """Milliseconds, in 32 bits."""
        return (int(now * _MILLISECONDS) + self._offset) & _U32

    def adopt(self, media_time: int, saved_at: float, now: float, wall_now: float) -> None:
        """Go on with the clock of a session that comes: it showed `media_time` at `saved_at` seconds since 1970, where
        it was saved. Of the sessions that come the first decides, for they come from one server.
        """
        if self._adopted:
            return
        on_the_way = wall_now - saved_at
        if not 0 <= on_the_way <= MOST_ON_THE_WAY:
            on_the_way = 0.0
        self._offset = media_time + int(on_the_way * _MILLISECONDS) - int(now * _MILLISECONDS)
        self._adopted = True
