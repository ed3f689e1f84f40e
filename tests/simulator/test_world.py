"""Migrations of the product's own machines: without faults, with random ones, and with one at every step."""

from __future__ import annotations

import pytest

from spicehop.simulator import FAULTS, Fault, Situation, chart, drawn, explore, steps_of
from spicehop.simulator.network import Conditions
from spicehop.simulator.qemu import MachineTimes


@pytest.mark.parametrize("scheme", ["seamless", "semi-seamless", "switch-host"])
@pytest.mark.parametrize("latency", [0.0002, 0.05])
def test_without_faults_every_scheme_works(simulate, scheme: str, latency: float) -> None:
    world = simulate(Situation(1, scheme, conditions=Conditions(latency, latency / 2)))
    assert [outcome.scheme for outcome in world.client.outcomes] == [scheme]
    assert world.conductor.result.outcome == "moved"
    if scheme == "seamless":
        assert world.guest.port_read == world.work.written
        assert world.client.port_received == world.work.written


def test_a_session_moves_again_and_again(simulate) -> None:
    world = simulate(Situation(1, hops=6, work=16.0))
    assert [outcome.scheme for outcome in world.client.outcomes] == ["seamless"] * 6
    assert world.guest.port_read == world.work.written


def test_a_target_that_refuses_state_gets_the_session_semi_seamlessly(simulate) -> None:
    world = simulate(Situation(1, targets="without seamless"))
    assert [outcome.scheme for outcome in world.client.outcomes] == ["semi-seamless"]


def test_channels_that_the_target_lacks_are_left_behind(simulate) -> None:
    world = simulate(Situation(1, targets="without sound and cursor"))
    (outcome,) = world.client.outcomes
    assert {one.channel for one in outcome.channels if one.how == "lost"} == {"cursor:0", "playback:0"}
    assert world.guest.port_read == world.work.written


def test_a_target_with_another_ticket_costs_the_session_and_says_so(simulate) -> None:
    world = simulate(Situation(1, targets="with another ticket"))
    assert world.session.ended
    assert "password" in str(world.client.ended.error)
    assert world.conductor.result.outcome == "moved-with-loss"


def test_a_seamless_run_repeats_exactly(simulate) -> None:
    first, second = simulate(Situation(7)), simulate(Situation(7))
    assert chart(first) == chart(second)
    assert first.client.port_sent == second.client.port_sent


def test_a_long_standstill_loses_keys_to_the_server_and_leaves_none_down(simulate) -> None:
    world = simulate(Situation(2, times=MachineTimes(load=0.8)))
    assert world.guest.presses_dropped
    assert world.guest.held == {}


@pytest.mark.parametrize("seed", range(1, 25))
def test_random_situations_with_random_faults(seed: int) -> None:
    (verdict,) = explore(seed, 1)
    assert verdict.good, "\n".join([*verdict.violations, verdict.chart])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_many_steps_of_the_migration(simulate, name: str) -> None:
    situation = Situation(5, write_interval=0.05, key_interval=0.05, work=3.0)
    steps = steps_of(situation)
    for step in range(0, steps, steps // 12):
        simulate(situation, Fault(name, step))


def test_the_chart_names_seed_and_fault(simulate) -> None:
    text = chart(simulate(drawn(3), Fault("conductor cancelled", time=1.9)))
    assert text.startswith("seed 3, scheme ")
    assert "conductor cancelled after 1.900 s" in text
