"""As many seeds of both forms as there is time for: 5 minutes of the processor's where CI is set, else 10 s.

    pytest tests/simulator/test_seeds.py --simulator-seed 7

The first seed is that of the version, so that a run can be repeated; another one is asked for by the option.
"""

from __future__ import annotations

import os
from itertools import count
from time import process_time
from zlib import crc32

import pytest

from spicehop import __version__
from spicehop.demo.simulated_server import SimulatedServer
from spicehop.simulator import journeys, runs

SECONDS = 300.0 if os.environ.get("CI") else 10.0


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    asked = request.config.getoption("--simulator-seed")
    return asked if asked is not None else crc32(__version__.encode())


def test_seeds_of_both_forms(first_seed: int) -> None:
    end = process_time() + SECONDS
    for seed in count(first_seed):
        journey, mishap = journeys.drawn_case(seed)
        for form, verdict in (
            ("qemu", runs.run_once(*runs.drawn_case(seed))),
            ("spicehop", journeys.run_journey(journey, SimulatedServer, mishap)),
        ):
            again = f"spicehop simulate --form {form} --seed {seed} --runs 1"
            assert verdict.good, "\n".join([again, *verdict.violations, verdict.chart])
        if process_time() > end:
            return
