"""Where things are on a screen of a given size."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.guests.demo.font import LINE, width_of
from spicehop.guests.demo.scene import MENU_BUTTONS, PANEL, PANEL_BUTTONS, TITLE, Button, Place, WindowKind
from spicehop.raster.region import Box

MARGIN = 8
"""Between a window's border and its text."""
LINE_STEP = LINE + 3
"""From one line of text to the next."""
MENU_ROW = 28
MENU_WIDTH = 230

PANEL_TEXT = {
    Button.MENU: b"Menu",
    Button.FULL_SCREEN: b"Film",
    Button.TONE: b"Tone",
    Button.RECORD: b"Record",
}
MENU_TEXT = {
    Button.FULL_SCREEN: (b"Film on the whole screen", b"F8"),
    Button.TONE: (b"Tone", b"F9"),
    Button.RECORD: (b"Record", b"F10"),
    Button.OFFER: (b"Offer clipboard", b"F5"),
    Button.FREEZE: (b"Freeze the picture", b"F7"),
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """The arrangement for one size of the screen."""

    width: int
    height: int

    @property
    def screen(self) -> Box:
        return Box(0, 0, self.width, self.height)

    @property
    def work(self) -> Box:
        """The screen without the panel."""
        return Box(0, 0, self.width, self.height - PANEL)

    @property
    def panel(self) -> Box:
        return Box(0, self.height - PANEL, self.width, self.height)

    @property
    def menu(self) -> Box:
        """Where the menu is when it is open."""
        top = self.height - PANEL - len(MENU_BUTTONS) * MENU_ROW - 10
        return Box(4, top, 4 + MENU_WIDTH, self.height - PANEL - 2)

    def window_size(self, kind: int) -> tuple[int, int]:
        """Width and height with title and border."""
        if kind == WindowKind.NOTES:
            return self.width * 46 // 100, self.height * 39 // 100
        if kind == WindowKind.LOG:
            return self.width * 52 // 100, self.height * 34 // 100
        if kind == WindowKind.FILM:
            picture = self.width * 5 // 16
            return picture + 2, picture * 9 // 16 + TITLE + 1
        return max(96, self.width * 19 // 100), max(96, self.height * 24 // 100)

    def first_places(self) -> tuple[Place, ...]:
        """Where the windows are at first, the lowest first."""
        return (
            Place(WindowKind.NOTES, self.width * 4 // 100, self.height * 10 // 100),
            Place(WindowKind.FILM, self.width * 60 // 100, self.height * 7 // 100),
            Place(WindowKind.LOG, self.width * 43 // 100, self.height * 50 // 100),
            Place(WindowKind.PLANET, self.width * 10 // 100, self.height * 61 // 100),
        )

    def window_box(self, place: Place) -> Box:
        width, height = self.window_size(place.kind)
        return Box(place.x, place.y, place.x + width, place.y + height)

    def on_screen(self, place: Place) -> Place:
        """The same window where its title bar can be reached."""
        width, _ = self.window_size(place.kind)
        x = min(max(place.x, 40 - width), self.width - 40)
        return Place(place.kind, x, min(max(place.y, 0), max(0, self.height - PANEL - TITLE)))

    def panel_button(self, button: Button) -> Box:
        """A button of the panel, in pixels of the screen."""
        left = 6
        for other in PANEL_BUTTONS:
            right = left + width_of(PANEL_TEXT[other]) + 22
            if other == button:
                return Box(left, self.height - PANEL + 5, right, self.height - 5)
            left = right + 5
        raise KeyError(button)

    def menu_row(self, button: Button) -> Box:
        """A row of the menu, in pixels of the menu."""
        top = 4 + MENU_BUTTONS.index(button) * MENU_ROW
        return Box(4, top, MENU_WIDTH - 4, top + MENU_ROW)

    def text_rows(self) -> int:
        """Lines of the notes that are in view."""
        return max(1, (self.window_size(WindowKind.NOTES)[1] - TITLE - 1 - MARGIN) // LINE_STEP)

    def text_width(self) -> int:
        """Pixels for a line of the notes."""
        return self.window_size(WindowKind.NOTES)[0] - 2 * MARGIN - 4
