"""Sorts the tiles that a client lacks by how they are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spicehop.codecs.bitmap import Pixels
from spicehop.painting.digests import TILE, Flags, Grid, PictureDigests
from spicehop.painting.imagecache import ImageCache, Place

IMAGE = 1
"""Label of tiles whose pixels are sent."""
EDGE = 2
"""Label of tiles that show video in part: only what lies outside of it may be drawn."""


def labelled(
    pixels: Pixels, picture: PictureDigests, wanted: Flags, edges: Flags, grid: Grid, images: ImageCache
) -> tuple[npt.NDArray[np.int64], dict[int, int | Place]]:
    """A label for each wanted tile, the same for those that can be drawn together; and what the higher ones mean.

    A number is a colour (xRGB) that fills the tile. A place says which cached image has its pixels, and how far they
    are from the surface's.
    """
    labels = wanted.astype(np.int64) * IMAGE
    labels[wanted & edges] = EDGE
    meanings: dict[int, int | Place] = {}
    numbers: dict[int | Place, int] = {}
    for row, column in np.argwhere(wanted & ~edges).tolist():
        meaning: int | Place | None = None
        if picture.solid[row, column]:
            blue, green, red = pixels[row * TILE, column * TILE, :3].tolist()
            meaning = red << 16 | green << 8 | blue
        elif (row + 1) * TILE <= grid.height and (column + 1) * TILE <= grid.width:
            place = images.place(int(picture.tiles[row, column]))
            if place is not None:
                meaning = Place(place.image_id, place.x - column * TILE, place.y - row * TILE)
        if meaning is not None:
            number = numbers.setdefault(meaning, len(numbers) + EDGE + 1)
            meanings[number] = meaning
            labels[row, column] = number
    return labels, meanings
