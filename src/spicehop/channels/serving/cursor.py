"""The cursor channel of a server: the guest's pointer, always the latest (dossier B.4).

Nothing is queued ahead: what has changed is looked up when a message can be written, so a slow client skips places.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from spicehop.channels.serving.channel import ChannelState, Peer, ServerChannel
from spicehop.wire import cursor
from spicehop.wire.constants import ChannelType, MouseMode
from spicehop.wire.cursor import Cursor, CursorHeader
from spicehop.wire.display_constants import CursorFlag, CursorType
from spicehop.wire.geometry import Point16

CACHE_ENTRIES = 256
MAX_SIDE = 512
"""Larger pointers are not sent; they would not be pointers."""
_I16 = 2**15


@dataclass(frozen=True, slots=True)
class Shape:
    """A pointer's picture, rows of B, G, R, A from the top; `unique` names it."""

    unique: int
    width: int
    height: int
    hot_x: int
    hot_y: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where the pointer is, and as what it shows."""

    x: int = 0
    y: int = 0
    visible: bool = True
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class CursorState:
    """What a cursor channel that goes on elsewhere begins with: what the client shows and what it has cached."""

    channel: ChannelState
    shown: tuple[int, int, bool, int]
    """Place, visibility, and the number of the shape, 0 for none."""
    cached: tuple[int, ...]
    """Numbers of the shapes the client has, the oldest first."""


class ServerCursor(ServerChannel):
    """Brings one client's pointer up to date."""

    ACK_WINDOW = 20

    def __init__(self, channel_id: int, peer: Peer, now: float, state: CursorState | None = None) -> None:
        super().__init__(ChannelType.CURSOR, channel_id, peer, now, state.channel if state else None)
        self.mouse_mode: int = MouseMode.SERVER
        self.pointer = Pointer()
        """What the guest shows now."""
        self._shown = state.shown if state else (0, 0, False, 0)
        self._cached: OrderedDict[int, None] = OrderedDict.fromkeys(state.cached if state else ())
        self._begun = state is not None

    def state(self) -> CursorState:
        """What a later server needs."""
        return CursorState(self.channel_state(), self._shown, tuple(self._cached))

    def rests(self, now: float) -> bool:
        return False  # whether there is a message to make takes as long to find out as to make it

    def make_messages(self, now: float) -> None:
        if not self.idle:
            return
        pointer = self.pointer
        shape = pointer.shape
        unique = shape.unique if shape is not None else 0
        x, y, visible, known = self._shown
        wanted = (pointer.x, pointer.y, pointer.visible, unique)
        if not self._begun:
            self._begun = True
            self.send(cursor.Init(_point(pointer), 0, 0, int(pointer.visible), self._cursor(shape)))
        elif wanted == self._shown:
            return
        elif not pointer.visible:
            if not visible:
                return
            wanted = (x, y, False, known)
            self.send(cursor.Hide())
        elif unique != known or not visible:
            self.send(cursor.Set(_point(pointer), 1, self._cursor(shape)))
        elif self.mouse_mode == MouseMode.CLIENT:
            # The client moves its own pointer; telling it where it has been would pull it back.
            return
        else:
            self.send(cursor.Move(_point(pointer)))
        self._shown = wanted

    def _cursor(self, shape: Shape | None) -> Cursor:
        if shape is None or max(shape.width, shape.height) > MAX_SIDE:
            return Cursor()
        header = CursorHeader(shape.unique, CursorType.ALPHA, shape.width, shape.height, shape.hot_x, shape.hot_y)
        if shape.unique in self._cached:
            self._cached.move_to_end(shape.unique)
            return Cursor(CursorFlag.FROM_CACHE, header)
        self._cached[shape.unique] = None
        if len(self._cached) > CACHE_ENTRIES:
            oldest, _ = self._cached.popitem(last=False)
            self.send(cursor.InvalOne(oldest))
        return Cursor(CursorFlag.CACHE_ME, header, shape.data)


def _point(pointer: Pointer) -> Point16:
    return Point16(*(min(max(value, -_I16), _I16 - 1) for value in (pointer.x, pointer.y)))
