"""The windows of the desktop: each keeps its own pixels and changes as little of them as a new scene asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from spicehop.guests.demo.colours import Picture, bands, blank, frame, ramp
from spicehop.guests.demo.film import Film
from spicehop.guests.demo.font import LINE, draw_text, width_of
from spicehop.guests.demo.geometry import LINE_STEP, MARGIN, Geometry
from spicehop.guests.demo.scene import PLANET_SURFACE, TITLE, Scene, WindowKind
from spicehop.guests.demo.tables import chance, noise
from spicehop.raster.region import Box

_EDGE = 0x1B2233
_TITLE_INK = 0xE8ECF4
_TITLE_TOP, _TITLE_BOTTOM = 0x47536F, 0x333D54


_UNKNOWN = b"\0"
"""Stands for a line that is not what the pixels show."""


@dataclass(slots=True)
class Damage:
    """What a window has changed of its pixels, in its own coordinates."""

    boxes: list[Box] = field(default_factory=list)
    scrolled: Box | None = None
    """This part moved up by `rows`, before `boxes` were drawn; all of it may be other than it was."""
    rows: int = 0


class Window:
    """A title bar, a border and what is in it."""

    title = b""
    kind = WindowKind.NOTES
    surface_id = 0
    """Id of the off-screen surface that the window's pixels are; 0 for none."""

    def __init__(self, geometry: Geometry, seed: int) -> None:
        width, height = geometry.window_size(self.kind)
        self.seed = seed
        self.pixels: Picture = blank(width, height)
        self.inner = Box(1, TITLE, width - 1, height - 1)
        self.pixels[:TITLE] = ramp((_TITLE_TOP, _TITLE_BOTTOM), TITLE)[:, None]
        draw_text(self.pixels, 12, (TITLE - LINE) // 2 + 1, self.title, ink=_TITLE_INK, paper=0x3E4860)
        self._draw_knobs(width)
        frame(self.pixels, _EDGE)

    def show(self, scene: Scene) -> Damage:
        """Bring the pixels up to a scene; there is nothing to do when they always stay the same."""
        return Damage()

    def _draw_knobs(self, width: int) -> None:
        middle = TITLE // 2
        for place, colour in enumerate((0xE0685C, 0xE3B04B, 0x6FB36B)):
            left = width - 22 - 18 * place
            self.pixels[middle - 4 : middle + 5, left : left + 9] = colour
            for row, cut in ((0, 2), (1, 1), (7, 1), (8, 2)):
                line = self.pixels[middle - 4 + row]
                line[left : left + cut] = line[left + 9 - cut : left + 9] = self.pixels[middle - 4 + row, 2]


class TextWindow(Window, ABC):
    """Lines of text from top to bottom; when the last ones do not fit, all move up."""

    paper = 0xFFFFFF
    ink = 0x1F2430
    caret = 0

    def __init__(self, geometry: Geometry, seed: int) -> None:
        super().__init__(geometry, seed)
        self._lines: list[bytes] = []
        self._rows = max(1, (self.inner.height - MARGIN) // LINE_STEP)
        self.pixels[self.inner.area] = self.paper

    @abstractmethod
    def lines_of(self, scene: Scene) -> list[bytes]:
        """The lines in view, at most as many as there are rows."""

    def show(self, scene: Scene) -> Damage:
        lines = self.lines_of(scene)[-self._rows :]
        damage = Damage()
        if lines == self._lines:
            return damage
        shift = self._shift(lines)
        old_caret = len(self._lines) - 1 - shift
        if shift:
            kept = len(self._lines) - shift
            part = Box(self.inner.left, self._top(0), self.inner.right, self._top(len(self._lines)))
            area = self.pixels[part.area]
            for row in range(kept):  # one by one, because numpy copies aside what overlaps
                area[row * LINE_STEP : (row + 1) * LINE_STEP] = area[(row + shift) * LINE_STEP :][:LINE_STEP]
            damage.scrolled, damage.rows = part, shift * LINE_STEP
            self._lines = self._lines[shift:] + [_UNKNOWN] * shift
        for row in range(max(len(lines), len(self._lines))):
            new = lines[row] if row < len(lines) else None
            old = self._lines[row] if row < len(self._lines) else None
            has_caret, had_caret = row == len(lines) - 1, row == old_caret
            if new != old or (self.caret and has_caret != had_caret):
                damage.boxes.append(self._draw_row(row, new, old, has_caret=has_caret))
        self._lines = lines
        return damage

    def _shift(self, lines: list[bytes]) -> int:
        """By how many lines the text has moved up; 0 when it did not, or when nothing of it is left."""
        if len(self._lines) != self._rows or len(lines) != self._rows:
            return 0
        for shift in range(1, min(4, self._rows - 1)):
            # The last line that is left may have been written on.
            if self._lines[shift:-1] == lines[: -shift - 1]:
                return shift
        return 0

    def _top(self, row: int) -> int:
        return self.inner.top + MARGIN // 2 + row * LINE_STEP

    def _draw_row(self, row: int, new: bytes | None, old: bytes | None, *, has_caret: bool) -> Box:
        """Draws a row, and says which pixels of it may be other than they were."""
        top = self._top(row)
        start = self.inner.left + MARGIN
        self.pixels[top : top + LINE_STEP, self.inner.left : self.inner.right] = self.paper
        draw_text(self.pixels[:, : self.inner.right], start, top + 1, new or b"", ink=self.ink, paper=self.paper)
        reach = start + width_of(new or b"")
        if has_caret and self.caret:
            at = min(reach + 2, self.inner.right - 2)
            self.pixels[top + 1 : top + LINE_STEP - 1, at : at + 2] = self.caret
        if old == _UNKNOWN:
            return Box(self.inner.left, top, self.inner.right, top + LINE_STEP)
        same = _common_start(new or b"", old or b"")
        right = max(reach, start + width_of(old or b"")) + 6
        return Box(start + width_of(same) - 1, top, min(right, self.inner.right), top + LINE_STEP)


def _common_start(first: bytes, second: bytes) -> bytes:
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return first[:length]


class NotesWindow(TextWindow):
    """What is typed."""

    title = b"Notes"
    kind = WindowKind.NOTES
    caret = 0x2F6FD6

    def lines_of(self, scene: Scene) -> list[bytes]:
        return bytes(scene.text).split(b"\n")


_PARTS = (b"kernel", b"network", b"storage", b"session", b"clock", b"display", b"mail", b"update")
_EVENTS = (
    b"link is up, 1000 Mbit/s",
    b"lease renewed for 43200 s",
    b"cache flushed in %d ms",
    b"%d packets received",
    b"user session %d is active",
    b"time adjusted by %d us",
    b"frame queue length %d",
    b"checked %d files, none changed",
    b"battery at %d percent",
    b"index rebuilt with %d entries",
)


class LogWindow(TextWindow):
    """Lines that come by themselves."""

    title = b"System log"
    kind = WindowKind.LOG
    paper = 0x1A1F2B
    ink = 0x9FD8B4

    def lines_of(self, scene: Scene) -> list[bytes]:
        first = max(0, scene.log_lines - self._rows)
        return [self._line(number) for number in range(first, scene.log_lines)]

    def _line(self, number: int) -> bytes:
        value = chance(self.seed, number)
        event = _EVENTS[value % len(_EVENTS)]
        if b"%d" in event:
            event %= value // 16 % 997
        seconds, rest = divmod(number * 480 + value // 7 % 400, 1000)
        return b"%6d.%03d  %s: %s" % (seconds, rest, _PARTS[value // 64 % len(_PARTS)], event)


class FilmWindow(Window):
    """A moving picture."""

    title = b"Film"
    kind = WindowKind.FILM

    def __init__(self, geometry: Geometry, seed: int, film: Film) -> None:
        super().__init__(geometry, seed)
        self._film = film
        self._shown: int | None = None

    def show(self, scene: Scene) -> Damage:
        if scene.frame == self._shown or scene.film_fills:
            return Damage()
        self._shown = scene.frame
        self._film.draw(scene.frame, self.pixels[self.inner.area])
        return Damage([self.inner])


class PlanetWindow(Window):
    """A still picture that wanders about; its pixels are kept as an off-screen surface."""

    title = b"Planet"
    kind = WindowKind.PLANET
    surface_id = PLANET_SURFACE

    def __init__(self, geometry: Geometry, seed: int) -> None:
        super().__init__(geometry, seed)
        area = self.pixels[self.inner.area]
        for top, bottom in bands(0, *area.shape):
            self._draw(area, top, bottom)

    def _draw(self, area: Picture, top: int, bottom: int) -> None:
        """Draws some rows of the picture."""
        height, width = area.shape
        radius = min(width, height) * 9 // 20
        down, across = np.mgrid[top:bottom, 0:width].astype(np.int64)
        down, across = down - height // 2, across - width // 2
        inside = radius * radius - down * down - across * across
        towards = np.sqrt(np.maximum(inside, 0).astype(np.float64)).astype(np.int64)
        clouds = noise(256, self.seed + 77)
        turn = np.where(towards > 0, across * 96 // np.maximum(towards + radius // 2, 1), 0)
        ground = clouds[(down * 200 // max(1, height)) % 256, turn % 256].astype(np.int64)
        light = np.clip((towards * 5 - across * 3 - down * 4) * 256 // max(1, 7 * radius), 24, 256)
        stars = (noise(256, self.seed + 5)[(down * 7) % 256, (across * 13) % 256] > 236) & (inside < 0)
        colours = ramp((0x1B3A6B, 0x2F6C9E, 0x5FA8A0, 0xC9B27C, 0x8A6B4A, 0xF2EFE8), 256)[ground]
        shaded = sum(
            ((colours >> np.uint32(shift) & np.uint32(255)).astype(np.int64) * light >> 8) << shift
            for shift in (0, 8, 16)
        )
        area[top:bottom] = np.where(inside > 0, shaded, np.where(stars, 0xB8C4E0, 0x0B1020))


def make_windows(geometry: Geometry, seed: int, film: Film) -> dict[int, Window]:
    """All windows of the desktop by their kind."""
    windows = (
        NotesWindow(geometry, seed),
        LogWindow(geometry, seed),
        FilmWindow(geometry, seed, film),
        PlanetWindow(geometry, seed),
    )
    return {window.kind: window for window in windows}
