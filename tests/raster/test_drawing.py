"""Drawings against a slow model that knows one pixel at a time, in the surface's own bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.raster.canvas import Canvas
from spicehop.raster.results import Damage, NotDrawn
from spicehop.wire import display as wire
from spicehop.wire.display_constants import (
    BitmapFlag,
    BitmapFormat,
    BrushKind,
    ClipKind,
    ImageType,
    MaskFlag,
    Ropd,
    ScaleMode,
    SurfaceFlag,
    SurfaceFormat,
)

WIDTH, HEIGHT = 13, 9
Grid = list[list[int]]

DEPTHS = {
    SurfaceFormat.ALPHA_1: 1,
    SurfaceFormat.ALPHA_8: 8,
    SurfaceFormat.RGB_555: 15,
    SurfaceFormat.RGB_565: 16,
    SurfaceFormat.XRGB_32: 32,
    SurfaceFormat.ARGB_32: 32,
}


# -- messages ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Where:
    """A box, its clip, and a mask."""

    box: wire.Rect
    clips: tuple[wire.Rect, ...] | None = None
    mask: wire.QMask = field(default_factory=wire.QMask)
    mask_bits: Grid | None = None

    @property
    def base(self) -> wire.DisplayBase:
        clip = wire.Clip() if self.clips is None else wire.Clip(ClipKind.RECTS, self.clips)
        return wire.DisplayBase(0, self.box, clip)


def raw_image(cells: Grid, *, has_alpha: bool = False, top_down: bool = True) -> wire.Image:
    rows = cells if top_down else cells[::-1]
    data = np.array(rows, "<u4").tobytes()
    width, height = len(cells[0]), len(cells)
    format = BitmapFormat.ARGB_32 if has_alpha else BitmapFormat.XRGB_32
    flags = BitmapFlag.TOP_DOWN if top_down else 0
    payload = wire.Bitmap(format, flags, width, height, 4 * width, None, None, data)
    return wire.Image(wire.ImageDescriptor(1, ImageType.BITMAP, 0, width, height), payload)


def mask_image(bits: Grid) -> wire.Image:
    width, height = len(bits[0]), len(bits)
    data = np.packbits(np.array(bits, np.uint8), axis=1, bitorder="little")
    payload = wire.Bitmap(1, BitmapFlag.TOP_DOWN, width, height, data.shape[1], None, None, data.tobytes())
    return wire.Image(wire.ImageDescriptor(2, ImageType.BITMAP, 0, width, height), payload)


def surface_image(surface_id: int) -> wire.Image:
    return wire.Image(wire.ImageDescriptor(3, ImageType.SURFACE, 0, 0, 0), wire.SurfaceImage(surface_id))


# -- the model -----------------------------------------------------------------------------------------------------


def to_native(format: SurfaceFormat, cell: int, *, has_alpha: bool) -> int:
    """What a surface keeps of an image's pixel."""
    red, green, blue = cell >> 16 & 255, cell >> 8 & 255, cell & 255
    alpha = cell >> 24 if has_alpha else 255
    match format:
        case SurfaceFormat.ALPHA_1:
            return alpha >> 7
        case SurfaceFormat.ALPHA_8:
            return alpha
        case SurfaceFormat.RGB_555:
            return red >> 3 << 10 | green >> 3 << 5 | blue >> 3
        case SurfaceFormat.RGB_565:
            return red >> 3 << 11 | green >> 2 << 5 | blue >> 3
    return cell


def to_cell(format: SurfaceFormat, native: int) -> int:
    """How `Surface.cells` holds a native pixel."""
    if format is SurfaceFormat.ALPHA_1:
        return 255 * native
    if format in (SurfaceFormat.RGB_555, SurfaceFormat.RGB_565):
        bits = 6 if format is SurfaceFormat.RGB_565 else 5
        red, green, blue = native >> bits + 5, native >> 5 & (1 << bits) - 1, native & 31
        green = green << 8 - bits | green >> 2 * bits - 8
        return (red << 3 | red >> 2) << 16 | green << 8 | (blue << 3 | blue >> 2)
    return native


@dataclass
class Model:
    """A surface, pixel by pixel."""

    format: SurfaceFormat
    pixels: Grid

    def visible(self, where: Where, x: int, y: int) -> bool:
        box = where.box
        if not (box.left <= x < box.right and box.top <= y < box.bottom):
            return False
        if where.clips is not None and not any(
            clip.left <= x < clip.right and clip.top <= y < clip.bottom for clip in where.clips
        ):
            return False
        if where.mask_bits is None:
            return True
        column, row = x - box.left + where.mask.pos.x, y - box.top + where.mask.pos.y
        if not (0 <= row < len(where.mask_bits) and 0 <= column < len(where.mask_bits[0])):
            return False
        return bool(where.mask_bits[row][column]) ^ bool(where.mask.flags & MaskFlag.INVERS)

    def draw(self, where: Where, value: Callable[[int, int, int], int | None]) -> bool:
        """Give each visible pixel a value made from (x, y, old value); None leaves it. Says if any was visible."""
        limit = (1 << DEPTHS[self.format]) - 1
        new = [row[:] for row in self.pixels]
        visible = False
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if self.visible(where, x, y):
                    visible = True
                    result = value(x, y, self.pixels[y][x])
                    if result is not None:
                        new[y][x] = result & limit
        self.pixels = new
        return visible


