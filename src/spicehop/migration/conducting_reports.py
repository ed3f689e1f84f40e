"""What a source says of each client in SPICE_MIGRATE_COMPLETED. Our servers say it; QEMU's event has no data.

The source knows the scheme, which QMP does not show otherwise. Who is at the target, the target knows better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from spicehop.migration.conducting_census import items, text
from spicehop.migration.conducting_result import ChannelFate, Fate, SessionOutcome

MOST_CLIENTS = 1024
MOST_CHANNELS = 256
LONGEST_NAME = 40
LONGEST_REASON = 300

_SCHEMES = {fate.value: fate for fate in (Fate.SEAMLESS, Fate.SEMI_SEAMLESS, Fate.SWITCH_HOST)}
_ON_ITS_LINKS = (Fate.SEAMLESS, Fate.SEMI_SEAMLESS)
_CHANNELS = {"moved": ChannelFate.MOVED, "new": ChannelFate.NEW, "lost": ChannelFate.LOST}
_CARRIERS = ("client", "direct")


@dataclass(frozen=True, slots=True)
class ClientReport:
    """One client, as the source saw it go."""

    scheme: Fate
    lost: bool = False
    carrier: str = ""
    """`client` or `direct`, as in `SessionOutcome`."""
    reason: str = ""
    channels: Mapping[str, ChannelFate] = field(default_factory=dict)
    """By name, `display:0`."""
    channel_reasons: Mapping[str, str] = field(default_factory=dict)


def client_reports(data: Mapping[str, object]) -> dict[int, ClientReport]:
    """By connection id. What is not as it should be is left out: the rest may still be right."""
    found: dict[int, ClientReport] = {}
    for client in items(data.get("clients"))[:MOST_CLIENTS]:
        connection_id = client.get("connection-id")
        scheme, outcome = _SCHEMES.get(text(client.get("scheme"))), text(client.get("outcome"))
        if not isinstance(connection_id, int) or isinstance(connection_id, bool) or not 0 < connection_id < 1 << 32:
            continue
        if scheme is None or outcome not in ("moved", "lost"):
            continue
        carrier = text(client.get("carrier"))
        listed = [(_channel_name(one), one) for one in items(client.get("channels"))[:MOST_CHANNELS]]
        channels = {name: _CHANNELS.get(text(one.get("outcome"))) for name, one in listed}
        found[connection_id] = ClientReport(
            scheme,
            outcome == "lost",
            carrier if carrier in _CARRIERS else "",
            _reason(client),
            {name: fate for name, fate in channels.items() if fate is not None},
            {name: _reason(one) for name, one in listed if channels[name] is not None and _reason(one)},
        )
    return found


def _reason(entry: Mapping[str, object]) -> str:
    """It is shown on terminals."""
    return "".join(one if one.isprintable() else " " for one in text(entry.get("reason"))[:LONGEST_REASON])


def _channel_name(entry: Mapping[str, object]) -> str:
    kind, _, number = text(entry.get("channel"))[:LONGEST_NAME].rpartition("-")
    return f"{kind}:{number}"


def with_report(outcome: SessionOutcome, report: ClientReport | None) -> SessionOutcome:
    """`outcome`, which is what the target's channels show, with what the source knows besides."""
    if report is None or outcome.fate in (Fate.LEFT, Fate.UNKNOWN, Fate.STAYED):
        return outcome
    reason = report.reason or outcome.reason
    if outcome.fate is Fate.LOST:
        return replace(outcome, reason=reason)
    if report.lost:
        return replace(outcome, reason=f"the source gave it up: {reason}")
    if outcome.fate in (Fate.SWITCH_HOST, Fate.NEW_ID):
        if report.scheme in _ON_ITS_LINKS:
            return replace(outcome, reason=f"it left for its links at the target, and connected anew; {reason}")
        return replace(outcome, fate=Fate.SWITCH_HOST, reason=reason)
    if report.scheme not in _ON_ITS_LINKS:
        return outcome
    fates = {name: _fate(fate, report, name) for name, fate in outcome.channels.items()}
    said = [name for name, fate in fates.items() if name in report.channel_reasons and report.channels[name] is fate]
    lost = [name for name, fate in fates.items() if fate is ChannelFate.LOST]
    parts = [f"{', '.join(lost)} did not arrive" if lost else "", report.reason]
    return replace(
        outcome,
        fate=report.scheme,
        carrier=report.carrier if report.scheme is Fate.SEAMLESS else "",
        channels=fates,
        channel_reasons={name: report.channel_reasons[name] for name in said},
        reason="; ".join(part for part in parts if part),
    )


def _fate(there: ChannelFate, report: ClientReport, name: str) -> ChannelFate:
    """A channel that does not take its state along needs nothing of the source but to be connected at the target."""
    said = report.channels.get(name, there)
    if there is ChannelFate.LOST or (said is ChannelFate.LOST and report.scheme is not Fate.SEAMLESS):
        return there
    return said
