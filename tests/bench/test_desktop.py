"""The fixed piece of work, and the boxes that carry it to another screen."""

from __future__ import annotations

import numpy as np
from bench.desktop_replay import changed_boxes
from bench.desktop_script import FPS, HEIGHT, WIDTH, Work

from spicehop.guests.demo import DemoGuest

SECONDS = 6.0  # so that both drags are in it


def test_boxes_carry_every_change() -> None:
    guest = DemoGuest(WIDTH, HEIGHT, tone=False)
    guest.run(0.0)
    (display,) = guest.displays
    display.take_changes()
    copy = display.pixels.copy()
    work = Work(guest, SECONDS)
    while not work.done:
        work.step()
        guest.advance(work.frame / FPS)
        for box in changed_boxes(display.take_changes()):
            copy[box.area] = display.pixels[box.area]
    assert np.array_equal(copy, display.pixels)


def test_the_work_is_the_same_each_time() -> None:
    shown = []
    for _ in range(2):
        lines: list[str] = []
        guest = DemoGuest(WIDTH, HEIGHT, tone=False, log=lines.append)
        guest.run(0.0)
        work = Work(guest, 3.0)
        while not work.done:
            work.step()
            guest.advance(work.frame / FPS)
        assert sum(" button n=" in line for line in lines) >= 3
        shown.append(guest.displays[0].pixels.copy())
    assert np.array_equal(*shown)
