"""What the displays of a session show."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spicehop.channels.display import GLZ_WINDOW_PIXELS, PIXMAP_CACHE_PIXELS
from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.glz import MissingImage
from spicehop.codecs.images import ImageCaches
from spicehop.errors import OperationError, ProtocolError, StateError
from spicehop.migration.commands import ChannelKey
from spicehop.raster.canvas import Canvas
from spicehop.raster.results import Damage, NotDrawn
from spicehop.raster.surface import PixelBudget
from spicehop.wire import cursor
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

MAX_HELD = 256
"""Messages of a display that may wait for an image of another display."""


@dataclass(frozen=True, slots=True, eq=False)
class Screenshot:
    """A picture, `(height, width, 4)` bytes B, G, R, X."""

    pixels: Pixels

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    def rgb(self) -> Pixels:
        """The picture as `(height, width, 3)` bytes R, G, B."""
        return np.ascontiguousarray(self.pixels[:, :, 2::-1])

    def save(self, path: str | Path) -> None:
        """Write a picture file, in the format its name asks for; `OperationError` when that cannot be done."""
        from PIL import Image  # costs 50 ms, and few sessions save pictures

        try:
            Image.fromarray(self.rgb()).save(path)
        except (OSError, ValueError) as error:
            raise OperationError(f"the picture cannot be written to {path}: {error}") from None


class Picture:
    """The canvases of all displays of a session; they stay across migrations."""

    def __init__(self) -> None:
        self.changes = 0
        """Goes up with everything that may have changed a picture."""
        self.not_drawn: Counter[str] = Counter()
        """Messages by name that had no effect on the picture because this client does not draw them."""
        self.pointer = (0, 0)
        """Where the guest's pointer is, in pixels."""
        self.pointer_visible = True
        self.observers: list[Callable[[int, Damage], None]] = []
        """Called with the display channel's id and what has changed, after each drawing."""
        self._caches = _new_caches()
        self._budget = PixelBudget()
        self._canvases: dict[int, Canvas] = {}
        self._held: dict[int, deque[Message]] = {}

    def canvas(self, display: int = 0) -> Canvas:
        """The canvas of a display channel; `StateError` when the server has no such display."""
        if display not in self._canvases:
            raise StateError(f"the server has no display {display}")
        return self._canvases[display]

    def screenshot(self, display: int = 0) -> Screenshot:
        """The picture of a display now, as far as its monitors show it; `StateError` when there is none yet."""
        canvas = self.canvas(display)
        pixels = canvas.screenshot()
        shown = canvas.primary.surface_id if canvas.primary is not None else None
        heads = [head for head in canvas.monitors if head.surface_id == shown and head.width and head.height]
        if heads:
            # A guest driver that changes its mode may keep the surface, larger than what is on the monitor (QXL-KMS).
            left, top = min(head.x for head in heads), min(head.y for head in heads)
            right, bottom = max(head.x + head.width for head in heads), max(head.y + head.height for head in heads)
            if left < pixels.shape[1] and top < pixels.shape[0]:
                pixels = np.ascontiguousarray(pixels[top:bottom, left:right])
        return Screenshot(pixels)

    def begun(self, channels: Iterable[ChannelKey]) -> bool:
        """Whether every display among `channels` shows something."""
        displays = [key[1] for key in channels if key[0] == ChannelType.DISPLAY]
        return all(self._canvases[id].primary is not None if id in self._canvases else False for id in displays)

    # -- for the session --------------------------------------------------------------------------------------------

    def channel_opened(self, display: int, *, anew: bool) -> None:
        """A display channel begins, for the first time or `anew`: then with caches of its own (`DisplayChannel`).

        What was shown stays visible until the server draws.
        """
        if display not in self._canvases:
            self._canvases[display] = Canvas(self._caches, budget=self._budget)
            self._held[display] = deque()
        if anew:
            self._canvases[display].begin_anew(_new_caches())
            self._held[display].clear()

    def message_received(self, display: int, message: Message) -> None:
        """A message of a display channel; `ProtocolError` when it cannot be drawn because the server is at fault."""
        held = self._held.get(display)
        if held is None:
            return
        held.append(message)
        self._draw(display)
        for other in self._held:
            if other != display:
                self._draw(other)
        if len(held) > MAX_HELD:
            raise ProtocolError(f"display:{display} refers to an image that does not come")

    def _draw(self, display: int) -> None:
        held, canvas = self._held[display], self._canvases[display]
        while held:
            try:
                result = canvas.apply(held[0])
            except MissingImage:
                if len(self._canvases) > 1:
                    return
                held.popleft()
                raise
            except ProtocolError:
                held.popleft()
                raise
            held.popleft()
            match result:
                case Damage():
                    self.changes += 1
                    for observer in tuple(self.observers):
                        observer(display, result)
                case NotDrawn():
                    self.not_drawn[result.message] += 1
                case None:
                    pass

    def cursor_message(self, message: Message) -> None:
        """A message of the cursor channel."""
        match message:
            case cursor.Init() | cursor.Set():
                self.pointer = (message.position.x, message.position.y)
                self.pointer_visible = bool(message.visible)
            case cursor.Move():
                self.pointer = (message.position.x, message.position.y)
                self.pointer_visible = True
            case cursor.Hide() | cursor.Reset():
                self.pointer_visible = False
            case _:
                pass


def _new_caches() -> ImageCaches:
    return ImageCaches(max_cached_pixels=PIXMAP_CACHE_PIXELS, glz_window_pixels=GLZ_WINDOW_PIXELS)