def combined(descriptor: int, source_bit: int, target_bit: int, source: int, target: int) -> int:
    """A raster operation on whole pixels, straight from the bits of its descriptor."""
    s = ~source if descriptor & source_bit else source
    t = ~target if descriptor & target_bit else target
    for bit, result in ((Ropd.OP_PUT, s), (Ropd.OP_OR, s | t), (Ropd.OP_AND, s & t), (Ropd.OP_XOR, s ^ t)):
        if descriptor & bit:
            return ~result if descriptor & Ropd.INVERS_RES else result
    for bit, result in ((Ropd.OP_BLACKNESS, 0), (Ropd.OP_WHITENESS, -1), (Ropd.OP_INVERS, ~target)):
        if descriptor & bit:
            return result
    return source


def sampled(format: SurfaceFormat, cells: Grid, area: wire.Rect, box: wire.Rect, x: int, y: int, has_alpha: bool):
    """The native pixel that lands on (x, y), or None where a plain copy has none."""
    if (area.width, area.height) == (box.width, box.height):
        column, row = x - box.left + area.left, y - box.top + area.top
        if not (0 <= row < len(cells) and 0 <= column < len(cells[0])):
            return None
        return to_native(format, cells[row][column], has_alpha=has_alpha)
    # The centre of the pixel, in steps of 1/65536; a position on an edge belongs to the pixel before it.
    step_x, step_y = area.width * 65536 // box.width, area.height * 65536 // box.height
    column = ((x - box.left) * step_x + (step_x + 1) // 2 - 1) // 65536 + area.left
    row = ((y - box.top) * step_y + (step_y + 1) // 2 - 1) // 65536 + area.top
    if not (0 <= row < len(cells) and 0 <= column < len(cells[0])):
        return 0
    cell = cells[row][column]
    if format is SurfaceFormat.ARGB_32:
        return cell if has_alpha else cell | 0xFF000000
    return to_native(format, cell & 0xFFFFFF if format is SurfaceFormat.XRGB_32 else cell, has_alpha=has_alpha)


# -- cases ---------------------------------------------------------------------------------------------------------

FORMATS = st.sampled_from(list(SurfaceFormat))
CELLS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 0xFFFFFFFF, 0x00FF00FF, 0x123456]))


def grids(width: st.SearchStrategy[int], height: st.SearchStrategy[int], cells: st.SearchStrategy[int]):
    return st.tuples(width, height).flatmap(
        lambda size: st.lists(
            st.lists(cells, min_size=size[0], max_size=size[0]), min_size=size[1], max_size=size[1]
        )
    )


images = grids(st.integers(1, 8), st.integers(1, 6), CELLS)
bit_grids = grids(st.integers(1, 12), st.integers(1, 8), st.integers(0, 1))
points = st.builds(wire.Point, st.integers(-4, 10), st.integers(-4, 10))


@st.composite
def rects(draw: st.DrawFn, *, empty: bool = True, low: int = -3) -> wire.Rect:
    left, top = draw(st.integers(low, WIDTH)), draw(st.integers(low, HEIGHT))
    smallest = -1 if empty else 1
    width, height = draw(st.integers(smallest, WIDTH + 2)), draw(st.integers(smallest, HEIGHT + 2))
    return wire.Rect(top, left, top + height, left + width)


@st.composite
def places(draw: st.DrawFn, *, masked: bool = True) -> Where:
    box = draw(rects())
    clips = draw(st.none() | st.lists(rects(), max_size=4).map(tuple))
    bits = draw(st.none() | bit_grids) if masked else None
    if bits is None:
        return Where(box, clips)
    mask = wire.QMask(draw(st.integers(0, 1)), draw(points), mask_image(bits))
    return Where(box, clips, mask, bits)


