"""The guest's own clock, which stands still while the guest does."""

from __future__ import annotations


class GuestClock:
    """Counts microseconds in which the guest has run. Whole numbers, so that a migration rounds nothing."""

    def __init__(self) -> None:
        self.time = 0
        """Microseconds since the guest's start, as of the last `advance`."""
        self._base = 0
        self._resumed_at: float | None = None

    @property
    def running(self) -> bool:
        return self._resumed_at is not None

    @property
    def seconds(self) -> float:
        return self.time / 1e6

    def run(self, now: float) -> None:
        self._base, self._resumed_at = self.time, now

    def stop(self, now: float) -> None:
        self.advance(now)
        self._resumed_at = None

    def advance(self, now: float) -> None:
        """Go on to `now`, never back."""
        if self._resumed_at is not None:
            self.time = max(self.time, self._base + round((now - self._resumed_at) * 1e6))

    def deadline(self, time: int) -> float | None:
        """When the guest's clock reaches `time`; None while it stands still."""
        return None if self._resumed_at is None else self._resumed_at + (time - self._base) / 1e6

    def restore(self, time: int) -> None:
        """Stand still at `time`."""
        self.time = self._base = time
        self._resumed_at = None
