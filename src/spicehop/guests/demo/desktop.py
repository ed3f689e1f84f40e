"""What happens on the desktop: windows that move and are moved, the log that grows, the menu, the notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.guests.demo.geometry import MARGIN, Geometry
from spicehop.guests.demo.notes import Notes
from spicehop.guests.demo.pointers import PointerKind
from spicehop.guests.demo.scene import (
    HOVER_MENU,
    MAX_SQUARES,
    MENU_BUTTONS,
    PANEL_BUTTONS,
    SQUARE,
    TITLE,
    Button,
    Place,
    Square,
    WindowKind,
)
from spicehop.raster.region import Box
from spicehop.wire.layout import I16, U8, U32, Array, Data, SizedBytes, Structure

LOG_EVERY = 12
"""Frames from one line of the log window to the next."""
NO_DRAG = 255
"""Stands for no window in a saved state."""
_WANDERING = (75, 200)
"""The planet moves in the first so many frames of each so many."""


@dataclass(frozen=True, slots=True)
class DesktopState(Structure):
    """The desktop as it lives."""

    log_lines: U32
    windows: Annotated[tuple[Place, ...], Array(Place, count="B")]
    squares: Annotated[tuple[Square, ...], Array(Square, count="B")]
    menu_open: U8
    film_fills: U8
    hover: U8
    dragged: U8
    drag_x: I16
    drag_y: I16
    speed_x: I16
    speed_y: I16
    notes: Annotated[Data, SizedBytes("I")]


class Desktop:
    """The state of the desktop as it lives; whether it is drawn is the guest's business."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.notes = Notes(geometry.text_width())
        self.places = list(geometry.first_places())
        self.log_lines = 0
        self.squares: tuple[Square, ...] = ()
        self.menu_open = False
        self.film_fills = False
        self.hover = 0
        self.drag: tuple[int, int, int] | None = None
        """The window that the pointer holds, and where the pointer is in it."""
        self.speed = (4, -3)
        """How far the planet moves in a frame."""

    def tick(self, frame: int) -> None:
        """One frame of what happens by itself."""
        if frame % LOG_EVERY == 0:
            self.log_lines += 1
        moving, period = _WANDERING
        if frame % period < moving and (self.drag is None or self.drag[0] != WindowKind.PLANET):
            self._wander()

    def resize(self, geometry: Geometry) -> None:
        """Arrange everything on a screen of another size."""
        text, old = self.notes.text, self.geometry
        self.geometry = geometry
        self.notes = Notes(geometry.text_width())
        self.notes.type(text)
        self.places = [
            geometry.on_screen(
                Place(place.kind, place.x * geometry.width // old.width, place.y * geometry.height // old.height)
            )
            for place in self.places
        ]
        self.squares = tuple(square for square in self.squares if _fits(square, geometry))
        self.drag = None
        self.menu_open = False
        self.hover = 0

    def put_square(self, square: Square) -> bool:
        """Puts a square above all windows, in place of one at the same spot; False when it is not on the screen."""
        others = tuple(other for other in self.squares if (other.x, other.y) != (square.x, square.y))
        if not _fits(square, self.geometry) or len(others) >= MAX_SQUARES:
            return False
        self.squares = (*others, square)
        return True

    def toggle_menu(self) -> None:
        self.menu_open = not self.menu_open and not self.film_fills

    def toggle_film(self) -> None:
        """Let the film fill the screen, or not."""
        self.film_fills = not self.film_fills
        self.menu_open = False
        self.hover = 0
        self.drag = None

    def pointer_at(self, x: int, y: int) -> None:
        """The pointer is here now: what it holds follows, what it is above lights up."""
        if self.drag is not None:
            kind, left, top = self.drag
            index = self._index(kind)
            self.places[index] = self.geometry.on_screen(Place(kind, x - left, y - top))
            return
        row = self._menu_button(x, y)
        self.hover = HOVER_MENU + row if row else self._panel_button(x, y)

    def pressed(self, x: int, y: int) -> Button:
        """The left button goes down: raises a window, takes hold of a title; returns what is to be started."""
        if self.film_fills:
            return Button.NONE
        button = self._menu_button(x, y)
        if not button:
            button = self._panel_button(x, y)
            if self.menu_open and button != Button.MENU:
                self.menu_open = False
        else:
            self.menu_open = False
            self.hover = 0
        if button or y >= self.geometry.panel.top:
            return button
        place = self._window_at(x, y)
        if place is not None:
            self.places.remove(place)
            self.places.append(place)
            if y < place.y + TITLE:
                self.drag = (place.kind, x - place.x, y - place.y)
        return Button.NONE

    def released(self) -> None:
        """The left button is up: nothing is held any more."""
        self.drag = None

    def pointer_kind(self, x: int, y: int) -> PointerKind:
        """What the pointer looks like here."""
        if self.drag is not None or self._menu_button(x, y) or self._panel_button(x, y):
            return PointerKind.HAND
        place = self._window_at(x, y)
        if place is None or y >= self.geometry.panel.top or place.kind not in (WindowKind.NOTES, WindowKind.LOG):
            return PointerKind.ARROW
        box = self.geometry.window_box(place)
        inner = Box(box.left + MARGIN // 2, box.top + TITLE, box.right - MARGIN // 2, box.bottom - 1)
        return PointerKind.TEXT if _holds(inner, x, y) else PointerKind.ARROW

    def state(self) -> DesktopState:
        dragged, drag_x, drag_y = self.drag or (NO_DRAG, 0, 0)
        return DesktopState(
            log_lines=self.log_lines,
            windows=tuple(self.places),
            squares=self.squares,
            menu_open=int(self.menu_open),
            film_fills=int(self.film_fills),
            hover=self.hover,
            dragged=dragged,
            drag_x=drag_x,
            drag_y=drag_y,
            speed_x=self.speed[0],
            speed_y=self.speed[1],
            notes=self.notes.encoded,
        )

    def restore(self, state: DesktopState, notes: Notes) -> None:
        """Go on where `state` was taken, with these notes; both have been checked."""
        self.notes = notes
        self.log_lines = state.log_lines
        self.places, self.squares = list(state.windows), state.squares
        self.menu_open, self.film_fills = bool(state.menu_open), bool(state.film_fills)
        self.hover = state.hover
        self.drag = None if state.dragged == NO_DRAG else (state.dragged, state.drag_x, state.drag_y)
        self.speed = (state.speed_x, state.speed_y)

    def _wander(self) -> None:
        index = self._index(WindowKind.PLANET)
        place = self.places[index]
        work = self.geometry.work
        width, height = self.geometry.window_size(WindowKind.PLANET)
        dx, dy = self.speed
        if not work.left <= place.x + dx <= work.right - width:
            dx = abs(dx) if place.x + dx < work.left else -abs(dx)
        if not work.top <= place.y + dy <= work.bottom - height:
            dy = abs(dy) if place.y + dy < work.top else -abs(dy)
        self.speed = (dx, dy)
        self.places[index] = self.geometry.on_screen(Place(place.kind, place.x + dx, place.y + dy))

    def _index(self, kind: int) -> int:
        return next(index for index, place in enumerate(self.places) if place.kind == kind)

    def _window_at(self, x: int, y: int) -> Place | None:
        for place in reversed(self.places):
            if _holds(self.geometry.window_box(place), x, y):
                return place
        return None

    def _panel_button(self, x: int, y: int) -> Button:
        if self.film_fills:
            return Button.NONE
        for button in PANEL_BUTTONS:
            if _holds(self.geometry.panel_button(button), x, y):
                return button
        return Button.NONE

    def _menu_button(self, x: int, y: int) -> Button:
        menu = self.geometry.menu
        for button in MENU_BUTTONS if self.menu_open else ():
            if _holds(self.geometry.menu_row(button).shifted(menu.left, menu.top), x, y):
                return button
        return Button.NONE


def _holds(box: Box, x: int, y: int) -> bool:
    return box.left <= x < box.right and box.top <= y < box.bottom


def _fits(square: Square, geometry: Geometry) -> bool:
    return square.x + SQUARE <= geometry.width and square.y + SQUARE <= geometry.height
