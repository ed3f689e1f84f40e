"""What became of a migration: the machine, each session, each channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from spicehop.migration.preflight import Finding

NOT_SHOWN = "QMP shows only that the connection id stayed: seamless or semi-seamless"


class Outcome(StrEnum):
    """How it ended."""

    MOVED = "moved"
    """The machine runs at the target and so do all sessions."""
    MOVED_WITH_LOSS = "moved-with-loss"
    """The machine is at the target, but not every session."""
    REFUSED = "refused"
    """Nothing was changed."""
    ROLLED_BACK = "rolled-back"
    """The machine runs at the source."""
    UNVERIFIED = "unverified"
    """It could not be verified where the machine runs."""


class Fate(StrEnum):
    """What became of a session, by which scheme where that is known."""

    SEAMLESS = "seamless"
    SEMI_SEAMLESS = "semi-seamless"
    SWITCH_HOST = "switch-host"
    SAME_ID = "same-connection-id"
    """Seamless or semi-seamless: QMP does not show which."""
    NEW_ID = "new-connection-id"
    """At the target under a new id, one of several: switch-host."""
    STAYED = "stayed"
    """Still at the source."""
    LEFT = "left"
    """The client disconnected before the switch-over."""
    LOST = "lost"
    UNKNOWN = "unknown"


class ChannelFate(StrEnum):
    """What became of one channel."""

    MOVED = "moved"
    NEW = "new"
    """On the link that was made ahead, without its state."""
    ANEW = "connected-anew"
    STAYED = "stayed"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """What became of one session."""

    connection_id: int
    """As at the source, unsigned."""
    fate: Fate
    channels: Mapping[str, ChannelFate]
    """By name, `display:0`."""
    reason: str = ""
    """Why not seamless, or what is not known."""
    carrier: str = ""
    """The way its state went when it was seamless, where the source tells: `direct` (host to host) or `client`."""
    channel_reasons: Mapping[str, str] = field(default_factory=dict)
    """By channel, where the source has something to say."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When things happened, on the adapter's clock; None for what did not."""

    began: float = 0.0
    informed: float | None = None
    """Clients were told (client_migrate_info)."""
    linked: float | None = None
    """Every channel was linked to the target."""
    launched: float | None = None
    """The machine's migration began."""
    stopped: float | None = None
    """STOP at the source."""
    completed: float | None = None
    """The machine's migration was completed."""
    resumed: float | None = None
    """RESUME at the target."""
    handed_over: float | None = None
    """SPICE_MIGRATE_COMPLETED."""
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The whole of it. `sentence` says what happened and where machine and sessions are now."""

    outcome: Outcome
    code: str
    """Stable name of how it ended, for scripts: `moved`, `cancelled`, `migration-failed`."""
    sentence: str
    sessions: tuple[SessionOutcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    timing: Timing = field(default_factory=Timing)
    source_ended: bool = False
    """The source's QEMU has ended."""

    @property
    def succeeded(self) -> bool:
        """Whether machine and sessions are where they were asked to be."""
        return self.outcome is Outcome.MOVED

    def as_json(self) -> dict[str, object]:
        """For `--json`: times in seconds from the begin."""
        times = {
            name: None if moment is None else round(moment - self.timing.began, 3)
            for name in ("informed", "linked", "launched", "stopped", "completed", "resumed", "handed_over", "finished")
            for moment in (getattr(self.timing, name),)
        }
        stopped, resumed = self.timing.stopped, self.timing.resumed
        return {
            "outcome": self.outcome.value,
            "code": self.code,
            "sentence": self.sentence,
            "source_ended": self.source_ended,
            "sessions": [
                {
                    "connection_id": session.connection_id,
                    "scheme": session.fate.value,
                    "carrier": session.carrier,
                    "reason": session.reason,
                    "channels": {name: fate.value for name, fate in session.channels.items()},
                    "channel_reasons": dict(session.channel_reasons),
                }
                for session in self.sessions
            ],
            "findings": [
                {"severity": finding.severity.value, "code": finding.code, "sentence": finding.sentence}
                for finding in self.findings
            ],
            "times": times,
            "stopped_ms": None if stopped is None or resumed is None else round((resumed - stopped) * 1000, 1),
        }


@dataclass(frozen=True, slots=True)
class ClientStatement:
    """One record of our own client's trace, as far as it tells how its session moved."""

    event: str
    session: int = 0
    channel: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


_DECIDABLE = (Fate.SAME_ID, Fate.NEW_ID, Fate.SWITCH_HOST, Fate.SEMI_SEAMLESS, Fate.SEAMLESS)
_SCHEMES = {fate.value: fate for fate in (Fate.SEAMLESS, Fate.SEMI_SEAMLESS, Fate.SWITCH_HOST)}


def decided(result: Result, statements: Iterable[ClientStatement]) -> Result:
    """`result` with the schemes that one client's own trace tells, which QMP cannot.

    The trace is of one session; with several, the one whose connection id it has used is meant.
    """
    statements = list(statements)
    used = {statement.session & 0xFFFFFFFF for statement in statements}
    done = next((one for one in reversed(statements) if one.event == "migration.done"), None)
    fate = None if done is None else _SCHEMES.get(str(done.detail.get("scheme")))
    if done is None or fate is None:
        return result

    def told(session: SessionOutcome) -> SessionOutcome:
        if session.fate not in _DECIDABLE or (len(result.sessions) > 1 and session.connection_id not in used):
            return session
        reason = "" if fate is Fate.SEAMLESS else str(done.detail.get("reason") or session.reason)
        return replace(session, fate=fate, reason=reason)

    return replace(result, sessions=tuple(told(session) for session in result.sessions))
