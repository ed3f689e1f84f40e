"""Timing that compares fairly: the candidates take turns, so that all meet the same disturbances."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate over `rounds` rounds, in each of which every candidate runs once.

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
    return {name: statistics.median(times) for name, times in taken.items()}
