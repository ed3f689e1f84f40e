"""The connections of a client session, before and after they are linked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from spicehop.channels.link import ClientLink, Linked
from spicehop.errors import ProtocolError
from spicehop.migration.commands import Address, ChannelKey
from spicehop.wire import main, registry
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.framing import FULL_HEADER, MINI_HEADER
from spicehop.wire.link import Capabilities

LINK_DEADLINE = 10.0
"""Seconds for connecting and linking one channel; spice-gtk and libspice use 10 s as well (dossier C3)."""
PARKED_LIMIT = 1024 * 1024
"""Bytes that a target may send on a channel before the channel has moved there; reading is paused long before."""

_ACK = registry.number_of(main.MigrateDstSeamlessAck(), ChannelType.MAIN, Direction.FROM_SERVER)
_NACK = registry.number_of(main.MigrateDstSeamlessNack(), ChannelType.MAIN, Direction.FROM_SERVER)


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
    linked_at: float = 0.0
    made: bool = False
    held: bytearray = field(default_factory=bytearray)
    """Bytes that came after the link stage while the connection was parked or kept."""

    def hold(self, data: bytes) -> None:
        """Keep bytes for the channel that will come; `ProtocolError` when they are too many."""
        if len(self.held) + len(data) > PARKED_LIMIT:
            raise ProtocolError(f"{self.address} sends more than {PARKED_LIMIT} bytes before the channel has moved")
        self.held += data

    def take_linked(self) -> Linked:
        """The link with everything held put behind it, for the channel that takes the connection over."""
        assert self.linked is not None
        return Linked(self.linked.capabilities, self.linked.mini_header, self.linked.rest + self.take_held())

    def take_held(self) -> bytes:
        """Take what is held away."""
        held = bytes(self.held)
        self.held.clear()
        return held

    def take_answer(self) -> bool | None:
        """On a target's main channel: whether it restores state, None as long as its answer is not among what is held.

        The answer is cut out, everything else stays for the channel.
        """
        assert self.linked is not None
        header = MINI_HEADER if self.linked.mini_header else FULL_HEADER
        position = 0
        while len(self.held) - position >= header.size:
            fields = header.unpack_from(self.held, position)
            number, size = fields[:2] if self.linked.mini_header else fields[1:3]
            end = position + header.size + size
            if number in (_ACK, _NACK) and end <= len(self.held):
                del self.held[position:end]
                return bool(number == _ACK)
            position = end
        return None


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
    broken: set[ChannelKey] = field(default_factory=set)
    """Channels the target had, whose connections ended before the channels moved."""

    @property
    def ready(self) -> bool:
        """Whether the main channel has its answer and every channel is linked or given up."""
        return self.answered is not None and all(link.linked is not None for link in self.links.values())
