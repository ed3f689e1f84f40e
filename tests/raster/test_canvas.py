"""The canvas as a whole: surfaces, streams, caches, resets, what is not drawn, and servers that lie."""

from __future__ import annotations

import dataclasses
import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from spicehop.codecs import jpeg
from spicehop.codecs.glz import MissingImage
from spicehop.codecs.images import ImageCaches
from spicehop.errors import ProtocolError, StateError
from spicehop.raster.canvas import Canvas
from spicehop.raster.region import Box
from spicehop.raster.results import Damage, NotDrawn
from spicehop.raster.surface import PixelBudget
from spicehop.wire import display as wire
from spicehop.wire import registry
from spicehop.wire.base import Ping, WaitFor
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.display_constants import (
    BitmapFlag,
    BitmapFormat,
    BrushKind,
    ClipKind,
    ImageFlag,
    ImageType,
    Ropd,
    ScaleMode,
    StreamFlag,
    SurfaceFlag,
    SurfaceFormat,
    VideoCodec,
)
from spicehop.wire.layout import Message

PUT = int(Ropd.OP_PUT)
XRGB = int(SurfaceFormat.XRGB_32)


def rect(left: int, top: int, right: int, bottom: int) -> wire.Rect:
    return wire.Rect(top, left, bottom, right)


def base(box: wire.Rect, surface_id: int = 0) -> wire.DisplayBase:
    return wire.DisplayBase(surface_id, box, wire.Clip())


def image(kind: int, payload: object, size: tuple[int, int], *, flags: int = 0, id: int = 1) -> wire.Image:
    return wire.Image(wire.ImageDescriptor(id, kind, flags, *size), payload)  # type: ignore[arg-type]


def raw(width: int, height: int, *, flags: int = 0, id: int = 1) -> wire.Image:
    data = np.arange(width * height, dtype="<u4").tobytes()
    bitmap = wire.Bitmap(BitmapFormat.XRGB_32, BitmapFlag.TOP_DOWN, width, height, 4 * width, None, None, data)
    return image(ImageType.BITMAP, bitmap, (width, height), flags=flags, id=id)


def copy_of(source: wire.Image, box: wire.Rect, surface_id: int = 0) -> wire.DrawCopy:
    area = rect(0, 0, box.width, box.height)
    return wire.DrawCopy(base(box, surface_id), source, area, PUT, ScaleMode.NEAREST, wire.QMask())


def fill(box: wire.Rect, color: int, surface_id: int = 0) -> wire.DrawFill:
    return wire.DrawFill(base(box, surface_id), wire.Brush(BrushKind.SOLID, color), PUT, wire.QMask())


def new_canvas(width: int = 8, height: int = 6, **options: object) -> Canvas:
    canvas = Canvas(**options)  # type: ignore[arg-type]
    canvas.apply(wire.SurfaceCreate(0, width, height, XRGB, SurfaceFlag.PRIMARY))
    return canvas


# -- surfaces ------------------------------------------------------------------------------------------------------


def test_a_primary_surface_appears_is_marked_and_goes() -> None:
    canvas = Canvas()
    with pytest.raises(StateError, match="no picture"):
        canvas.screenshot()
    created = canvas.apply(wire.SurfaceCreate(0, 3, 2, XRGB, SurfaceFlag.PRIMARY))
    assert created == Damage(0, (Box(0, 0, 3, 2),))
    assert not canvas.is_marked
    assert canvas.apply(wire.Mark()) is None
    assert canvas.is_marked
    picture = canvas.screenshot()
    assert picture.shape == (2, 3, 4)
    canvas.apply(fill(rect(0, 0, 3, 2), 0x445566))
    assert not picture.any()
    assert canvas.screenshot()[1, 2].tolist() == [0x66, 0x55, 0x44, 0]
    canvas.apply(wire.SurfaceDestroy(0))
    assert canvas.primary is None
    assert not canvas.is_marked
    assert canvas.apply(wire.SurfaceDestroy(0)) is None


def test_the_same_primary_keeps_its_picture() -> None:
    canvas = new_canvas()
    canvas.apply(fill(rect(0, 0, 8, 6), 7))
    assert canvas.apply(wire.SurfaceCreate(0, 8, 6, XRGB, SurfaceFlag.PRIMARY)) is None
    assert canvas.screenshot().any()
    canvas.apply(wire.SurfaceCreate(0, 8, 7, XRGB, SurfaceFlag.PRIMARY))
    assert not canvas.screenshot().any()
    assert len(canvas.surfaces) == 1


