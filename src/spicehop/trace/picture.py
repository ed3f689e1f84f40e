"""The timeline as a picture: one SVG, or a self-contained HTML page with it.

Each migration has two panels, since a live copy of a second and a switch-over of thirty milliseconds do not fit one
scale: the whole of it, in milliseconds after its announcement, and the switch-over, in milliseconds after the VM's
stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from spicehop.trace.analysis import (
    CANCEL,
    CANCELLED,
    COMPLETED,
    CONNECT_ERROR,
    END,
    FAILED,
    HANDED_OVER,
    ON_TARGET,
    STOP,
    SWITCH,
    Migration,
    Moment,
    Phase,
    matches,
    migrations,
)
from spicehop.trace.drawing import STYLE, box, diamond, line, path, spread, text, ticks, width_of
from spicehop.trace.events import meaning
from spicehop.trace.record import Record
from spicehop.trace.text import detail_text

WIDTH = 1180.0
LEFT = 150.0
RIGHT = 26.0
LANE = 34.0
BAR = 15.0
BAR_TOP = 5.0
MARK = 4.2
MARK_Y = 27.0

LEGEND = (
    ("source", "VM runs at the source"), ("stopped", "VM stands still"), ("target", "VM runs at the target"),
    ("copy", "live copy"), ("last-copy", "last copy"), ("link", "link to the target"), ("connect", "other channels"),
    ("hand-over", "hand-over, seen by the source"), ("flush", "to the flush mark"), ("data", "wait for the data"),
    ("swap", "to the target's socket"), ("stock", "spice-gtk on its way"), ("first-picture", "to the first picture"),
)  # fmt: skip

_PARTIES = (
    ("conductor", "Conductor"), ("source", "Source"), ("target", "Target"), ("spice-gtk", "spice-gtk"),
)  # fmt: skip
"""Who has one lane; everybody else is a client of ours."""

_CALLS: tuple[tuple[Moment, str], ...] = (
    (("migration.begin", "", ""), "client told"),
    (ON_TARGET, "linked"),
    (("migration.connected", "", ""), "connected"),
    (CONNECT_ERROR, "target not reached"),
    (STOP, "VM stops"),
    (COMPLETED, "VM moved"),
    (FAILED, "VM migration failed"),
    (CANCELLED, "VM migration cancelled"),
    (("channel.migrate", "", ""), "MIGRATE"),
    (END, "MIGRATE_END"),
    (SWITCH, "SWITCH_HOST"),
    (CANCEL, "MIGRATE_CANCEL"),
    (("migration.done", "", ""), "session moved"),
    (("migration.aborted", "", ""), "given up"),
    (("session.closed", "", ""), "session closed"),
    (HANDED_OVER, "SPICE_MIGRATE_COMPLETED"),
    (("qmp.RESUME", "", ""), "VM runs"),
    (("picture.first", "", ""), "first picture"),
)
"""What is labelled above a panel; the first record of each."""


@dataclass(slots=True)
class _Lane:
    label: str
    bars: list[tuple[float, float, str, str, str]] = field(default_factory=list)  # start, end, kind, label, tooltip
    marks: list[Record] = field(default_factory=list)
    minor: bool = False
    note: str = ""


def svg(records: Iterable[Record], *, title: str = "Migration timeline") -> str:
    """A stand-alone SVG document of every migration in the timeline."""
    parts: list[str] = [text(24, 36, title, "title")]
    bottom = 52.0
    found = migrations(records)
    for migration in found:
        body, bottom = _migration(migration, bottom, numbered=len(found) > 1)
        parts += body
    if not found:
        parts.append(text(24, 70, "There is no migration in this trace.", "subtitle"))
        bottom = 90
    return _document(parts, bottom, title)


def migration_svg(migration: Migration, *, title: str = "") -> str:
    """One migration as an SVG element, for a page that has the heading and legend around it."""
    body, bottom = _migration(migration, 0.0, numbered=False, heading=False)
    return _document(body, bottom, title or f"Migration {migration.number}")


def _document(parts: list[str], height: float, title: str) -> str:
    size = f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" height="{height:.0f}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" class="sh" role="img" {size}>'
    page = box(0, 0, WIDTH, height, "page")
    return "\n".join((start, f"<style>{STYLE}</style>", page, *parts, "</svg>")) + "\n"


def key_figures(migration: Migration) -> list[tuple[str, str]]:
    """(what, figure) of the numbers that matter, those that the records tell."""
    found = [("scheme", migration.scheme or "not known"), ("outcome", migration.outcome)]
    for name, label in (
        ("copy", "live copy"),
        ("stopped", "VM stands still"),
        ("hand-over", "hand-over"),
        ("first-picture", "stop to first picture"),
    ):
        phase = migration.phase(name)
        if phase is not None:
            found.append((label, duration_text(phase.duration)))
    moved = {(p.session, p.channel) for p in migration.phases if p.name in ("moved", "swap")}
    if moved:
        found.append(("channels moved", str(len(moved))))
    return found


def duration_text(seconds: float) -> str:
    """`7.3 ms`, `951 ms` or `10.0 s`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 2 else f"{seconds:.1f} s"


