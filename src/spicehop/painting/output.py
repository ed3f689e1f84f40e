"""Messages in the making for one paint: how an area is drawn, what it costs, and what the client keeps of it."""

from __future__ import annotations

from spicehop.codecs.bitmap import Pixels
from spicehop.painting import messages
from spicehop.painting.digests import Digests, digest, fold
from spicehop.painting.imagecache import CachedImage, whole_tiles
from spicehop.painting.images import ImageEncoder, SharedImages
from spicehop.painting.settings import PaintSettings
from spicehop.painting.view import ClientView
from spicehop.raster.region import Box
from spicehop.wire import display as wire
from spicehop.wire.display_constants import ImageFlag, ResourceType
from spicehop.wire.layout import Message

_LEAST_CACHED = 256
"""Pixels: a smaller image is sent again sooner than it is kept."""
_MASK = 2**64 - 1
_DISPLAYS_APART = 0xA24BAED4963EE407
"""Ids of different displays differ, so that no display drops what another one has put into the shared cache."""


class Output:
    """Collects messages until about `room` bytes are made; None stands for any number."""

    def __init__(
        self, view: ClientView, settings: PaintSettings, shared: SharedImages, room: int | None = None
    ) -> None:
        self.view = view
        self.room = room
        self.messages: list[Message] = []
        self.image_bytes = 0
        """Bytes of pixels in the messages."""
        self._encoder = ImageEncoder(view, settings, shared)

    @property
    def is_full(self) -> bool:
        """Whether no more images should be added."""
        return self.room is not None and self.room <= 0

    def add(self, message: Message, payload: int = 0) -> None:
        """One more message, with so many bytes of pixels."""
        self.messages.append(message)
        self.image_bytes += payload
        if self.room is not None:
            self.room -= messages.DRAWING_BYTES + payload

    def draw_fill(self, surface_id: int, box: Box, color: int) -> None:
        """Fill a box with an xRGB colour."""
        self.add(messages.fill(surface_id, box, color))

    def draw_cached(self, surface_id: int, box: Box, image: CachedImage, x: int, y: int) -> None:
        """Draw what the client has in its cache, from pixel (x, y) of it on."""
        known = messages.from_cache(image.image_id, image.width, image.height)
        self.add(messages.draw_image(surface_id, box, known, x, y))

    def draw_pixels(
        self, surface_id: int, box: Box, pixels: Pixels, tiles: Digests | None, *, exactly: bool
    ) -> bool:
        """Draw `box` of the whole surface's `pixels`; returns whether the client shows exactly these now.

        `tiles` are the box's digests when it begins at a tile's corner.
        """
        part = pixels[box.area]
        content = fold(digest(part).tiles if tiles is None else tiles, box.width, box.height)
        image_id = (content + self.view.display_id * _DISPLAYS_APART & _MASK) or 1
        images = self.view.images
        known = images.use(image_id)
        if known is not None:
            self.draw_cached(surface_id, box, known, 0, 0)
            return True
        encoded = self._encoder.encode(part, content, exactly=exactly, send=self.add)
        flags, area = 0, box.width * box.height
        if not encoded.lossy and area >= _LEAST_CACHED and images.admits(area):
            flags = ImageFlag.CACHE_ME
            whole = () if tiles is None else whole_tiles(tiles, box.width, box.height)
            dropped = images.put(CachedImage(image_id, box.width, box.height, whole))
            if dropped:
                resources = tuple([wire.Resource(ResourceType.PIXMAP, number) for number in dropped])
                self.add(wire.InvalList(resources))
        self.add(messages.draw_image(surface_id, box, encoded.image(image_id, flags)), encoded.size)
        return not encoded.lossy
