"""What a conducted migration has learnt so far, and what follows from it."""

from __future__ import annotations

from spicehop.migration.conducting_census import Census, Sessions, mapping, text
from spicehop.migration.conducting_events import Peer, Plan
from spicehop.migration.conducting_reports import ClientReport, with_report
from spicehop.migration.conducting_result import Fate, SessionOutcome
from spicehop.migration.conducting_verdict import count, sessions_moved, sessions_stayed
from spicehop.migration.preflight import Finding, PeerSurvey, seamless_at
from spicehop.wire.constants import ChannelType

LINK_LIMIT = 9.0
"""Seconds for all clients to link; libspice-server itself gives up after 10 (dossier C3)."""


class Memory:
    """The conducting machine's memory. Only the machine writes to it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seamless = seamless_at(plan)
        self.census = {peer: Census() for peer in Peer}
        self.answers: dict[Peer, dict[str, object]] = {peer: {} for peer in Peer}
        """The last answer to each query."""
        self.survey = {peer: PeerSurvey() for peer in Peer}
        self.findings: list[Finding] = []
        self.lost: dict[Peer, str] = {}
        """Which QEMU cannot be asked any more, and why."""
        self.times: dict[str, float] = {}
        """Names as in `Timing`."""
        self.source_ran = True
        """Whether the machine ran when it was first asked."""
        self.before: Sessions = {}
        """The sessions that are to move."""
        self.informed: Sessions = {}
        """Those that were told of the target."""
        self.linked: frozenset[int] = frozenset()
        """Those of them with every channel linked to the target."""
        self.strangers: frozenset[int] = frozenset()
        """Connection ids that were at the target from the start."""
        self.announced: frozenset[int] = frozenset()
        """Connection ids that the target was told to let in."""
        self.refused_before = 0
        """Connections refused by the target before the clients were told."""
        self.handed_over = False
        """SPICE_MIGRATE_COMPLETED has come."""
        self.reports: dict[int, ClientReport] = {}
        """What it said of the clients, by connection id."""
        self.code = ""
        """Why it goes back: `Result.code`, once that is decided."""
        self.cause = ""
        """The same as a sentence."""

    def status_of(self, peer: Peer) -> str:
        """The run state in the last query-status answer; empty when there is none."""
        return text(mapping(self.answers[peer].get("query-status")).get("status"))

    @property
    def target_alive(self) -> bool:
        """Whether the machine is at the target as it was at the source: running, or not."""
        status = self.status_of(Peer.TARGET)
        return status == "running" or (not self.source_ran and status not in ("", "inmigrate"))

    def freeze_sessions(self) -> None:
        """The machine has moved: the sessions that are to follow it are those that are at the source now."""
        here = self.census[Peer.SOURCE].sessions
        staying = {one: keys for one, keys in self.informed.items() if one in here}
        self.before = {**staying, **{one: keys for one, keys in here.items() if one not in self.informed}}

    def clients_here(self) -> frozenset[int]:
        """Connection ids of the clients at the source."""
        here = self.census[Peer.SOURCE].sessions
        return frozenset(one for one, keys in here.items() if one and any(key.kind == ChannelType.MAIN for key in keys))

    def missing_links(self) -> dict[int, list[str]]:
        """By session: the channels at the source that are not at the target yet. Who has left is not waited for."""
        here, there = self.census[Peer.SOURCE].sessions, self.census[Peer.TARGET].sessions
        missing = {one: here.get(one, frozenset()) - there.get(one, frozenset()) for one in self.informed}
        return {one: [key.name for key in sorted(keys)] for one, keys in missing.items() if keys}

    def moved_sessions(self) -> tuple[SessionOutcome, ...]:
        """What became of the sessions, by what the target has now."""
        left = tuple(
            SessionOutcome(one, Fate.LEFT, {}, "its client disconnected before the machine had moved")
            for one in self.informed
            if one not in self.before
        )
        moved = sessions_moved(
            self.before,
            {} if Peer.TARGET in self.lost else self.census[Peer.TARGET].sessions,
            seamless=self.seamless,
            informed=self.informed,
            linked=self.linked,
            strangers=self.strangers,
        )
        return left + tuple(with_report(one, self.reports.get(one.connection_id)) for one in moved)

    def stayed_sessions(self) -> tuple[SessionOutcome, ...]:
        """What became of the sessions after going back, by what the source has now."""
        return sessions_stayed(self.before, self.census[Peer.SOURCE].sessions)

    def untouched_sessions(self) -> tuple[SessionOutcome, ...]:
        """The sessions when nothing was done to them."""
        return sessions_stayed(self.before, self.before)

    @property
    def late_sentence(self) -> str:
        return f"The machine had not moved within {self.plan.time_limit:g} s."

    @property
    def target_lost_sentence(self) -> str:
        return f"The target's QEMU was lost ({self.lost.get(Peer.TARGET, '')})."

    @property
    def unlinked_sentence(self) -> str:
        """Who did not link to the target in time, and what that may come from."""
        missing, there = self.missing_links(), self.census[Peer.TARGET]
        refused = there.refused_links - self.refused_before
        what = count(len(missing), "session")
        if any(one in there.sessions for one in missing):
            what = f"{count(sum(map(len, missing.values())), 'channel')} of {what}"
        sentence = f"{what} did not link to the target within {LINK_LIMIT:g} s"
        if refused:
            sentence += f"; {count(refused, 'connection')} ended there before the link: the ticket may be a wrong one"
        return f"{sentence}."
