from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import Screen, Watcher

from spicehop.painting import ImageCompression, PaintSettings, Video
from spicehop.raster.region import Box
from spicehop.wire import display


def scrolled(watcher: Watcher, window: Box, dy: int) -> int:
    """Scroll the window by redrawing it, without a word about what moved; returns the bytes sent."""
    pixels = watcher.screen.pixels[window.area]
    pixels[:] = np.roll(pixels, dy, axis=0)
    rows = slice(0, dy) if dy > 0 else slice(window.height + dy, window.height)
    pixels[rows] = watcher.screen.random.integers(0, 256, pixels[rows].shape, np.uint8)
    return watcher.paint(complete=False)


@settings(max_examples=40, deadline=None)
@given(st.integers(-70, 70), st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**16))
def test_a_scroll_is_found_and_right(dy, left, top, seed):
    screen = Screen(512, 400, seed)
    screen.noise(Box(0, 0, 512, 400))
    watcher = Watcher(screen, PaintSettings(video=Video.OFF))
    watcher.begin()
    scrolled(watcher, Box(left, top, 512 - left, 400 - top), dy)
    if dy:
        assert any(isinstance(message, display.CopyBits) for message in watcher.received)
    watcher.assert_same()
    scrolled(watcher, Box(left, top, 512 - left, 400 - top), -dy)
    watcher.assert_same()


def test_only_what_is_new_is_sent():
    screen = Screen(512, 512)
    screen.noise(Box(0, 0, 512, 512))
    watcher = Watcher(screen, PaintSettings(video=Video.OFF))
    watcher.begin()
    sent = scrolled(watcher, Box(0, 0, 512, 512), -20)
    assert sent < 1.2 * 512 * 20 * 4
    watcher.assert_same()


def test_one_changed_row_is_cut_out_of_its_tiles():
    screen = Screen(512, 512)
    screen.noise(Box(0, 0, 512, 512))
    watcher = Watcher(screen)
    watcher.begin()
    screen.noise(Box(0, 100, 512, 101))
    assert watcher.paint(complete=False) < 512 * 4 + 200
    watcher.assert_same()


def test_a_scroll_of_what_is_lossy_stays_lossy():
    screen = Screen(512, 400)
    watcher = Watcher(screen, PaintSettings(compression=ImageCompression.JPEG, video=Video.OFF))
    screen.noise(Box(0, 0, 512, 400))
    watcher.begin()
    scrolled(watcher, Box(0, 0, 512, 400), 30)
    assert any(isinstance(message, display.CopyBits) for message in watcher.received)
    watcher.settle()
    watcher.assert_same()
