"""From records to migrations and their phases: begin, linked, connected, copy, stop, hand-over, first picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spicehop.trace.record import Record

Moment = tuple[str, str, str]
"""(event, party, status): which records a phase begins or ends with; an empty text stands for any."""


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """How one phase is found: from the first of `starts` to the first of `ends` that is not before it."""

    name: str
    label: str
    party: str
    """Whose lane the phase is drawn in."""
    starts: tuple[Moment, ...]
    ends: tuple[Moment, ...]
    scope: str = "migration"
    """`migration`, `session` or `channel`: start and end must agree in it."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of a migration."""

    name: str
    label: str
    party: str
    session: int
    channel: str
    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


END: Moment = ("migration.end", "", "")
CANCEL: Moment = ("migration.cancel", "", "")
SWITCH: Moment = ("migration.switch-host", "", "")
ON_TARGET: Moment = ("migration.target-linked", "", "")
CONNECT_ERROR: Moment = ("migration.connect-error", "", "")
STOP: Moment = ("qmp.STOP", "source", "")
COMPLETED: Moment = ("qmp.MIGRATION", "source", "completed")
FAILED: Moment = ("qmp.MIGRATION", "source", "failed")
CANCELLED: Moment = ("qmp.MIGRATION", "source", "cancelled")
SETUP: Moment = ("qmp.MIGRATION", "source", "setup")
HANDED_OVER: Moment = ("qmp.SPICE_MIGRATE_COMPLETED", "", "")


def _any(event: str) -> Moment:
    return (event, "", "")


RULES: tuple[PhaseRule, ...] = (
    PhaseRule("link", "link to the target", "client",
              (_any("migration.begin"),), (ON_TARGET, CONNECT_ERROR), "session"),
    PhaseRule("connect", "link the other channels", "client",
              (ON_TARGET,), (_any("migration.connected"), CONNECT_ERROR), "session"),
    PhaseRule("copy", "live copy", "source",
              (SETUP, _any("conductor.migrating")), (STOP, COMPLETED, FAILED, CANCELLED)),
    PhaseRule("stopped", "VM stands still", "vm",
              (STOP,), (("qmp.RESUME", "target", ""), ("qmp.RESUME", "source", ""))),
    PhaseRule("last-copy", "last copy", "source",
              (STOP,), (COMPLETED, FAILED, CANCELLED)),
    PhaseRule("hand-over", "hand-over of the sessions", "source",
              (_any("channel.migrate"), END, SWITCH), (HANDED_OVER,)),
    PhaseRule("flush", "to the flush mark", "client",
              (_any("channel.migrate"),), (_any("channel.flush-mark"),), "channel"),
    PhaseRule("data", "wait for the data", "client",
              (_any("channel.flush-mark"),), (_any("channel.migrate-data"),), "channel"),
    PhaseRule("swap", "swap", "client",
              (_any("channel.migrate-data"), _any("channel.migrate"), END),
              (_any("channel.swapped"), _any("channel.restarted")), "channel"),
    PhaseRule("moved", "channel moved", "client",
              (_any("channel.migrate"), END), (_any("channel.swapped"), _any("channel.restarted")), "channel"),
    PhaseRule("stock", "linked, until all channels are there", "spice-gtk",
              (_any("stock.migrating"),), (_any("stock.migrated"), _any("stock.disconnected")), "session"),
    PhaseRule("first-picture", "stop to first picture", "client",
              (STOP, _any("channel.migrate"), END, SWITCH), (_any("picture.first"),)),
)  # fmt: skip
"""The phases, in the order in which they happen. Of several `starts` the first one that was recorded counts."""

OPENERS: tuple[Moment, ...] = (_any("conductor.linking"), _any("migration.begin"), SETUP)
"""What a migration begins with. The second of the same kind, or one after the switch-over, begins the next one."""

_PAST_THE_MIDDLE: tuple[Moment, ...] = (
    STOP, _any("channel.migrate"), END, SWITCH, CANCEL,
    _any("migration.aborted"), _any("migration.done"), FAILED, CANCELLED,
)  # fmt: skip


def matches(record: Record, moment: Moment) -> bool:
    """Whether `record` is what `moment` describes."""
    event, party, status = moment
    if record.event != event or (party and record.party != party):
        return False
    return not status or status_of(record) == status


def status_of(record: Record) -> str:
    """The `status` of a QMP event, whether it was recorded flat or under `data`."""
    status = field_of(record, "status")
    return status if isinstance(status, str) else ""


