"""Messages in the making for one paint: how an area is drawn, what it costs, and what the client keeps of it."""

from __future__ import annotations

from spicehop.codecs.bitmap import Pixels
from spicehop.painting import messages
from spicehop.painting.digests import Digests, digest, fold
from spicehop.painting.imagecache import CachedImage, whole_tiles
from spicehop.painting.images import SharedImages, compression_for, encode_lossless, payload_bytes
from spicehop.painting.settings import PaintSettings
from spicehop.painting.view import ClientView
from spicehop.raster.region import Box
from spicehop.wire import display as wire
from spicehop.wire.display_constants import ImageFlag, ResourceType
from spicehop.wire.image import Image, ImageDescriptor
from spicehop.wire.layout import Message

_LEAST_CACHED = 256
"""Pixels: a smaller image is sent again sooner than it is kept."""


class Output:
    """Collects messages until about `room` bytes are made; None stands for any number."""

    def __init__(
        self, view: ClientView, settings: PaintSettings, shared: SharedImages, room: int | None = None
    ) -> None:
        self.view = view
        self.messages: list[Message] = []
        self._shared = shared
        self._room = room
        self._compression = compression_for(settings.compression, view.preferred_compression)

    @property
    def is_full(self) -> bool:
        """Whether no more images should be added."""
        return self._room is not None and self._room <= 0

    def add(self, message: Message, payload: int = 0) -> None:
        """One more message, with so many bytes of pixels."""
        self.messages.append(message)
        if self._room is not None:
            self._room -= messages.DRAWING_BYTES + payload

    def draw_fill(self, surface_id: int, box: Box, color: int) -> None:
        """Fill a box with an xRGB colour."""
        self.add(messages.fill(surface_id, box, color))

    def draw_cached(self, surface_id: int, box: Box, image_id: int, x: int, y: int) -> None:
        """Draw what the client has in its cache."""
        image = self.view.images.use(image_id)
        assert image is not None
        self.add(messages.draw_image(surface_id, box, messages.from_cache(image_id, image.width, image.height), x, y))

    def draw_pixels(self, surface_id: int, box: Box, pixels: Pixels, tiles: Digests | None) -> None:
        """Draw `box` of the whole surface's `pixels`; `tiles` are its digests when it begins at a tile's corner."""
        part = pixels[box.area]
        digests = digest(part).tiles if tiles is None else tiles
        content = fold(digests, box.width, box.height)
        images = self.view.images
        if images.use(content) is not None:
            self.draw_cached(surface_id, box, content, 0, 0)
            return
        kind, payload = self._shared.encoded(
            content, self._compression, lambda: encode_lossless(part, self._compression)
        )
        flags = 0
        area = box.width * box.height
        if area >= _LEAST_CACHED and images.admits(area):
            flags = ImageFlag.CACHE_ME
            whole = () if tiles is None else whole_tiles(tiles, box.width, box.height)
            dropped = images.put(CachedImage(content, box.width, box.height, whole))
            if dropped:
                resources = tuple([wire.Resource(ResourceType.PIXMAP, number) for number in dropped])
                self.add(wire.InvalList(resources))
        image = Image(ImageDescriptor(content, kind, flags, box.width, box.height), payload)
        self.add(messages.draw_image(surface_id, box, image), payload_bytes(payload))
