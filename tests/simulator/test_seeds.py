"""As many seeds of both forms as there is time for: 5 minutes where CI is set, else 10 s.

    pytest tests/simulator/test_seeds.py --simulator-seed 7

The first seed is that of the version, so that a run can be repeated; another one is asked for by the option.
"""

from __future__ import annotations

import os
from itertools import count
from time import monotonic
from zlib import crc32

import pytest

from spicehop import __version__
from spicehop.demo.simulated_server import SimulatedServer
from spicehop.simulator import drawn
from spicehop.simulator.journeys import drawn_mishap, run_journey
from spicehop.simulator.moving import journey
from spicehop.simulator.runs import drawn_fault, run_once

SECONDS = 300.0 if os.environ.get("CI") else 10.0


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    asked = request.config.getoption("--simulator-seed")
    return asked if asked is not None else crc32(__version__.encode())


def test_seeds_of_both_forms(first_seed: int) -> None:
    end = monotonic() + SECONDS
    for seed in count(first_seed):
        situation = drawn(seed)
        for form, verdict in (
            ("qemu", run_once(situation, drawn_fault(situation))),
            ("spicehop", run_journey(journey(seed), SimulatedServer, drawn_mishap(seed))),
        ):
            again = f"spicehop simulate --form {form} --seed {seed} --runs 1"
            assert verdict.good, "\n".join([again, *verdict.violations, verdict.chart])
        if monotonic() > end:
            return