def test_the_legacy_mode_message_creates_the_primary() -> None:
    canvas = Canvas()
    canvas.apply(wire.Mode(20, 10, 16))
    assert canvas.primary is not None
    assert canvas.primary.format is SurfaceFormat.RGB_555
    with pytest.raises(ProtocolError, match="8 bits"):
        canvas.apply(wire.Mode(20, 10, 8))


def test_surfaces_are_limited_before_they_are_allocated() -> None:
    budget = PixelBudget(100)
    canvas = Canvas(budget=budget)
    other = Canvas(budget=budget)
    canvas.apply(wire.SurfaceCreate(1, 10, 6, XRGB, 0))
    with pytest.raises(ProtocolError, match="limit is 100"):
        other.apply(wire.SurfaceCreate(1, 10, 6, XRGB, 0))
    canvas.apply(wire.SurfaceCreate(1, 10, 10, XRGB, 0))
    canvas.apply(wire.SurfaceDestroy(1))
    assert budget.used == 0
    other.apply(wire.SurfaceCreate(1, 10, 6, XRGB, 0))
    other.close()
    assert budget.used == 0
    for lie, sentence in (
        (wire.SurfaceCreate(1024, 1, 1, XRGB, 0), "surface id 1024"),
        (wire.SurfaceCreate(1, 0, 1, XRGB, 0), "0 x 1"),
        (wire.SurfaceCreate(1, 2**32 - 1, 1, XRGB, 0), "4294967295"),
        (wire.SurfaceCreate(1, 1, 1, 33, 0), "format 33"),
    ):
        with pytest.raises(ProtocolError, match=sentence):
            canvas.apply(lie)


def test_reset_clears_the_primary() -> None:
    canvas = new_canvas()
    canvas.apply(fill(rect(0, 0, 8, 6), 7))
    canvas.apply(wire.Mark())
    assert canvas.apply(wire.Reset()) == Damage(0, (Box(0, 0, 8, 6),))
    assert not canvas.screenshot().any()
    assert not canvas.is_marked
    assert Canvas().apply(wire.Reset()) is None


def test_another_server_takes_over_semi_seamlessly() -> None:
    canvas = new_canvas()
    canvas.apply(fill(rect(0, 0, 8, 6), 7))
    canvas.apply(wire.SurfaceCreate(3, 4, 4, XRGB, 0))
    canvas.apply(stream_create())
    caches = ImageCaches()
    canvas.begin_anew(caches)
    assert canvas.caches is caches
    assert canvas.screenshot().any()
    assert len(canvas.surfaces) == 1
    assert len(canvas.streams) == 0


def test_monitors() -> None:
    canvas = new_canvas()
    heads = (wire.Head(0, 0, 8, 6, 0, 0, 0), wire.Head(1, 0, 8, 6, 8, 0, 0))
    assert canvas.apply(wire.MonitorsConfig(4, heads)) is None
    assert canvas.monitors == heads


# -- caches --------------------------------------------------------------------------------------------------------


def cached(id: int = 1) -> wire.Image:
    return image(ImageType.FROM_CACHE, wire.FromCache(), (2, 2), id=id)


def test_invalidations() -> None:
    canvas = new_canvas()
    box = rect(0, 0, 2, 2)
    for id in (1, 2, 3):
        canvas.apply(copy_of(raw(2, 2, flags=ImageFlag.CACHE_ME, id=id), box))
    canvas.apply(wire.InvalList((wire.Resource(1, 1), wire.Resource(1, 77), wire.Resource(9, 2))))
    assert canvas.apply(copy_of(cached(2), box)) is not None
    with pytest.raises(ProtocolError, match="image 0x1 is not in the image cache"):
        canvas.apply(copy_of(cached(1), box))
    canvas.apply(wire.InvalAllPixmaps((WaitFor(2, 0, 1),)))
    assert len(canvas.caches.pixmaps) == 0
    bitmap = wire.Bitmap(5, BitmapFlag.PALETTE_CACHE_ME, 1, 1, 1, None, wire.Palette(8, (9,)), b"\0")
    again = dataclasses.replace(bitmap, flags=BitmapFlag.PALETTE_FROM_CACHE, palette_id=8, palette=None)
    for forget in (wire.InvalPalette(8), wire.InvalAllPalettes()):
        canvas.apply(copy_of(image(ImageType.BITMAP, bitmap, (1, 1)), rect(0, 0, 1, 1)))
        canvas.apply(copy_of(image(ImageType.BITMAP, again, (1, 1)), rect(0, 0, 1, 1)))
        canvas.apply(forget)
        with pytest.raises(ProtocolError, match="palette 0x8"):
            canvas.apply(copy_of(image(ImageType.BITMAP, again, (1, 1)), rect(0, 0, 1, 1)))


