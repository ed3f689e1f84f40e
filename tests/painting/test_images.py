from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from screens import CAPABILITIES, Screen, Watcher

from spicehop.codecs.encoding import ImageCodec, encode
from spicehop.painting import ClientView, ImageCompression, PaintSettings, SharedImages, Video
from spicehop.painting.images import ImageEncoder, is_photo
from spicehop.painting.output import Output
from spicehop.raster.region import Box
from spicehop.wire import display
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import BitmapFlag, Compression, ImageType
from spicehop.wire.layout import Message

WHOLE = Box(0, 0, 256, 192)


def photo() -> np.ndarray:
    """Soft slopes with a little noise."""
    rows, columns = np.indices((192, 256))
    pixels = np.zeros((192, 256, 4), np.uint8)
    noise = np.random.default_rng(1).integers(0, 4, (192, 256, 3))
    pixels[..., :3] = np.stack([rows // 2, columns // 2, (rows + columns) // 3], axis=2) + noise
    return pixels


def text(colors: int = 5) -> np.ndarray:
    """Flat areas of few colours."""
    rows, columns = np.indices((192, 256))
    pixels = np.zeros((192, 256, 4), np.uint8)
    pixels[..., 0] = (rows // 7 * 31 + columns // 11) % colors * (255 // colors)
    return pixels


def kind_of(pixels, compression, *, asked=None, capabilities=CAPABILITIES, glz=True) -> ImageType:
    screen = Screen(256, 192)
    screen.pixels[:] = pixels
    watcher = Watcher(screen, PaintSettings(compression=compression), capabilities=capabilities)
    if not glz:
        watcher.view.glz = None
    if asked is not None:
        watcher.painter.client_message(display.PreferredCompression(asked), 0.0)
    watcher.begin()
    (kind,) = {message.source.descriptor.type for message in watcher.received if isinstance(message, display.DrawCopy)}
    if compression is not ImageCompression.JPEG:
        watcher.assert_same()
    watcher.settle()
    watcher.assert_same()
    return ImageType(kind)


CASES = [
    ("auto", None, ImageType.LZ_PLT, ImageType.QUIC),
    ("off", None, ImageType.BITMAP, ImageType.BITMAP),
    ("quic", None, ImageType.QUIC, ImageType.QUIC),
    ("glz", None, ImageType.GLZ_RGB, ImageType.GLZ_RGB),
    ("lz", None, ImageType.LZ_RGB, ImageType.LZ_RGB),
    ("lz4", None, ImageType.LZ4, ImageType.LZ4),
    ("jpeg", None, ImageType.LZ_PLT, ImageType.JPEG),
    ("auto", Compression.OFF, ImageType.BITMAP, ImageType.BITMAP),
    ("auto", Compression.AUTO_GLZ, ImageType.LZ_PLT, ImageType.QUIC),
    ("auto", Compression.AUTO_LZ, ImageType.LZ_PLT, ImageType.QUIC),
    ("auto", Compression.LZ4, ImageType.LZ4, ImageType.LZ4),
    ("auto", 77, ImageType.LZ_PLT, ImageType.QUIC),
    ("quic", Compression.OFF, ImageType.QUIC, ImageType.QUIC),
]


@pytest.mark.parametrize(("compression", "asked", "drawn", "filmed"), CASES)
def test_what_encodes_what(compression, asked, drawn, filmed):
    assert kind_of(text(), ImageCompression(compression), asked=asked) is drawn
    assert kind_of(photo(), ImageCompression(compression), asked=asked) is filmed


def test_what_the_client_cannot_do_becomes_lz():
    without = CAPABILITIES - {DisplayCap.LZ4_COMPRESSION}
    assert kind_of(photo(), ImageCompression.LZ4, capabilities=without) is ImageType.LZ_RGB
    assert kind_of(photo(), ImageCompression.GLZ, glz=False) is ImageType.LZ_RGB


def test_many_colours_need_no_palette():
    pixels = text()
    pixels[::3, :, 1] = np.arange(256)
    pixels[::7, :, 2] = 9
    assert not is_photo(pixels)
    assert kind_of(pixels, ImageCompression.AUTO) is ImageType.GLZ_RGB


def test_photos_and_drawn_things():
    assert is_photo(photo())
    assert not is_photo(text())
    assert not is_photo(np.zeros((5, 5, 4), np.uint8))


def test_a_palette_is_sent_once():
    screen = Screen(256, 192)
    watcher = Watcher(screen, PaintSettings(video=Video.OFF), cache_pixels=0)
    watcher.begin()
    flags = []
    for shift in range(4):
        screen.pixels[:] = np.roll(text(40), 20 * shift, axis=1)
        watcher.paint(complete=False)
        watcher.assert_same()
        flags.append({message.source.payload.flags for message in watcher.received})
    assert flags[0] & {BitmapFlag.PALETTE_CACHE_ME}
    assert flags[1:] == [{BitmapFlag.PALETTE_FROM_CACHE}] * 3


def test_palettes_come_and_go():
    screen = Screen(128, 64)
    watcher = Watcher(screen, PaintSettings(video=Video.OFF), cache_pixels=0)
    watcher.begin()
    dropped = 0
    for number in range(150):
        screen.pixels[:, ::2, :3] = (number, 1, 2)
        watcher.paint(complete=False)
        watcher.assert_same()
        dropped += sum(isinstance(message, display.InvalPalette) for message in watcher.received)
    assert dropped > 10


def test_clients_share_what_is_encoded():
    made = []
    shared = SharedImages()
    encoded = shared.encoded(5, "lz", lambda: made.append(1) or encode_lz())
    assert shared.encoded(5, "lz", lambda: made.append(2) or encode_lz()) is encoded
    assert shared.encoded(5, "quic", lambda: made.append(3) or encode_lz()) is not encoded
    assert made == [1, 3]


def encode_lz():
    return encode(text(), compression=ImageCodec.LZ)


def test_what_is_shared_is_bounded():
    shared = SharedImages(max_bytes=50_000)
    for number in range(200):
        shared.encoded(number, "lz", encode_lz)
        assert shared.bytes <= 50_000


def test_clients_share_the_pixels_of_their_dictionaries():
    shared = SharedImages()
    views = []
    for _ in range(2):
        screen = Screen(256, 192)
        screen.pixels[:] = photo()
        watcher = Watcher(screen, PaintSettings(compression=ImageCompression.GLZ))
        watcher.painter.shared = shared
        watcher.begin()
        views.append(watcher.view)
    assert len(shared._pixels) == len(views[0].glz)


def test_an_encoder_keeps_off_jpeg_where_it_must_be_exact():
    view = ClientView(CAPABILITIES)
    sent: list[Message] = []
    encoder = ImageEncoder(view, PaintSettings(compression=ImageCompression.JPEG), SharedImages())
    assert encoder.encode(photo(), 1, exactly=False, send=sent.append).lossy
    assert not encoder.encode(photo(), 1, exactly=True, send=sent.append).lossy
    assert not sent


def test_what_was_painted_is_let_go_at_once():
    """Whatever hangs in a cycle stays until Python looks for cycles, and messages are large."""
    watcher = Watcher(Screen(256, 192), PaintSettings())
    gc.collect()
    gc.disable()
    try:
        output = Output(watcher.view, PaintSettings(), SharedImages())
        output.draw_pixels(0, WHOLE, text(), None, exactly=True)
        alive = weakref.ref(output)
        del output
        assert alive() is None
    finally:
        gc.enable()
