"""The video streams that one client has."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spicehop.painting.digests import Flags, Grid
from spicehop.painting.dirt import rectangles
from spicehop.raster.region import Box
from spicehop.wire.display_constants import VideoCodec


class Stream:
    """A running stream on the primary surface.

    `active` are the tiles of the surface in which it is seen; it is clipped to them. `unique_id` is what reports
    about it carry, `bit_rate` what its frames may take in bits a second by those reports.
    """

    def __init__(
        self, stream_id: int, unique_id: int, codec: VideoCodec, box: Box, grid: Grid, bit_rate: int
    ) -> None:
        self.stream_id = stream_id
        self.unique_id = unique_id
        self.codec = codec
        self.box = box
        self.bit_rate = bit_rate
        self.frame_bytes = 0
        """Of the last frame; 0 before the first."""
        self.active: Flags = grid.flags()
        self.active[grid.touched(box)] = True
        self.wakings: npt.NDArray[np.int16] = np.zeros(self.active.shape, np.int16)
        """How often tiles that are not active have changed in close succession."""

    def parts(self, grid: Grid) -> list[Box]:
        """Where it is seen."""
        if self.active[grid.touched(self.box)].all():
            return [self.box]
        areas = [grid.area(*area) for area, _ in rectangles(self.active.astype(np.int64))]
        return [part for area in areas if not (part := area.intersect(self.box)).is_empty]


@dataclass(slots=True)
class Streams:
    """Running streams by id, how many there have been, and codecs that the client has said it cannot decode."""

    running: dict[int, Stream] = field(default_factory=dict)
    begun: int = 0
    refused: set[int] = field(default_factory=set)

    def parts(self, grid: Grid) -> list[Box]:
        """Where the client shows video instead of pictures."""
        return [part for stream in self.running.values() for part in stream.parts(grid)]