@pytest.mark.parametrize("where", ["clipped away", "missing surface", "operation not drawn"])
def test_images_enter_the_cache_though_they_are_not_drawn(where: str) -> None:
    canvas = new_canvas()
    source = raw(2, 2, flags=ImageFlag.CACHE_ME, id=5)
    box = rect(0, 0, 2, 2)
    message: Message = copy_of(source, rect(20, 20, 22, 22))
    if where == "missing surface":
        message = copy_of(source, box, surface_id=9)
    elif where == "operation not drawn":
        message = wire.DrawRop3(base(box), source, box, wire.Brush(), 0x88, ScaleMode.NEAREST, wire.QMask())
    result = canvas.apply(message)
    assert result is None if where == "clipped away" else isinstance(result, NotDrawn)
    assert canvas.apply(copy_of(cached(5), box)) == Damage(0, (Box(0, 0, 2, 2),))


def glz(image_id: int, units: bytes) -> wire.Image:
    """A GLZ image of 4 x 1 pixels; its window begins at image 0."""
    header = struct.pack(">IIBIIIQI", 0x20205A4C, 0x00010001, 0x18, 4, 1, 16, image_id, image_id)
    return image(ImageType.GLZ_RGB, wire.Compressed(header + units), (4, 1))


FOUR_LITERALS = b"\x03" + bytes(range(1, 13))
FOUR_FROM_TWO_IMAGES_BACK = b"\x80\x00\x02"


def test_a_message_that_waits_for_another_channel_can_be_applied_again() -> None:
    """The brush's image must wait; the source's GLZ image, decoded already, cannot be decoded a second time."""
    caches = ImageCaches()
    first, second = new_canvas(caches=caches), new_canvas(caches=caches)
    box = rect(0, 0, 4, 1)
    pattern = wire.Pattern(glz(2, FOUR_FROM_TWO_IMAGES_BACK), wire.Point(0, 0))
    brush = wire.Brush(BrushKind.PATTERN, pattern=pattern)
    waiting = wire.DrawOpaque(base(box), glz(1, FOUR_LITERALS), box, brush, int(Ropd.OP_XOR), 1, wire.QMask())
    for _ in range(2):
        with pytest.raises(MissingImage) as error:
            second.apply(waiting)
        assert error.value.image_id == 0
        assert not second.screenshot().any()
    first.apply(copy_of(glz(0, b"\x03" + bytes([0xFF] * 12)), box))
    assert second.apply(waiting) == Damage(0, (Box(0, 0, 4, 1),))
    expected = [[255 - value for value in range(first, first + 3)] for first in (1, 4, 7, 10)]
    assert second.screenshot()[0, :4, :3].tolist() == expected


# -- streams -------------------------------------------------------------------------------------------------------


def stream_create(
    *, codec: int = VideoCodec.MJPEG, flags: int = StreamFlag.TOP_DOWN, clip: wire.Clip | None = None, id: int = 2
) -> wire.StreamCreate:
    clip = clip if clip is not None else wire.Clip()
    return wire.StreamCreate(0, id, flags, codec, 0, 16, 8, 16, 8, rect(0, 0, 16, 8), clip)


