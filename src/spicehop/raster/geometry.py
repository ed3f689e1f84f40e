"""Rectangles and clips of the wire as boxes."""

from __future__ import annotations

from spicehop.errors import ProtocolError
from spicehop.raster.region import Box
from spicehop.wire.display_constants import ClipKind
from spicehop.wire.geometry import Clip, Rect


def box_of(rect: Rect) -> Box:
    """A rectangle of the wire, whose fields come in another order."""
    return Box(rect.left, rect.top, rect.right, rect.bottom)


def clip_boxes(clip: Clip) -> tuple[Box, ...] | None:
    """The boxes a drawing is limited to; None when it is not limited."""
    if clip.kind == ClipKind.NONE:
        return None
    if clip.kind != ClipKind.RECTS:
        raise ProtocolError(f"clip kind {clip.kind} does not exist")
    return tuple([box_of(rect) for rect in clip.rects])
