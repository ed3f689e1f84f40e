"""What happens to the machines that move a guest, and what they want done: events in, commands out."""

from __future__ import annotations

from dataclasses import dataclass

# How long the two sides wait for each other, in seconds. The source waits for RUNNING longer than the target's two
# leases together, which both begin after LOADED was sent: so both guests never run, unless clocks differ by a third.
GREETING_LIMIT = 10.0
LOAD_LIMIT = 20.0
RUN_LEASE = 4.0
"""From LOADED to RUN, at the target."""
DONE_LEASE = 4.0
"""From RUN to DONE, at the target: how long it lets its guest run without having heard that it may."""
CONFIRM_LIMIT = 12.0
STALL_LIMIT = 30.0
"""A peer that takes nothing, or says nothing, for so long is given up."""
ALIVE_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class MoveSettings:
    """What management can choose, in QEMU's units."""

    max_bandwidth: int = 128 * 1024 * 1024
    """Bytes a second while the guest runs; 0 for no limit."""
    downtime_limit: int = 300
    """Milliseconds that sending the rest may take."""
    pause_before_switchover: bool = False


# -- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The other server is reached."""


@dataclass(frozen=True, slots=True)
class BytesReceived:
    """Bytes from the other server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """There is no connection, or none any more."""

    reason: str
    closed: bool = False
    """The other side has closed it; it was not just the network that gave up."""


@dataclass(frozen=True, slots=True)
class WritingPaused:
    """The connection takes nothing more for now."""


@dataclass(frozen=True, slots=True)
class WritingResumed:
    """The connection takes bytes again."""


@dataclass(frozen=True, slots=True)
class StateTaken:
    """The answer to `TakeState`."""

    state: bytes


@dataclass(frozen=True, slots=True)
class GuestStood:
    """The answer to `StopGuest`."""

    state: bytes
    ran: bool


@dataclass(frozen=True, slots=True)
class GuestLoaded:
    """The answer to `LoadGuest`; `failure` is empty when it worked."""

    failure: str = ""


@dataclass(frozen=True, slots=True)
class ContinueRequested:
    """Management wants a paused migration to go on."""

    state: bytes = b""
    """The guest's, with what clients that have gone since it stood have left for it; empty where nothing is new."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Management wants the guest to stay."""


MoveEvent = (
    Connected
    | BytesReceived
    | ConnectionEnded
    | WritingPaused
    | WritingResumed
    | StateTaken
    | GuestStood
    | GuestLoaded
    | ContinueRequested
    | CancelRequested
)


# -- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendBytes:
    """Write this to the connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection when what was written has gone out."""


@dataclass(frozen=True, slots=True)
class TakeState:
    """Feed `StateTaken` with the guest's state as of now; it goes on running."""


@dataclass(frozen=True, slots=True)
class StopGuest:
    """Stop the guest and feed `GuestStood`."""


@dataclass(frozen=True, slots=True)
class LetRunAgain:
    """The guest stays here: let it run if it ran before."""

    ran: bool


@dataclass(frozen=True, slots=True)
class LetGo:
    """The guest lives on at the target; it stands still here."""


@dataclass(frozen=True, slots=True)
class LoadGuest:
    """Load this state and feed `GuestLoaded`; the guest stands still."""

    state: bytes


@dataclass(frozen=True, slots=True)
class RunArrived:
    """The guest is here; let it run if it ran at the source and management wants it to."""

    ran: bool


@dataclass(frozen=True, slots=True)
class StandStill:
    """Stop the guest again, and keep it."""


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """QMP's word for where the migration is."""

    status: str


MoveCommand = (
    SendBytes
    | Disconnect
    | TakeState
    | StopGuest
    | LetRunAgain
    | LetGo
    | LoadGuest
    | RunArrived
    | StandStill
    | StatusChanged
)