def frame(width: int = 16, height: int = 8) -> bytes:
    out = BytesIO()
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, :] = (255, 0, 0)
    rgb[height // 2 :, :] = (0, 0, 255)
    Picture.fromarray(rgb).save(out, "JPEG", quality=95)
    return out.getvalue()


def test_frames_are_drawn_when_they_arrive() -> None:
    canvas = new_canvas(20, 10)
    assert canvas.apply(stream_create()) is None
    assert canvas.apply(wire.StreamData(2, 99, frame())) == Damage(0, (Box(0, 0, 16, 8),))
    assert np.array_equal(canvas.screenshot()[:8, :16], jpeg.decode(frame()))
    sized = wire.StreamDataSized(2, 99, 16, 8, rect(2, 2, 18, 10), frame())
    assert canvas.apply(sized) == Damage(0, (Box(2, 2, 18, 10),))
    assert np.array_equal(canvas.screenshot()[2:10, 2:18], jpeg.decode(frame()))
    (stream,) = canvas.streams
    assert (stream.frames, stream.frames_not_drawn) == (2, 0)
    canvas.apply(wire.StreamActivateReport(2, 5, 5, 1000))
    assert stream.report == wire.StreamActivateReport(2, 5, 5, 1000)
    canvas.apply(wire.StreamDestroy(2))
    assert canvas.apply(wire.StreamData(2, 99, frame())) == NotDrawn("STREAM_DATA", "video stream 2 does not exist")


def test_bottom_up_clipped_and_scaled_frames() -> None:
    canvas = new_canvas(20, 10)
    canvas.apply(stream_create(flags=0, clip=wire.Clip(ClipKind.RECTS, (rect(0, 0, 4, 8), rect(14, 0, 30, 8)))))
    damage = canvas.apply(wire.StreamData(2, 0, frame()))
    assert damage == Damage(0, (Box(0, 0, 4, 8), Box(14, 0, 16, 8)))
    picture = canvas.screenshot()
    assert np.array_equal(picture[:8, :4], jpeg.decode(frame())[::-1][:, :4])
    assert not picture[:, 4:14].any()
    canvas.apply(wire.StreamClip(2, wire.Clip(ClipKind.RECTS, (rect(5, 5, 6, 6),))))
    assert canvas.apply(wire.StreamData(2, 0, frame(32, 16))) == Damage(0, (Box(5, 5, 6, 6),))
    assert np.array_equal(canvas.screenshot()[5, 5], jpeg.decode(frame(32, 16))[::-1][11, 11])
    canvas.apply(wire.StreamClip(2, wire.Clip(ClipKind.RECTS)))
    assert canvas.apply(wire.StreamData(2, 0, frame())) is None


def test_other_codecs_and_lost_surfaces_are_reported() -> None:
    canvas = new_canvas()
    canvas.apply(stream_create(codec=VideoCodec.VP8))
    assert canvas.apply(wire.StreamData(2, 0, b"x")) == NotDrawn("STREAM_DATA", "VP8 video is not decoded")
    canvas.apply(stream_create(codec=77, id=3))
    assert canvas.apply(wire.StreamData(3, 0, b"x")) == NotDrawn("STREAM_DATA", "codec 77 video is not decoded")
    assert [stream.frames_not_drawn for stream in canvas.streams] == [1, 1]
    canvas.apply(wire.SurfaceDestroy(0))
    assert len(canvas.streams) == 0
    canvas.apply(stream_create())
    assert canvas.apply(wire.StreamData(2, 0, frame())) == NotDrawn("STREAM_DATA", "surface 0 does not exist")
    canvas.apply(wire.StreamDestroyAll())
    assert len(canvas.streams) == 0
    with pytest.raises(ProtocolError, match="stream id 64"):
        canvas.apply(stream_create(id=64))


# -- what is not drawn, and lies -----------------------------------------------------------------------------------


def test_what_is_not_drawn_is_said() -> None:
    canvas = new_canvas()
    box = rect(0, 0, 2, 2)
    segment = wire.PathSegment(3, (wire.Point(0, 0), wire.Point(16, 16)))
    glyph = wire.Glyph(wire.GlyphBox(wire.Point(0, 0), wire.Point(0, 0), 1, 1), b"\x80")
    brush = wire.Brush(BrushKind.SOLID, 1)
    origin = wire.Point16(0, 0)
    for message in (
        wire.DrawRop3(base(box), raw(2, 2), box, brush, 0x5A, 0, wire.QMask()),
        wire.DrawStroke(base(box), wire.Path((segment,)), wire.LineAttr(), brush, PUT, PUT),
        wire.DrawText(base(box), wire.String(1, 1, (glyph,)), box, brush, brush, PUT, PUT),
        wire.DrawComposite(base(box), 3, raw(2, 2), None, None, None, origin, origin),
        wire.GlScanoutUnix(1, 1, 4, 0, 0),
        wire.GlDraw(0, 0, 1, 1),
    ):
        result = canvas.apply(message)
        assert isinstance(result, NotDrawn)
        assert result.message == message.NAME
    assert not canvas.screenshot().any()


def test_other_messages_are_no_business_of_the_canvas() -> None:
    canvas = new_canvas()
    assert canvas.apply(Ping(1, 2, b"")) is None
    assert canvas.apply(wire.QualityIndicator(b"abc")) is None
    assert canvas.apply(registry.Unknown(b"", 999)) is None


LIES = [
    (dataclasses.replace(copy_of(raw(2, 2), rect(0, 0, 2, 2)), source=None), "no image"),
    (dataclasses.replace(copy_of(raw(2, 2), rect(0, 0, 2, 2)), scale_mode=2), "scale mode 2"),
    (dataclasses.replace(copy_of(raw(2, 2), rect(0, 0, 2, 2)), source_area=rect(0, 0, 0, 2)), "cannot be scaled"),
    (
        dataclasses.replace(copy_of(raw(2, 2), rect(0, 0, 2, 2)), source_area=rect(0, 0, 2**31 - 1, 2)),
        "cannot be scaled",
    ),
    (
        dataclasses.replace(
            copy_of(raw(2, 2), rect(0, 0, 2, 2)), base=wire.DisplayBase(0, rect(0, 0, 2, 2), wire.Clip(2))
        ),
        "clip kind 2",
    ),
    (
        dataclasses.replace(fill(rect(0, 0, 2, 2), 0), brush=wire.Brush(3)),
        "brush kind 3",
    ),
]


@pytest.mark.parametrize(("lie", "sentence"), LIES)
def test_lies_are_protocol_errors(lie: Message, sentence: str) -> None:
    canvas = new_canvas()
    with pytest.raises(ProtocolError, match=sentence):
        canvas.apply(lie)
    assert canvas.apply(fill(rect(0, 0, 2, 2), 1)) is not None


EXTREMES = st.sampled_from([-(2**31), -(2**31) + 1, -70000, -1, 0, 1, 3, 8, 40, 70000, 2**31 - 1])
NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 8, 100, 255])


