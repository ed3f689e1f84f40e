"""The vocabulary of conducting a migration: what happens (events) and what shall be done (commands).

The conducting machine (`spicehop.migration.conducting`) takes events and gives commands; an adapter such as
`spicehop.conductor` turns commands into QMP and what QMP says into events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spicehop.migration.conducting_result import Result
    from spicehop.migration.preflight import Finding

NO_ARGUMENTS: Mapping[str, object] = {}


class Peer(StrEnum):
    """Which of the two QEMUs."""

    SOURCE = "source"
    TARGET = "target"


# -- what is asked for ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpiceAddress:
    """Where clients are sent: a host and at least one port; `None` for what the target's own answer shall fill in."""

    host: str
    port: int | None = None
    tls_port: int | None = None


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What the adapter knows about one QEMU before it has asked it anything."""

    host: str = ""
    """The host part of its QMP address; empty for a Unix socket, which means this machine."""
    command_line: tuple[str, ...] | None = None
    """The arguments it was started with, where they can be read."""

    @property
    def is_local(self) -> bool:
        """Whether this QEMU runs on this machine."""
        return self.host in ("", "localhost", "::1") or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class Plan:
    """One migration, as asked for."""

    source: PeerFacts = PeerFacts()
    target: PeerFacts = PeerFacts()
    spice: SpiceAddress | None = None
    """Where clients are sent, when it is not what the target's query-spice says."""
    cert_subject: str = ""
    """The subject that clients shall find in the target's certificate."""
    migration_uri: str = ""
    """Where the machine's state is sent, when it is not what the target's query-migrate says."""
    ticket: str | None = field(default=None, repr=False)
    """The ticket to set at the target before clients are told."""
    ticket_is_set: bool = False
    """The target's ticket was set by other means."""
    seamless: bool | None = None
    """What the caller knows of `seamless-migration` at the source; None leaves it to the command line."""
    keep_source: bool = False
    """Do not end the source's QEMU afterwards."""
    require_links: bool = False
    """Go back when a session is not linked to the target in time, instead of letting it reconnect there."""
    probe: bool = True
    """Try from here whether somebody answers where clients are sent."""
    max_bandwidth: int | None = None
    """Bytes a second."""
    downtime_limit: int | None = None
    """Milliseconds."""
    time_limit: float = 600.0
    """Seconds from the start until the machine has moved; then the migration is cancelled."""


# -- events: what happened --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    """Both QEMUs are connected and their listeners are open: the migration may begin."""


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """A command succeeded."""

    request: int
    """The number of the `Execute` that it answers."""
    value: object = None
    """What QMP returned."""


@dataclass(frozen=True, slots=True)
class RefusalReceived:
    """A command was answered by an error."""

    request: int
    """The number of the `Execute` that it answers."""
    description: str
    """QEMU's own words."""


@dataclass(frozen=True, slots=True)
class EventReceived:
    """A QEMU told of something on its own account."""

    peer: Peer
    name: str
    """QMP's name of the event."""
    data: Mapping[str, object] = field(default_factory=dict)
    """QMP's data."""


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The QMP connection to a QEMU ended."""

    peer: Peer
    reason: str = "its QMP connection ended"


@dataclass(frozen=True, slots=True)
class PortProbed:
    """The answer to `ProbePort`."""

    failure: str = ""
    """Why nobody answers there; empty when somebody does."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The user wants the migration undone."""


Event = Begun | ReplyReceived | RefusalReceived | EventReceived | PeerLost | PortProbed | CancelRequested


# -- commands: what shall be done -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a QMP command; answer with `ReplyReceived` or `RefusalReceived`."""

    request: int
    """Number to give back with the answer."""
    peer: Peer
    command: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = "{...}" if self.command == "set_password" else repr(dict(self.arguments))
        return f"Execute({self.request}, {self.peer.value}, {self.command}, {shown})"


@dataclass(frozen=True, slots=True)
class ProbePort:
    """Open and close a TCP connection; answer with `PortProbed`."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StepReported:
    """A step begins, or something worth a line happened."""

    step: str
    """Its short name, for traces: `linking`, `migrating`."""
    sentence: str
    """The same for people."""


@dataclass(frozen=True, slots=True)
class ProgressReported:
    """How far the machine's memory has been copied."""

    status: str
    """QEMU's migration status."""
    transferred: int
    """Bytes sent so far."""
    remaining: int
    """Bytes of memory still to be sent in this pass."""
    total: int
    """Bytes of memory."""


@dataclass(frozen=True, slots=True)
class FindingReported:
    """Something found before anything was changed."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Finished:
    """The last command: nothing follows."""

    result: Result


Command = Execute | ProbePort | StepReported | ProgressReported | FindingReported | Finished
