"""Puts wallpaper, windows, panel and menu together into the pixels of the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spicehop.guests.demo.changes import SHOWN, ChangeLog
from spicehop.guests.demo.colours import Bytes, Picture, as_bytes, blank
from spicehop.guests.demo.film import Film
from spicehop.guests.demo.geometry import Geometry
from spicehop.guests.demo.panel import Menu, Panel
from spicehop.guests.demo.scene import MENU_SURFACE, SQUARE, STAMP, Place, Scene, Square
from spicehop.guests.demo.stamping import draw_stamp
from spicehop.guests.demo.wallpaper import Wallpaper
from spicehop.guests.demo.windows import Damage, make_windows
from spicehop.guests.interface import DisplayChange
from spicehop.raster.region import Box


@dataclass(frozen=True, slots=True)
class Layer:
    """A picture and where on the screen it lies."""

    box: Box
    pixels: Picture


class Compositor:
    """The one display of the demo guest: its pixels always are those of `scene`.

    `show` goes to another scene and changes no more than it must; `rebuild` draws everything.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self._seed = seed
        self._changes = ChangeLog(Box(0, 0, scene.width, scene.height))
        self._film = Film(seed)
        self._build(scene)

    @property
    def pixels(self) -> Bytes:
        return as_bytes(self._screen)

    @property
    def surfaces(self) -> Mapping[int, Bytes]:
        found = {window.surface_id: as_bytes(window.pixels) for window in self._windows.values() if window.surface_id}
        if self.scene.menu_open:
            found[MENU_SURFACE] = as_bytes(self._menu.pixels)
        return found

    def take_changes(self) -> Sequence[DisplayChange]:
        """What has happened since the last call; a taker may replay it with the pixels as they are now."""
        return self._changes.take()

    @property
    def has_changes(self) -> bool:
        """Whether something has happened that was not taken."""
        return not self._changes.is_empty

    def show(self, scene: Scene) -> None:
        """Bring the pixels up to another scene."""
        old = self.scene
        if (scene.width, scene.height) != (old.width, old.height):
            self._drop_surfaces()
            self._build(scene)
        elif scene.film_fills or old.film_fills:
            self._show_filled(old, scene)
        elif scene != old:
            self._show_changes(old, scene)

    @property
    def known(self) -> dict[int, tuple[int, int]]:
        """Sizes of the surfaces that whoever takes the changes knows, by id."""
        return self._changes.known

    def restart(self, scene: Scene, seed: int, known: dict[int, tuple[int, int]], *, complete: bool) -> None:
        """Show a scene that comes from elsewhere, to a taker of changes who comes from there too.

        `known` are the surfaces that he knows; when `complete`, their pixels as well.
        """
        if seed == self._seed:
            self.show(scene)
        else:
            self._seed = seed
            self._film = Film(seed)
            self._drop_surfaces()
            self._build(scene)
        self._changes.restart(known, complete=complete)

    def _build(self, scene: Scene) -> None:
        geometry = Geometry(scene.width, scene.height)
        self._geometry = geometry
        self.scene = scene
        self._screen: Picture = blank(scene.width, scene.height)
        self._wallpaper = Wallpaper(scene.width, scene.height, self._seed)
        self._windows = make_windows(geometry, self._seed, self._film)
        self._panel = Panel(geometry)
        self._menu = Menu(geometry)
        self._stamp: Picture = blank(STAMP.width, STAMP.height)
        self._layers: list[Layer] = []
        self._bring_up(scene)
        for surface, pixels in self.surfaces.items():
            self._changes.surface_created(surface, pixels.shape[1], pixels.shape[0])
            self._changes.drawn(surface, Box(0, 0, pixels.shape[1], pixels.shape[0]))
        self._arrange_layers(scene)
        self._compose(geometry.screen)
        self._changes.resized(geometry.screen)

    def _bring_up(self, scene: Scene) -> None:
        """Bring everything that is not on the screen up to a scene, whatever of it has changed."""
        for window in self._windows.values():
            window.show(scene)
        self._panel.show(scene)
        self._menu.show(scene)
        draw_stamp(scene.frame, self._stamp)

    def _drop_surfaces(self) -> None:
        for surface in self.surfaces:
            self._changes.surface_destroyed(surface)

    def _show_filled(self, old: Scene, scene: Scene) -> None:
        """The film fills the screen, or has just filled it: everything is drawn again."""
        if scene == old:
            return
        if old.menu_open and not scene.menu_open:
            self._changes.surface_destroyed(MENU_SURFACE)
        self._bring_up(scene)
        self.scene = scene
        if scene.menu_open and not old.menu_open:
            self._create_menu()
        self._arrange_layers(scene)
        self._draw(self._geometry.screen)

    def _show_changes(self, old: Scene, scene: Scene) -> None:
        self.scene = scene
        for place in old.windows:
            self._show_damage(place, self._windows[place.kind].show(scene))
        if scene.windows != old.windows:
            self._show_order(old.windows, scene.windows)
            self._show_moves(old.windows, scene.windows)
        for box in self._panel.show(scene):
            self._draw(box.shifted(0, self._geometry.panel.top))
        self._show_menu(old, scene)
        if scene.squares != old.squares:
            self._arrange_layers(scene)
            for square in {*old.squares, *scene.squares}:
                self._draw(_box_of(square))
        if scene.frame != old.frame:
            draw_stamp(scene.frame, self._stamp)
            self._draw(STAMP)

    def _show_damage(self, place: Place, damage: Damage) -> None:
        outer = self._geometry.window_box(place)
        if damage.scrolled is not None:
            part = damage.scrolled.shifted(outer.left, outer.top)
            if not self._show_scroll(self._layer_of(place.kind), part, damage.rows):
                self._draw(part)
                return
        for box in damage.boxes:
            self._draw(box.shifted(outer.left, outer.top))

    def _show_scroll(self, layer: int, part: Box, rows: int) -> bool:
        """A part of a layer has moved up by `rows`; False when so little of it is seen that it is better drawn."""
        if part.intersect(self._geometry.screen) != part:
            return False
        covers = [cover for above in self._layers[layer + 1 :] if not (cover := above.box.intersect(part)).is_empty]
        if sum(cover.width * cover.height for cover in covers) * 2 > part.width * part.height:
            return False
        self._compose(part)
        self._changes.moved(part._replace(top=part.top + rows), part.left, part.top)
        for cover in covers:  # was moved along, and is missing where it was
            self._changes.drawn(SHOWN, cover)
            self._changes.drawn(SHOWN, cover.shifted(0, -rows).intersect(part))
        return True

    def _show_order(self, old: Sequence[Place], new: Sequence[Place]) -> None:
        """Windows that have others above or below them now, still at their old places."""
        kinds, wanted = [place.kind for place in old], [place.kind for place in new]
        if kinds == wanted:
            return
        places = {place.kind: place for place in old}
        self._arrange_layers(self.scene, [places[kind] for kind in wanted])
        boxes = {kind: self._geometry.window_box(place) for kind, place in places.items()}
        for above, kind in enumerate(wanted):
            for other in set(wanted[:above]) - set(kinds[: kinds.index(kind)]):  # these are below it only now
                self._draw(boxes[kind].intersect(boxes[other]))

    def _show_moves(self, old: Sequence[Place], new: Sequence[Place]) -> None:
        current = {place.kind: place for place in old}
        for place in new:
            before = current[place.kind]
            if before != place:
                current[place.kind] = place
                self._arrange_layers(self.scene, [current[other.kind] for other in new])
                self._show_move(before, place)

    def _show_move(self, old: Place, new: Place) -> None:
        before, after = self._geometry.window_box(old), self._geometry.window_box(new)
        layer = self._layer_of(new.kind)
        visible = after.intersect(self._geometry.screen)
        self._compose(after)
        surface = self._windows[new.kind].surface_id
        if surface and self._is_clear(layer, visible):
            self._changes.copied(surface, visible.shifted(-after.left, -after.top), visible.left, visible.top)
        elif self._is_clear(layer, before) and self._is_clear(layer, after):
            self._changes.moved(before, after.left, after.top)
        else:
            self._changes.drawn(SHOWN, visible)
        for box in _without(before, after):
            self._draw(box)

    def _show_menu(self, old: Scene, scene: Scene) -> None:
        if old.menu_open and not scene.menu_open:
            self._changes.surface_destroyed(MENU_SURFACE)
        boxes = self._menu.show(scene)
        outer = self._geometry.menu
        if scene.menu_open and not old.menu_open:
            self._create_menu()
            boxes = [Box(0, 0, outer.width, outer.height)]
        elif scene.menu_open:
            for box in boxes:
                self._changes.drawn(MENU_SURFACE, box)
        if scene.menu_open != old.menu_open:
            self._arrange_layers(scene)
            if not scene.menu_open:
                self._draw(outer)
        if scene.menu_open:
            for box in boxes:
                part = box.shifted(outer.left, outer.top)
                self._compose(part)
                if self._is_clear(len(scene.windows) + 1, part):
                    self._changes.copied(MENU_SURFACE, box, part.left, part.top)
                else:
                    self._changes.drawn(SHOWN, part.intersect(self._geometry.screen))

    def _create_menu(self) -> None:
        outer = self._geometry.menu
        self._changes.surface_created(MENU_SURFACE, outer.width, outer.height)
        self._changes.drawn(MENU_SURFACE, Box(0, 0, outer.width, outer.height))

    def _arrange_layers(self, scene: Scene, places: Sequence[Place] | None = None) -> None:
        layers: list[Layer] = []
        if not scene.film_fills:
            for place in scene.windows if places is None else places:
                layers.append(Layer(self._geometry.window_box(place), self._windows[place.kind].pixels))
            layers.append(Layer(self._geometry.panel, self._panel.pixels))
            if scene.menu_open:
                layers.append(Layer(self._geometry.menu, self._menu.pixels))
        layers.extend(Layer(_box_of(square), blank(SQUARE, SQUARE, square.colour)) for square in scene.squares)
        layers.append(Layer(STAMP, self._stamp))
        self._layers = layers

    def _layer_of(self, kind: int) -> int:
        pixels = self._windows[kind].pixels
        return next(index for index, layer in enumerate(self._layers) if layer.pixels is pixels)

    def _is_clear(self, index: int, box: Box) -> bool:
        """Whether all of a part of this layer is on the screen and nothing lies above it."""
        if box.intersect(self._geometry.screen) != box:
            return False
        return all(layer.box.intersect(box).is_empty for layer in self._layers[index + 1 :])

    def _draw(self, box: Box) -> None:
        self._compose(box)
        self._changes.drawn(SHOWN, box.intersect(self._geometry.screen))

    def _compose(self, box: Box) -> None:
        """Draws a part of the screen anew, from the lowest layer that can be seen there to the highest."""
        box = box.intersect(self._geometry.screen)
        if box.is_empty:
            return
        lowest = len(self._layers)
        while lowest and self._layers[lowest - 1].box.intersect(box) != box:
            lowest -= 1
        if lowest:
            lowest -= 1
        elif self.scene.film_fills:
            self._film.draw(self.scene.frame, self._screen)  # then the box is the screen
        else:
            self._wallpaper.draw(box, self._screen[box.area])
        for layer in self._layers[lowest:]:
            part = layer.box.intersect(box)
            if not part.is_empty:
                self._screen[part.area] = layer.pixels[part.within(layer.box)]


def _box_of(square: Square) -> Box:
    return Box(square.x, square.y, square.x + SQUARE, square.y + SQUARE)


def _without(box: Box, hole: Box) -> list[Box]:
    """What of `box` lies outside `hole`."""
    inner = box.intersect(hole)
    if inner.is_empty:
        return [box]
    parts = (
        Box(box.left, box.top, box.right, inner.top),
        Box(box.left, inner.bottom, box.right, box.bottom),
        Box(box.left, inner.top, inner.left, inner.bottom),
        Box(inner.right, inner.top, box.right, inner.bottom),
    )
    return [part for part in parts if not part.is_empty]