@st.composite
def hostile_rects(draw: st.DrawFn) -> wire.Rect:
    return wire.Rect(draw(EXTREMES), draw(EXTREMES), draw(EXTREMES), draw(EXTREMES))


@st.composite
def hostile_images(draw: st.DrawFn) -> wire.Image:
    kind = draw(st.sampled_from([0, 103, 104, 106, 105, 1]))
    flags = draw(st.integers(0, 7))
    size = (draw(st.sampled_from([0, 1, 4, 2**32 - 1])), draw(st.sampled_from([0, 1, 4])))
    id = draw(st.integers(0, 3))
    if kind == ImageType.BITMAP:
        format, stride = draw(st.integers(0, 11)), draw(st.sampled_from([0, 1, 4, 16, 64]))
        palette = draw(st.none() | st.just(wire.Palette(3, (1, 2, 3))))
        palette_id = draw(st.just(3)) if flags & 2 else None
        data = bytes(range(256))[: stride * size[1]]
        bitmap = wire.Bitmap(format, flags, *size, stride, palette_id, palette, data)
        return image(kind, bitmap, size, flags=flags, id=id)
    if kind == ImageType.SURFACE:
        return image(kind, wire.SurfaceImage(draw(st.integers(0, 4))), size, flags=flags, id=id)
    if kind in (ImageType.FROM_CACHE, ImageType.FROM_CACHE_LOSSLESS):
        return image(kind, wire.FromCache(), size, flags=flags, id=id)
    return image(kind, wire.Compressed(draw(st.binary(max_size=30))), size, flags=flags, id=id)


