"""Timing that compares fairly: the candidates take turns, so that all meet the same disturbances."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that each candidate took, one entry a round."""

    rounds: Mapping[str, list[float]]

    def seconds(self, name: str) -> float:
        """The median of a candidate."""
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times faster `name` is than `other`: the median of the ratios within each round.

        What disturbs both in a round leaves it as it is, unlike the ratio of two medians.
        """
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


def interleaved(candidates: Mapping[str, Callable[[], object]], rounds: int) -> Timings:
    """Run every candidate once in each of `rounds` rounds.

    One round more runs first and does not count: it faults memory in and warms the caches.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name, run in candidates.items():
                begin = time.perf_counter()
                run()
                if number:
                    taken[name].append(time.perf_counter() - begin)
    finally:
        if enabled:
            gc.enable()
    return Timings(taken)
