"""What can be known to go wrong before anything is changed: a sentence for each finding.

`survey_of` reads one QEMU's answers, `examine` compares two surveys with the plan. Both are pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from spicehop.migration.conducting_census import Sessions, items, mapping, sessions_of, text, whole
from spicehop.migration.conducting_events import PeerFacts, Plan, SpiceAddress

WILDCARDS = frozenset({"", "*", "0.0.0.0", "::", "[::]"})
"""What query-spice calls the host of a server that listens on every address."""

QUERIES = ("query-version", "query-status", "query-spice", "query-migrate", "qom-get", "query-commands")
"""What each QEMU is asked; qom-get reads the type of /machine."""

ANNOUNCE = "announce-clients"
"""Tells a server of ours which clients will come, so that it lets in nobody else. QEMU's lets in whoever names a
connection id and has the ticket (dossier C5)."""


class Severity(StrEnum):
    """Whether a migration is possible in spite of a finding."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing before a migration."""

    severity: Severity
    code: str
    """Stable name, for scripts: `target-not-incoming`."""
    sentence: str
    """What is wrong and what to do about it."""


@dataclass(frozen=True, slots=True)
class PeerSurvey:
    """What one QEMU said about itself."""

    version: tuple[int, ...] = ()
    status: str = ""
    """The run state of query-status: `running`, `inmigrate`."""
    spice: bool = False
    spice_host: str = ""
    spice_port: int | None = None
    spice_tls_port: int | None = None
    auth: str = ""
    """`spice` with ticketing, `none` without."""
    sessions: Sessions = field(default_factory=dict)
    migration_status: str = ""
    addresses: tuple[Mapping[str, object], ...] = ()
    """Where it waits for an incoming migration."""
    machine: str = ""
    """Machine type, `pc-i440fx-7.2`; empty when it was not told."""
    is_spicehop: bool = False
    """A server of ours: it wants to know who comes, moves several clients seamlessly, and says what became of them."""


def survey_of(answers: Mapping[str, object]) -> PeerSurvey:
    """Read the answers to `QUERIES`, by command. What was not answered stays empty."""
    version = mapping(mapping(answers.get("query-version")).get("qemu"))
    spice = mapping(answers.get("query-spice"))
    migration = mapping(answers.get("query-migrate"))
    return PeerSurvey(
        version=tuple(whole(version.get(part)) for part in ("major", "minor", "micro")) if version else (),
        status=text(mapping(answers.get("query-status")).get("status")),
        spice=spice.get("enabled") is True,
        spice_host=text(spice.get("host")),
        spice_port=whole(spice.get("port")) or None,
        spice_tls_port=whole(spice.get("tls-port")) or None,
        auth=text(spice.get("auth")),
        sessions=sessions_of(spice.get("channels")),
        migration_status=text(migration.get("status")),
        addresses=tuple(items(migration.get("socket-address"))),
        machine=text(answers.get("qom-get")).removesuffix("-machine"),
        is_spicehop=any(one.get("name") == ANNOUNCE for one in items(answers.get("query-commands"))),
    )


def spice_options(command_line: Sequence[str] | None) -> Mapping[str, str] | None:
    """The suboptions of `-spice` in QEMU's arguments; None when they cannot be known from there."""
    if not command_line:
        return None
    program = command_line[0].rsplit("/", 1)[-1]
    if not (program.startswith(("qemu", "kvm"))):
        return None  # the socket was opened by another program, which passed it on
    found: dict[str, str] | None = None
    for option, value in pairwise(command_line[1:]):
        if option in ("-readconfig", "--readconfig"):
            return None
        if option in ("-spice", "--spice"):
            found = found or {}
            for part in value.replace(",,", "\0").split(","):
                name, _, setting = part.partition("=")
                found[name] = setting.replace("\0", ",") or "on"
    return found