@st.composite
def hostile_messages(draw: st.DrawFn) -> Message:
    clip = wire.Clip(
        draw(st.sampled_from([0, 0, 1, 2])), tuple(draw(st.lists(hostile_rects(), max_size=3)))
    )
    box = draw(st.one_of(hostile_rects(), st.just(rect(0, 0, 8, 6))))
    where = wire.DisplayBase(draw(st.integers(0, 4)), box, clip)
    area, source = draw(hostile_rects()), draw(st.none() | hostile_images())
    rop, scale = draw(st.integers(0, 65535)), draw(st.sampled_from([0, 0, 1, 2]))
    at = wire.Point(draw(EXTREMES), draw(EXTREMES))
    mask = wire.QMask(draw(st.integers(0, 1)), at, draw(st.none() | hostile_images()))
    kind = draw(NUMBERS) % 4
    pattern = wire.Pattern(draw(st.none() | hostile_images()), at) if kind == BrushKind.PATTERN else None
    brush = wire.Brush(kind, draw(st.integers(0, 2**32 - 1)), pattern)
    stream = draw(st.integers(0, 65))
    return draw(
        st.sampled_from(
            [
                wire.DrawCopy(where, source, area, rop, scale, mask),
                wire.DrawBlend(where, source, area, rop, scale, mask),
                wire.DrawOpaque(where, source, area, brush, rop, scale, mask),
                wire.DrawFill(where, brush, rop, mask),
                wire.DrawInvers(where, mask),
                wire.DrawBlackness(where, mask),
                wire.DrawTransparent(where, source, area, rop, rop),
                wire.DrawAlphaBlend(where, rop & 3, rop & 255, source, area),
                wire.DrawRop3(where, source, area, brush, 0, scale, mask),
                wire.CopyBits(where, at),
                wire.SurfaceCreate(rop % 5, draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), rop & 3),
                wire.SurfaceDestroy(rop % 5),
                wire.StreamCreate(rop % 5, stream, rop & 1, 1 + rop % 2, 0, 1, 1, 1, 1, area, clip),
                wire.StreamData(stream, 0, frame(4, 4)),
                wire.StreamDataSized(stream, 0, 4, 4, area, frame(4, 4)),
                wire.StreamClip(stream, clip),
                wire.Reset(),
            ]
        )
    )


def check(canvas: Canvas, message: Message) -> None:
    """Apply a message; whatever it says, only a `ProtocolError` may come out."""
    try:
        result = canvas.apply(message)
    except ProtocolError:
        return
    if isinstance(result, Damage):
        surface = canvas.surfaces.surface(result.surface_id)
        assert result.boxes
        assert all(box.intersect(surface.box) == box and not box.is_empty for box in result.boxes)


@settings(max_examples=250, deadline=None)
@given(messages=st.lists(hostile_messages(), min_size=1, max_size=8), format=st.sampled_from(list(SurfaceFormat)))
def test_hostile_values_do_no_harm(messages: list[Message], format: SurfaceFormat) -> None:
    canvas = Canvas(budget=PixelBudget(2**17), max_image_pixels=2**16)
    canvas.apply(wire.SurfaceCreate(0, 8, 6, format, SurfaceFlag.PRIMARY))
    canvas.apply(wire.SurfaceCreate(1, 5, 9, SurfaceFormat.ALPHA_1, 0))
    canvas.apply(wire.SurfaceCreate(2, 5, 9, SurfaceFormat.ARGB_32, 0))
    for message in messages:
        check(canvas, message)
    assert canvas.surfaces.surface(1).cells.max() in (0, 255) if 1 in canvas.surfaces else True


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_flipped_bits_on_the_wire_do_no_harm(data: st.DataObject) -> None:
    box = rect(0, 0, 4, 4)
    mask_bits = wire.Bitmap(1, BitmapFlag.TOP_DOWN, 4, 4, 1, None, None, b"\x05\x0a\x05\x0a")
    mask = wire.QMask(0, wire.Point(0, 0), image(ImageType.BITMAP, mask_bits, (4, 4)))
    clip = wire.Clip(ClipKind.RECTS, (rect(0, 0, 3, 3), rect(2, 2, 4, 4)))
    where = wire.DisplayBase(0, box, clip)
    message = data.draw(
        st.sampled_from(
            [
                wire.DrawCopy(where, raw(4, 4, flags=1), box, PUT, 0, mask),
                wire.DrawOpaque(where, raw(4, 4), box, wire.Brush(1, 5), int(Ropd.OP_XOR), 1, mask),
                wire.DrawAlphaBlend(where, 0, 99, raw(4, 4), box),
                wire.CopyBits(where, wire.Point(1, 1)),
            ]
        )
    )
    body = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    number = registry.number_of(message, ChannelType.DISPLAY, Direction.FROM_SERVER)
    try:
        changed = registry.decode(ChannelType.DISPLAY, Direction.FROM_SERVER, number, bytes(body))
    except ProtocolError:
        return
    check(new_canvas(max_image_pixels=2**16), changed)
