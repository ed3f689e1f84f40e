from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import Screen, Watcher

from spicehop.painting import ImageCompression, PaintSettings
from spicehop.raster.region import Box
from spicehop.wire import display

WHOLE = Box(0, 0, 300, 200)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**16),
    st.lists(st.tuples(st.integers(0, 2**20), st.sampled_from(["paint", "paint", "wait", "skip", "room", "resize"]))),
    st.sampled_from([0, 40_000, 2**20]),
)
def test_the_client_shows_the_guests_pixels(seed, story, cache_pixels):
    screen = Screen(210, 150, seed)
    screen.noise(Box(0, 0, 100, 100))
    screen.take()
    watcher = Watcher(screen, cache_pixels=cache_pixels)
    watcher.begin()
    watcher.assert_same()
    complete = True
    for number, what in story:
        if what == "resize" and number % 8 == 0:
            screen.resize(100 + number % 200, 70 + number % 150)
        else:
            screen.act(number)
        changes = screen.take()
        if what == "skip":
            complete = False
            watcher.pending.clear()
            continue
        watcher.pending += changes
        if what == "wait":
            continue
        watcher.paint(complete=complete, room=number % 9000 if what == "room" else None)
        complete = True
        if not watcher.painter.is_behind:
            watcher.assert_same()
    watcher.paint(complete=complete)
    assert not watcher.painter.is_behind
    watcher.assert_same()


@pytest.mark.parametrize(
    "compression", [ImageCompression.OFF, ImageCompression.QUIC, ImageCompression.LZ, ImageCompression.AUTO]
)
def test_every_lossless_setting(compression):
    screen = Screen(200, 130)
    screen.noise(Box(10, 20, 150, 100))
    screen.stripes(Box(100, 30, 200, 130), 3)
    watcher = Watcher(screen, PaintSettings(compression=compression))
    watcher.begin()
    watcher.assert_same()


def test_nothing_is_sent_when_nothing_changed():
    screen = Screen(300, 200)
    screen.noise(WHOLE)
    watcher = Watcher(screen)
    watcher.begin()
    assert watcher.paint() == 0
    assert watcher.paint(complete=False) == 0


def test_one_square_costs_one_square():
    screen = Screen(320, 256)
    screen.noise(Box(0, 0, 320, 256))
    watcher = Watcher(screen)
    watcher.begin()
    screen.noise(Box(64, 128, 128, 192))
    watcher.paint(complete=False)
    (message,) = watcher.received
    assert isinstance(message, display.DrawCopy)
    assert message.base.box == display.Rect(128, 64, 192, 128)
    watcher.assert_same()
