from __future__ import annotations

import numpy as np
import pytest
from screens import CAPABILITIES, Screen, Watcher

from spicehop.painting import PaintSettings, Video
from spicehop.raster.region import Box
from spicehop.wire import display
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import VideoCodec

PLACE = Box(70, 50, 250, 190)


def watched(**settings) -> Watcher:
    screen = Screen(400, 300)
    screen.stripes(Box(0, 0, 400, 300), 1)
    screen.take()
    watcher = Watcher(screen, PaintSettings(**settings))
    watcher.begin()
    return watcher


def frame(watcher: Watcher, box: Box = PLACE, *, complete: bool = True) -> list:
    """One frame of a moving picture."""
    watcher.screen.noise(box)
    watcher.pending += watcher.screen.take()
    watcher.paint(complete=complete)
    return watcher.received


def play(watcher: Watcher, frames: int = 14, **how) -> list:
    """All messages of a moving picture."""
    return [message for _ in range(frames) for message in frame(watcher, **how)]


def kinds(messages) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_what_goes_on_changing_becomes_a_stream_of_its_box():
    watcher = watched()
    messages = play(watcher)
    (create,) = [message for message in messages if isinstance(message, display.StreamCreate)]
    assert create.destination == display.Rect(50, 70, 190, 250)
    assert kinds(frame(watcher)) == ["StreamData"]
    watcher.settle()
    assert kinds(watcher.received)[0] == "StreamDestroy"
    watcher.assert_same()


def test_without_hints_a_stream_covers_the_tiles():
    watcher = watched()
    messages = play(watcher, complete=False)
    (create,) = [message for message in messages if isinstance(message, display.StreamCreate)]
    assert create.destination == display.Rect(0, 64, 192, 256)
    watcher.settle()
    watcher.assert_same()


def test_drawn_things_do_not_become_a_stream():
    watcher = watched()
    for phase in range(20):
        watcher.screen.stripes(PLACE, phase)
        watcher.pending += watcher.screen.take()
        watcher.paint()
        assert "StreamCreate" not in kinds(watcher.received)
        watcher.assert_same()


@pytest.mark.parametrize("settings", [{"video": Video.OFF}])
def test_no_stream_when_video_is_off(settings):
    watcher = watched(**settings)
    assert "StreamCreate" not in kinds(play(watcher))


def test_a_window_over_the_video_is_cut_out_and_exact():
    watcher = watched()
    play(watcher)
    window = Box(64, 64, 192, 128)
    watcher.screen.stripes(window, 7)
    still = watcher.screen.pixels[window.area].copy()
    for _ in range(30):
        watcher.screen.noise(PLACE)
        watcher.screen.pixels[window.area] = still
        watcher.pending += watcher.screen.take()
        watcher.paint()
    inside = window.intersect(PLACE)
    shown = watcher.canvas.screenshot()[inside.area]
    assert np.array_equal(shown[..., :3], watcher.screen.pixels[inside.area][..., :3])
    watcher.settle()
    watcher.assert_same()


def test_a_moved_window_takes_its_stream_along():
    watcher = watched()
    play(watcher)
    watcher.screen.move(Box(60, 40, 260, 200), 160, 90)
    messages = frame(watcher, PLACE.shifted(100, 50))
    assert "StreamCreate" in kinds(messages)
    assert "StreamData" in kinds(messages)
    assert kinds(frame(watcher, PLACE.shifted(100, 50))) == ["StreamData"]
    watcher.settle()
    watcher.assert_same()


def test_a_frame_waits_for_room():
    watcher = watched()
    play(watcher)
    watcher.screen.noise(PLACE)
    watcher.pending += watcher.screen.take()
    assert watcher.paint(room=0) == 0
    assert watcher.painter.is_behind
    watcher.paint()
    assert kinds(watcher.received) == ["StreamData"]
    assert not watcher.painter.is_behind


def test_a_client_that_cannot_decode_is_sent_pictures():
    watcher = watched(repair_after=0.2)
    play(watcher)
    watcher.painter.client_message(display.StreamReport(0, 0, 0, 0, 0, 2**32 - 1, 0, 0), watcher.now)
    messages = play(watcher, 20)
    assert kinds(messages)[0] == "StreamDestroy"
    assert "StreamCreate" not in kinds(messages)


def test_a_client_that_drops_frames_gets_smaller_ones():
    watcher = watched()
    play(watcher)
    before = len(frame(watcher)[0].data)
    for _ in range(5):
        watcher.painter.client_message(display.StreamReport(0, 0, 0, 0, 5, 4, 0, 0), watcher.now)
    assert sum(len(message.data) for message in play(watcher, 20)) < 10 * before


def test_a_slow_link_gets_less_video():
    watcher = watched()
    watcher.painter.bandwidth = 1_000_000
    play(watcher)
    sent = sum(len(message.data) for message in play(watcher, 50) if isinstance(message, display.StreamData))
    assert sent < 2 * 1_000_000 / 8  # in two seconds


def test_a_resize_ends_streams():
    watcher = watched()
    play(watcher)
    watcher.screen.resize(300, 200)
    watcher.pending += watcher.screen.take()
    watcher.paint()
    assert kinds(watcher.received)[:3] == ["StreamDestroy", "SurfaceDestroy", "SurfaceCreate"]
    watcher.assert_same()


def test_a_client_without_any_codec_gets_no_stream():
    screen = Screen(400, 300)
    watcher = Watcher(screen, capabilities=CAPABILITIES - {DisplayCap.CODEC_MJPEG})
    watcher.begin()
    assert "StreamCreate" not in kinds(play(watcher))


def test_the_clients_order_of_codecs_comes_first():
    watcher = watched()
    watcher.painter.client_message(display.PreferredVideoCodecType((VideoCodec.VP9, VideoCodec.MJPEG)), 0.0)
    (create,) = [message for message in play(watcher) if isinstance(message, display.StreamCreate)]
    assert create.codec == VideoCodec.MJPEG