def field_of(record: Record, name: str) -> object:
    """A detail by its name, also inside QMP's `data`; None when there is none."""
    if name in record.detail:
        return record.detail[name]
    data = record.detail.get("data")
    return data.get(name) if isinstance(data, Mapping) else None


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration as the records show it."""

    number: int
    """1 for the first."""
    records: tuple[Record, ...]
    """From its announcement to just before the next one's."""
    phases: tuple[Phase, ...]

    def first(self, event: str | Moment, *, party: str = "") -> Record | None:
        """The first record of that kind."""
        moment = (event, party, "") if isinstance(event, str) else event
        return next((record for record in self.records if matches(record, moment)), None)

    def every(self, event: str) -> list[Record]:
        """All records of that kind."""
        return [record for record in self.records if record.event == event]

    def phase(self, name: str, channel: str = "") -> Phase | None:
        """The first phase of that name, of that channel when one is named."""
        for phase in self.phases:
            if phase.name == name and channel in ("", phase.channel):
                return phase
        return None

    @property
    def begin(self) -> float:
        """When it was announced, in seconds."""
        for record in self.records:
            if any(matches(record, opener) for opener in OPENERS):
                return record.time
        return self.records[0].time

    @property
    def finish(self) -> float:
        """When its last phase was over, in seconds."""
        closing = [r.time for r in self.records if r.event in ("migration.done", "migration.aborted", "picture.first")]
        return max([self.begin, *(phase.end for phase in self.phases), *closing])

    @property
    def outcome(self) -> str:
        """`done`, `aborted`, `lost` (a session closed on the way) or `unfinished`."""
        for event, word in (("migration.done", "done"), ("migration.aborted", "aborted"), ("session.closed", "lost")):
            if self.first(event):
                return word
        if self.first(CANCELLED) or self.first(FAILED):
            return "aborted"
        return "done" if self.first(HANDED_OVER) else "unfinished"

    @property
    def scheme(self) -> str:
        """`seamless`, `semi-seamless`, `switch-host`, or empty when the records do not tell."""
        for event in ("migration.done", "migration.aborted"):
            record = self.first(event)
            if record and isinstance(record.detail.get("scheme"), str) and record.detail["scheme"]:
                return str(record.detail["scheme"])
        if self.first(SWITCH):
            return "switch-host"
        if self.first(END):
            return "semi-seamless"
        if self.first("channel.migrate"):
            return "seamless"
        begin = self.first("migration.begin")
        return str(begin.detail.get("scheme", "")) if begin is not None else ""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the records name, in the order of their first record."""
        seen = dict.fromkeys(r.channel for r in self.records if r.channel and r.party == "client")
        return tuple(sorted(seen, key=lambda name: (not name.startswith("main"), name)))


def migrations(records: Iterable[Record]) -> list[Migration]:
    """The migrations in a timeline, each with its phases."""
    ordered = sorted(records, key=lambda record: record.time)
    return [
        Migration(number, tuple(part), tuple(_phases_of(part))) for number, part in enumerate(_split(ordered), start=1)
    ]


def phases(records: Iterable[Record]) -> list[Phase]:
    """The phases of all migrations in a timeline, in the order in which they began."""
    found = [phase for migration in migrations(records) for phase in migration.phases]
    return sorted(found, key=lambda phase: (phase.start, phase.end))


def _split(ordered: Sequence[Record]) -> list[list[Record]]:
    parts: list[list[Record]] = []
    waiting: list[Record] = []  # what the conductor did before it announced the next migration
    opened: set[tuple[Moment, int]] = set()
    past_the_middle = closed = False
    for record in ordered:
        opener = next((moment for moment in OPENERS if matches(record, moment)), None)
        if opener is not None and (not parts or past_the_middle or (opener, record.session) in opened):
            parts.append(waiting)
            waiting, opened, past_the_middle, closed = [], set(), False, False
        if opener is not None:
            opened.add((opener, record.session))
        if parts and any(matches(record, moment) for moment in _PAST_THE_MIDDLE):
            past_the_middle = True
        if not parts:
            if record.party == "conductor":
                waiting.append(record)
        elif closed and record.party == "conductor":
            waiting.append(record)
        else:
            parts[-1].append(record)
            closed = closed or record.event == "conductor.finished"
    if parts:
        parts[-1].extend(waiting)
    return parts


def _phases_of(records: Sequence[Record]) -> list[Phase]:
    found: list[Phase] = []
    for rule in RULES:
        for session, channel in _scopes(rule, records):
            inside = [r for r in records if _within(r, session, channel)]
            phase = _apply(rule, inside, session or 0, channel or "")
            if phase is not None:
                found.append(phase)
    return found


def _scopes(rule: PhaseRule, records: Sequence[Record]) -> list[tuple[int | None, str | None]]:
    if rule.scope == "migration":
        return [(None, None)]
    ending = [r for r in records if any(matches(r, moment) for moment in rule.ends)]
    if rule.scope == "session":
        return [(session, None) for session in dict.fromkeys(r.session for r in ending)]
    return [(session, channel) for session, channel in dict.fromkeys((r.session, r.channel) for r in ending)]


def _within(record: Record, session: int | None, channel: str | None) -> bool:
    # A channel's phase may begin with what the session as a whole was told (MIGRATE_END).
    return (session is None or record.session == session) and (
        channel is None or record.channel == channel or record.event == "migration.end"
    )


def _apply(rule: PhaseRule, records: Sequence[Record], session: int, channel: str) -> Phase | None:
    for moment in rule.starts:
        start = next((r for r in records if matches(r, moment)), None)
        if start is None:
            continue
        for record in records:
            if record.time >= start.time and record is not start and any(matches(record, end) for end in rule.ends):
                return Phase(rule.name, rule.label, rule.party, session, channel, start.time, record.time)
        return None
    return None
