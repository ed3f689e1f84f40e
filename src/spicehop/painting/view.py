"""What one client has of one display."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spicehop.painting.digests import Digests, Flags, Grid, PictureDigests
from spicehop.painting.imagecache import ImageCache


class SurfaceView:
    """What the client shows on one surface, as digests."""

    def __init__(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        self.tiles: Digests = np.zeros((self.grid.rows, self.grid.columns), np.uint64)
        """Of what the client shows; 0 where that is not known."""
        self.stale: Flags = ~self.grid.flags()
        """Tiles that the client may lack whatever hints say, because they were left out when there was no room."""
        self.lossy: Flags = self.grid.flags()
        """Tiles that look about right: JPEG or video was drawn there."""
        self._rows: Digests | None = None

    @property
    def rows(self) -> Digests:
        """`(tile columns, height)` row digests of what the client shows; 0 where that is not known."""
        if self._rows is None:
            self._rows = np.zeros((self.grid.columns, self.grid.height), np.uint64)
        return self._rows

    def shown(self, tiles: Flags, picture: PictureDigests) -> None:
        """The client shows these tiles of a picture now."""
        self.tiles[tiles] = picture.tiles[tiles]
        self.stale[tiles] = False
        self._copy_rows(tiles, picture.rows)

    def forget(self, tiles: tuple[slice, slice]) -> None:
        """What the client shows in these tiles is not known any more."""
        self.tiles[tiles] = 0
        flags = self.grid.flags()
        flags[tiles] = True
        self._copy_rows(flags, None)

    def _copy_rows(self, tiles: Flags, rows: Digests | None) -> None:
        known = self.rows
        for row in np.flatnonzero(tiles.any(axis=1)).tolist():
            area = self.grid.area(row, 0, row + 1, self.grid.columns)
            columns = np.flatnonzero(tiles[row])
            band = slice(area.top, area.bottom)
            known[columns, band] = 0 if rows is None else rows[columns, band]


class ClientView:
    """All that one client has of one display, and what it has said about how it wants to be sent it.

    `capabilities` are the client's `DisplayCap`. A painter changes the view with every message it makes; nothing else
    does.
    """

    def __init__(self, capabilities: Iterable[int] = ()) -> None:
        self.capabilities = frozenset(capabilities)
        self.surfaces: dict[int, SurfaceView] = {}
        self.images = ImageCache()
        self.preferred_compression: int | None = None
        """A `Compression`, once the client has asked for one."""
        self.preferred_codecs: tuple[int, ...] = ()
        """`VideoCodec` numbers, the best first; none means that the client has not said."""
        self.glz_window_pixels = 0

    @property
    def has_begun(self) -> bool:
        """Whether the client has a primary surface."""
        return 0 in self.surfaces
