"""Time that jumps: what is due next happens now."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Appointment:
    """Something that will be done at a time, unless it is called off."""

    __slots__ = ("action", "cancelled", "time")

    def __init__(self, time: float, action: Callable[[], object]) -> None:
        self.time = time
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        """Call it off."""
        self.cancelled = True


class VirtualClock:
    """Runs appointments in the order of their times; equal times in the order in which they were made."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self.steps = 0
        """Appointments kept so far."""
        self._agenda: list[tuple[float, int, Appointment]] = []
        """With the number of each, so that equal times keep their order."""
        self._made = 0

    def at(self, time: float, action: Callable[[], object]) -> Appointment:
        """Do `action` at `time`, at once when that is past."""
        if time < self.now:
            time = self.now
        self._made += 1
        appointment = Appointment(time, action)
        heapq.heappush(self._agenda, (time, self._made, appointment))
        return appointment

    def after(self, seconds: float, action: Callable[[], object]) -> Appointment:
        """Do `action` in `seconds`."""
        return self.at(self.now + seconds, action)

    def step(self) -> bool:
        """Keep the next appointment; False when there is none."""
        agenda = self._agenda
        while agenda:
            time, _, appointment = heapq.heappop(agenda)
            if appointment.cancelled:
                continue
            self.now = time
            self.steps += 1
            appointment.action()
            return True
        return False

    @property
    def next_time(self) -> float | None:
        """When the next appointment is; None when nothing is to come."""
        agenda = self._agenda
        while agenda and agenda[0][2].cancelled:
            heapq.heappop(agenda)
        return agenda[0][0] if agenda else None
