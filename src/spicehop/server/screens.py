"""The guest's displays, and for each client what it still has to be told of them.

What changes is noted for every client. A client gets its next frame when its channel can take one; what happened in
between is in that frame, so a slow client sees fewer frames and nobody else notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spicehop.channels.serving.display import ServerDisplay
from spicehop.guests.interface import Display, DisplayChange
from spicehop.painting import ClientView, Painter, PaintSettings, SharedImages
from spicehop.server.served import ServedChannel
from spicehop.wire import display
from spicehop.wire.layout import Message

MAX_NOTED = 512
"""Changes noted for one client; with more of them its next frame is found by comparing the whole picture."""
SMALLEST_ROOM = 32 * 1024
"""Bytes that a frame may always have."""
LOCAL_ROOM = 4 * 1024 * 1024
"""Bytes of a frame for a client on the same machine, where nothing is measured."""


class ScreenFeed:
    """One display as one client sees it."""

    def __init__(
        self, screen: Display, served: ServedChannel, settings: PaintSettings, shared: SharedImages, view: ClientView
    ) -> None:
        assert isinstance(served.machine, ServerDisplay)
        self.screen = screen
        self.served = served
        self.machine = served.machine
        self.painter = Painter(view, settings, shared)
        self.frames = 0
        """Frames that were made."""
        self.heard = 0
        """Messages of the client; they and frames are all that changes its view."""
        self._changes: list[DisplayChange] = []
        self._complete = True
        self._dirty = True
        self._next_frame = 0.0
        self._waits = False
        """Whether the client, which comes from another server, has seen nothing of this one yet."""

    def note(self, changes: Sequence[DisplayChange]) -> None:
        """Something has happened on the display."""
        if not changes:
            return
        self._dirty = True
        if not self._complete:
            return
        self._changes += changes
        if len(self._changes) > MAX_NOTED:
            self._changes, self._complete = [], False

    def begun(self, init: display.Init, now: float) -> None:
        """The client has said what caches it has."""
        self.heard += 1
        self.painter.client_message(init, now)
        self._dirty = True

    def resume(self, now: float) -> None:
        """Go on with a view that comes from another server: what has changed since is found by comparing."""
        self._changes, self._complete, self._dirty = [], False, True
        self._waits = True
        for surface in self.painter.view.surfaces.values():
            surface.resume(now)

    def hurry(self) -> None:
        """Make the next frame as soon as the client can take one, however soon after the last: the guest stops."""
        self._next_frame = 0.0

    def message(self, message: Message, now: float) -> None:
        """The client said something else."""
        self.heard += 1
        self.painter.client_message(message, now)

    def paint(self, now: float, interval: float) -> None:
        """Make a frame when there is something to show and the client can take it."""
        due = self.painter.next_deadline()
        if not self._dirty and (due is None or now < due):
            return
        if now < self._next_frame or not self.served.writable or not self.machine.ready:
            return
        media_time = self.machine.media_clock.time(now)
        if self._waits:
            self._waits = False
            if messages := self.painter.glimpse(self.screen.pixels, now, multi_media_time=media_time):
                self._send(messages, now)
                self._next_frame = now  # the rest follows when this is on its way
                return
        changes, complete = self._changes, self._complete
        self._changes, self._complete = [], True
        room = LOCAL_ROOM
        if not self.machine.peer.local:
            room = max(SMALLEST_ROOM, int(self.machine.flight_limit) - self.machine.delivery.in_flight)
        if self.machine.delivery.rate is not None:
            self.painter.bandwidth = int(8 * self.machine.delivery.rate)
        messages = self.painter.paint(
            self.screen.pixels,
            self.screen.surfaces,
            changes,
            now,
            complete=complete,
            room=room,
            multi_media_time=media_time,
        )
        self._dirty = self.painter.is_behind
        if not messages:
            # Nothing that shows; a painter whose time has come is not asked again at once.
            self._next_frame = now + interval
            return
        self._send(messages, now)
        self._next_frame = now + interval

    def _send(self, messages: Sequence[Message], now: float) -> None:
        for message in messages:
            self.machine.send(message)
        self.machine.frame_sent(now)
        self.frames += 1

    @property
    def settled(self) -> bool:
        """Whether the client was sent all there is to see."""
        return not self._dirty and self.machine.idle and self.painter.next_deadline() is None

    def next_deadline(self) -> float | None:
        """When the next frame may be made; None when there is none to make, or the client has to move first."""
        if not self.served.writable or not self.machine.ready:
            return None
        due = self._next_frame if self._dirty else self.painter.next_deadline()
        return None if due is None else max(due, self._next_frame)


def spread(screens: Sequence[Display], feeds: Iterable[ScreenFeed]) -> None:
    """Note for every client what has happened on the guest's displays."""
    known = list(feeds)
    for screen in screens:
        changes = screen.take_changes()
        if changes:
            for feed in known:
                if feed.screen is screen:
                    feed.note(changes)
