"""Why a session was dropped, in sentences: a table of cases."""

from __future__ import annotations

import pytest
from timelines import ANNOUNCED, HANDED_OVER, LINKED, MOVING, SEAMLESS, timeline

from spicehop.trace import explain

TARGET = "127.0.0.1:6999"
REFUSED = (
    3,
    "client",
    "migration.connect-error",
    {"reason": f"the client could not use the target: no connection to {TARGET}: connection refused"},
)
SWITCH = (910, "client", "migration.switch-host", "main:0", {"host": "127.0.0.1", "port": 6999})
STUCK = (
    *ANNOUNCED, *LINKED, *MOVING, *HANDED_OVER,
    (909, "client", "channel.migrate", "port:0", {"flags": 3}),
    (910, "client", "channel.flush-mark", "port:0"),
    (10909, "client", "channel.lost", "port:0", {"reason": "closed by the peer"}),
)  # fmt: skip

CASES = [
    (SEAMLESS, ["The migration moved the session seamlessly in 930 ms."]),
    (
        (*ANNOUNCED, REFUSED, *MOVING, SWITCH),
        ["The client could not reach 127.0.0.1:6999 (connection refused), so the source told it to switch host after "
         "the VM had moved."],
    ),
    (
        (*ANNOUNCED, REFUSED, (50, "client", "migration.aborted")),
        ["The migration did not take place; the session stayed at the source.",
         "The client could not reach 127.0.0.1:6999 (connection refused); the migration was given up, so nothing was "
         "lost by it."],
    ),
    (
        (*ANNOUNCED, *MOVING,
         (3, "client", "migration.connect-error", {"reason": "x: the server does not accept the password"})),
        ["The target 127.0.0.1:6999 refused the client's ticket, so the source can only tell it to switch host when "
         "the VM has moved."],
    ),
    (
        STUCK,
        ["The source closed the port channel 10.0 s after MIGRATE because it never delivered MIGRATE_DATA.",
         "That is libspice's deadlock: with more than 128 client messages queued on the port channel for a standing VM "
         "it reads no further and never sees the flush mark."],
    ),
    (
        (*ANNOUNCED, *MOVING, SWITCH, (3001, "client", "migration.connected")),
        ["The client needed 3.0 s to link to the target, but the VM had already moved 907 ms after the announcement, "
         "so the source fell back to switch-host; whoever conducts must wait for the client before it starts the "
         "migration."],
    ),
    (
        ((0, "client", "session.connected"), *MOVING,
         (920, "client", "session.closed", {"reason": "the source closed"})),
        ["The VM was moved without telling the client where to (no client_migrate_info), so its session could only end "
         "with the source.", "The session's own reason was: the source closed."],
    ),
    (
        (*MOVING, SWITCH, (980, "client", "migration.done", {"scheme": "switch-host"})),
        ["The client was not told of the target before the VM moved (it lacks the semi-seamless capability, or nobody "
         "asked for it), so it was told to switch host to 127.0.0.1:6999 and began anew."],
    ),
    (
        ((0, "client", "migration.begin", {"scheme": "semi-seamless"}), *LINKED),
        ["The source offered no seamless migration: it is off there (seamless-migration=off), several clients are "
         "allowed, or a client lacks the seamless or the agent token capability; queued bytes are not carried then."],
    ),
    (
        (*ANNOUNCED, (30, "client", "migration.seamless-refused", {"scheme": "semi-seamless"}), *LINKED),
        ["The target refused the seamless scheme (DST_SEAMLESS_NACK): it allows several clients or speaks an older "
         "migration protocol, so the channels began anew there."],
    ),
    (
        (*ANNOUNCED, *LINKED, *MOVING, (909, "client", "channel.migrate", "inputs:0"),
         (912, "source", "qmp.SHUTDOWN"), (912.5, "client", "channel.lost", "inputs:0", {"reason": "end of stream"})),
        ["The source was ended before SPICE_MIGRATE_COMPLETED, while clients were still fetching their state; whoever "
         "conducts must wait for that event.",
         "The inputs:0 channel was lost 4 ms after MIGRATE, before its data had come (end of stream)."],
    ),
    (
        (*ANNOUNCED, *LINKED, (100, "source", "qmp.MIGRATION", {"status": "setup"}),
         (400, "source", "qmp.MIGRATION", {"status": "cancelled"}), (401, "client", "migration.aborted")),
        ["The migration was cancelled at the source; the VM runs there as before."],
    ),
    (
        (*ANNOUNCED, *LINKED, (100, "source", "qmp.MIGRATION", {"status": "setup"}),
         (400, "source", "qmp.MIGRATION", {"status": "failed", "error": "Broken pipe"})),
        ["QEMU reported the migration as failed: Broken pipe; the VM runs at the source again."],
    ),
    (
        (*ANNOUNCED, *LINKED, (400, "client", "migration.aborted", {"reason": "MIGRATE_CANCEL"})),
        ["The source cancelled the announcement (MIGRATE_CANCEL); the client dropped its links to the target."],
    ),
    (
        (*ANNOUNCED, *LINKED, (500, "client", "channel.lost", "cursor:0", {"reason": "reset"})),
        ["The cursor:0 channel was lost 500 ms after the announcement (reset)."],
    ),
    (
        tuple((ms + 2000 if party == "target" else ms, party, *rest) for ms, party, *rest in SEAMLESS),
        ["The VM stood still for 2.0 s; QEMU drops keys that reach it in that time, so some may be missing in the "
         "guest."],
    ),
    (
        (*ANNOUNCED, *LINKED, *MOVING),
        ["The VM was stopped at the source; without events of the target it is not known whether it runs."],
    ),
    (
        (*ANNOUNCED, *LINKED, *MOVING, *HANDED_OVER[:7], (914, "client", "channel.swapped", "display:0")),
        ["No picture came from the target after the switch-over: the guest drew nothing, or the display is stuck."],
    ),
    (
        (*ANNOUNCED, (10, "conductor", "conductor.finished", {"sentence": "The target ended."})),
        ["The conductor says: The target ended."],
    ),
    (
        (*ANNOUNCED, *LINKED, *MOVING, (909, "client", "channel.migrate", "port:0", {"flags": 3})),
        ["The port:0 channel was told to migrate and never moved; the client's flush mark is missing."],
    ),
    (
        (*ANNOUNCED, *LINKED, *MOVING, *HANDED_OVER[:5], (10920, "source", "qmp.SPICE_MIGRATE_COMPLETED"),
         (10921, "client", "channel.swapped", "main:0")),
        ["The source waited 10.0 s for its clients and then dropped them: SPICE_MIGRATE_COMPLETED also comes when its "
         "10 s timer ends, and proves nothing."],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "sentences"), CASES)
def test_the_reason_is_among_the_sentences(rows, sentences: list[str]) -> None:
    said = explain(timeline(*rows))
    for sentence in sentences:
        assert sentence in said


def test_a_good_migration_needs_one_sentence() -> None:
    assert len(explain(timeline(*SEAMLESS))) == 1


def test_several_migrations_are_numbered() -> None:
    said = explain(timeline(*SEAMLESS) + timeline(*SEAMLESS, start=2000))
    assert [sentence[:12] for sentence in said] == ["Migration 1:", "Migration 2:"]


def test_no_migration_is_said() -> None:
    assert explain([]) == ["There is no migration in this trace."]
