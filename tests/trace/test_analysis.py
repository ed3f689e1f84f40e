"""Phases of migrations, and which record belongs to which migration."""

from __future__ import annotations

import pytest
from timelines import ANNOUNCED, BESIDE, HANDED_OVER, LINKED, MOVING, SEAMLESS, timeline

from spicehop.trace import migrations, phase_table, phases, table

PHASES_OF_A_SEAMLESS_MIGRATION = [
    # phase, channel, milliseconds
    ("link", "", 19),
    ("connect", "", 40),
    ("copy", "", 800),
    ("stopped", "", 20),
    ("last-copy", "", 8),
    ("hand-over", "", 6),
    ("flush", "main:0", 1),
    ("data", "main:0", 2),
    ("swap", "main:0", 1),
    ("swap", "cursor:0", 0.5),
    ("moved", "main:0", 4),
    ("moved", "cursor:0", 0.5),
    ("first-picture", "", 30),
]


@pytest.mark.parametrize(("name", "channel", "ms"), PHASES_OF_A_SEAMLESS_MIGRATION)
def test_a_seamless_migration_has_its_phases(name: str, channel: str, ms: float) -> None:
    (migration,) = migrations(timeline(*SEAMLESS))
    phase = migration.phase(name, channel)
    assert phase is not None
    assert phase.duration * 1000 == pytest.approx(ms)


def test_there_is_no_other_phase() -> None:
    (migration,) = migrations(timeline(*SEAMLESS))
    assert {(p.name, p.channel) for p in migration.phases} == {row[:2] for row in PHASES_OF_A_SEAMLESS_MIGRATION}
    assert migration.scheme == "seamless"
    assert migration.outcome == "done"


def test_a_stock_client_has_its_phase() -> None:
    (migration,) = migrations(timeline(*SEAMLESS, *BESIDE))
    (stock,) = [phase for phase in migration.phases if phase.party == "spice-gtk"]
    assert stock.name == "stock"
    assert stock.duration * 1000 == pytest.approx(886)
    assert migration.channels == ("main:0", "cursor:0", "display:0")


def test_phases_come_in_the_order_in_which_they_began() -> None:
    starts = [phase.start for phase in phases(timeline(*SEAMLESS))]
    assert starts == sorted(starts)


def test_each_hop_is_a_migration_of_its_own() -> None:
    there, back = timeline(*SEAMLESS), timeline(*SEAMLESS, start=1010.0)
    first, second = migrations(there + back)
    assert (first.number, second.number) == (1, 2)
    assert list(second.records) == back
    assert first.phase("stopped").duration == pytest.approx(second.phase("stopped").duration)


def test_what_the_conductor_did_before_belongs_to_the_migration_that_follows() -> None:
    preflight = timeline((-50, "conductor", "conductor.surveying"), *SEAMLESS)
    (migration,) = migrations(preflight)
    assert migration.records[0].event == "conductor.surveying"
    assert migration.begin == preflight[1].time


def test_a_second_announcement_begins_another_migration() -> None:
    again = [(50 + ms, *rest) for ms, *rest in (*ANNOUNCED, *LINKED, *MOVING, *HANDED_OVER)]
    first, second = migrations(timeline(*ANNOUNCED, *again))
    assert first.outcome == "unfinished"
    assert second.outcome == "done"


OUTCOMES = [
    (SEAMLESS, "done", "seamless"),
    ((*ANNOUNCED, (30, "client", "migration.aborted")), "aborted", "seamless"),
    ((*ANNOUNCED, (910, "client", "migration.switch-host"), (911, "client", "session.closed")), "lost", "switch-host"),
    ((*ANNOUNCED, *LINKED, (910, "client", "migration.end")),
     "unfinished", "semi-seamless"),
    ((MOVING[0], (200, "source", "qmp.MIGRATION", {"status": "failed"})), "aborted", ""),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "outcome", "scheme"), OUTCOMES)
def test_outcome_and_scheme(rows, outcome: str, scheme: str) -> None:
    (migration,) = migrations(timeline(*rows))
    assert (migration.outcome, migration.scheme) == (outcome, scheme)


def test_semi_seamless_channels_move_from_migrate_end_on() -> None:
    rows = (*ANNOUNCED, *LINKED, *MOVING, (910, "client", "migration.end"),
            (915, "client", "channel.restarted", "port:0"))  # fmt: skip
    (migration,) = migrations(timeline(*rows))
    assert migration.phase("moved", "port:0").duration * 1000 == pytest.approx(5)


def test_no_records_no_migrations() -> None:
    assert migrations([]) == []
    assert phases(timeline((0, "client", "session.connected"))) == []
    assert table([]) == "no records\n"


def test_the_table_has_a_line_for_each_record_in_milliseconds() -> None:
    lines = table(timeline(*SEAMLESS)).splitlines()
    assert len(lines) == 2 + len(SEAMLESS)
    assert lines[0].split() == ["ms", "party", "session", "channel", "event", "detail"]
    assert lines[3].split()[:5] == ["1.0", "client", "7", "main:0", "migration.begin"]
    assert lines[3].endswith("  scheme=seamless host=127.0.0.1 port=6999")
    assert "status=setup" in table(timeline(*SEAMLESS))


def test_the_phase_table_has_a_line_for_each_phase() -> None:
    (migration,) = migrations(timeline(*SEAMLESS))
    assert len(phase_table(migration).splitlines()) == 2 + len(migration.phases)
