"""Keeps input from a guest that stands still because it moves: it is given to the guest that runs next, in order.

A guest that stands still drops input, and QEMU's drops it without a word (dossier F, "Input and the VM's stop"). What
is held here goes to the target with its client's state, or to this server's guest when that stays.
"""

from __future__ import annotations

from collections.abc import Iterable

from spicehop.channels.serving.inputs import ButtonsChanged, InputEvent, KeyCame, PointerMoved, PointerPlaced
from spicehop.guests.interface import Guest

NOBODY = 0
"""Sessions are counted from 1."""
MOST_HELD = 60_000
"""Events of one client that are held; beyond that it is not read."""


class InputGate:
    """Between the clients' inputs channels and the guest."""

    def __init__(self, guest: Guest, *, closed: bool = False) -> None:
        self.closed = closed
        self._guest = guest
        self._held: list[tuple[int, InputEvent]] = []

    def close(self) -> None:
        """Hold what comes from now on."""
        self.closed = True

    def open(self) -> None:
        """The guest runs: give it what was held, and everything that comes."""
        self.closed = False
        held, self._held = self._held, []
        for _, event in held:
            self._give(event)

    def give(self, session: int, events: Iterable[InputEvent]) -> None:
        """Input of a session, by its number."""
        for event in events:
            if self.closed:
                self._hold(session, event)
            else:
                self._give(event)

    def _hold(self, session: int, event: InputEvent) -> None:
        """A place that is followed by another one with the same buttons need not be remembered."""
        if self._held and isinstance(event, PointerPlaced):
            before = self._held[-1]
            if before[0] == session and isinstance(before[1], PointerPlaced) and before[1].buttons == event.buttons:
                self._held.pop()
        self._held.append((session, event))

    def held_by(self, session: int) -> tuple[InputEvent, ...]:
        """What is held of a session."""
        return tuple(event for number, event in self._held if number == session)

    def is_full(self, session: int) -> bool:
        """Whether no more should be taken of a session."""
        return len(self._held) > MOST_HELD and len(self.held_by(session)) > MOST_HELD

    def drop(self, session: int) -> None:
        """A session is gone, and what it has left is another server's."""
        self._held = [one for one in self._held if one[0] != session]

    def leave(self, session: int) -> None:
        """A session is gone for good: what is held of it goes where the guest goes."""
        self._held = [(NOBODY if number == session else number, event) for number, event in self._held]

    @property
    def left(self) -> tuple[InputEvent, ...]:
        """What sessions that are gone have left."""
        return self.held_by(NOBODY)

    def _give(self, event: InputEvent) -> None:
        guest = self._guest
        match event:
            case KeyCame():
                guest.key(event.scancodes)
            case PointerMoved():
                guest.pointer_moved(event.dx, event.dy, event.buttons)
            case PointerPlaced():
                guest.pointer_placed(event.display, event.x, event.y, event.buttons)
            case ButtonsChanged():
                guest.buttons_changed(event.buttons)
