"""Why a migration went as it did, in sentences: a table of rules over one migration's records.

The facts about libspice-server and QEMU that the rules rest on are in the dossier, C1.2 (choice of the scheme), C3
(time-outs and failure paths) and C7 (order of events), and in the measured results (bugs B1 to B4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from spicehop.trace.analysis import (
    COMPLETED,
    HANDED_OVER,
    STOP,
    SWITCH,
    Migration,
    field_of,
    migrations,
    status_of,
)
from spicehop.trace.record import Record

Finding = Callable[[Migration], Iterator[str]]

PATIENCE = 9.5
"""Seconds after which a closed channel looks like libspice's 10 s timer (C3)."""
LONG_STOP = 0.5
"""Seconds of standstill that a user notices."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be found out; `find` yields a sentence for each time it is so."""

    name: str
    find: Finding


def explain(records: Iterable[Record]) -> list[str]:
    """Plain sentences on every migration in the timeline: how it ended, and what explains it.

    Each sentence begins with the migration's number when there are several. Without a migration there is one sentence
    that says so.
    """
    found = migrations(records)
    if not found:
        return ["There is no migration in this trace."]
    sentences: list[str] = []
    for migration in found:
        prefix = f"Migration {migration.number}: " if len(found) > 1 else ""
        sentences += [prefix + sentence for rule in RULES for sentence in rule.find(migration)]
    return sentences


_HOW = {"seamless": "seamlessly", "semi-seamless": "semi-seamlessly", "switch-host": "by switch-host"}


def _outcome(migration: Migration) -> Iterator[str]:
    scheme = migration.scheme
    took = _seconds(migration.finish - migration.begin)
    sessions = {r.session for r in migration.records if r.session and r.event == "migration.begin"}
    whom = "the session" if len(sessions) < 2 else f"{len(sessions)} sessions"
    if migration.outcome == "done":
        moved = migration.first("migration.done")
        if moved is None:
            yield f"The virtual machine moved in {took}; no client's trace tells what became of the sessions."
        else:
            yield f"The migration moved {whom} {_HOW.get(scheme, 'by an unknown scheme')} in {took}."
    elif migration.outcome == "aborted":
        yield f"The migration did not take place; {whom} stayed at the source."
    elif migration.outcome == "lost":
        yield f"The migration cost the session: it closed {_after(migration, migration.first('session.closed'))}."
    else:
        yield f"The migration is not over in this trace, which ends {took} after the announcement."


def _unreachable_target(migration: Migration) -> Iterator[str]:
    for error in migration.every("migration.connect-error"):
        where = _address(error) or _address(migration.first("migration.begin"))
        reason = _root(_reason(error))
        line = f"The client could not reach {where or 'the target'}{f' ({reason})' if reason else ''}"
        if "password" in reason:
            line = f"The target{f' {where}' if where else ''} refused the client's ticket"
        if migration.first(SWITCH):
            yield f"{line}, so the source told it to switch host after the VM had moved."
        elif migration.outcome == "aborted":
            yield f"{line}; the migration was given up, so nothing was lost by it."
        else:
            yield f"{line}, so the source can only tell it to switch host when the VM has moved."


def _late_client(migration: Migration) -> Iterator[str]:
    completed = migration.first(COMPLETED)
    begin, connected = migration.first("migration.begin"), migration.first("migration.connected")
    if completed is None or begin is None or migration.first("migration.connect-error"):
        return
    if connected is None or connected.time > completed.time:
        needed = f"needed {_seconds(connected.time - begin.time)}" if connected else "was never ready"
        yield (
            f"The client {needed} to link to the target, but the VM had already moved "
            f"{_seconds(completed.time - begin.time)} after the announcement, so the source fell back to switch-host; "
            "whoever conducts must wait for the client before it starts the migration."
        )


def _not_announced(migration: Migration) -> Iterator[str]:
    if migration.first("migration.begin") or migration.first("qmp.client_migrate_info"):
        return
    if migration.first(STOP) and any(r.party == "client" for r in migration.records):
        yield (
            "The VM was moved without telling the client where to (no client_migrate_info), "
            "so its session could only end with the source."
        )


