"""Values of any structure, drawn from its own layout: `structure(cls)` is a strategy for instances of `cls`.

Keys that choose a form (image types, brush kinds, glyph depths) are drawn from the known values, so that every form is
tried; sizes that multiply are kept small. All other integers use their whole range.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from spicehop.wire import agent, migration_data
from spicehop.wire.base import SubMessage, SubMessageList
from spicehop.wire.display_constants import BrushKind, ClipKind, StringFlag
from spicehop.wire.drawing import Brush, Glyph, GlyphBox, Glyphs, String, glyph_depth
from spicehop.wire.fields import Items
from spicehop.wire.geometry import Clip
from spicehop.wire.image import PAYLOADS, Bitmap, ImageDescriptor
from spicehop.wire.layout import (
    NOTHING,
    Array,
    ComputedBytes,
    Field,
    FixedArray,
    FixedBytes,
    Integer,
    MatchingArray,
    Nested,
    PointedArray,
    PointedBytes,
    Pointer,
    RestBytes,
    Scalar,
    SizedBytes,
    Structure,
    Switch,
    When,
)

SMALL = st.integers(0, 3)
DEPTHS = [StringFlag.RASTER_A1, StringFlag.RASTER_A4, StringFlag.RASTER_A8]
ROW_ORDERS = [0, StringFlag.RASTER_TOP_DOWN]
CHOSEN: dict[tuple[type[Structure], str], st.SearchStrategy[int]] = {
    (ImageDescriptor, "type"): st.sampled_from(sorted(PAYLOADS)),
    (Bitmap, "stride"): st.integers(0, 8),
    (Bitmap, "height"): SMALL,
    (Clip, "kind"): st.sampled_from([*ClipKind, 77]),
    (Brush, "kind"): st.sampled_from([*BrushKind, 77]),
    (String, "length"): SMALL,
    (String, "flags"): st.sampled_from([depth | order for depth in DEPTHS for order in ROW_ORDERS]),
    (GlyphBox, "width"): st.integers(0, 9),
    (GlyphBox, "height"): SMALL,
    (migration_data.DeviceState, "version"): st.integers(0, migration_data.VERSION),
    (migration_data.MainMigrationData, "chunk_header_bytes"): st.integers(0, migration_data.CHUNK_HEADER_BYTES),
    (migration_data.MainMigrationData, "a2c_filter"): st.sampled_from(migration_data.FilterResult),
    (migration_data.MainMigrationData, "c2a_filter"): st.sampled_from(migration_data.FilterResult),
    (migration_data.LossySurface, "id"): st.integers(0, 1023),
}
"""Integers that are not drawn from their whole range."""
CHOSEN_FIELDS: dict[tuple[type[Structure], str], st.SearchStrategy[Any]] = {
    (migration_data.MainMigrationData, "message_header"): st.binary(max_size=19),
    (migration_data.SurfaceList, "ids"): st.lists(st.integers(0, 1023), max_size=4).map(tuple),
}
"""Other fields whose values have limits of their own."""


def integers(code: str) -> st.SearchStrategy[int]:
    """All values of a struct letter; the limits come up often."""
    bits = 8 * struct.calcsize("<" + code)
    low, high = (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.integers(low, high) | st.sampled_from([low, high])


@st.composite
def structure(draw: st.DrawFn, cls: type[Structure], capabilities: frozenset[int] = NOTHING) -> Any:
    """An instance of `cls`; `capabilities` decide about fields that need them."""
    seen: dict[str, Any] = {}
    for step in cls.layout().steps:
        if step.counts is not None:
            continue
        key = (cls, step.name)
        if key in CHOSEN_FIELDS:
            seen[step.name] = draw(CHOSEN_FIELDS[key])
        elif isinstance(step.marker, Scalar):
            seen[step.name] = draw(CHOSEN[key] if key in CHOSEN else integers(step.marker.code))
        else:
            seen[step.name] = draw(value(step.marker, seen, capabilities))
    return cls(**seen)


def value(field: Field, seen: dict[str, Any], capabilities: frozenset[int]) -> st.SearchStrategy[Any]:
    """Values of one field, after the fields in `seen`."""
    match field:
        case RestBytes() | SizedBytes() | PointedBytes():
            return st.binary(max_size=20)
        case FixedBytes():
            return st.binary(min_size=field.minimum, max_size=field.minimum)
        case ComputedBytes():
            first, second = field.factors
            size = seen[first] * seen[second]
            return st.binary(min_size=size, max_size=size)
        case Integer():
            return integers(field.code)
        case Nested():
            return structure(field.structure, capabilities)
        case Pointer():
            target = structure(field.structure(), capabilities)
            return target if field.required else st.none() | target
        case Switch():
            return structure(field.wanted(seen), capabilities)
        case When():
            if field.condition.holds(seen, capabilities):
                return value(field.field, seen, capabilities)
            return st.just(field.otherwise)
        case MatchingArray():
            count = len(seen[field.matching])
            return items(field, count, count, capabilities)
        case FixedArray():
            return items(field, field.size, field.size, capabilities)
        case Array() | PointedArray():
            return items(field, 0, 3, capabilities)
        case Glyphs():
            return glyphs(seen["length"], seen["flags"])
        case SubMessageList():
            return st.lists(structure(SubMessage), max_size=3).map(tuple)
    raise AssertionError(f"no strategy for {type(field).__name__}")


def items(field: Items, least: int, most: int, capabilities: frozenset[int]) -> st.SearchStrategy[Any]:
    """Tuples of an array's items."""
    item = field.item
    each = integers(item) if isinstance(item, str) else structure(item, capabilities)
    return st.lists(each, min_size=least, max_size=most).map(tuple)


@st.composite
def glyphs(draw: st.DrawFn, count: int, flags: int) -> tuple[Glyph, ...]:
    """The glyphs of a string."""
    depth = glyph_depth(flags)
    assert depth is not None
    drawn = []
    for _ in range(count):
        box = draw(structure(GlyphBox))
        size = (depth * box.width + 7) // 8 * box.height
        drawn.append(Glyph(box, draw(st.binary(min_size=size, max_size=size))))
    return tuple(drawn)


AGENT_CAPABILITIES = st.frozensets(st.sampled_from([6, 14, 17]))
"""Capability sets that change the layouts of agent messages, and one that does not."""


@st.composite
def agent_message(draw: st.DrawFn, cls: type[agent.AgentMessage]) -> tuple[Any, frozenset[int]]:
    """An agent message and the capabilities it is for."""
    capabilities = draw(AGENT_CAPABILITIES)
    return draw(structure(cls, capabilities)), capabilities
