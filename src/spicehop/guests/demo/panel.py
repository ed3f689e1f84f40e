"""The panel at the bottom of the screen, and the menu that opens above it."""

from __future__ import annotations

from collections.abc import Callable

from spicehop.guests.demo.colours import Picture, blank, frame, ramp
from spicehop.guests.demo.font import LINE, draw_text, width_of
from spicehop.guests.demo.geometry import MENU_ROW, MENU_TEXT, PANEL_TEXT, Geometry
from spicehop.guests.demo.scene import (
    HOVER_MENU,
    MAX_LEVEL,
    MENU_BUTTONS,
    PANEL,
    PANEL_BUTTONS,
    Button,
    Scene,
)
from spicehop.raster.region import Box
from spicehop.wire.constants import KeyboardModifier

_PAPER, _PAPER_TOP = 0x1C2333, 0x2A3347
_INK, _DIM = 0xE8ECF4, 0x6F7A93
_HOVER, _ACTIVE = 0x3B4763, 0x2F6FD6
_GREEN, _RED = 0x6FB36B, 0xE0685C
_MENU_PAPER, _MENU_EDGE = 0x242C3E, 0x485470
_LOCKS = (
    (KeyboardModifier.CAPS_LOCK, b"A"),
    (KeyboardModifier.NUM_LOCK, b"1"),
    (KeyboardModifier.SCROLL_LOCK, b"S"),
)


def is_active(scene: Scene, button: Button) -> bool:
    """Whether what a button switches is on."""
    match button:
        case Button.MENU:
            return bool(scene.menu_open)
        case Button.FULL_SCREEN:
            return bool(scene.film_fills)
        case Button.TONE:
            return bool(scene.playing)
        case Button.RECORD:
            return bool(scene.recording)
    return False


def clock_text(seconds: int) -> bytes:
    """The time that a guest shows `seconds` after its start: it starts at nine."""
    return b"%02d:%02d:%02d" % ((9 + seconds // 3600) % 24, seconds // 60 % 60, seconds % 60)


class Panel:
    """Buttons at the left; lock keys, sound and clock at the right."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self.pixels: Picture = blank(geometry.width, PANEL, _PAPER)
        self.pixels[0] = _PAPER_TOP
        self._shown: dict[Box, object] = {}
        middle = (PANEL - 20) // 2
        right = geometry.width - 12
        self._free = geometry.panel_button(PANEL_BUTTONS[-1]).right + 4
        self._clock = Box(right - 62, middle, right, middle + 20)
        self._volume = Box(right - 120, middle, right - 76, middle + 20)
        self._level = Box(right - 172, middle, right - 128, middle + 20)
        self._locks = Box(right - 232, middle, right - 184, middle + 20)
        self._right = (self._clock, self._volume, self._level, self._locks)

    def show(self, scene: Scene) -> list[Box]:
        """Bring the pixels up to a scene; returns where they changed."""
        changed: list[Box] = []

        def item(box: Box, value: object, draw: Callable[[Box], None]) -> None:
            if box.left < self._free and box in self._right:
                return
            if self._shown.get(box) != value:
                self._shown[box] = value
                draw(box)
                changed.append(box)

        for button in PANEL_BUTTONS:
            box = self._geometry.panel_button(button).shifted(0, PANEL - self._geometry.height)
            hovered = scene.hover == button
            active = is_active(scene, button)
            item(box, (hovered, active), lambda box, b=button, h=hovered, a=active: self._draw_button(box, b, h, a))  # type: ignore[misc]
        # A narrow screen has no room for all that follows.
        item(self._locks, scene.locks, lambda box: self._draw_locks(box, scene.locks))
        sound = (scene.volume, scene.muted, scene.playing)
        colour = _DIM if scene.muted or not scene.playing else _GREEN
        item(self._volume, sound, lambda box: self._draw_bars(box, 0 if scene.muted else scene.volume, colour))
        item(self._level, (scene.recording, scene.level), lambda box: self._draw_bars(box, scene.level, _RED))
        item(self._clock, scene.seconds, lambda box: self._draw_clock(box, scene.seconds))
        return changed

    def _draw_button(self, box: Box, button: Button, hovered: bool, active: bool) -> None:
        paper = _ACTIVE if active else _HOVER if hovered else _PAPER_TOP
        self.pixels[box.area] = paper
        draw_text(self.pixels, box.left + 11, box.top + 6, PANEL_TEXT[button], ink=_INK, paper=paper)
        if hovered:
            frame(self.pixels[box.area], _DIM)

    def _draw_locks(self, box: Box, locks: int) -> None:
        for place, (lock, text) in enumerate(_LOCKS):
            paper = _ACTIVE if locks & lock else _PAPER_TOP
            left = box.left + 16 * place
            self.pixels[box.top + 2 : box.bottom - 2, left : left + 14] = paper
            ink = _INK if locks & lock else _DIM
            draw_text(
                self.pixels[:, : left + 14], left + (14 - width_of(text)) // 2, box.top + 3, text, ink=ink, paper=paper
            )

    def _draw_bars(self, box: Box, count: int, colour: int) -> None:
        self.pixels[box.area] = _PAPER
        for place in range(MAX_LEVEL):
            left = box.left + place * 5 + 2
            top = box.bottom - 5 - place * 3 // 2
            self.pixels[top : box.bottom - 3, left : left + 3] = colour if place < count else _PAPER_TOP

    def _draw_clock(self, box: Box, seconds: int) -> None:
        self.pixels[box.area] = _PAPER
        draw_text(self.pixels[:, : box.right], box.left + 4, box.top + 3, clock_text(seconds), ink=_INK, paper=_PAPER)


class Menu:
    """The rows of the menu; its pixels are an off-screen surface while it is open."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._shown: dict[Button, tuple[bool, bool]] = {}
        box = geometry.menu
        self.pixels: Picture = blank(box.width, box.height, _MENU_PAPER)
        self.pixels[:] = ramp((_PAPER_TOP, _MENU_PAPER), box.height)[:, None]
        frame(self.pixels, _MENU_EDGE)

    def show(self, scene: Scene) -> list[Box]:
        """Bring the pixels up to a scene; returns where they changed."""
        changed = []
        for button in MENU_BUTTONS:
            look = (scene.hover == HOVER_MENU + button, is_active(scene, button))
            if self._shown.get(button) != look:
                self._shown[button] = look
                changed.append(self._draw_row(button, *look))
        return changed

    def _draw_row(self, button: Button, hovered: bool, active: bool) -> Box:
        box = self._geometry.menu_row(button)
        paper = _HOVER if hovered else _MENU_PAPER
        text, key = MENU_TEXT[button]
        self.pixels[box.area] = paper
        if active:
            self.pixels[box.top + 9 : box.bottom - 9, box.left + 6 : box.left + 16] = _ACTIVE
        top = box.top + (MENU_ROW - LINE) // 2
        draw_text(self.pixels, box.left + 24, top, text, ink=_INK, paper=paper)
        draw_text(self.pixels, box.right - 10 - width_of(key), top, key, ink=_DIM, paper=paper)
        return box
