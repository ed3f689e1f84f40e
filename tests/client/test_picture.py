"""The pictures of a session whose displays begin, are lost and begin again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spicehop.channels.display import DisplayChannel
from spicehop.channels.link import Linked
from spicehop.client.picture import Picture
from spicehop.errors import ProtocolError
from spicehop.wire import display as wire
from spicehop.wire import registry
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.display_constants import ImageType, Ropd, ScaleMode, SurfaceFlag, SurfaceFormat
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.link import Capabilities

GOLDEN = Path(__file__).parents[1] / "golden" / "glz"


def glz_images() -> list[wire.DrawCopy]:
    """The first images of a GLZ dictionary, each drawn into the upper left corner."""
    data, position, found = (GOLDEN / "rgb32.bin").read_bytes(), 0, []
    while position < len(data) and len(found) < 4:
        size = int.from_bytes(data[position : position + 4], "big")
        glz = data[position + 4 : position + 4 + size]
        width, height = int.from_bytes(glz[9:13], "big"), int.from_bytes(glz[13:17], "big")
        box = wire.Rect(0, 0, height, width)
        descriptor = wire.ImageDescriptor(len(found), ImageType.GLZ_RGB, 0, width, height)
        base = wire.DisplayBase(0, box, wire.Clip())
        source = wire.Image(descriptor, wire.Compressed(glz))
        found.append(wire.DrawCopy(base, source, box, Ropd.OP_PUT, ScaleMode.NEAREST, wire.QMask()))
        position += 4 + size
    return found


def begin(picture: Picture, display: int, *, anew: bool) -> None:
    picture.channel_opened(display, anew=anew)
    picture.message_received(display, wire.SurfaceCreate(0, 300, 300, SurfaceFormat.XRGB_32, SurfaceFlag.PRIMARY))


def test_a_display_that_begins_anew_takes_a_new_glz_dictionary() -> None:
    picture, images = Picture(), glz_images()
    begin(picture, 0, anew=False)
    for image in images:
        picture.message_received(0, image)
    before = picture.screenshot().pixels
    with pytest.raises(ProtocolError, match="second time"):
        picture.message_received(0, images[0])
    begin(picture, 0, anew=True)
    assert np.array_equal(picture.screenshot().pixels, before)  # what was shown stays
    for image in images:
        picture.message_received(0, image)
    assert np.array_equal(picture.screenshot().pixels, before)


def test_another_display_keeps_the_shared_dictionary() -> None:
    picture, images = Picture(), glz_images()
    begin(picture, 0, anew=False)
    begin(picture, 1, anew=False)
    for display, image in zip((0, 1), images[:2], strict=True):
        picture.message_received(display, image)
    begin(picture, 0, anew=True)
    picture.message_received(0, images[0])
    for image in images[2:]:
        picture.message_received(1, image)


def head(x: int, y: int, width: int, height: int) -> wire.Head:
    return wire.Head(0, 0, width, height, x, y, 0)


@pytest.mark.parametrize(
    ("heads", "shape"),
    [
        ((), (300, 300)),
        ((head(0, 0, 0, 0),), (300, 300)),
        ((head(0, 0, 300, 300),), (300, 300)),
        ((head(0, 0, 200, 100),), (100, 200)),
        ((head(50, 20, 200, 100),), (100, 200)),
        ((head(0, 0, 100, 100), head(100, 50, 100, 100)), (150, 200)),
        ((head(200, 0, 200, 400),), (300, 100)),
        ((head(300, 0, 100, 100),), (300, 300)),
    ],
)
def test_a_screenshot_shows_what_the_monitors_show(heads: tuple[wire.Head, ...], shape: tuple[int, int]) -> None:
    picture = Picture()
    begin(picture, 0, anew=False)
    picture.message_received(0, glz_images()[0])
    whole = picture.screenshot().pixels
    picture.message_received(0, wire.MonitorsConfig(4, heads))
    shown = picture.screenshot().pixels
    assert shown.shape[:2] == shape
    left, top = (heads[0].x, heads[0].y) if shape != (300, 300) else (0, 0)
    assert np.array_equal(shown, whole[top : top + shape[0], left : left + shape[1]])


def announced(channel: DisplayChannel, rest: bytes) -> tuple[int, int]:
    """The numbers of image cache and GLZ dictionary in the first message of a connection."""
    channel.begin(Linked(Capabilities(), True, rest), 0.0)
    frames = FrameReader(mini_header=True).feed(channel.drain(0.0))
    decoded = [registry.decode(ChannelType.DISPLAY, Direction.FROM_CLIENT, one.number, one.body) for one in frames]
    [init] = [message for message in decoded if isinstance(message, wire.Init)]
    return init.pixmap_cache_id, init.glz_dictionary_id


def test_caches_are_shared_at_first_and_a_display_s_own_when_it_begins_anew() -> None:
    set_ack = encode_frame(3, bytes(8), mini_header=True)
    channels = [DisplayChannel(number) for number in (0, 1, 255)]
    assert {announced(channel, set_ack) for channel in channels} == {(1, 1)}
    again = [announced(channel, set_ack) for channel in channels]
    assert len(set(again)) == 3
    assert all(1 < cache == dictionary < 256 for cache, dictionary in again)