def seamless_at(plan: Plan) -> bool | None:
    """Whether the source was started with `seamless-migration=on`; None when that is not known."""
    if plan.seamless is not None:
        return plan.seamless
    options = spice_options(plan.source.command_line)
    if options is None:
        return None
    return options.get("seamless-migration", "off") in ("on", "yes", "true", "y")


def client_address(plan: Plan, target: PeerSurvey) -> SpiceAddress:
    """Where clients are sent: what was asked for, completed by what the target says."""
    if plan.spice is None:
        return SpiceAddress(target.spice_host, target.spice_port, target.spice_tls_port)
    if plan.spice.port is None and plan.spice.tls_port is None:
        return SpiceAddress(plan.spice.host, target.spice_port, target.spice_tls_port)
    return plan.spice


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def listening_uri(plan: Plan) -> str:
    """Where a target that was started with `-incoming defer` shall wait; empty when that cannot be guessed."""
    if plan.migration_uri:
        return plan.migration_uri
    if plan.target.is_local:
        return "tcp:127.0.0.1:0" if plan.source.is_local else ""
    return f"tcp:{_bracketed(plan.target.host)}:0"


def sending_uri(plan: Plan, addresses: Sequence[Mapping[str, object]]) -> str:
    """Where the source shall send the machine, given the target's `socket-address`; empty when that is not known."""
    if plan.migration_uri and not plan.migration_uri.endswith(":0"):
        return plan.migration_uri
    together = plan.source.is_local and plan.target.is_local
    for address in sorted(addresses, key=lambda entry: entry.get("ipv4") is not True):
        if address.get("type") == "inet":
            host = text(address.get("host"))
            if host in WILDCARDS:
                host = plan.target.host or "127.0.0.1"
            if together or not PeerFacts(host).is_local:
                return f"tcp:{_bracketed(host)}:{text(address.get('port'))}"
        elif address.get("type") == "unix" and together:
            return f"unix:{text(address.get('path'))}"
    return ""


def is_deferred(target: PeerSurvey) -> bool:
    """Whether the target has not been told yet where to wait."""
    return not target.addresses


class _Findings:
    def __init__(self) -> None:
        self.all: list[Finding] = []

    def error(self, code: str, sentence: str) -> None:
        self.all.append(Finding(Severity.ERROR, code, sentence))

    def warning(self, code: str, sentence: str) -> None:
        self.all.append(Finding(Severity.WARNING, code, sentence))


def examine(plan: Plan, source: PeerSurvey, target: PeerSurvey) -> tuple[Finding, ...]:
    """Everything that speaks against this migration, errors first."""
    found = _Findings()
    _examine_machines(found, source, target)
    if source.spice and target.spice:
        _examine_addresses(found, plan, source, target)
        _examine_ticket(found, plan, target)
        _examine_clients(found, plan, source, target)
    return tuple(sorted(found.all, key=lambda finding: finding.severity is not Severity.ERROR))


def _examine_machines(found: _Findings, source: PeerSurvey, target: PeerSurvey) -> None:
    if source.status == "inmigrate":
        found.error(
            "source-incoming",
            "The source is itself waiting for an incoming migration; SOURCE and TARGET may be exchanged.",
        )
    elif source.status == "postmigrate":
        found.error("source-moved", "The source's machine has already moved away (its state is 'postmigrate').")
    elif source.migration_status in ("setup", "active", "device", "cancelling", "pre-switchover", "postcopy-active"):
        found.error(
            "source-busy", f"The source is already migrating (status '{source.migration_status}'); wait or cancel that."
        )
    if target.status != "inmigrate":
        found.error(
            "target-not-incoming",
            f"The target is not waiting for a machine (its state is '{target.status}'); "
            "start it with -incoming defer.",
        )
    for name, survey in (("source", source), ("target", target)):
        if not survey.spice:
            found.error(f"{name}-spice-off", f"SPICE is off at the {name}; start its QEMU with -spice.")
    if source.version and target.version and target.version[:2] < source.version[:2]:
        found.error(
            "versions",
            f"The target's QEMU {'.'.join(map(str, target.version))} is older than the source's "
            f"{'.'.join(map(str, source.version))}; a machine moves to the same or a newer version.",
        )
    if source.machine and target.machine and source.machine != target.machine:
        found.error(
            "machine-types",
            f"The machine types differ: '{source.machine}' at the source, '{target.machine}' at the target; "
            "start the target with the source's -M.",
        )
    if source.status not in ("running", "inmigrate", "postmigrate"):
        found.warning(
            "source-not-running",
            f"The source's machine is not running (its state is '{source.status}'): "
            "its SPICE server does not settle its queues before the switch-over.",
        )