def _migration(migration: Migration, top: float, *, numbered: bool, heading: bool = True) -> tuple[list[str], float]:
    parts: list[str] = []
    y = top
    if heading:
        if numbered:
            y += 26
            parts.append(line(24, y - 18, WIDTH - 24, y - 18, "rule"))
            parts.append(text(24, y + 4, f"Migration {migration.number}", "title"))
            y += 10
        facts = "   ·   ".join(f"{what}: {figure}" for what, figure in key_figures(migration))
        parts.append(text(24, y + 14, facts, "subtitle"))
        y += 34
    begin, finish = migration.begin, migration.finish
    window = _switch_over(migration)
    whole = (begin - 0.02 * (finish - begin or 0.01), finish + 0.03 * (finish - begin or 0.01))
    name = "The whole migration, in ms after its announcement"
    panel, y = _Panel(migration, whole, begin, name, window, per_channel=window is None).draw(y)
    parts += panel
    if window is not None:
        zero = migration.first(STOP)
        origin = zero.time if zero else _first_switch(migration, window[0])
        since = "after the VM's stop" if zero else "after the first word of it"
        panel, y = _Panel(migration, window, origin, f"The switch-over, in ms {since}", None, per_channel=True).draw(
            y + 10
        )
        parts += panel
    legend, y = _legend(migration, y + 6)
    return parts + legend, y


def _first_switch(migration: Migration, default: float) -> float:
    beginnings = (("channel.migrate", "", ""), END, SWITCH)
    times = (r.time for r in migration.records if any(matches(r, moment) for moment in beginnings))
    return min(times, default=default)


def _switch_over(migration: Migration) -> tuple[float, float] | None:
    """The stretch worth a closer look, with some air around it; None when there was no switch-over."""
    names = ("stopped", "last-copy", "flush", "data", "swap", "moved", "first-picture")
    inside = [phase for phase in migration.phases if phase.name in names]
    inside = inside or [phase for phase in migration.phases if phase.name == "hand-over"]
    if not inside:
        return None
    low, high = min(phase.start for phase in inside), max(phase.end for phase in inside)
    air = max(0.0005, (high - low) * 0.04)
    if high - low > 0.6 * (migration.finish - migration.begin):
        return None
    return low - air, high + air


def _legend(migration: Migration, top: float) -> tuple[list[str], float]:
    used = {phase.name for phase in migration.phases} | {"source", "target"}
    parts: list[str] = []
    x, y = LEFT, top + 8
    for kind, label in LEGEND:
        if kind not in used:
            continue
        needed = 18 + width_of(label, 11.5) + 18
        if x + needed > WIDTH - RIGHT:
            x, y = LEFT, y + 20
        parts.append(box(x, y, 12, 12, kind, radius=3))
        parts.append(text(x + 18, y + 10, label, "legend"))
        x += needed
    if x + 130 > WIDTH - RIGHT:
        x, y = LEFT, y + 20
    parts.append(diamond(x + 6, y + 6, 5.5, "mark-other", "an event"))
    parts.append(text(x + 18, y + 10, "event (point at it)", "legend"))
    return parts, y + 34


