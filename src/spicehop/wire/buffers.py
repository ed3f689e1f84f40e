"""Reading and writing one message body: the ground on which layouts stand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from spicehop.errors import ProtocolError, StateError

Data: TypeAlias = bytes | memoryview
"""Bytes of a message. What was decoded is a view into the received body; compare it with `==`."""

MAX_ITEMS = 131_072
"""Most items that the arrays of one message may hold together, so that a body cannot grow a hundredfold in memory."""

NOTHING: frozenset[int] = frozenset()


class Reader:
    """A cursor over one message body that knows its end.

    `capabilities` are those of the agent that both sides have; only agent messages ask for them.
    """

    __slots__ = ("_items", "body", "capabilities", "position", "size")

    def __init__(self, body: Data, position: int = 0, capabilities: frozenset[int] = NOTHING) -> None:
        self.body = body if isinstance(body, memoryview) else memoryview(body)
        self.size = len(self.body)
        self.position = position
        self.capabilities = capabilities
        self._items = [0]

    def take(self, count: int) -> memoryview:
        """The next `count` bytes, as a view."""
        start = self.position
        if count > self.size - start:
            raise ProtocolError(f"the message ends {count - (self.size - start)} bytes too early")
        self.position = start + count
        return self.body[start : self.position]

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        """The next fixed-size fields."""
        start = self.position
        if fields.size > self.size - start:
            raise ProtocolError(f"the message ends {fields.size - (self.size - start)} bytes too early")
        self.position = start + fields.size
        return fields.unpack_from(self.body, start)

    def rest(self) -> memoryview:
        """All bytes up to the end of the body."""
        return self.take(self.size - self.position)

    def at(self, offset: int) -> Reader:
        """A reader of the same body at `offset`, as a pointer asks for."""
        if offset > self.size:
            raise ProtocolError(f"a pointer leads to byte {offset} of a message of {self.size}")
        reader = Reader(self.body, offset, self.capabilities)
        reader._items = self._items
        return reader

    def expect(self, count: int, minimum: int) -> None:
        """Check that `count` items of at least `minimum` bytes can still follow, before they are allocated."""
        if count * minimum > self.size - self.position:
            raise ProtocolError(f"{count} items are announced and {self.size - self.position} bytes follow")
        self._items[0] += count
        if self._items[0] > MAX_ITEMS:
            raise ProtocolError(f"a message holds more than {MAX_ITEMS} items")


class Writer:
    """Collects a message body. What pointers lead to is placed behind the fixed part, in order."""

    __slots__ = ("_pending", "buffer", "capabilities")

    def __init__(self, capabilities: frozenset[int] = NOTHING) -> None:
        self.buffer = bytearray()
        self.capabilities = capabilities
        self._pending: list[tuple[int, Callable[[Writer], None]]] = []

    def point_to(self, write: Callable[[Writer], None]) -> None:
        """Reserve a pointer here; `write` puts what it leads to at the end of the body."""
        self._pending.append((len(self.buffer), write))
        self.buffer += b"\0\0\0\0"

    def finish(self) -> bytes:
        """Place everything that pointers lead to and return the body."""
        pending = self._pending
        index = 0
        while index < len(pending):
            position, write = pending[index]
            struct.pack_into("<I", self.buffer, position, len(self.buffer))
            write(self)
            index += 1
        return bytes(self.buffer)


def pack(fields: struct.Struct, *values: Any) -> bytes:
    """`fields.pack` with our error."""
    try:
        return fields.pack(*values)
    except struct.error as error:
        raise StateError(f"a value does not fit its field: {error}") from None


def without_terminator(data: memoryview) -> memoryview:
    """A text without its closing NUL, when there is one."""
    return data[:-1] if len(data) and data[-1] == 0 else data