def _semi_seamless(migration: Migration) -> Iterator[str]:
    begin = migration.first("migration.begin")
    if migration.first("migration.seamless-refused"):
        yield (
            "The target refused the seamless scheme (DST_SEAMLESS_NACK): it allows several clients or speaks an older "
            "migration protocol, so the channels began anew there."
        )
    elif begin is not None and begin.detail.get("scheme") == "semi-seamless":
        yield (
            "The source offered no seamless migration: it is off there (seamless-migration=off), several clients are "
            "allowed, or a client lacks the seamless or the agent token capability; queued bytes are not carried then."
        )


def _no_scheme(migration: Migration) -> Iterator[str]:
    switch = migration.first(SWITCH)
    if switch and not migration.first("migration.begin"):
        yield (
            "The client was not told of the target before the VM moved (it lacks the semi-seamless capability, or "
            f"nobody asked for it), so it was told to switch host to {_address(switch) or 'the target'} and began anew."
        )


def _stuck_channels(migration: Migration) -> Iterator[str]:
    for migrate in migration.every("channel.migrate"):
        name, session = migrate.channel, migrate.session
        later = [
            r
            for r in migration.records
            if r.channel == name and r.session == session and r.time >= migrate.time and r is not migrate
        ]
        if any(r.event == "channel.swapped" for r in later):
            continue
        marked = any(r.event == "channel.flush-mark" for r in later)
        fetched = any(r.event == "channel.migrate-data" for r in later)
        ended = next((r for r in later if r.event == "channel.lost"), None)
        kind = name.partition(":")[0]
        if ended is None:
            missing = "its data" if marked else "the client's flush mark"
            yield f"The {name} channel was told to migrate and never moved; {missing} is missing."
        elif fetched:
            why = _reason(ended) or "no reason is known"
            yield f"The {name} channel was lost after its data had been fetched: {why}."
        elif ended.time - migrate.time >= PATIENCE:
            cause = (
                "because it never delivered MIGRATE_DATA" if marked else "because the client never sent the flush mark"
            )
            yield f"The source closed the {kind} channel {_seconds(ended.time - migrate.time)} after MIGRATE {cause}."
            if kind in ("port", "usbredir", "webdav") and marked:
                yield (
                    f"That is libspice's deadlock: with more than 128 client messages queued on the {kind} channel for "
                    "a standing VM it reads no further and never sees the flush mark."
                )
        else:
            why = _reason(ended)
            yield (
                f"The {name} channel was lost {_seconds(ended.time - migrate.time)} after MIGRATE, "
                f"before its data had come{f' ({why})' if why else ''}."
            )


def _lost_channels(migration: Migration) -> Iterator[str]:
    told = {(r.session, r.channel) for r in migration.every("channel.migrate")}
    for lost in migration.every("channel.lost"):
        if (lost.session, lost.channel) not in told:
            why, when = _reason(lost), _after(migration, lost)
            yield f"The {lost.channel or 'main'} channel was lost {when}{f' ({why})' if why else ''}."


def _late_completion(migration: Migration) -> Iterator[str]:
    hand_over = migration.phase("hand-over")
    if hand_over and hand_over.duration >= PATIENCE and not any(_stuck_channels(migration)):
        yield (
            f"The source waited {_seconds(hand_over.duration)} for its clients and then dropped them: "
            "SPICE_MIGRATE_COMPLETED also comes when its 10 s timer ends, and proves nothing."
        )


def _missing_completion(migration: Migration) -> Iterator[str]:
    completed = migration.first(COMPLETED)
    over = migration.first(HANDED_OVER)
    shutdown = next((r for r in migration.every("qmp.SHUTDOWN") if r.party == "source"), None)
    if completed and shutdown and (over is None or shutdown.time < over.time):
        yield (
            "The source was ended before SPICE_MIGRATE_COMPLETED, while clients were still fetching their state; "
            "whoever conducts must wait for that event."
        )


