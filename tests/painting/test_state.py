from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import CAPABILITIES, Screen, Watcher

from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.errors import ProtocolError
from spicehop.painting import ClientView, ImageCompression, Painter, PaintSettings, SharedImages, Video, ViewState
from spicehop.raster.region import Box
from spicehop.wire import display
from spicehop.wire.display_constants import ImageType

ENVELOPE = 256 * 1024


def migrate(watcher: Watcher, settings: PaintSettings | None = None, *, with_pixels: bool = False) -> None:
    """Let another server go on, which knows nothing but the encoded state."""
    glz = watcher.view.glz
    saved = GlzDictionary.restored(glz.save()) if with_pixels and glz is not None else None
    state = ViewState.decode(watcher.view.state().encode())
    watcher.view = ClientView.restored(state, CAPABILITIES, glz=saved)
    watcher.painter = Painter(watcher.view, settings or PaintSettings(), SharedImages())
    watcher.now = 7.0


def test_nothing_is_redrawn_after_a_move():
    screen = Screen(500, 300)
    screen.noise(Box(0, 0, 500, 300))
    number = screen.create_surface(200, 100)
    screen.noise(Box(0, 0, 200, 100), number)
    watcher = Watcher(screen)
    watcher.begin()
    migrate(watcher)
    assert watcher.painter.begin(screen.pixels, screen.surfaces, 7.0) == []
    assert watcher.paint(complete=False) == 0
    assert watcher.painter.image_bytes == 0
    screen.take()
    screen.show_surface(number, Box(10, 10, 150, 90), 5, 5)
    watcher.pending += screen.take()
    assert watcher.paint() < 150
    assert [message.source.descriptor.type for message in watcher.received] == [ImageType.SURFACE]
    assert watcher.painter.image_bytes == 0
    watcher.assert_same()


def test_one_changed_square_is_all_that_is_sent():
    screen = Screen(512, 320)
    screen.noise(Box(0, 0, 512, 320))
    watcher = Watcher(screen)
    watcher.begin()
    migrate(watcher)
    screen.noise(Box(128, 64, 192, 128))
    watcher.paint(complete=False)
    assert [message.base.box for message in watcher.received] == [display.Rect(64, 128, 128, 192)]
    assert 64 * 64 * 3 < watcher.painter.image_bytes <= 64 * 64 * 4
    watcher.assert_same()


def test_a_glimpse_is_one_small_part_and_the_rest_follows():
    screen = Screen(512, 320)
    screen.noise(Box(0, 0, 512, 320))
    watcher = Watcher(screen)
    watcher.begin()
    migrate(watcher)
    screen.noise(Box(0, 0, 512, 192))
    screen.fill(Box(448, 256, 500, 300), (1, 2, 3))
    watcher.receive(watcher.painter.glimpse(screen.pixels, watcher.now))
    assert [message.base.box for message in watcher.received] == [display.Rect(256, 448, 320, 512)]
    shown = watcher.painter.image_bytes
    watcher.paint(complete=False)
    assert all(message.base.box.bottom <= 192 for message in watcher.received)
    assert watcher.painter.image_bytes - shown > 512 * 192 * 3
    watcher.assert_same()
    assert watcher.painter.glimpse(screen.pixels, watcher.now) == []


def test_nobody_has_a_glimpse_of_another_size_or_of_nothing():
    screen = Screen(512, 320)
    watcher = Watcher(screen)
    assert watcher.painter.glimpse(screen.pixels, watcher.now) == []
    watcher.begin()
    migrate(watcher)
    screen.resize(320, 200)
    assert watcher.painter.glimpse(screen.pixels, watcher.now) == []
    watcher.paint(complete=False)
    watcher.assert_same()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2**20), max_size=12), st.sampled_from([PaintSettings(), PaintSettings(video=Video.ALL)]))