def _examine_addresses(found: _Findings, plan: Plan, source: PeerSurvey, target: PeerSurvey) -> None:
    address = client_address(plan, target)
    if plan.spice is None and address.host in WILDCARDS:
        found.error(
            "target-wildcard",
            f"The target's SPICE server listens on every address ('{address.host}'); "
            "say with --spice HOST which of them clients can reach.",
        )
    if address.port is None and address.tls_port is None:
        found.error(
            "target-without-port",
            "The target's SPICE server has neither a port nor a TLS port; "
            "start it with port= or tls-port=, or give an address with --spice HOST:PORT.",
        )
    if target.status != "inmigrate":
        return
    if is_deferred(target):
        if not listening_uri(plan):
            found.error(
                "no-migration-address",
                "The source is on another host and the target was started with -incoming defer; "
                "say with --uri tcp:HOST:PORT where the machine shall be sent.",
            )
    elif not sending_uri(plan, target.addresses):
        found.error(
            "no-migration-address",
            "The source cannot reach the address where the target waits for the machine; "
            "give one that it can reach with --uri.",
        )


def _examine_ticket(found: _Findings, plan: Plan, target: PeerSurvey) -> None:
    if target.auth == "spice":
        options = spice_options(plan.target.command_line) or {}
        given = plan.ticket is not None or plan.ticket_is_set
        if not given and not options.keys() & {"password", "password-secret"}:
            found.error(
                "ticket-missing",
                "The target asks clients for a ticket, and none is known to be set there; give the session's ticket "
                "with --ticket-file, or say --ticket-set when somebody else has set it.",
            )
    elif plan.ticket is not None:
        found.warning("ticket-unused", "The target does not ask for tickets; the one in --ticket-file is not used.")


def _examine_clients(found: _Findings, plan: Plan, source: PeerSurvey, target: PeerSurvey) -> None:
    seamless = seamless_at(plan)
    several = several_clients(plan, source, source.sessions)
    if several is not None:
        found.all.append(several)
    elif seamless is None and source.sessions and not source.is_spicehop:
        found.warning(
            "seamless-unknown",
            "Whether seamless-migration is on at the source is not known: QMP does not tell, "
            "and its command line cannot be read from here.",
        )
    if seamless is False and source.sessions:
        found.warning(
            "seamless-off",
            "seamless-migration is off at the source: clients keep their windows, but their channels "
            "start anew and lose what is under way.",
        )
    if not source.sessions:
        found.warning("no-clients", "No client is connected to the source: only the machine moves.")
    if target.sessions:
        found.warning(
            "target-has-clients",
            "A client is already connected to the target; it will be disconnected when a session arrives.",
        )


def several_clients(plan: Plan, source: PeerSurvey, sessions: Sessions) -> Finding | None:
    """The finding for several clients at a libspice that may try a seamless migration: it would abort (dossier C1.7).

    Seen with 0.15.1: client_migrate_info ends QEMU, and the machine is lost.
    """
    seamless = seamless_at(plan)
    if len(sessions) < 2 or seamless is False or source.is_spicehop:
        return None
    known = "is on" if seamless else "may be on"
    way = "" if seamless else ", or say --seamless off if it was started without"
    return Finding(
        Severity.ERROR,
        "several-clients",
        f"{len(sessions)} clients are connected and seamless-migration {known} at the source: its QEMU would abort and "
        f"the machine would be lost; leave one client connected{way}.",
    )
