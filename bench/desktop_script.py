"""A fixed piece of work at the demo guest's desktop, told by the guest's own seconds.

The film plays in its window and the log scrolls all the time, the planet moves in three of each eight seconds; five
keys a second are typed, with a new line after each eight letters; at a third and at two thirds a window is dragged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from spicehop.guests.demo import DemoGuest
from spicehop.guests.demo.geometry import Geometry
from spicehop.guests.demo.scene import WindowKind

WIDTH, HEIGHT = 1920, 1080
FPS = 25
_LETTERS = (0x1E, 0x30, 0x2E, 0x20, 0x12, 0x21, 0x22, 0x23, 0x1C)
_KEY_EVERY = 5  # frames
_DRAG_STEPS = 50
_LEFT = 1


class Work:
    """Does to a guest what is due; call `step` once for each frame."""

    def __init__(self, guest: DemoGuest, seconds: float) -> None:
        self.guest = guest
        self.frames = int(seconds * FPS)
        self.frame = 0
        self._drags: list[Iterator[None]] = []

    @property
    def done(self) -> bool:
        """Whether all of it is done."""
        return self.frame >= self.frames

    def step(self) -> None:
        """What happens before the next frame."""
        frame, guest = self.frame, self.guest
        if frame % _KEY_EVERY == 0:
            code = _LETTERS[frame // _KEY_EVERY % len(_LETTERS)]
            guest.key(bytes([code]))
            guest.key(bytes([code | 0x80]))
        if frame == self.frames // 3:
            self._drags.append(self._drag(WindowKind.FILM, -400, 250))
        elif frame == self.frames * 2 // 3:
            self._drags.append(self._drag(WindowKind.NOTES, 300, 200))
        for drag in self._drags:
            next(drag, None)
        self.frame += 1

    def _drag(self, kind: WindowKind, dx: int, dy: int) -> Iterator[None]:
        place = next(place for place in Geometry(WIDTH, HEIGHT).first_places() if place.kind == kind)
        x, y = place.x + 30, place.y + 6
        self.guest.pointer_placed(0, x, y, 0)
        self.guest.buttons_changed(_LEFT)
        for step in range(1, _DRAG_STEPS + 1):
            self.guest.pointer_placed(0, x + dx * step // _DRAG_STEPS, y + dy * step // _DRAG_STEPS, _LEFT)
            yield
        self.guest.buttons_changed(0)


async def paced(work: Work, frame: Callable[[], Awaitable[None]]) -> None:
    """Do the work at its pace; `frame` is called for each frame."""
    begin = time.monotonic()
    while not work.done:
        work.step()
        await frame()
        await asyncio.sleep(max(0.0, begin + work.frame / FPS - time.monotonic()))
