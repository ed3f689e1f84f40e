"""What happened to a display, in words that guests and painters share."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.raster.region import Box


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pixels of a surface have changed; surface 0 is what is shown."""

    surface_id: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """`source` of a surface was copied within it, so that its top left corner is at (x, y) now."""

    surface_id: int
    source: Box
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class SurfaceCreated:
    """An off-screen surface is there; its pixels are black until they are drawn."""

    surface_id: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SurfaceDestroyed:
    """An off-screen surface is gone."""

    surface_id: int


@dataclass(frozen=True, slots=True)
class CopiedFromSurface:
    """`source` of an off-screen surface was copied to the shown surface at (x, y)."""

    surface_id: int
    source: Box
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Resized:
    """The shown surface has another size; its pixels are all new."""

    width: int
    height: int


DisplayChange = Drawn | Moved | SurfaceCreated | SurfaceDestroyed | CopiedFromSurface | Resized
"""What happened to a display, in order. `Drawn` alone is always right; the others let a server send less."""