class _Panel:
    """One time axis with its lanes."""

    def __init__(
        self,
        migration: Migration,
        span: tuple[float, float],
        origin: float,
        name: str,
        window: tuple[float, float] | None,
        *,
        per_channel: bool,
    ) -> None:
        self._migration = migration
        self._low, self._high = span
        self._origin = origin
        self._name = name
        self._window = window
        self._lanes = _lanes(migration, span, per_channel=per_channel)

    def draw(self, top: float) -> tuple[list[str], float]:
        """SVG elements, and the y below them."""
        parts = [text(24, top + 14, self._name, "panel")]
        calls, lanes_top = self._calls(top + 26)
        lanes_bottom = lanes_top + LANE * len(self._lanes)
        for index in range(0, len(self._lanes), 2):
            parts.append(box(0, lanes_top + index * LANE, WIDTH, LANE, "stripe"))
        for tick in ticks((self._low - self._origin) * 1000, (self._high - self._origin) * 1000, 11):
            x = self._x(self._origin + tick / 1000)
            parts.append(line(x, lanes_top, x, lanes_bottom, "grid"))
            parts.append(text(x, lanes_bottom + 16, f"{tick:g}", "tick", "middle"))
        if self._window is not None:
            left, right = self._x(self._window[0]), self._x(self._window[1])
            width = max(6.0, right - left)
            tip = "the switch-over, drawn larger below"
            parts.append(
                box((left + right - width) / 2, lanes_top, width, lanes_bottom - lanes_top, "window", title=tip)
            )
        parts += calls(lanes_bottom)
        for index, lane in enumerate(self._lanes):
            parts += self._draw_lane(lane, lanes_top + index * LANE)
        parts.append(line(LEFT, lanes_bottom, WIDTH - RIGHT, lanes_bottom, "rule"))
        return parts, lanes_bottom + 26

    def _x(self, time: float) -> float:
        share = (time - self._low) / (self._high - self._low)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - RIGHT - LEFT)

    def _since(self, time: float) -> str:
        return f"{(time - self._origin) * 1000:+.1f} ms"

    def _calls(self, top: float) -> tuple[Callable[[float], list[str]], float]:
        """Labels above the lanes with leader lines, in as many rows as they need."""
        found: list[tuple[float, str, str]] = []
        for moment, label in _CALLS:
            record = self._migration.first(moment)
            if record is not None and self._low <= record.time <= self._high:
                found.append((record.time, label, self._since(record.time)))
        found.sort()
        found = [call for call in found if not (self._window and self._window[0] < call[0] < self._window[1])]
        if self._window:
            first, last = ((edge - self._origin) * 1000 for edge in self._window)
            found.append(((self._window[0] + self._window[1]) / 2, "switch-over", f"{first:+.0f} to {last:+.0f} ms"))
            found.sort()
        widths = [max(width_of(label, 11.5), width_of(when, 10.5)) + 12 for _, label, when in found]
        available = WIDTH - RIGHT + 16 - (LEFT - 40)
        rows = 1 if sum(widths) <= available else 2
        centres = [0.0] * len(found)
        for row in range(rows):
            chosen = range(row, len(found), rows)
            placed = spread(
                [self._x(found[i][0]) for i in chosen], [widths[i] for i in chosen], LEFT - 40, WIDTH - RIGHT + 16
            )
            for i, centre in zip(chosen, placed, strict=True):
                centres[i] = centre
        lanes_top = top + 30.0 * rows + 18

        def draw(lanes_bottom: float) -> list[str]:
            parts: list[str] = []
            for index, (time, label, when) in enumerate(found):
                x, y = self._x(time), top + 30.0 * (index % rows)
                parts.append(text(centres[index], y + 10, label, "call", "middle"))
                parts.append(text(centres[index], y + 22, when, "call-time", "middle"))
                parts.append(
                    path(((centres[index], y + 26), (centres[index], lanes_top - 14), (x, lanes_top - 2)), "lead")
                )
                parts.append(line(x, lanes_top - 2, x, lanes_bottom, "drop"))
            return parts

        return draw, lanes_top

    def _draw_lane(self, lane: _Lane, y: float) -> list[str]:
        indent = 38 if lane.minor else 24
        parts = [text(indent, y + LANE / 2 + 4, lane.label, "lane-sub" if lane.minor else "lane")]
        bar_top = y + (BAR_TOP if lane.marks else (LANE - BAR) / 2)
        mark_y = y + (MARK_Y if lane.bars else LANE / 2)
        edge = 0.0
        for start, end, kind, label, tip in lane.bars:
            left, right = self._x(max(start, self._low)), self._x(min(end, self._high))
            width = max(1.5, right - left)
            parts.append(box(left, bar_top, width, BAR, kind, title=tip, radius=min(3.0, width / 2)))
            if width > width_of(label, 11) + 8:
                parts.append(text(left + width / 2, bar_top + BAR / 2 + 4, label, "in-bar", "middle"))
            edge = max(edge, left + width)
        if lane.note and edge + width_of(lane.note, 11) + 8 < WIDTH - RIGHT:
            parts.append(text(edge + 8, bar_top + BAR / 2 + 4, lane.note, "by-bar"))
        for record in lane.marks:
            kind = record.party if record.party in ("client", "source", "target", "conductor", "guest") else "other"
            parts.append(diamond(self._x(record.time), mark_y, MARK, f"mark-{kind}", self._tip(record)))
        return parts

    def _tip(self, record: Record) -> str:
        words = meaning(record.event)
        first = f"{self._since(record.time)}  {record.party}  {record.event}"
        channel = f"  {record.channel}" if record.channel else ""
        detail = detail_text(record.detail)
        return "\n".join(part for part in (first + channel, words, detail) if part)