def test_after_a_glimpse_the_client_shows_the_guests_pixels(acts, chosen):
    screen = Screen(300, 200)
    watcher = Watcher(screen, chosen)
    watcher.begin()
    for act in acts[:6]:
        screen.act(act)
        watcher.pending += screen.take()
        watcher.paint()
    migrate(watcher, chosen)
    for act in acts[6:]:
        screen.act(act)
    screen.take()
    watcher.receive(watcher.painter.glimpse(screen.pixels, watcher.now))
    watcher.paint(complete=False)
    watcher.settle()
    watcher.assert_same()


def test_cached_images_are_referred_to():
    screen = Screen(512, 320)
    watcher = Watcher(screen)
    watcher.begin()
    screen.stripes(Box(0, 0, 512, 320), 1)
    watcher.paint(complete=False)
    screen.stripes(Box(0, 0, 512, 320), 2)
    watcher.paint(complete=False)
    migrate(watcher)
    screen.stripes(Box(0, 0, 512, 320), 1)
    watcher.paint(complete=False)
    assert {message.source.descriptor.type for message in watcher.received} == {ImageType.FROM_CACHE}
    watcher.assert_same()


def test_a_palette_is_referred_to():
    screen = Screen(512, 320)
    watcher = Watcher(screen, cache_pixels=0)
    watcher.begin()
    for column in range(0, 512, 8):
        screen.fill(Box(column, 0, column + 4, 320), (column // 64, 100, 0))
    watcher.paint(complete=False)
    assert any(message.source.payload.palette for message in watcher.received)
    migrate(watcher)
    screen.pixels[:] = screen.pixels[:, ::-1].copy()
    watcher.paint(complete=False)
    payloads = [message.source.payload for message in watcher.received]
    assert payloads
    assert all(payload.palette is None and payload.palette_id for payload in payloads)
    watcher.assert_same()


@pytest.mark.parametrize("with_pixels", [True, False])
def test_the_dictionary_goes_on(with_pixels):
    chosen = PaintSettings(compression=ImageCompression.GLZ)
    screen = Screen(512, 320)
    screen.noise(Box(0, 0, 512, 320))
    watcher = Watcher(screen, chosen, cache_pixels=0)
    watcher.begin()
    shown = screen.pixels.copy()
    screen.fill(Box(0, 0, 512, 320), (1, 2, 3))
    watcher.paint(complete=False)
    migrate(watcher, chosen, with_pixels=with_pixels)
    screen.pixels[:] = shown
    sent = watcher.paint(complete=False)
    assert (sent < shown.size // 10) is with_pixels
    watcher.assert_same()


def test_a_stream_goes_on_under_its_id():
    chosen = PaintSettings(video=Video.ALL)
    screen = Screen(400, 300)
    watcher = Watcher(screen, chosen)
    watcher.begin()
    place = Box(30, 20, 300, 230)

    def frame() -> list:
        screen.noise(place)
        watcher.pending += screen.take()
        watcher.paint()
        return watcher.received

    for _ in range(14):
        frame()
    (before,) = frame()
    migrate(watcher, chosen)
    assert watcher.paint(complete=False) == 0
    (after,) = frame()
    assert isinstance(after, display.StreamData)
    assert after.id == before.id
    watcher.settle()
    watcher.assert_same()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.tuples(st.integers(0, 2**20), st.booleans(), st.booleans()), max_size=20))
def test_moving_at_any_time_keeps_the_picture(seed, story):
    chosen = PaintSettings(video=Video.OFF)
    screen = Screen(210, 150, seed)
    screen.noise(Box(0, 0, 100, 100))
    screen.take()
    watcher = Watcher(screen, chosen, cache_pixels=50_000)
    watcher.begin()
    for number, moves, full in story:
        screen.act(number)
        watcher.pending += screen.take()
        watcher.paint(room=3000 if full else None)
        if moves:
            state = watcher.view.state()
            migrate(watcher, chosen, with_pixels=bool(number % 2))
            assert watcher.view.state() == ViewState.decode(state.encode()) == state
    watcher.paint()
    watcher.assert_same()


def test_a_full_view_fits_the_envelope():
    screen = Screen(1920, 1080)
    watcher = Watcher(screen, cache_pixels=20 * 2**20)
    watcher.begin()
    for phase in range(10):
        screen.noise(Box(0, 0, 1920, 1080))
        watcher.painter.paint(screen.pixels, {}, [], 1.0 + phase, complete=False)
    assert watcher.view.images.pixels > 15 * 2**20
    state = watcher.view.state()
    assert len(state.encode()) < ENVELOPE // 4
    small = state.encode_within(3000)
    assert len(small) <= 3000
    ClientView.restored(ViewState.decode(small))


def test_what_is_left_out_of_a_small_state_is_only_sent_again():
    screen = Screen(512, 320)
    screen.noise(Box(0, 0, 512, 320))
    watcher = Watcher(screen)
    watcher.begin()
    watcher.view = ClientView.restored(ViewState.decode(watcher.view.state().encode_within(100)), CAPABILITIES)
    watcher.painter = Painter(watcher.view, PaintSettings(), SharedImages())
    watcher.paint()
    watcher.assert_same()


def sample() -> ViewState:
    screen = Screen(400, 300)
    screen.noise(Box(0, 0, 400, 300))
    number = screen.create_surface(100, 80)
    screen.stripes(Box(0, 0, 100, 80), 3, number)
    watcher = Watcher(screen, PaintSettings(video=Video.ALL))
    watcher.begin()
    for _ in range(12):
        screen.noise(Box(0, 0, 200, 200))
        watcher.pending += screen.take()
        watcher.paint()
    return watcher.view.state()


STATE = sample()


def broken() -> dict[str, ViewState]:
    surface, image, stream = STATE.surfaces[0], STATE.images[0], STATE.streams[0]
    return {
        "a surface twice": replace(STATE, surfaces=(surface, surface)),
        "a surface id": replace(STATE, surfaces=(replace(surface, surface_id=5000),)),
        "a huge surface": replace(STATE, surfaces=(replace(surface, width=32000, height=32000),)),
        "no width": replace(STATE, surfaces=(replace(surface, width=0),)),
        "digests": replace(STATE, surfaces=(replace(surface, digests=surface.digests[1:]),)),
        "flags": replace(STATE, surfaces=(replace(surface, stale=b""),)),
        "an image twice": replace(STATE, images=(image, image)),
        "an empty image": replace(STATE, images=(image._replace(width=0),)),
        "image digests": replace(STATE, images=(image._replace(digests=b"1"),)),
        "a small cache": replace(STATE, cache_pixels=10),
        "a huge cache": replace(STATE, cache_pixels=2**32 - 1),
        "a huge window": replace(STATE, glz_window=2**32 - 1),
        "no displays": replace(STATE, displays=0),
        "a palette": replace(STATE, palettes=(0,)),
        "palettes": replace(STATE, palettes=tuple(range(1, 200))),
        "a stream twice": replace(STATE, streams=(stream, stream)),
        "a stream id": replace(STATE, streams=(replace(stream, stream_id=64),)),
        "a stream outside": replace(STATE, streams=(replace(stream, right=4000),)),
        "an empty stream": replace(STATE, streams=(replace(stream, right=stream.left),)),
        "a codec": replace(STATE, streams=(replace(stream, codec=77),)),
        "stream flags": replace(STATE, streams=(replace(stream, active=b""),)),
        "a stream on nothing": replace(STATE, surfaces=()),
    }


@pytest.mark.parametrize("what", broken())
def test_a_state_that_contradicts_itself_is_refused(what):
    state = broken()[what]
    with pytest.raises(ProtocolError):
        ClientView.restored(ViewState.decode(state.encode()))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=4), st.integers(0, 2**20))
def test_damaged_bytes_raise_nothing_else(damage, cut):
    data = bytearray(STATE.encode())
    for position, value in damage:
        data[position % len(data)] = value
    try:
        ClientView.restored(ViewState.decode(bytes(data[: len(data) - cut % 40])))
    except ProtocolError:
        pass
