"""The connections of a client session, before and after they are linked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from spicehop.channels.link import ClientLink, Linked
from spicehop.migration.commands import Address, ChannelKey
from spicehop.wire.link import Capabilities

LINK_DEADLINE = 10.0
"""Seconds for connecting and linking one channel; spice-gtk and libspice use 10 s as well (dossier C3)."""


class Role(Enum):
    """What a connection is to its session; a kept one is the source's, to which a swapped channel may return."""

    CURRENT = "current"
    TARGET = "target"
    KEPT = "kept"
    LEFT = "left"


@dataclass(slots=True)
class Link:
    """One connection: its link stage, then what is kept of it while it is parked at a target."""

    id: int
    key: ChannelKey
    address: Address
    role: Role
    machine: ClientLink
    deadline: float | None
    linked: Linked | None = None
    made: bool = False
    held: bytearray = field(default_factory=bytearray)
    """Bytes that came after the link stage while the connection was parked."""

    def take_linked(self) -> Linked:
        """The link with everything held put behind it, for the channel that takes the connection over."""
        assert self.linked is not None
        linked = Linked(self.linked.capabilities, self.linked.mini_header, self.linked.rest + bytes(self.held))
        self.held.clear()
        return linked


def new_link(
    id: int, key: ChannelKey, address: Address, role: Role, connection_id: int, own: Capabilities, now: float
) -> Link:
    """A link that starts now."""
    return Link(id, key, address, role, ClientLink(connection_id, key[0], key[1], own), now + LINK_DEADLINE)


@dataclass(slots=True)
class Target:
    """The server a session is about to go to."""

    address: Address
    wants_seamless: bool
    source_version: int
    started: float
    answered: bool | None = None
    """Whether the target restores state; None until it is known."""
    reason: str = ""
    """Why the migration is not seamless."""
    links: dict[ChannelKey, Link] = field(default_factory=dict)
    missing: dict[ChannelKey, str] = field(default_factory=dict)
    """Channels the target refused, with the reason."""

    @property
    def ready(self) -> bool:
        """Whether the main channel has its answer and every channel is linked or given up."""
        return self.answered is not None and all(link.linked is not None for link in self.links.values())