def _lanes(migration: Migration, span: tuple[float, float], *, per_channel: bool) -> list[_Lane]:
    low, high = span
    inside = [r for r in migration.records if low <= r.time <= high]
    lanes = [_vm_lane(migration, span)]
    for party, label in _PARTIES:
        lane = _Lane(label)
        lane.bars = [_bar(p) for p in migration.phases if p.party == party and p.end > low and p.start < high]
        lane.marks = [r for r in inside if r.party == party]
        if lane.bars or lane.marks:
            lanes.append(lane)
    clients = [r for r in inside if r.party not in dict(_PARTIES)]
    if not per_channel:
        names = ("link", "connect", "hand-over")
        lane = _Lane("Client", [_bar(p) for p in migration.phases if p.name in names and p.party == "client"], clients)
        if lane.bars or lane.marks:
            lanes.append(lane)
        return lanes
    picture = [_bar(p) for p in migration.phases if p.name == "first-picture"]
    whole = _Lane("Client", picture, [r for r in clients if not r.channel or r.event == "picture.first"])
    if whole.bars or whole.marks:
        lanes.append(whole)
    for session, channel in _channel_lanes(migration):
        lane = _channel_lane(migration, session, channel, high)
        lane.marks = [r for r in clients if (r.session, r.channel) == (session, channel) and r.event != "picture.first"]
        if lane.bars or lane.marks:
            lanes.append(lane)
    return lanes


def _channel_lane(migration: Migration, session: int, channel: str, high: float) -> _Lane:
    mine = [phase for phase in migration.phases if (phase.session, phase.channel) == (session, channel)]
    lane = _Lane(_channel_label(migration, session, channel), minor=True)
    lane.bars = [_bar(phase) for phase in mine if phase.name in ("flush", "data", "swap")]
    moved = next((phase for phase in mine if phase.name == "moved"), None)
    if moved is not None:
        lane.note = f"moved in {duration_text(moved.duration)}"
    here = [r for r in migration.records if (r.session, r.channel) == (session, channel)]
    told = next((r.time for r in here if r.event == "channel.migrate"), None)
    if told is not None and moved is None:
        start = max([told, *(end for _, end, *_ in lane.bars)])
        end = next((r.time for r in here if r.event == "channel.lost" and r.time >= told), high)
        label = f"never moved, {duration_text(end - start)}"
        lane.bars.append((start, end, "stopped", label, f"{channel} {label}"))
    return lane


def _channel_lanes(migration: Migration) -> Sequence[tuple[int, str]]:
    pairs = {(r.session, r.channel) for r in migration.records if r.party == "client" and r.channel}
    return sorted(pairs, key=lambda pair: (pair[0], not pair[1].startswith("main"), pair[1]))


def _channel_label(migration: Migration, session: int, channel: str) -> str:
    several = len({r.session for r in migration.records if r.session and r.party == "client"}) > 1
    return f"{channel} ({session % 10000})" if several else channel


def _bar(phase: Phase) -> tuple[float, float, str, str, str]:
    took = duration_text(phase.duration)
    where = f" of {phase.channel}" if phase.channel else ""
    return phase.start, phase.end, phase.name, f"{phase.label}, {took}", f"{phase.label}{where}: {took}"


def _vm_lane(migration: Migration, span: tuple[float, float]) -> _Lane:
    """Where the virtual machine ran, as far as QMP's events tell."""
    low, high = span
    lane = _Lane("Virtual machine")
    stop = migration.phase("stopped")
    halted = migration.first(STOP)
    if stop is None:
        end = min(high, halted.time) if halted else high
        lane.bars.append((low, end, "source", "runs at the source", "the VM runs at the source"))
        if halted:
            tip = "the VM was stopped at the source; nothing tells that it runs again"
            lane.bars.append((halted.time, high, "stopped", "stands still", tip))
        return lane
    resumed = next(r for r in migration.every("qmp.RESUME") if r.time >= stop.start)
    home = resumed.party == "source"
    lane.bars.append((low, stop.start, "source", "runs at the source", "the VM runs at the source"))
    took = duration_text(stop.duration)
    lane.bars.append((stop.start, stop.end, "stopped", f"stands still, {took}", f"the VM stands still for {took}"))
    where = "source" if home else "target"
    lane.bars.append((stop.end, high, where, f"runs at the {where}", f"the VM runs at the {where}"))
    return lane
