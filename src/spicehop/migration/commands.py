"""What a client session tells its adapter to do, and what it tells the application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spicehop.wire.constants import channel_name
from spicehop.wire.layout import Message

ChannelKey = tuple[int, int]
"""Channel type and channel id."""


def name_of(key: ChannelKey) -> str:
    """The channel's name, for example `display:0`."""
    return channel_name(*key)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; a port of 0 means none."""

    host: str
    port: int
    tls_port: int = 0
    cert_subject: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port or self.tls_port}"


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; answer with `connection_made` or `connection_lost`."""

    connection: int
    address: Address


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EncryptTicket:
    """Encrypt the session's password for this key and call `ticket_encrypted`."""

    connection: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class PauseReading:
    """Read nothing more from this connection for now."""

    connection: int


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Read from this connection again."""

    connection: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Send what is written, then close; drop what still arrives, so that the peer sees no reset."""

    connection: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Close at once."""

    connection: int


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """A channel is there for the first time, or begins anew after a migration without its state."""

    key: ChannelKey
    anew: bool


@dataclass(frozen=True, slots=True)
class ChannelSwapped:
    """A channel goes on at the target with its state."""

    key: ChannelKey


@dataclass(frozen=True, slots=True)
class ChannelLost:
    """A channel is gone, and whether it is being linked again."""

    key: ChannelKey
    reason: str
    restoring: bool


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message of a channel, for the application."""

    key: ChannelKey
    message: Message


@dataclass(frozen=True, slots=True)
class MigrationStarted:
    """The source has named a target."""

    target: Address


@dataclass(frozen=True, slots=True)
class MigrationAborted:
    """The migration will not take place; the session is where it was."""

    reason: str


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """What a migration did to one channel: moved with `data_bytes` of state, restarted, or lost with a reason."""

    channel: str
    how: str
    data_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MigrationOutcome:
    """One finished migration; times are the session's clock, `reason` says why it was not seamless."""

    scheme: str
    reason: str
    source: str
    target: str
    generation: int
    started: float
    switched: float
    finished: float
    channels: tuple[ChannelOutcome, ...]


@dataclass(frozen=True, slots=True)
class MigrationFinished:
    """The session is at the target."""

    outcome: MigrationOutcome


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The first server has accepted the session and named its channels."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session is over; `error` is None when the application closed it."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class Noted:
    """A record for the trace; never a password, a key or clipboard contents."""

    event: str
    channel: str = ""
    detail: Mapping[str, str | int | float | bool] = field(default_factory=dict)


SessionEvent = (
    ChannelOpened
    | ChannelSwapped
    | ChannelLost
    | MessageReceived
    | MigrationStarted
    | MigrationAborted
    | MigrationFinished
    | SessionOpened
    | SessionEnded
    | Noted
)


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the application."""

    event: SessionEvent


Command = Connect | Send | EncryptTicket | PauseReading | ResumeReading | Finish | Abort | Emit
