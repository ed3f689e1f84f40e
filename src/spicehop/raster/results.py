"""What applying a display message did to the picture."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.raster.region import Box


@dataclass(frozen=True, slots=True)
class Damage:
    """Pixels of a surface may have changed."""

    surface_id: int
    boxes: tuple[Box, ...]  # disjoint, inside the surface, at least one


@dataclass(frozen=True, slots=True)
class NotDrawn:
    """A message was understood, and its effect on the picture is missing. Count these; the session goes on."""

    message: str  # the protocol's name of the message
    reason: str  # one clause, for example "surface 5 does not exist"
