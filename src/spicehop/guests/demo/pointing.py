"""The guest's pointing devices: a mouse and a tablet that share their buttons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spicehop.wire.constants import MouseButton

BUTTON_CODES = {
    MouseButton.LEFT: 272,
    MouseButton.RIGHT: 273,
    MouseButton.MIDDLE: 274,
    MouseButton.SIDE: 275,
    MouseButton.EXTRA: 276,
}
"""Linux codes of the buttons."""
WHEEL_CODE = 8
_WHEELS = {MouseButton.UP: 1, MouseButton.DOWN: -1}
ALL_BUTTONS = 0x7F


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button, or with a `wheel` of 1 or -1 a step of the wheel."""

    code: int
    is_down: bool
    wheel: int = 0


class Pointing:
    """Where the pointer is and which buttons are down."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y
        self.buttons = 0
        """Bit `MouseButton - 1` for each."""

    @property
    def left_is_down(self) -> bool:
        return bool(self.buttons & 1)

    def place(self, x: int, y: int, width: int, height: int) -> None:
        """Go to (x, y), or as close as the screen allows."""
        self.x, self.y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)

    def press(self, buttons: int) -> Iterator[Pressed]:
        """What differs when these buttons are down."""
        buttons &= ALL_BUTTONS
        changed, self.buttons = self.buttons ^ buttons, buttons
        for button in MouseButton:
            bit = 1 << (button - 1)
            if not changed & bit:
                continue
            if button in BUTTON_CODES:
                yield Pressed(BUTTON_CODES[button], bool(buttons & bit))
            elif buttons & bit:
                yield Pressed(WHEEL_CODE, True, _WHEELS[button])
