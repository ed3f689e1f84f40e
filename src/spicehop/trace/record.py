"""One entry of the timeline, and its form as a line of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from spicehop.errors import StateError, UsageError
from spicehop.trace.redaction import JSON, redacted

FIELDS = ("t", "party", "event", "session", "channel", "generation")
"""The keys of a line that are not detail, in the order in which they are written."""

_NO_DETAIL: Mapping[str, JSON] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened, with who saw it and when.

    `time` is CLOCK_MONOTONIC in seconds: comparable between all processes of one machine, and only there.
    """

    time: float
    """Seconds on the machine's monotonic clock."""
    party: str
    """Who saw it: `client`, `source`, `target`, `conductor`, `guest`."""
    event: str
    """A dotted lower-case name (`spicehop.trace.events`); QMP's own events keep their name: `qmp.STOP`."""
    session: int = 0
    """The session's connection id, 0 for what concerns no single session."""
    channel: str = ""
    """`main`, `display:0`, ..., empty for what concerns no single channel."""
    generation: int = 0
    """How many times the session had moved."""
    detail: Mapping[str, JSON] = field(default_factory=lambda: _NO_DETAIL)
    """What else is known; redacted before it came here."""

    def to_line(self) -> str:
        """The record as one line of JSON, without the line end."""
        entry: dict[str, object] = {
            "t": round(self.time, 6),
            "party": self.party,
            "event": self.event,
            "session": self.session,
            "channel": self.channel,
            "generation": self.generation,
        }
        for name in self.detail:
            if name in entry:
                raise StateError(f"a trace record cannot have a detail called {name!r}")
        entry.update(self.detail)
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Record:
        """The record that `line` holds. Raises UsageError, with what is wrong, for anything else.

        Lines can come from anywhere, so their detail is redacted once more.
        """
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise UsageError("this is not a line of JSON") from None
        if not isinstance(entry, dict):
            raise UsageError("this is JSON, but not an object")
        time, party, event = entry.get("t"), entry.get("party"), entry.get("event")
        if isinstance(time, bool) or not isinstance(time, (int, float)) or not math.isfinite(time):
            raise UsageError("there is no time in seconds under 't'")
        if not isinstance(party, str) or not isinstance(event, str) or not party or not event:
            raise UsageError("there is no text under 'party' and 'event'")
        session, generation = entry.get("session", 0), entry.get("generation", 0)
        channel = entry.get("channel", "")
        if type(session) is not int or type(generation) is not int or not isinstance(channel, str):
            raise UsageError("'session' and 'generation' must be whole numbers, and 'channel' a text")
        detail = {name: redacted(name, value) for name, value in entry.items() if name not in FIELDS}
        return cls(float(time), party, event, session, channel, generation, MappingProxyType(detail))
