"""The simulator as a fixture: run a situation, and fail with its sequence chart when an invariant is violated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spicehop.simulator import Fault, Situation, World, chart, judge

Simulate = Callable[..., World]


@pytest.fixture
def simulate() -> Simulate:
    def run(situation: Situation, fault: Fault | None = None) -> World:
        world = World(situation, fault).run()
        violations = judge(world)
        assert not violations, "\n".join([*violations, chart(world)])
        return world

    return run
