"""Keys and buttons that clients hold down in a guest that moves: who does not come after it lets go of them.

The source says with the guest's state who holds what. A client that comes brings that itself; one that is lost on its
way would leave a key down for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from spicehop.channels.serving.inputs import InputEvent, ServerInputs
from spicehop.migration.leaving import LEAVE_SECONDS
from spicehop.server.session import ServedSession

GRACE_SECONDS = 1.0
"""How much longer than the source waits for its clients."""
MOST_LOST = 1000
"""Clients that are remembered; a key of any other is let go of when time is over."""
Held = Mapping[int, tuple[InputEvent, ...]]
"""By connection id, what lets go of all that the client holds."""


def held_by(sessions: Iterable[ServedSession]) -> Held:
    """What clients hold now."""
    found: dict[int, tuple[InputEvent, ...]] = {}
    for session in sessions:
        inputs = [machine for machine in session.machines() if isinstance(machine, ServerInputs)]
        releases = tuple([one for machine in inputs for one in machine.releases()])
        if releases:
            found[session.connection_id] = releases
    return found


class HeldKeys:
    """What is held in the guest by clients that are still to come; `give` is told what lets go of it."""

    def __init__(self, give: Callable[[tuple[InputEvent, ...]], None]) -> None:
        self._give = give
        self._held: dict[int, tuple[InputEvent, ...]] = {}
        self._lost: set[int] = set()
        """Clients that had linked this server, and are gone before the guest has come."""
        self._deadline: float | None = None

    def expect(self, held: Held) -> None:
        """A guest comes, in which this is held."""
        self._held, self._deadline = dict(held), None

    @property
    def awaited(self) -> Held:
        """What clients hold that have not come yet; it goes with a guest that moves on."""
        return dict(self._held)

    def guest_came(self, now: float) -> None:
        """The guest is here: its clients have so long to come, and those that are gone do not."""
        for connection_id in self._lost & self._held.keys():
            self._give(self._held.pop(connection_id))
        self._lost.clear()
        if self._held:
            self._deadline = now + LEAVE_SECONDS + GRACE_SECONDS

    def client_linked(self, connection_id: int) -> None:
        """The client is on its way, whatever has been before."""
        self._lost.discard(connection_id)

    def client_came(self, connection_id: int) -> None:
        """The client is here, and holds its keys itself."""
        self._held.pop(connection_id, None)

    def client_lost(self, connection_id: int) -> None:
        """The client will not come. Before the guest is here it may go on at the source, and the guest with it."""
        if self._deadline is not None:
            self._give(self._held.pop(connection_id, ()))
        elif len(self._lost) < MOST_LOST:
            self._lost.add(connection_id)

    def turn(self, now: float) -> None:
        """Let go of what nobody has come for."""
        if self._deadline is not None and now >= self._deadline:
            for connection_id in tuple(self._held):
                self._give(self._held.pop(connection_id))
            self._deadline = None

    def next_deadline(self) -> float | None:
        """When `turn` has something to do."""
        return self._deadline if self._held else None
