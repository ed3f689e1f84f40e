"""The surfaces of one display channel."""

from __future__ import annotations

from collections.abc import Iterator

from spicehop.codecs.images import DecodedImage
from spicehop.errors import ProtocolError
from spicehop.raster.surface import PixelBudget, Surface, check_surface_size, surface_format
from spicehop.wire.display_constants import MAX_SURFACES


class MissingSurface(ProtocolError):
    """A message names a surface that does not exist.

    The reference leaves such a drawing out and goes on, and so does `Canvas`.
    """


class SurfaceTable:
    """Surfaces by id, bounded in number and, through `budget`, in pixels."""

    def __init__(self, budget: PixelBudget) -> None:
        self._budget = budget
        self._surfaces: dict[int, Surface] = {}
        self._primary_id: int | None = None

    def __len__(self) -> int:
        return len(self._surfaces)

    def __iter__(self) -> Iterator[Surface]:
        return iter(self._surfaces.values())

    def __contains__(self, surface_id: int) -> bool:
        return surface_id in self._surfaces

    @property
    def primary(self) -> Surface | None:
        """The surface that is shown, if there is one."""
        return None if self._primary_id is None else self._surfaces[self._primary_id]

    def surface(self, surface_id: int) -> Surface:
        """The surface with this id, or `MissingSurface`."""
        found = self._surfaces.get(surface_id)
        if found is None:
            raise MissingSurface(f"surface {surface_id} does not exist")
        return found

    def image(self, surface_id: int) -> DecodedImage:
        """The pixels of a surface as the source of a drawing, or `MissingSurface`."""
        return self.surface(surface_id).as_image()

    def create(self, surface_id: int, width: int, height: int, format: int, *, is_primary: bool) -> Surface | None:
        """A new surface, in place of one with the same id; None when it is the primary as it was.

        A primary of the same size and format keeps its picture, as at the reference: a target server of a migration
        creates it again, and what is on the screen stays until it is drawn over.
        """
        if surface_id >= MAX_SURFACES:
            raise ProtocolError(f"surface id {surface_id} is over the limit of {MAX_SURFACES - 1}")
        check_surface_size(width, height)
        kind = surface_format(format)
        primary = self.primary
        if is_primary and primary is not None:
            same = (primary.surface_id, primary.width, primary.height, primary.format)
            if same == (surface_id, width, height, kind):
                return None
            self.destroy(primary.surface_id)
        self.destroy(surface_id)
        self._budget.take(width * height)
        created = Surface(surface_id, width, height, kind, is_primary=is_primary)
        self._surfaces[surface_id] = created
        if is_primary:
            self._primary_id = surface_id
        return created

    def destroy(self, surface_id: int) -> None:
        """Let a surface go; an unknown id is fine."""
        surface = self._surfaces.pop(surface_id, None)
        if surface is None:
            return
        self._budget.give_back(surface.width * surface.height)
        if surface_id == self._primary_id:
            self._primary_id = None

    def destroy_all(self, *, keep_primary: bool) -> None:
        """Let all surfaces go, or all but the primary."""
        for surface_id in list(self._surfaces):
            if not (keep_primary and surface_id == self._primary_id):
                self.destroy(surface_id)
