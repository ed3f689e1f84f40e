"""What a server asks whoever sends its clients to another server."""

from __future__ import annotations

from typing import Protocol

from spicehop.channels.serving.channel import ServerEvent
from spicehop.server.served import ServedChannel
from spicehop.server.session import ServedSession
from spicehop.wire.layout import Message


class LeavingDesk(Protocol):
    """Told what clients say and do; has its turn after all of them have been written to."""

    @property
    def invites(self) -> bool:
        """Whether clients are told of a target, and link it: channels that they link here now they lack there."""

    @property
    def guest_is_gone(self) -> bool:
        """Whether what clients have left that are on their way is another server's business."""

    def message_received(self, session: ServedSession, message: Message) -> None:
        """A client says how far its migration is."""

    def channel_gone(self, session: ServedSession, served: ServedChannel, reason: str) -> None:
        """A channel's connection has ended."""

    def channel_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """A channel that leaves is flushed, or the client has said more on it."""

    def turn(self, now: float) -> None:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """When something is due although nothing happens."""


class NobodyLeaves:
    """A server that sends nobody anywhere: stray answers of clients mean nothing."""

    invites = False
    guest_is_gone = False

    def message_received(self, session: ServedSession, message: Message) -> None:
        """Not of interest."""

    def channel_gone(self, session: ServedSession, served: ServedChannel, reason: str) -> None:
        """Not of interest."""

    def channel_event(self, session: ServedSession, served: ServedChannel, event: ServerEvent) -> None:
        """Does not happen."""

    def turn(self, now: float) -> None:
        """Nothing is ever due."""

    def next_deadline(self) -> float | None:
        """Never."""
        return None
