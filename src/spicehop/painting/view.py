"""What one client has of one display."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.errors import ProtocolError
from spicehop.painting.digests import TILE, Digests, Flags, Grid, PictureDigests
from spicehop.painting.imagecache import CachedImage, ImageCache
from spicehop.painting.palettecache import PaletteCache
from spicehop.painting.state import (
    ImageState,
    StreamState,
    SurfaceState,
    ViewState,
    bits,
    check,
    flags_of,
    numbers,
)
from spicehop.painting.streams import Stream, Streams
from spicehop.raster.region import Box
from spicehop.wire.display_constants import VideoCodec

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

    def state(self, surface_id: int) -> SurfaceState:
        """As frozen data."""
        digests = self.tiles.astype("<u8").tobytes()
        return SurfaceState(
            surface_id, self.grid.width, self.grid.height, digests, bits(self.stale), bits(self.lossy)
        )

    @classmethod
    def restored(cls, state: SurfaceState) -> SurfaceView:
        """What `state` was asked for."""
        view = cls(state.width, state.height)
        if state.digests or state.stale or state.lossy:
            view.tiles = numbers(state.digests, view.tiles.size).reshape(view.tiles.shape)
            view.stale = flags_of(state.stale, view.grid)
            view.lossy = flags_of(state.lossy, view.grid)
        return view

    def resume(self, now: float) -> None:
        """Count from now on how long tiles stand still of which nobody knows when they were drawn."""
        self.drawn_at[self.drawn_at == LONG_AGO] = now

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
        self.palettes = PaletteCache()
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

    def state(self) -> ViewState:
        """All of this as frozen data, except capabilities and the pixels of the GLZ dictionary."""
        glz = self.glz
        return ViewState(
            display_id=self.display_id,
            displays=self.displays,
            preferred_compression=self.preferred_compression or 0,
            preferred_codecs=self.preferred_codecs,
            refused_codecs=tuple(sorted(self.streams.refused)),
            cache_pixels=self.images.capacity,
            glz_window=0 if glz is None else glz.capacity,
            glz_next_id=0 if glz is None else glz.next_id,
            streams_begun=self.streams.begun,
            surfaces=tuple([view.state(number) for number, view in sorted(self.surfaces.items())]),
            images=tuple([_image_state(image) for image in self.images]),
            palettes=tuple([palette.unique for palette in self.palettes]),
            streams=tuple([_stream_state(stream) for stream in self.streams.running.values()]),
        )

    @classmethod
    def restored(
        cls, state: ViewState, capabilities: Iterable[int] = (), *, glz: GlzDictionary | None = None
    ) -> ClientView:
        """The view that `state` was asked for; `ProtocolError` when its numbers contradict each other.

        `glz` is the client's dictionary with its pixels, where that has come another way. Without it the ids go on and
        its window begins anew.
        """
        check(state)
        view = cls(capabilities, display_id=state.display_id, displays=state.displays)
        view.preferred_compression = state.preferred_compression or None
        view.preferred_codecs = tuple(state.preferred_codecs)
        view.images.capacity = state.cache_pixels
        if glz is not None and (glz.next_id, glz.capacity) == (state.glz_next_id, state.glz_window):
            view.glz = glz
        elif state.glz_window:
            view.glz = GlzDictionary(state.glz_window, next_id=state.glz_next_id)
        for surface in state.surfaces:
            view.surfaces[surface.surface_id] = SurfaceView.restored(surface)
        view.images.restore([_image(image) for image in state.images])
        for unique in state.palettes:
            view.palettes.restore(unique)
        view.streams.refused = set(state.refused_codecs)
        view.streams.begun = state.streams_begun
        for stream in state.streams:
            view.streams.running[stream.stream_id] = _stream(stream, view.surfaces[0].grid)
        return view


def _image_state(image: CachedImage) -> ImageState:
    image_id, width, height, tiles = image
    return ImageState(image_id, width, height, struct.pack(f"<{len(tiles)}Q", *tiles) if tiles else b"")


def _image(state: ImageState) -> CachedImage:
    image_id, width, height, digests = state
    if not width or not height or not image_id:
        raise ProtocolError("a display's state has an image without pixels or id")
    if not digests:
        return CachedImage._make((image_id, width, height, ()))
    count = (height // TILE) * (width // TILE)
    if len(digests) != 8 * count:
        raise ProtocolError("a display's state has digests for another number of tiles")
    return CachedImage(image_id, width, height, struct.unpack(f"<{count}Q", digests))


def _stream_state(stream: Stream) -> StreamState:
    left, top, right, bottom = stream.box
    return StreamState(
        stream.stream_id,
        stream.unique_id,
        stream.codec,
        left,
        top,
        right,
        bottom,
        stream.bit_rate,
        bits(stream.active),
    )


def _stream(state: StreamState, grid: Grid) -> Stream:
    box = Box(state.left, state.top, state.right, state.bottom)
    if box.is_empty or box.intersect(grid.box) != box:
        raise ProtocolError("a stream of a display's state is not on the screen")
    try:
        codec = VideoCodec(state.codec)
    except ValueError:
        raise ProtocolError(f"video codec {state.codec} does not exist") from None
    stream = Stream(state.stream_id, state.unique_id, codec, box, grid, state.bit_rate)
    stream.active &= flags_of(state.active, grid)
    return stream
