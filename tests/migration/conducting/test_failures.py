"""Each row of `docs/failures.md` on the migration itself: what goes wrong, the sentence, the exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from conducting_stage import FIRST, PLAIN, PLAN, SECOND, SOURCE, TARGET, Stage

from spicehop.migration.conducting_events import Peer, PeerFacts
from spicehop.migration.conducting_table import State

DOCUMENT = Path(__file__).parents[3] / "docs" / "failures.md"
Play = Callable[[], Stage]


def play(change: Callable[[Stage], object], *, sessions: tuple[int, ...] = (FIRST,), **plan: object) -> Play:
    """A stage with something wrong."""

    def prepare() -> Stage:
        stage = Stage(dataclasses.replace(PLAN, **plan), sessions=sessions)  # type: ignore[arg-type]
        change(stage)
        return stage

    return prepare


def refusing(peer: Peer, command: str, words: str) -> Play:
    """A QEMU refuses a command."""
    return play(lambda stage: stage.refused.update({(peer, command): words}))


def at(state: State, action: Callable[[Stage], object]) -> Callable[[Stage], None]:
    """Do something once a state is reached."""

    def change(stage: Stage) -> None:
        def look() -> None:
            if stage.machine.state is state:
                action(stage)
            else:
                stage.later(0.001, look)

        stage.later(0.001, look)

    return change


def source_fails(stage: Stage) -> None:
    stage.source.migration = {"status": "failed", "error-desc": "load of migration failed"}
    stage.event(SOURCE, "MIGRATION", after=1.0, status="failed")


def ignore() -> None:
    """A client or a QEMU that does nothing."""


def source_dies_moving(stage: Stage) -> None:
    stage.on["migrate"] = lambda: stage.lose(SOURCE, after=1.0)


def both_die_moving(stage: Stage) -> None:
    stage.on["migrate"] = lambda: (stage.lose(SOURCE, after=1.0), stage.lose(TARGET, after=1.1))


def slow_machine(stage: Stage) -> None:
    stage.on["migrate"] = ignore
    stage.on["migrate_cancel"] = lambda: stage.event(SOURCE, "MIGRATION", status="cancelled")


def source_dies_handing_over(stage: Stage) -> None:
    def die() -> None:
        stage.target.status = "running"
        stage.event(SOURCE, "MIGRATION", status="completed")
        stage.lose(SOURCE, after=0.001)
        stage.later(0.01, lambda: stage.unlink(FIRST, peer=TARGET))

    stage.on["migrate"] = die


def never_handed_over(stage: Stage) -> None:
    stage.on["client_migrate_info"] = ignore
    stage.on["migrate"] = lambda: (
        setattr(stage.target, "status", "running"),
        stage.event(SOURCE, "MIGRATION", after=1.0, status="completed"),
    )


def lost_on_arrival(stage: Stage) -> None:
    arrive = stage.arrive
    stage.arrive = lambda: (arrive(), stage.later(0.5, lambda: stage.unlink(FIRST, peer=TARGET)))  # type: ignore[method-assign, assignment]


def stands_still(stage: Stage) -> None:
    def fail() -> None:
        stage.source.status, stage.target.status = "postmigrate", "running"
        stage.event(SOURCE, "MIGRATION", after=1.0, status="failed")

    stage.on["migrate"] = fail


def unannounced(stage: Stage) -> None:
    stage.target.commands = ("announce-clients",)
    stage.refused[TARGET, "announce-clients"] = "no"


def somebody_else(stage: Stage) -> None:
    stage.on["client_migrate_info"] = lambda: stage.event(SOURCE, "MIGRATION", status="completed")


ROWS: list[tuple[str, Play]] = [
    ("SPICE is off at the source", play(lambda s: s.source.spice.update(enabled=False))),
    ("SPICE is off at the target", play(lambda s: s.target.spice.update(enabled=False))),
    ("the target runs a machine", play(lambda s: setattr(s.target, "status", "running"))),
    ("source and target exchanged", play(lambda s: setattr(s.source, "status", "inmigrate"))),
    ("the source has moved before", play(lambda s: setattr(s.source, "status", "postmigrate"))),
    ("the source is migrating", play(lambda s: s.source.migration.update(status="active"))),
    ("older QEMU at the target", play(lambda s: s.target.version.update(major=6))),
    ("other machine type", play(lambda s: setattr(s.target, "machine", "pc-q35-7.2-machine"))),
    ("no port at the target", play(lambda s: s.target.spice.pop("port"))),
    ("the target listens everywhere", play(lambda s: s.target.spice.update(host="*"))),
    ("ticketing, and no ticket", play(lambda s: setattr(s.target, "auth", "spice"))),
    ("two clients, seamless on", play(lambda s: None, sessions=(FIRST, SECOND))),
    ("two clients, seamless not known", play(lambda s: None, sessions=(FIRST, SECOND), source=PeerFacts())),
    ("deferred target, remote source", play(lambda s: None, source=PeerFacts(host="192.0.2.9"), seamless=True)),
    ("nobody at the SPICE address", play(lambda s: setattr(s, "probe_failure", "Connection refused"))),
    ("the target refuses to listen", refusing(TARGET, "migrate-incoming", "Address in use")),
    (
        "the target refuses the ticket",
        play(
            lambda s: (setattr(s.target, "auth", "spice"), s.refused.update({(TARGET, "set_password"): "no"})),
            ticket="x",
        ),
    ),
    ("Ctrl-C before clients are told", play(at(State.PREPARING, lambda s: s.cancel()))),
    ("Ctrl-C while clients link", play(at(State.LINKING, lambda s: s.cancel()))),
    ("Ctrl-C while the machine moves", play(lambda s: (slow_machine(s), at(State.MIGRATING, lambda s: s.cancel())(s)))),
    ("time limit while clients link", play(lambda s: s.on.update(client_migrate_info=ignore), time_limit=3.0)),
    ("time limit while the machine moves", play(slow_machine, time_limit=30.0)),
    (
        "a client does not link, --require-links",
        play(lambda s: s.on.update(client_migrate_info=ignore), require_links=True),
    ),
    ("the source refuses client_migrate_info", refusing(SOURCE, "client_migrate_info", "no")),
    ("the source refuses to migrate", refusing(SOURCE, "migrate", "device is unmigratable")),
    ("the migration fails", play(lambda s: s.on.update(migrate=lambda: source_fails(s)))),
    ("the source does not run again", play(stands_still)),
    ("target lost before clients are told", play(at(State.PREPARING, lambda s: s.lose(TARGET)))),
    ("target lost while clients link", play(at(State.LINKING, lambda s: s.lose(TARGET)))),
    ("target lost after the switch-over", play(at(State.HANDING_OVER, lambda s: s.lose(TARGET)))),
    ("source lost while clients link", play(at(State.LINKING, lambda s: s.lose(SOURCE)))),
    ("source lost while the machine moves", play(source_dies_moving)),
    ("both lost", play(both_die_moving)),
    ("source lost during the hand-over", play(source_dies_handing_over)),
    ("no SPICE_MIGRATE_COMPLETED, no session", play(never_handed_over)),
    ("the session dies at the target", play(lost_on_arrival)),
    ("somebody else moves the machine", play(somebody_else)),
]


WARNINGS: list[tuple[str, Play]] = [
    ("seamless is off", play(lambda s: None, source=PLAIN)),
    ("whether seamless is on is not known", play(lambda s: None, source=PeerFacts())),
    ("the machine is paused", play(lambda s: setattr(s.source, "status", "paused"))),
    ("nobody is connected", play(lambda s: None, sessions=())),
    ("a client is at the target", play(lambda s: s.target.connect(SECOND))),
    ("a ticket that nobody asks for", play(lambda s: None, ticket="x")),
    ("a client does not link", play(lambda s: s.on.update(client_migrate_info=ignore))),
    ("a target of ours does not take the announcement", play(unannounced)),
]


def warning(prepare: Play) -> str:
    """The one warning of a play."""
    stage = prepare()
    (finding,) = stage.run().findings
    return finding.sentence


def line(name: str, sentence: str, code: int) -> str:
    """A row as it stands in the document."""
    return f"| {name} | {sentence} | {code} |"


@pytest.mark.parametrize(("name", "prepare"), ROWS, ids=[row[0] for row in ROWS])
def test_the_document_says_what_happens(name: str, prepare: Play) -> None:
    result = prepare().run()
    assert not result.succeeded
    assert line(name, result.sentence, 1) in DOCUMENT.read_text().splitlines()


@pytest.mark.parametrize(("name", "prepare"), WARNINGS, ids=[row[0] for row in WARNINGS])
def test_the_document_says_what_is_warned_of(name: str, prepare: Play) -> None:
    assert f"| {name} | {warning(prepare)} |" in DOCUMENT.read_text().splitlines()


def test_plain_facts_are_those_of_a_source_without_seamless() -> None:
    assert Stage(dataclasses.replace(PLAN, source=PLAIN), sessions=(FIRST, SECOND)).run().succeeded
