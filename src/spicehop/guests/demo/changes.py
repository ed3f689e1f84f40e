"""Collects what happens to a display until the server asks.

The list that `take` gives can be replayed in its order with the pixels as they are at that moment: a moved or copied
part that was stale when it moved is drawn again at the end. So a taker that does exactly what the list says has exactly
the pixels of the display, however much has happened in between.
"""

from __future__ import annotations

from spicehop.guests.interface import (
    CopiedFromSurface,
    DisplayChange,
    Drawn,
    Moved,
    Resized,
    SurfaceCreated,
    SurfaceDestroyed,
)
from spicehop.raster.region import Box, bounds

SHOWN = 0
"""Id of the surface that is shown."""
_MAX_ENTRIES = 256
_MAX_BOXES = 48


class ChangeLog:
    """The changes of one display since they were last taken."""

    def __init__(self, screen: Box) -> None:
        self._screen = screen
        self._surfaces: dict[int, tuple[int, int]] = {}
        self._known: dict[int, tuple[int, int]] = {}
        self._known_size = (0, 0)
        self._entries: list[DisplayChange] = []
        self._stale: dict[int, list[Box]] = {}
        self._copied: set[int] = set()

    def surface_created(self, surface: int, width: int, height: int) -> None:
        self._surfaces[surface] = (width, height)
        self._add(SurfaceCreated(surface, width, height))

    def surface_destroyed(self, surface: int) -> None:
        self._surfaces.pop(surface)
        self._stale.pop(surface, None)
        if surface in self._copied:
            self._forget_copies(surface)
        about_it = [entry for entry in self._entries if getattr(entry, "surface_id", SHOWN) == surface]
        self._entries = [
            entry for entry in self._entries if entry not in about_it or isinstance(entry, SurfaceDestroyed)
        ]
        if surface in self._known and SurfaceDestroyed(surface) not in about_it:
            self._add(SurfaceDestroyed(surface))

    def drawn(self, surface: int, box: Box) -> None:
        """Pixels of a surface have changed."""
        if box.is_empty:
            return
        if surface in self._copied:
            self._forget_copies(surface)
        stale = self._stale.setdefault(surface, [])
        if any(box.intersect(old) == box for old in stale):
            return
        stale[:] = [old for old in stale if old.intersect(box) != old]
        stale.append(box)
        if len(stale) > _MAX_BOXES:
            stale[:] = [bounds(stale)]

    def moved(self, source: Box, x: int, y: int) -> None:
        """A part of what is shown was copied within it."""
        dx, dy = x - source.left, y - source.top
        for box in list(self._stale.get(SHOWN, ())):
            self.drawn(SHOWN, box.intersect(source).shifted(dx, dy))
        self._add(Moved(SHOWN, source, x, y))

    def copied(self, surface: int, source: Box, x: int, y: int) -> None:
        """A part of an off-screen surface was copied to what is shown."""
        self._flush(surface)
        self._copied.add(surface)
        self._add(CopiedFromSurface(surface, source, x, y))

    def resized(self, screen: Box) -> None:
        """What is shown has another size and all new pixels."""
        self._screen = screen
        self._forget()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._entries and not any(self._stale.values())

    @property
    def known(self) -> dict[int, tuple[int, int]]:
        """Width and height of the surfaces that the taker knows, by id; 0 is what is shown."""
        return dict(sorted({SHOWN: self._known_size, **self._known}.items()))

    def take(self) -> list[DisplayChange]:
        """All since the last call, in order."""
        for surface in sorted(self._stale, reverse=True):
            self._flush(surface)
        taken = self._entries
        self._all_taken()
        return taken

    def restart(self, known: dict[int, tuple[int, int]], *, complete: bool) -> None:
        """From now on for a taker that knows these surfaces, as `known` gave them; when `complete`, every pixel too."""
        self._known = dict(known)
        self._known_size = self._known.pop(SHOWN, (0, 0))
        self._forget()
        if complete:
            self._all_taken()

    def _all_taken(self) -> None:
        self._entries = []
        self._stale.clear()
        self._copied.clear()
        self._known = dict(self._surfaces)
        self._known_size = (self._screen.width, self._screen.height)

    def _forget_copies(self, surface: int) -> None:
        """A surface changes that was copied from: a taker that copies it later would copy something else."""
        if any(isinstance(entry, Moved) for entry in self._entries):
            self._forget()
            return
        copies = [
            entry for entry in self._entries if isinstance(entry, CopiedFromSurface) and entry.surface_id == surface
        ]
        self._entries = [entry for entry in self._entries if entry not in copies]
        self._copied.discard(surface)
        for copy in copies:
            self.drawn(SHOWN, copy.source.shifted(copy.x - copy.source.left, copy.y - copy.source.top))

    def _flush(self, surface: int) -> None:
        boxes = self._stale.pop(surface, None)
        if boxes:
            self._entries.append(Drawn(surface, tuple(boxes)))

    def _add(self, entry: DisplayChange) -> None:
        self._entries.append(entry)
        if len(self._entries) > _MAX_ENTRIES:
            self._forget()

    def _forget(self) -> None:
        """Begin the list anew: what must be said so that everything can be drawn again."""
        self._copied.clear()
        self._stale = {SHOWN: [self._screen]}
        self._entries = [
            SurfaceDestroyed(surface) for surface, size in self._known.items() if self._surfaces.get(surface) != size
        ]
        for surface, (width, height) in self._surfaces.items():
            if self._known.get(surface) != (width, height):
                self._entries.append(SurfaceCreated(surface, width, height))
            self._stale[surface] = [Box(0, 0, width, height)]
        if self._known_size != (self._screen.width, self._screen.height):
            self._entries.append(Resized(self._screen.width, self._screen.height))
