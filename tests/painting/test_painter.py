from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import Screen, Watcher

from spicehop.painting import ImageCompression, PaintSettings, Video
from spicehop.raster.region import Box
from spicehop.wire import display

WHOLE = Box(0, 0, 300, 200)


STORIES = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(["paint", "paint", "wait", "skip", "room", "resize"]))
)
LOSSY = [
    PaintSettings(compression=ImageCompression.JPEG, video=Video.OFF),
    PaintSettings(compression=ImageCompression.JPEG, video=Video.ALL),
    PaintSettings(video=Video.ALL),
]


def live(screen, watcher, story, *, exact):
    """Let a story happen; `exact` says that the client shows the guest's pixels whenever it is not behind."""
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
        if exact and not watcher.painter.is_behind:
            watcher.assert_same()
    watcher.paint(complete=complete)
    assert not watcher.painter.is_behind
    if exact:
        watcher.assert_same()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), STORIES, st.sampled_from([0, 40_000, 2**20]))
def test_the_client_shows_the_guests_pixels(seed, story, cache_pixels):
    screen = Screen(210, 150, seed)
    screen.noise(Box(0, 0, 100, 100))
    screen.take()
    watcher = Watcher(screen, PaintSettings(video=Video.OFF), cache_pixels=cache_pixels)
    watcher.begin()
    watcher.assert_same()
    live(screen, watcher, story, exact=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), STORIES, STORIES, st.sampled_from(LOSSY), st.integers(8, 20))
def test_lossy_pictures_become_exact(seed, before, after, chosen, frames):
    screen = Screen(310, 250, seed)
    screen.noise(Box(0, 0, 100, 100))
    screen.take()
    watcher = Watcher(screen, chosen)
    watcher.begin()
    live(screen, watcher, before, exact=False)
    width, height = screen.pixels.shape[1], screen.pixels.shape[0]
    for frame in range(frames):
        screen.noise(Box(10, 15, 10 + 3 * width // 4, 15 + 3 * height // 4).intersect(Box(0, 0, width, height)))
        watcher.pending += screen.take()
        watcher.paint(complete=frame % 3 != 1)
    live(screen, watcher, after, exact=False)
    watcher.settle()
    watcher.assert_same()


@pytest.mark.parametrize(
    "compression", [choice for choice in ImageCompression if choice is not ImageCompression.JPEG]
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
