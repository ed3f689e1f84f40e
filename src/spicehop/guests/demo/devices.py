"""Char devices of the demo guest that send back what they receive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from spicehop.guests.demo.clock import GuestClock
from spicehop.guests.demo.fnv import FNV_START, fnv1a
from spicehop.wire.layout import U8, U32, U64, Data, SizedBytes, Structure

CAPACITY = 256 * 1024
"""Bytes that a device holds; what does not fit is not taken, but an empty device takes any one piece."""
REPORT_EVERY = 65_536
IDLE = 500_000
"""Microseconds without a byte after which the echo port reports its total."""


@dataclass(frozen=True, slots=True)
class DeviceState(Structure):
    """A device that gives back what it takes."""

    total: U64
    hash: U32
    has_client: U8
    noticed_client: U8
    pending: Annotated[Data, SizedBytes("I")]


class ByteQueue:
    """Bytes in order, given out in pieces of any size without copying the rest."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._offset = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._size += len(data)

    def take(self, limit: int) -> bytes:
        """At most `limit` bytes from the front."""
        parts = []
        wanted = min(limit, self._size)
        while wanted > 0:
            piece = self._pieces[0]
            part = piece[self._offset : self._offset + wanted]
            parts.append(part)
            wanted -= len(part)
            self._size -= len(part)
            self._offset += len(part)
            if self._offset == len(piece):
                self._pieces.popleft()
                self._offset = 0
        return b"".join(parts)

    @property
    def content(self) -> bytes:
        """All that is held."""
        whole = b"".join(self._pieces)
        return whole[self._offset :]

    def replace(self, data: bytes) -> None:
        """Hold only `data`."""
        self._pieces.clear()
        self._offset = self._size = 0
        self.append(data)


class LoopDevice:
    """Gives back every byte that it takes: the other end of a byte pipe under test.

    Subclasses override `taken` and `presence_changed`.
    """

    def __init__(self, name: str, clock: GuestClock) -> None:
        self._name = name
        self._clock = clock
        self.pending = ByteQueue()
        """Taken and not yet given back."""
        self.total = 0
        """Bytes taken since the guest's start."""
        self.hash = FNV_START
        """FNV-1a of them."""
        self.has_client = False
        self.noticed_client = False
        """What the guest knows of it; one that stands still notices when it runs again."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def opened(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        """Takes all or none: none while the guest stands still, or when `CAPACITY` would be exceeded."""
        if not self._clock.running or (len(self.pending) and len(self.pending) + len(data) > CAPACITY):
            return 0
        data = bytes(data)
        self.total += len(data)
        self.hash = fnv1a(data, self.hash)
        self.pending.append(data)
        self.taken()
        return len(data)

    def read(self, limit: int) -> bytes:
        return self.pending.take(limit) if self._clock.running else b""

    def client_changed(self, *, present: bool) -> None:
        """Notes it; what is pending stays, for whoever has the device next."""
        self.has_client = present
        self.notice_client()

    def notice_client(self) -> None:
        """The guest sees whether there is a client, if it runs."""
        if self._clock.running and self.noticed_client != self.has_client:
            self.noticed_client = self.has_client
            self.presence_changed()

    def state(self) -> DeviceState:
        return DeviceState(self.total, self.hash, int(self.has_client), int(self.noticed_client), self.pending.content)

    def restore(self, state: DeviceState) -> None:
        """Go on where `state` was taken; it has been checked."""
        self.total, self.hash = state.total, state.hash
        self.has_client, self.noticed_client = bool(state.has_client), bool(state.noticed_client)
        self.pending.replace(bytes(state.pending))

    def taken(self) -> None:
        """Bytes were taken."""

    def presence_changed(self) -> None:
        """A client has come or gone."""


class EchoPort(LoopDevice):
    """The named port: says how much it received, and the checksum of it."""

    def __init__(self, name: str, clock: GuestClock, write_line: Callable[[str], None]) -> None:
        super().__init__(name, clock)
        self._write_line = write_line
        self.reported = 0
        """The total when it was last said."""
        self.idle_at: int | None = None
        """When the total will be said because nothing more came; None when there is nothing to say."""

    def report(self, why: str) -> None:
        """Say the total."""
        self.reported = self.total
        self.idle_at = None
        self._write_line(f"{why} bytes={self.total} fnv={self.hash:08x}")

    def advance(self) -> None:
        """The guest's clock has gone on."""
        if self.idle_at is not None and self._clock.time >= self.idle_at:
            self.report("total")

    def taken(self) -> None:
        if self.total - self.reported >= REPORT_EVERY:
            self.report("total")
        elif self.total != self.reported:
            self.idle_at = self._clock.time + IDLE

    def presence_changed(self) -> None:
        self.report("open" if self.has_client else "closed")
