"""What a server knows of one client's image cache (dossier B.2, caches).

The server decides what the client keeps. Ids are content: the same pixels have the same id, here and on the server that
a session moves to. A cached image also serves for each whole tile inside it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from spicehop.painting.digests import TILE, Digests

MOST_IMAGES = 4096


class Place(NamedTuple):
    """Where in the cache a picture is: an image and the pixel of it where the picture begins."""

    image_id: int
    x: int
    y: int


class CachedImage(NamedTuple):
    """One image in the client's cache."""

    image_id: int
    width: int  # pixels
    height: int  # pixels
    tiles: tuple[int, ...] = ()
    """Digests of its whole tiles row by row, when the image begins at a tile's corner; empty when it does not."""

    @property
    def pixels(self) -> int:
        """What it takes of the cache."""
        return self.width * self.height

    def places(self) -> Iterator[tuple[int, Place]]:
        """Each whole tile's digest, and where it is."""
        if not self.tiles:
            return
        columns = self.width // TILE
        for index, digest in enumerate(self.tiles):
            row, column = divmod(index, columns)
            yield digest, Place(self.image_id, column * TILE, row * TILE)


def whole_tiles(digests: Digests, width: int, height: int) -> tuple[int, ...]:
    """The digests of the tiles of an image that are not cut off at its right or bottom edge."""
    whole = digests[: height // TILE, : width // TILE]
    return tuple(whole.ravel().tolist())


class ImageCache:
    """Ids, sizes and order of use of what the client keeps; the least recently used goes first."""

    def __init__(self, capacity: int = 0) -> None:
        self.capacity = capacity
        """Pixels."""
        self.pixels = 0
        self._images: OrderedDict[int, CachedImage] = OrderedDict()
        self._places: dict[int, Place] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[CachedImage]:
        """From the least recently used to the most recently used."""
        return iter(self._images.values())

    def use(self, image_id: int) -> CachedImage | None:
        """The image, used now, if the client has it."""
        image = self._images.get(image_id)
        if image is not None:
            self._images.move_to_end(image_id)
        return image

    def place(self, tile_digest: int) -> Place | None:
        """Where the client has this whole tile, if it has it."""
        return self._places.get(tile_digest)

    def admits(self, pixels: int) -> bool:
        """Whether an image of this size is worth its place."""
        return 0 < 4 * pixels <= self.capacity

    def put(self, image: CachedImage) -> list[int]:
        """Add an image that the client is told to keep; returns the ids that it must forget before."""
        dropped = []
        while self._images and (self.pixels + image.pixels > self.capacity or len(self._images) >= MOST_IMAGES):
            dropped.append(self._drop())
        self._images[image.image_id] = image
        self.pixels += image.pixels
        for digest, place in image.places():
            self._places[digest] = place
        return dropped

    def restore(self, images: Iterable[CachedImage]) -> None:
        """Have exactly these, the least recently used first; they are other images, and fit. `put` for each would take
        three times as long, while a client waits.
        """
        self._images = OrderedDict([(image.image_id, image) for image in images])
        self.pixels = sum([image.width * image.height for image in self._images.values()])
        tiled = [image for image in self._images.values() if image.tiles]
        self._places = {digest: place for image in tiled for digest, place in image.places()}

    def clear(self) -> None:
        """The client has forgotten everything."""
        self._images.clear()
        self._places.clear()
        self.pixels = 0

    def _drop(self) -> int:
        image_id, image = self._images.popitem(last=False)
        self.pixels -= image.pixels
        for digest, place in image.places():
            if self._places.get(digest) == place:
                del self._places[digest]
        return image_id
