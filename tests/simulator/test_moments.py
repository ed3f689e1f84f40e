"""Things go wrong just after a machine has come to a state."""

from __future__ import annotations

from random import Random

from spicehop.demo.simulated_server import SimulatedServer
from spicehop.simulator.coverage import TABLES, counted
from spicehop.simulator.moments import Moment, awaited, drawn_moment
from spicehop.simulator.moving import Journey, Mishap, MovingWorld


def test_a_mishap_waits_for_its_moment() -> None:
    moment = Moment("leaving", "LinkedSeamless", count=2, wait=0.25)
    world = MovingWorld(Journey(3, clients=2), SimulatedServer, Mishap("clients told again", moment=moment)).run()
    (fault,) = [one.time for one in world.records if one.event == "fault.clients-told-again"]
    linked = [
        one.time
        for one in world.records
        if one.event == "server.client-leaving" and one.detail.get("step") == "LinkedSeamless"
    ]
    assert fault == linked[1] + 0.25


def test_a_moment_that_does_not_come_makes_nothing_go_wrong() -> None:
    moment = Moment("leaving", "LinkedSeamless", count=2)
    world = MovingWorld(Journey(3), SimulatedServer, Mishap("target killed", moment=moment)).run()
    assert not world.charges


def test_rows_are_counted_while_a_moment_is_awaited() -> None:
    come: list[float] = []
    with counted() as rows, awaited(Moment("client", "LinkingTarget", wait=0.5), come.append):
        MovingWorld(Journey(3), SimulatedServer).run()
    assert come == [0.5]
    assert rows["client"]


def test_moments_are_drawn_of_states_that_there_are() -> None:
    random = Random(5)
    for _ in range(200):
        moment = drawn_moment(random, tuple(TABLES), 0.01)
        assert moment.state in {row[0].value for row in TABLES[moment.table]}
        assert 0 <= moment.wait <= 0.04
