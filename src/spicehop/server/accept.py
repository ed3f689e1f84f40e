"""Who waits at the door: connections that are not authenticated, and what they may cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from spicehop.server.options import AcceptLimits


class Waiting(Protocol):
    """One connection that is not authenticated."""

    @property
    def host(self) -> str:
        """Where it comes from; empty for a Unix socket."""

    @property
    def deadline(self) -> float:
        """Until when it must be."""

    def turn_away(self, reason: str) -> None:
        """Close it."""


@dataclass(slots=True)
class AcceptGate:
    """Keeps their number, their age and their bytes within the limits."""

    limits: AcceptLimits
    turned_away: int = 0
    _waiting: dict[Waiting, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def came(self, newcomer: Waiting) -> None:
        """Somebody connects. When that is one too many, the oldest goes."""
        self._waiting[newcomer] = 0
        if len(self._waiting) > self.limits.waiting:
            self._turn_away(next(iter(self._waiting)), "too many connections are waiting")

    def placed(self, newcomer: Waiting) -> None:
        """It is known where it comes from. When that is one too many from there, the oldest goes."""
        same = [one for one in self._waiting if one.host == newcomer.host]
        if len(same) > self.limits.waiting_from_one_host:
            self._turn_away(same[0], "too many connections from there are waiting")

    def left(self, newcomer: Waiting) -> None:
        """It is authenticated, or gone."""
        self._waiting.pop(newcomer, None)

    def count(self, newcomer: Waiting, size: int) -> bool:
        """It has sent bytes; False when these were too many, and it is closed."""
        total = self._waiting.get(newcomer, 0) + size
        self._waiting[newcomer] = total
        if total > self.limits.bytes_before:
            self._turn_away(newcomer, "too many bytes before authentication")
            return False
        return True

    def next_deadline(self) -> float | None:
        """When the next one has waited long enough."""
        return min((one.deadline for one in self._waiting), default=None)

    def handle_timer(self, now: float) -> None:
        """Turn away who has waited long enough."""
        for one in [one for one in self._waiting if one.deadline <= now]:
            self._turn_away(one, "it did not authenticate in time")

    def close(self) -> None:
        """Turn everybody away."""
        for one in tuple(self._waiting):
            self._turn_away(one, "the server ends")

    def _turn_away(self, one: Waiting, reason: str) -> None:
        self._waiting.pop(one, None)
        self.turned_away += 1
        one.turn_away(reason)
