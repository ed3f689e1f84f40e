"""What one client has of one display."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.painting.digests import Digests, Flags, Grid, PictureDigests
from spicehop.painting.imagecache import ImageCache
from spicehop.painting.streams import Streams
from spicehop.raster.region import Box

LONG_AGO = -1e9


class SurfaceView:
    """What the client shows on one surface, as digests."""

    def __init__(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        self.tiles: Digests = np.zeros((self.grid.rows, self.grid.columns), np.uint64)
        """Of what the client shows or, where that is lossy, of what it should show; 0 where that is not known."""
        self.stale: Flags = ~self.grid.flags()
        """Tiles that the client may lack whatever hints say, because they were left out when there was no room."""
        self.lossy: Flags = self.grid.flags()
        """Tiles that look about right: JPEG or video was drawn there."""
        self.drawn_at: npt.NDArray[np.float64] = np.full(self.tiles.shape, LONG_AGO)
        """When each tile was last drawn."""
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
        copy_rows(self.grid, tiles, picture.rows, self.rows)

    def forget(self, box: Box) -> None:
        """What the client shows in this box is not known any more."""
        index = self.grid.touched(box)
        self.tiles[index] = 0
        top, bottom = index[0].start, index[0].stop
        self.rows[index[1], self.grid.area(top, 0, bottom, 0).top : self.grid.area(top, 0, bottom, 0).bottom] = 0


def copy_rows(grid: Grid, tiles: Flags, source: Digests, target: Digests) -> None:
    """Copy the row digests of some tiles, between arrays of shape `(tile columns, height)`."""
    for row in np.flatnonzero(tiles.any(axis=1)).tolist():
        area = grid.area(row, 0, row + 1, 0)
        columns = np.flatnonzero(tiles[row])
        target[columns, area.top : area.bottom] = source[columns, area.top : area.bottom]


class ClientView:
    """All that one client has of one display, and what it has said about how it wants to be sent it.

    `capabilities` are the client's `DisplayCap`, `display_id` is the number of the display channel and `displays` how
    many of them share the client's image cache. A painter changes the view with every message it makes; nothing else
    does.
    """

    def __init__(self, capabilities: Iterable[int] = (), *, display_id: int = 0, displays: int = 1) -> None:
        self.capabilities = frozenset(capabilities)
        self.display_id = display_id
        self.displays = displays
        self.surfaces: dict[int, SurfaceView] = {}
        self.images = ImageCache()
        self.streams = Streams()
        self.glz: GlzDictionary | None = None
        """The client's dictionary. It belongs to display 0 alone: its images must arrive in the order of their ids."""
        self.preferred_compression: int | None = None
        """A `Compression`, once the client has asked for one."""
        self.preferred_codecs: tuple[int, ...] = ()
        """`VideoCodec` numbers, the best first; none means that the client has not said."""

    @property
    def has_begun(self) -> bool:
        """Whether the client has a primary surface."""
        return 0 in self.surfaces
