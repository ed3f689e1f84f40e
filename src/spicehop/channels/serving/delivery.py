"""What a server learns of the way to a client: the round trip from pings, the rate from what arrives (dossier A.9).

The rate is measured all the time, not once: whatever tells that a message has been handled, an acknowledgement or a
pong, tells how many bytes went through since that message was sent. The largest rate of the last seconds is the link's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

RATE_MEMORY = 10.0
"""Seconds for which a measured rate counts."""
TRIP_MEMORY = 60.0
"""Seconds for which the shortest round trip counts."""
MAX_MARKS = 512
SMALLEST_SAMPLE = 8 * 1024
"""Fewer bytes say nothing about a rate."""


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """What a later server may begin with: round trip in seconds, bytes a second; None where nothing is known."""

    round_trip: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class _Mark:
    """A message that was sent: its number, the bytes sent up to its end, and what had been delivered by then."""

    message: int
    sent: int
    time: float
    delivered: int
    delivered_time: float


class Extreme:
    """The largest of the values of late; with `sign` -1 the smallest."""

    def __init__(self, memory: float, sign: int = 1) -> None:
        self._memory = memory
        self._sign = sign
        self._samples: deque[tuple[float, float]] = deque()
        """Times and values; each value is beaten by none that came after it."""

    @property
    def value(self) -> float | None:
        """None before the first."""
        return self._samples[0][1] if self._samples else None

    def add(self, value: float, now: float) -> None:
        """A value that was measured now."""
        while self._samples and self._sign * (value - self._samples[-1][1]) >= 0:
            self._samples.pop()
        self._samples.append((now, value))
        while self._samples[0][0] < now - self._memory:
            self._samples.popleft()


class Delivery:
    """Counts the messages of one connection in and out."""

    def __init__(self, state: DeliveryState | None = None) -> None:
        self.messages_sent = 0
        self.bytes_sent = 0
        self.bytes_delivered = 0
        self._delivered_time = 0.0
        self._marks: deque[_Mark] = deque()
        self._rates = Extreme(RATE_MEMORY)
        self._trips = Extreme(TRIP_MEMORY, sign=-1)
        self._restored = state or DeliveryState()

    @property
    def in_flight(self) -> int:
        """Bytes that were sent and of which nobody has said that they were handled."""
        return self.bytes_sent - self.bytes_delivered

    @property
    def round_trip(self) -> float | None:
        """The shortest round trip of late, in seconds."""
        trip = self._trips.value
        return trip if trip is not None else self._restored.round_trip

    @property
    def rate(self) -> float | None:
        """The largest rate of late, in bytes a second."""
        rate = self._rates.value
        return rate if rate is not None else self._restored.rate

    def state(self) -> DeliveryState:
        """What is known, for a later server."""
        return DeliveryState(self.round_trip, self.rate)

    def assume(self, round_trip: float, rate: float) -> None:
        """Begin with what was measured elsewhere on the same way; own measurements take its place."""
        self._restored = DeliveryState(round_trip, rate)

    def sent(self, size: int, now: float) -> None:
        """A message of `size` bytes was written."""
        if not self.in_flight:
            self._delivered_time = now
        self.messages_sent += 1
        self.bytes_sent += size
        mark = _Mark(self.messages_sent, self.bytes_sent, now, self.bytes_delivered, self._delivered_time)
        if len(self._marks) >= MAX_MARKS:
            self._marks.pop()
        self._marks.append(mark)

    def handled(self, message: int, now: float) -> None:
        """The client has handled everything up to this message."""
        last: _Mark | None = None
        while self._marks and self._marks[0].message <= message:
            last = self._marks.popleft()
        if last is None:
            return
        self.bytes_delivered, self._delivered_time = last.sent, now
        # The longer of the two intervals: neither a burst of sending nor one of acknowledging counts as fast.
        elapsed = max(now - last.delivered_time, last.time - last.delivered_time)
        size = last.sent - last.delivered
        if elapsed > 0 and size >= SMALLEST_SAMPLE:
            self._rates.add(size / elapsed, now)

    def round_trip_measured(self, trip: float, now: float) -> None:
        """A ping was answered after `trip` seconds."""
        self._trips.add(trip, now)


@dataclass(slots=True)
class Pinger:
    """Which pings are due, and which answers fit (dossier A.9). `interval` None means none by itself."""

    interval: float | None
    next_ping: float
    last_id: int = 0
    outstanding: int = 0
    """Id of the ping that has not been answered, 0 for none."""
    sent_at: float = 0.0
    message: int = 0
    """Number of the message that the outstanding ping was."""

    def due(self, now: float) -> bool:
        """Whether a ping is to go out by now."""
        return self.interval is not None and not self.outstanding and now >= self.next_ping

    def begin(self, now: float, message: int) -> int:
        """A ping goes out as message number `message`; returns its id."""
        self.last_id = self.last_id % 0xFFFFFFFF + 1
        self.outstanding, self.sent_at, self.message = self.last_id, now, message
        if self.interval is not None:
            self.next_ping = now + self.interval
        return self.last_id

    def answered(self, ping_id: int, now: float) -> float | None:
        """The round trip in seconds when this is the answer that was awaited, else None."""
        if not self.outstanding or ping_id != self.outstanding:
            return None
        self.outstanding = 0
        return now - self.sent_at
