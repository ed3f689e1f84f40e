"""The guest's pointer in the form in which the cursor channels send it."""

from __future__ import annotations

from spicehop.channels.serving.cursor import Pointer, Shape
from spicehop.guests import interface


class PointerWatch:
    """Turns the guest's pointer into the channels', once for each change."""

    def __init__(self) -> None:
        self._seen: interface.Pointer | None = None
        self._shape_seen: interface.PointerShape | None = None
        self._shape: Shape | None = None
        self._pointer = Pointer()

    def look(self, pointer: interface.Pointer) -> Pointer:
        """What the channels show for this pointer of the guest."""
        if pointer is not self._seen:
            self._seen = pointer
            if pointer.shape is not self._shape_seen:
                self._shape_seen = pointer.shape
                self._shape = _shape(pointer.shape)
            self._pointer = Pointer(pointer.x, pointer.y, pointer.visible, self._shape)
        return self._pointer


def _shape(shape: interface.PointerShape | None) -> Shape | None:
    if shape is None:
        return None
    height, width = shape.pixels.shape[:2]
    return Shape(shape.unique, width, height, shape.hot_x, shape.hot_y, shape.pixels.tobytes())
