"""`Trace`: what the shells call to say what they do."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType, TracebackType

from spicehop.errors import StateError
from spicehop.trace.record import FIELDS, Record
from spicehop.trace.redaction import redacted
from spicehop.trace.sinks import Sink

_OWN_FIELDS = frozenset(FIELDS)


class Trace:
    """Makes records for one party and hands them to its sinks.

    `clock` gives seconds of the machine's monotonic clock (`time.monotonic`), or a simulator's.
    A trace without sinks costs next to nothing, so callers need not ask whether there is one.
    """

    def __init__(self, party: str, clock: Callable[[], float], *sinks: Sink) -> None:
        self.party = party
        self._clock = clock
        self._sinks = sinks

    def record(
        self,
        event: str,
        /,
        *,
        session: int = 0,
        channel: str = "",
        generation: int = 0,
        at: float | None = None,
        **detail: object,
    ) -> None:
        """Record `event` now, or at the time `at` when another clock reading is nearer to the truth.

        `detail` is redacted by field name (`spicehop.trace.redaction`) before any sink sees it.
        """
        if not self._sinks:
            return
        if not _OWN_FIELDS.isdisjoint(detail):
            raise StateError(f"a trace record has its own meaning for {', '.join(sorted(_OWN_FIELDS & set(detail)))}")
        shown = MappingProxyType({name: redacted(name, value) for name, value in detail.items()})
        time = self._clock() if at is None else at
        record = Record(time, self.party, event, session, channel, generation, shown)
        for sink in self._sinks:
            sink.accept(record)

    def for_party(self, party: str) -> Trace:
        """A trace for another party into the same sinks: the conductor records what both QEMUs say."""
        return Trace(party, self._clock, *self._sinks)

    def close(self) -> None:
        """Close the sinks. Traces made with `for_party` share them."""
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
