"""What a server knows of one client's palette cache (dossier B.2, caches)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spicehop.wire.display_constants import PALETTE_CACHE_ENTRIES

FEW = 16
"""Up to so many colours take half a byte a pixel."""


@dataclass(frozen=True, slots=True)
class CachedPalette:
    """A palette that the client has, in ascending order; without colours when they came from another server."""

    unique: int
    colors: tuple[int, ...] = ()

    def places(self, colors: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        """The index of each of these colours, all of which are in the palette."""
        return np.searchsorted(np.array(self.colors, np.uint32), colors).astype(np.uint8)


class PaletteCache:
    """Palettes in the order of their use; the least recently used goes first."""

    def __init__(self) -> None:
        self._palettes: OrderedDict[int, CachedPalette] = OrderedDict()
        self._sets: dict[int, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._palettes)

    def __iter__(self) -> Iterator[CachedPalette]:
        """From the least recently used to the most recently used."""
        return iter(self._palettes.values())

    def find(self, colors: tuple[int, ...]) -> CachedPalette | None:
        """A palette, used now, that has these colours and takes no more bits a pixel than they need."""
        wanted = frozenset(colors)
        for known in reversed(self._palettes.values()):
            if (len(known.colors) <= FEW) == (len(colors) <= FEW) and wanted <= self._sets[known.unique]:
                self._palettes.move_to_end(known.unique)
                return known
        unique = unique_of(colors)
        if unique in self._palettes:
            return self._add(CachedPalette(unique, colors))
        return None

    def put(self, colors: tuple[int, ...]) -> tuple[CachedPalette, list[int]]:
        """Add a palette that the client is told to keep; returns it and the ids that it must forget before."""
        dropped = []
        while len(self._palettes) >= PALETTE_CACHE_ENTRIES:
            unique, _ = self._palettes.popitem(last=False)
            del self._sets[unique]
            dropped.append(unique)
        return self._add(CachedPalette(unique_of(colors), colors)), dropped

    def restore(self, unique: int) -> None:
        """The client has had this palette from another server."""
        self._add(CachedPalette(unique))

    def clear(self) -> None:
        """The client has forgotten everything."""
        self._palettes.clear()
        self._sets.clear()

    def _add(self, palette: CachedPalette) -> CachedPalette:
        self._palettes[palette.unique] = palette
        self._palettes.move_to_end(palette.unique)
        self._sets[palette.unique] = frozenset(palette.colors)
        return palette


def unique_of(colors: tuple[int, ...]) -> int:
    """The id of a palette of these colours: the same here and on every other server; never 0."""
    data = np.array(colors, "<u4").tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1