@dataclass
class Pair:
    """A canvas and its model, with the same noise on surface 0."""

    canvas: Canvas
    model: Model

    def apply(self, message, where: Where, value: Callable[[int, int, int], int | None]) -> None:
        visible = self.model.draw(where, value)
        result = self.canvas.apply(message)
        assert self.cells() == [[to_cell(self.model.format, native) for native in row] for row in self.model.pixels]
        if result is None:
            return
        assert visible
        assert isinstance(result, Damage)
        for box in result.boxes:
            assert 0 <= box.left < box.right <= WIDTH
            assert 0 <= box.top < box.bottom <= HEIGHT

    def cells(self) -> Grid:
        primary = self.canvas.primary
        assert primary is not None
        return primary.cells.tolist()


@st.composite
def pairs(draw: st.DrawFn, formats: st.SearchStrategy[SurfaceFormat] = FORMATS) -> Pair:
    format = draw(formats)
    canvas = Canvas()
    canvas.apply(wire.SurfaceCreate(0, WIDTH, HEIGHT, format, SurfaceFlag.PRIMARY))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    natives = rng.integers(0, 1 << DEPTHS[format], (HEIGHT, WIDTH), dtype=np.uint64).tolist()
    assert canvas.primary is not None
    canvas.primary.cells[...] = [[to_cell(format, native) for native in row] for row in natives]
    return Pair(canvas, Model(format, natives))


# -- tests ---------------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(
    pair=pairs(),
    where=places(),
    cells=images,
    has_alpha=st.booleans(),
    top_down=st.booleans(),
    area=rects(empty=False, low=-2),
    rop=st.one_of(st.just(int(Ropd.OP_PUT)), st.integers(0, 2047)),
    same_size=st.booleans(),
    blend=st.booleans(),
)
def test_copies(pair, where, cells, has_alpha, top_down, area, rop, same_size, blend) -> None:
    if same_size:
        area = wire.Rect(area.top, area.left, area.top + where.box.height, area.left + where.box.width)
    image = raw_image(cells, has_alpha=has_alpha, top_down=top_down)
    kind = wire.DrawBlend if blend else wire.DrawCopy

    def value(x: int, y: int, old: int) -> int | None:
        pixel = sampled(pair.model.format, cells, area, where.box, x, y, has_alpha)
        return None if pixel is None else combined(rop, Ropd.INVERS_SRC, Ropd.INVERS_DEST, pixel, old)

    pair.apply(kind(where.base, image, area, rop, ScaleMode.NEAREST, where.mask), where, value)


@settings(max_examples=150, deadline=None)
@given(pair=pairs(), where=places(), color=CELLS, rop=st.integers(0, 2047), solid=st.booleans())
def test_fills(pair, where, color, rop, solid) -> None:
    brush = wire.Brush(BrushKind.SOLID, color) if solid else wire.Brush()
    pair.apply(
        wire.DrawFill(where.base, brush, rop, where.mask),
        where,
        lambda x, y, old: combined(rop, Ropd.INVERS_BRUSH, Ropd.INVERS_DEST, color if solid else 0, old),
    )


@settings(max_examples=120, deadline=None)
@given(pair=pairs(), where=places(), cells=images, origin=points, rop=st.integers(0, 2047))
def test_patterns(pair, where, cells, origin, rop) -> None:
    brush = wire.Brush(BrushKind.PATTERN, pattern=wire.Pattern(raw_image(cells), origin))

    def value(x: int, y: int, old: int) -> int:
        cell = cells[(y - origin.y) % len(cells)][(x - origin.x) % len(cells[0])]
        pixel = to_native(pair.model.format, cell, has_alpha=False)
        return combined(rop, Ropd.INVERS_BRUSH, Ropd.INVERS_DEST, pixel, old)

    pair.apply(wire.DrawFill(where.base, brush, rop, where.mask), where, value)


@settings(max_examples=120, deadline=None)
@given(
    pair=pairs(), where=places(), cells=images, area=rects(empty=False), color=CELLS, rop=st.integers(0, 2047)
)
def test_opaque(pair, where, cells, area, color, rop) -> None:
    def value(x: int, y: int, old: int) -> int:
        pixel = sampled(pair.model.format, cells, area, where.box, x, y, False)
        return combined(rop, Ropd.INVERS_BRUSH, Ropd.INVERS_SRC, color, old if pixel is None else pixel)

    brush = wire.Brush(BrushKind.SOLID, color)
    message = wire.DrawOpaque(where.base, raw_image(cells), area, brush, rop, ScaleMode.NEAREST, where.mask)
    pair.apply(message, where, value)


@settings(max_examples=60, deadline=None)
@given(pair=pairs(), where=places(), kind=st.sampled_from([wire.DrawBlackness, wire.DrawWhiteness, wire.DrawInvers]))
def test_blackness_whiteness_invers(pair, where, kind) -> None:
    values = {
        wire.DrawBlackness: lambda x, y, old: 0,
        wire.DrawWhiteness: lambda x, y, old: -1,
        wire.DrawInvers: lambda x, y, old: ~old,
    }
    pair.apply(kind(where.base, where.mask), where, values[kind])


