"""Migrations without sockets and clocks: the product's machines against model peers, with faults and invariants.

    world = World(drawn(seed=7), Fault("target killed", step=1200)).run()
    assert judge(world) == [], chart(world)

The model peers model libspice-server and QEMU as the dossier has them; they decide nothing that the product decides.
"""

from __future__ import annotations

from spicehop.simulator.chart import chart
from spicehop.simulator.faults import FAULTS
from spicehop.simulator.judging import judge
from spicehop.simulator.runs import Verdict, every_step, explore
from spicehop.simulator.world import Fault, Situation, World, drawn, steps_of, with_scheme

__all__ = [
    "FAULTS",
    "Fault",
    "Situation",
    "Verdict",
    "World",
    "chart",
    "drawn",
    "every_step",
    "explore",
    "judge",
    "steps_of",
    "with_scheme",
]
