"""What the draw messages are made of, and the draw messages (dossier B.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.constants import ChannelType
from spicehop.wire.display_constants import BrushKind, CompositeFlag, LineFlag, StringFlag
from spicehop.wire.geometry import Clip, Point, Point16, Rect, Transform
from spicehop.wire.image import Image
from spicehop.wire.layout import (
    U8,
    U16,
    U32,
    Array,
    Data,
    Field,
    Integer,
    Message,
    Nested,
    PointedArray,
    Pointer,
    Reader,
    Structure,
    When,
    Writer,
    equals,
    has,
)
from spicehop.wire.registry import from_server

DISPLAY = ChannelType.DISPLAY
ORIGIN = Point(0, 0)


@dataclass(frozen=True, slots=True)
class DisplayBase(Structure):
    """Where a drawing goes: the surface, the area, and the clip inside it."""

    surface_id: U32
    box: Rect
    clip: Clip


@dataclass(frozen=True, slots=True)
class Pattern(Structure):
    """An image that is repeated, with its origin at `pos`."""

    image: Annotated[Image | None, Pointer(lambda: Image, required=True)]
    pos: Point


@dataclass(frozen=True, slots=True)
class Brush(Structure):
    """Nothing, a `color` (xRGB) or a `pattern`, by `kind` (`BrushKind`)."""

    kind: U8 = BrushKind.NONE
    color: Annotated[int, When(equals("kind", BrushKind.SOLID), Integer("I"), 0)] = 0
    pattern: Annotated[
        Pattern | None, When(equals("kind", BrushKind.PATTERN), Nested(Pattern))
    ] = None


@dataclass(frozen=True, slots=True)
class QMask(Structure):
    """A one bit image that lets pixels through, from `pos` on; no image means no mask."""

    flags: U8 = 0
    pos: Point = ORIGIN
    image: Annotated[Image | None, Pointer(lambda: Image)] = None


@dataclass(frozen=True, slots=True)
class LineAttr(Structure):
    """How a line is drawn; `style` are dash lengths in 28.4, there when STYLED is set."""

    flags: U8 = 0
    style: Annotated[
        tuple[int, ...],
        When(has("flags", LineFlag.STYLED), PointedArray("i", count="B"), ()),
    ] = ()


@dataclass(frozen=True, slots=True)
class PathSegment(Structure):
    """Points of one piece of a path, in 28.4; `flags` are `PathFlag`."""

    flags: U8
    points: Annotated[tuple[Point, ...], Array(Point, count="I")]


@dataclass(frozen=True, slots=True)
class Path(Structure):
    """A line to stroke."""

    segments: Annotated[tuple[PathSegment, ...], Array(PathSegment, count="I")]


@dataclass(frozen=True, slots=True)
class GlyphBox(Structure):
    """Place and size of a glyph."""

    render_pos: Point
    origin: Point
    width: U16
    height: U16


@dataclass(frozen=True, slots=True)
class Glyph:
    """One glyph: its box, and rows of 1, 4 or 8 bits a pixel, each filled up to a byte."""

    box: GlyphBox
    data: Data


class Glyphs(Field):
    """The glyphs of a string, whose depth the string's flags tell."""

    uses_earlier = True

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[Glyph, ...]:
        count, flags = seen["length"], seen["flags"]
        depth = glyph_depth(flags)
        if depth is None:
            raise ProtocolError(f"a string of glyphs has unknown flags {flags}")
        reader.expect(count, GlyphBox.minimum_size())
        glyphs = []
        for _ in range(count):
            box = GlyphBox.read(reader)
            glyphs.append(Glyph(box, reader.take((depth * box.width + 7) // 8 * box.height)))
        return tuple(glyphs)

    def encode(self, writer: Writer, value: tuple[Glyph, ...], owner: Any) -> None:
        depth = glyph_depth(owner.flags)
        if depth is None or owner.length != len(value):
            raise StateError("a string needs one depth flag and as many glyphs as its length says")
        for glyph in value:
            needed = (depth * glyph.box.width + 7) // 8 * glyph.box.height
            if len(glyph.data) != needed:
                raise StateError(f"a glyph needs {needed} bytes, {len(glyph.data)} given")
            glyph.box.write(writer)
            writer.buffer += glyph.data

    def parts(self) -> tuple[type[Structure], ...]:
        return (GlyphBox,)

    def describe(self, name: str) -> str:
        return f"length × {{GlyphBox box, u8[ceil(depth * width / 8) * height]}} {name}"


def glyph_depth(flags: int) -> int | None:
    """Bits per pixel of a string's glyphs, by its `StringFlag`."""
    for flag, depth in ((StringFlag.RASTER_A1, 1), (StringFlag.RASTER_A4, 4), (StringFlag.RASTER_A8, 8)):
        if flags & flag:
            return depth
    return None


@dataclass(frozen=True, slots=True)
class String(Structure):
    """Glyphs to draw; `flags` are `StringFlag`."""

    length: U16
    flags: U8
    glyphs: Annotated[tuple[Glyph, ...], Glyphs()]


@from_server(DISPLAY, 104)
@dataclass(frozen=True, slots=True)
class CopyBits(Message):
    """Move pixels inside a surface."""

    base: DisplayBase
    source_pos: Point


@from_server(DISPLAY, 302)
@dataclass(frozen=True, slots=True)
class DrawFill(Message):
    """Fill an area; `rop` are `Ropd`."""

    base: DisplayBase
    brush: Brush
    rop: U16
    mask: QMask


@from_server(DISPLAY, 303)
@dataclass(frozen=True, slots=True)
class DrawOpaque(Message):
    """Draw an image, combined with a brush by `rop`."""

    base: DisplayBase
    source: Annotated[Image | None, Pointer(lambda: Image)]
    source_area: Rect
    brush: Brush
    rop: U16
    scale_mode: U8
    mask: QMask


@from_server(DISPLAY, 304)
@dataclass(frozen=True, slots=True)
class DrawCopy(Message):
    """Draw an image."""

    base: DisplayBase
    source: Annotated[Image | None, Pointer(lambda: Image)]
    source_area: Rect
    rop: U16
    scale_mode: U8
    mask: QMask


@from_server(DISPLAY, 305)
@dataclass(frozen=True, slots=True)
class DrawBlend(Message):
    """Draw an image, combined with what is there by `rop`."""

    base: DisplayBase
    source: Annotated[Image | None, Pointer(lambda: Image)]
    source_area: Rect
    rop: U16
    scale_mode: U8
    mask: QMask


@from_server(DISPLAY, 306)
@dataclass(frozen=True, slots=True)
class DrawBlackness(Message):
    """Make an area black."""

    base: DisplayBase
    mask: QMask


@from_server(DISPLAY, 307)
@dataclass(frozen=True, slots=True)
class DrawWhiteness(Message):
    """Make an area white."""

    base: DisplayBase
    mask: QMask


@from_server(DISPLAY, 308)
@dataclass(frozen=True, slots=True)
class DrawInvers(Message):
    """Invert an area."""

    base: DisplayBase
    mask: QMask


@from_server(DISPLAY, 309)
@dataclass(frozen=True, slots=True)
class DrawRop3(Message):
    """Combine image, brush and what is there by a ternary raster operation."""

    base: DisplayBase
    source: Annotated[Image | None, Pointer(lambda: Image)]
    source_area: Rect
    brush: Brush
    rop3: U8
    scale_mode: U8
    mask: QMask



@from_server(DISPLAY, 310)
@dataclass(frozen=True, slots=True)
class DrawStroke(Message):
    """Draw a line; the modes are `Ropd`."""

    base: DisplayBase
    path: Annotated[Path | None, Pointer(lambda: Path, required=True)]
    attr: LineAttr
    brush: Brush
    fore_mode: U16
    back_mode: U16


@from_server(DISPLAY, 311)
@dataclass(frozen=True, slots=True)
class DrawText(Message):
    """Draw a string; the modes are `Ropd`."""

    base: DisplayBase
    string: Annotated[String | None, Pointer(lambda: String, required=True)]
    back_area: Rect
    fore_brush: Brush
    back_brush: Brush
    fore_mode: U16
    back_mode: U16


@from_server(DISPLAY, 312)
@dataclass(frozen=True, slots=True)
class DrawTransparent(Message):
    """Draw an image except for the pixels of one colour."""

    base: DisplayBase
    source: Annotated[Image | None, Pointer(lambda: Image)]
    source_area: Rect
    source_color: U32
    true_color: U32


@from_server(DISPLAY, 313)
@dataclass(frozen=True, slots=True)
class DrawAlphaBlend(Message):
    """Blend an image; `alpha_flags` are `AlphaFlag`, `alpha` is for the whole image."""

    base: DisplayBase
    alpha_flags: U8
    alpha: U8
    source: Annotated[Image | None, Pointer(lambda: Image)]
    source_area: Rect


@from_server(DISPLAY, 318)
@dataclass(frozen=True, slots=True)
class DrawComposite(Message):
    """Render-style compositing; `flags` are `CompositeFlag` and the numbers of `COMPOSITE_FIELDS`."""

    base: DisplayBase
    flags: U32
    source: Annotated[Image | None, Pointer(lambda: Image)]
    mask: Annotated[
        Image | None, When(has("flags", CompositeFlag.HAS_MASK), Pointer(lambda: Image))
    ]
    source_transform: Annotated[
        Transform | None,
        When(has("flags", CompositeFlag.HAS_SRC_TRANSFORM), Nested(Transform)),
    ]
    mask_transform: Annotated[
        Transform | None,
        When(has("flags", CompositeFlag.HAS_MASK_TRANSFORM), Nested(Transform)),
    ]
    source_origin: Point16
    mask_origin: Point16
