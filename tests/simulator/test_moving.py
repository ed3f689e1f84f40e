"""Our own clients and servers in the simulator: guests and sessions move by both carriers, with mishaps, and planted
faults are found.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spicehop.channels.serving.channel import ServerChannel
from spicehop.demo.simulated_server import SimulatedServer
from spicehop.migration import arrival
from spicehop.migration.handing import ThroughClient, flags_of
from spicehop.migration.handing_direct import HostToHost
from spicehop.migration.state import MAIN
from spicehop.server.guest_migration import GuestMigration
from spicehop.server.input_gate import InputGate
from spicehop.server.run_state import RunInput
from spicehop.simulator.coverage import TABLES, counted, named, without_row
from spicehop.simulator.journeys import JourneyVerdict, explore_journeys, mishap_at_every_step, run_journey
from spicehop.simulator.mishaps import MISHAPS
from spicehop.simulator.moments import Moment
from spicehop.simulator.moving import Journey, Mishap
from spicehop.simulator.network import Conditions
from spicehop.wire import base


def good(verdict: JourneyVerdict) -> JourneyVerdict:
    assert verdict.good, "\n".join([*verdict.violations, verdict.chart])
    return verdict


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("latency", [0.0002, 0.05])
def test_sessions_move_seamlessly_by_both_carriers(direct: bool, latency: float) -> None:
    moved = run_journey(
        Journey(1, clients=2, direct=direct, conditions=Conditions(latency, latency / 2)), SimulatedServer
    )
    assert good(moved).schemes == ("seamless", "seamless")


def test_four_clients_move_again_and_again() -> None:
    assert good(run_journey(Journey(2, clients=4, hops=3), SimulatedServer)).schemes == ("seamless",) * 12


@pytest.mark.parametrize("direct", [False, True])
def test_nothing_is_lost_while_the_guest_stands_still_for_long(direct: bool) -> None:
    good(run_journey(Journey(3, clients=2, direct=direct, pause=2.0, work=3.5), SimulatedServer))


def test_a_client_that_reaches_its_server_when_the_guest_has_gone_on_follows_it() -> None:
    """It was taken for one that comes before the guest, and ended."""
    late = Mishap("main stalled 3 s at the target", moment=Moment("leaving", "HandingOverMain"))
    moved = run_journey(Journey(7, hops=2, pause=0.0), SimulatedServer, late)
    assert good(moved).schemes == ("seamless", "switch-host")


def test_without_seamless_migration_sessions_begin_anew() -> None:
    assert good(run_journey(Journey(4, seamless=False), SimulatedServer)).schemes == ("semi-seamless",)


def test_a_run_repeats_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    charts = []
    monkeypatch.setattr(InputGate, "held_by", lambda gate, session: ())  # for a chart, it has to fail
    for _ in range(2):
        failed = run_journey(Journey(5, clients=2, pause=0.5), SimulatedServer)
        charts.append(failed.chart)
    assert charts[0] == charts[1]
    assert charts[0].startswith("seed 5: 2 clients")


@pytest.mark.parametrize("seed", range(1, 21))
def test_random_journeys_with_random_mishaps(seed: int) -> None:
    for verdict in explore_journeys(seed, 1, SimulatedServer):
        good(verdict)


@pytest.mark.parametrize("name", ["source killed", "target killed", "migration cancelled", "guest's connection fades"])
def test_a_mishap_at_many_steps(name: str) -> None:
    journey = Journey(6, work=0.9, key_interval=0.05, write_interval=0.05)
    for verdict in mishap_at_every_step(journey, SimulatedServer, (name,), stride=400):
        good(verdict)


@pytest.mark.parametrize("name", [name for number, name in enumerate(MISHAPS) if number % 4 == 0])
def test_a_mishap_in_the_middle_of_a_migration(name: str) -> None:
    good(run_journey(Journey(7, work=0.6, direct=True, key_interval=0.05), SimulatedServer, Mishap(name, time=0.8)))


# -- what is planted is found -----------------------------------------------------------------------------------------


def no_held_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InputGate, "held_by", lambda gate, session: ())


def input_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    held_by = InputGate.held_by
    monkeypatch.setattr(InputGate, "held_by", lambda gate, session: held_by(gate, session) * 2)


def sends_after_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    migrate = ServerChannel.migrate

    def talkative(channel: ServerChannel) -> None:
        migrate(channel)
        channel._put(channel._queue, base.Ping(1, 0, b""))

    monkeypatch.setattr(ServerChannel, "migrate", talkative)


def main_first(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ThroughClient.begin

    def both(carrier: ThroughClient) -> None:
        main = carrier._source.machines()[MAIN]
        main.hold_back(flags_of(MAIN))
        main.migrate()
        begin(carrier)

    monkeypatch.setattr(ThroughClient, "begin", both)
    monkeypatch.setattr(ThroughClient, "begin_main", lambda carrier: None)


def guest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    step = GuestMigration._step

    def keep_running(migration: GuestMigration, happened: RunInput) -> None:
        if happened is not RunInput.SWITCH_OVER:
            step(migration, happened)
            return
        migration.run_states.step(happened)

    monkeypatch.setattr(GuestMigration, "_step", keep_running)


def late_bytes_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostToHost, "came_late", lambda carrier, key, data: None)


Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    ("plant", "journey", "words"),
    [
        (no_held_input, Journey(11, pause=0.5), "are lost"),
        (input_twice, Journey(11, pause=0.5), "made before"),
        (sends_after_migrate, Journey(12, clients=2), "follows MIGRATE on"),
        (main_first, Journey(13, conditions=Conditions(0.001, 0.0)), "main is told to go before"),
        (guest_goes_on, Journey(14), "the guest runs at host 0 and at host 1"),
        (late_bytes_forgotten, Journey(15, direct=True, conditions=Conditions(0.02)), "lost"),
    ],
)
def test_a_planted_fault_is_found(plant: Plant, journey: Journey, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    violations = run_journey(journey, SimulatedServer).violations
    assert any(words in sentence for sentence in violations), violations


def test_a_guest_that_outlives_its_lease_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    journey = Journey(21, conditions=Conditions(0.02, 0.0), work=0.8)
    moments = [Mishap("guest's connection fades", time=time) for time in (1.27, 1.28, 1.29)]
    for mishap in moments:
        good(run_journey(journey, SimulatedServer, mishap))
    monkeypatch.setattr(arrival, "DONE_LEASE", 1000.0)
    found = [run_journey(journey, SimulatedServer, mishap) for mishap in moments]
    assert any("the guest runs at host 0 and at host 1" in one.violations for one in found)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_counted_and_a_deleted_one_is_noticed() -> None:
    journey = Journey(17, direct=True)
    with counted() as rows:
        good(run_journey(journey, SimulatedServer))
    assert all(rows[name] for name in TABLES)
    with counted() as again:
        pass
    assert not any(again.values())
    row = next(row for row in TABLES["leaving"] if rows["leaving"][row])
    with without_row("leaving", row):
        assert not run_journey(journey, SimulatedServer).good
    assert row in TABLES["leaving"]


def test_a_message_that_a_client_does_not_know_is_noticed_though_the_session_goes_on() -> None:
    """It leaves the source as if that were lost, and comes to the target all the same."""
    journey = Journey(17, seamless=False)
    good(run_journey(journey, SimulatedServer))
    row = next(row for row in TABLES["client"] if named(row) == "ReadySemiSeamless: MIGRATE_END received")
    with without_row("client", row):
        violations = run_journey(journey, SimulatedServer).violations
    assert any("MIGRATE_END received is not possible" in one for one in violations)


def test_state_that_does_not_go_ahead_by_the_direct_link_is_noticed() -> None:
    row = next(row for row in TABLES["leaving"] if "there is a direct link" in named(row))
    with without_row("leaving", row):
        violations = run_journey(Journey(17, direct=True), SimulatedServer).violations
    assert any("is told to go" in one for one in violations), violations