@settings(max_examples=150, deadline=None)
@given(pair=pairs(), where=places(masked=False), source=points)
def test_copy_bits(pair, where, source) -> None:
    before = [row[:] for row in pair.model.pixels]

    def value(x: int, y: int, old: int) -> int | None:
        column, row = x - where.box.left + source.x, y - where.box.top + source.y
        return before[row][column] if 0 <= row < HEIGHT and 0 <= column < WIDTH else None

    pair.apply(wire.CopyBits(where.base, source), where, value)


@settings(max_examples=80, deadline=None)
@given(pair=pairs(), where=places(), dx=st.integers(-6, 6), dy=st.integers(-6, 6), rop=st.integers(0, 2047))
def test_a_surface_can_be_copied_onto_itself(pair, where, dx, dy, rop) -> None:
    before = [row[:] for row in pair.model.pixels]
    box = where.box
    area = wire.Rect(box.top + dy, box.left + dx, box.bottom + dy, box.right + dx)

    def value(x: int, y: int, old: int) -> int | None:
        column, row = x + dx, y + dy
        if not (0 <= row < HEIGHT and 0 <= column < WIDTH):
            return None
        return combined(rop, Ropd.INVERS_SRC, Ropd.INVERS_DEST, before[row][column], old)

    message = wire.DrawCopy(where.base, surface_image(0), area, rop, ScaleMode.NEAREST, where.mask)
    pair.apply(message, where, value)


@settings(max_examples=80, deadline=None)
@given(
    pair=pairs(st.sampled_from([SurfaceFormat.XRGB_32, SurfaceFormat.ARGB_32, SurfaceFormat.RGB_565])),
    where=places(masked=False),
    cells=grids(st.integers(1, 8), st.integers(1, 6), st.sampled_from([0x00112233, 0xFF112233, 0x00445566])),
    area=rects(empty=False),
)
def test_transparent(pair, where, cells, area) -> None:
    key = to_native(pair.model.format, 0x112233, has_alpha=False)

    def value(x: int, y: int, old: int) -> int | None:
        pixel = sampled(pair.model.format, cells, area, where.box, x, y, True)
        return None if pixel is None or pixel & 0xFFFFFF == key else pixel

    message = wire.DrawTransparent(where.base, raw_image(cells, has_alpha=True), area, 0, 0x99112233)
    pair.apply(message, where, value)


def test_off_screen_surfaces_are_sources() -> None:
    canvas = Canvas()
    canvas.apply(wire.SurfaceCreate(0, 4, 2, SurfaceFormat.XRGB_32, SurfaceFlag.PRIMARY))
    canvas.apply(wire.SurfaceCreate(7, 2, 2, SurfaceFormat.RGB_565, 0))
    whole = wire.Rect(0, 0, 2, 2)
    red = wire.Brush(BrushKind.SOLID, 0xF800)
    put = int(Ropd.OP_PUT)
    canvas.apply(wire.DrawFill(wire.DisplayBase(7, whole, wire.Clip()), red, put, wire.QMask()))
    target = wire.DisplayBase(0, wire.Rect(0, 2, 2, 4), wire.Clip())
    damage = canvas.apply(wire.DrawCopy(target, surface_image(7), whole, put, ScaleMode.NEAREST, wire.QMask()))
    assert damage == Damage(0, ((2, 0, 4, 2),))
    assert canvas.primary is not None
    assert canvas.primary.cells.tolist() == [[0, 0, 0xFF0000, 0xFF0000]] * 2


@pytest.mark.parametrize("missing", ["target", "source", "pattern", "mask"])
def test_a_missing_surface_is_reported(missing: str) -> None:
    canvas = Canvas()
    canvas.apply(wire.SurfaceCreate(0, 4, 4, SurfaceFormat.XRGB_32, SurfaceFlag.PRIMARY))
    image = surface_image(9) if missing == "source" else raw_image([[1]])
    brush = wire.Brush(BrushKind.SOLID, 1)
    if missing == "pattern":
        brush = wire.Brush(BrushKind.PATTERN, pattern=wire.Pattern(surface_image(9), wire.Point(0, 0)))
    mask = wire.QMask(0, wire.Point(0, 0), surface_image(9)) if missing == "mask" else wire.QMask()
    base = wire.DisplayBase(9 if missing == "target" else 0, wire.Rect(0, 0, 1, 1), wire.Clip())
    result = canvas.apply(
        wire.DrawOpaque(base, image, wire.Rect(0, 0, 1, 1), brush, Ropd.OP_PUT, ScaleMode.NEAREST, mask)
    )
    assert result == NotDrawn("DRAW_OPAQUE", "surface 9 does not exist")
    assert not canvas.screenshot().any()