def _cancelled(migration: Migration) -> Iterator[str]:
    statuses = {status_of(r) for r in migration.every("qmp.MIGRATION") if r.party == "source"}
    aborted = migration.first("migration.aborted")
    if "failed" in statuses:
        error = next((field_of(r, "error") for r in migration.every("qmp.MIGRATION") if field_of(r, "error")), None)
        yield f"QEMU reported the migration as failed{f': {error}' if error else ''}; the VM runs at the source again."
    elif statuses & {"cancelled", "cancelling"}:
        yield "The migration was cancelled at the source; the VM runs there as before."
    elif aborted is not None and not migration.first("migration.connect-error"):
        why = _reason(aborted)
        because = f" ({why})" if why else ""
        yield f"The source cancelled the announcement{because}; the client dropped its links to the target."
    if migration.first("migration.replaced"):
        yield "A second announcement came before the first was over; the client went on with the second target."


def _conductor(migration: Migration) -> Iterator[str]:
    for event in ("conductor.finding", "conductor.finished"):
        for record in migration.every(event):
            why = _reason(record)
            if why:
                yield f"The conductor says: {why.rstrip('.')}."


def _lost_session(migration: Migration) -> Iterator[str]:
    for closed in migration.every("session.closed"):
        why = _reason(closed)
        if why and migration.outcome == "lost":
            yield f"The session's own reason was: {why.rstrip('.')}."


def _long_stop(migration: Migration) -> Iterator[str]:
    stop = migration.phase("stopped")
    if stop and stop.duration >= LONG_STOP:
        yield (
            f"The VM stood still for {_seconds(stop.duration)}; QEMU drops keys that reach it in that time, "
            "so some may be missing in the guest."
        )
    elif stop is None and migration.first(STOP):
        if any(r.event.startswith("qmp.") and r.party == "target" for r in migration.records):
            yield "The VM was stopped at the source and is not seen running anywhere afterwards."
        else:
            yield "The VM was stopped at the source; without events of the target it is not known whether it runs."


def _no_picture(migration: Migration) -> Iterator[str]:
    watched = any(name.startswith("display") for name in migration.channels)
    if migration.first("migration.done") and watched and not migration.first("picture.first"):
        yield "No picture came from the target after the switch-over: the guest drew nothing, or the display is stuck."


RULES: tuple[Rule, ...] = (
    Rule("outcome", _outcome),
    Rule("target not reached", _unreachable_target),
    Rule("client too late", _late_client),
    Rule("target not announced", _not_announced),
    Rule("no scheme offered", _no_scheme),
    Rule("semi-seamless only", _semi_seamless),
    Rule("channel stuck", _stuck_channels),
    Rule("channel lost", _lost_channels),
    Rule("completed by time-out", _late_completion),
    Rule("source ended too early", _missing_completion),
    Rule("cancelled or failed", _cancelled),
    Rule("conductor's word", _conductor),
    Rule("session lost", _lost_session),
    Rule("long standstill", _long_stop),
    Rule("no picture", _no_picture),
)
"""All rules, in the order in which their sentences are given."""


def _reason(record: Record | None) -> str:
    for name in ("reason", "sentence"):
        value = record.detail.get(name) if record else None
        if isinstance(value, str) and value:
            return value
    return ""


def _root(reason: str) -> str:
    """The innermost cause of a reason that was built as `what: why`."""
    return reason.rpartition(": ")[2].rstrip(".")


def _address(record: Record | None) -> str:
    if record is None:
        return ""
    host, port = record.detail.get("host"), record.detail.get("port") or record.detail.get("tls_port")
    if not isinstance(host, str) or not host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _after(migration: Migration, record: Record | None) -> str:
    if record is None:
        return "at an unknown time"
    return f"{_seconds(max(0.0, record.time - migration.begin))} after the announcement"


def _seconds(duration: float) -> str:
    return f"{duration * 1000:.0f} ms" if duration < 1 else f"{duration:.1f} s"
