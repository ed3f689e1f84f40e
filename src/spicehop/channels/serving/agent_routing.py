"""Which agent message goes where, and which goes nowhere (dossier D.1, D.5).

An answer goes to the client that asked: a clipboard's content to whoever asked for it, a request for content to whoever
offered it, the status of a file transfer to whoever began it. Everything else goes to all clients.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from spicehop.errors import ProtocolError
from spicehop.wire import agent
from spicehop.wire.agent_constants import AGENT_PROTOCOL, AgentCap, AgentMessageType, MonitorsFlag, Selection
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, AgentHeader, encode_agent_message
from spicehop.wire.layout import NOTHING

CLIPBOARD_TYPES = frozenset(
    {
        AgentMessageType.CLIPBOARD,
        AgentMessageType.CLIPBOARD_GRAB,
        AgentMessageType.CLIPBOARD_REQUEST,
        AgentMessageType.CLIPBOARD_RELEASE,
    }
)
FILE_TYPES = frozenset(
    {AgentMessageType.FILE_XFER_START, AgentMessageType.FILE_XFER_STATUS, AgentMessageType.FILE_XFER_DATA}
)
CLIPBOARD_CAPS = frozenset({AgentCap.CLIPBOARD, AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION})
MAX_TRANSFERS = 1024
MAX_WAITING = 1024
MAX_MESSAGE = 512 * 1024 * 1024
"""Longest message that passes; it passes in slices, so this is no memory."""
_U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class MessageHead:
    """What decides where a message goes: its type, its size, and its first word, for some types an id."""

    type: int
    size: int
    first_word: int

    @classmethod
    def of(cls, data: bytes) -> MessageHead:
        """From the first slice; `ProtocolError` when it does not hold a whole header (dossier D.1)."""
        if len(data) < AGENT_HEADER_SIZE:
            raise ProtocolError("the first slice of an agent message is shorter than its header")
        header = AgentHeader.decode(data[:AGENT_HEADER_SIZE])
        if header.protocol != AGENT_PROTOCOL:
            raise ProtocolError(f"agent protocol {header.protocol} is not known")
        if header.size > MAX_MESSAGE:
            raise ProtocolError(f"an agent message of {header.size} bytes is longer than {MAX_MESSAGE}")
        body = data[AGENT_HEADER_SIZE : AGENT_HEADER_SIZE + _U32.size]
        return cls(header.type, header.size, int.from_bytes(body, "little"))

    @property
    def selection(self) -> int:
        """The selection that a clipboard message is about, as far as it says so."""
        value = self.first_word & 0xFF
        return value if value in (Selection.CLIPBOARD, Selection.PRIMARY, Selection.SECONDARY) else Selection.CLIPBOARD


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """What may pass between clients and agent."""

    copy_paste: bool = True
    file_transfer: bool = True
    several_clients: bool = False

    def lets_in(self, kind: int) -> bool:
        """Whether a client's message goes on to the agent."""
        return self._lets(kind)

    def lets_out(self, kind: int) -> bool:
        """Whether the agent's message goes on to clients."""
        return self._lets(kind)

    def _lets(self, kind: int) -> bool:
        return (self.copy_paste or kind not in CLIPBOARD_TYPES) and (self.file_transfer or kind not in FILE_TYPES)

    @property
    def removed(self) -> frozenset[int]:
        """Capabilities that neither side hears of.

        Serials of clipboard grabs count per peer; the agent has one counter for all its clients.
        """
        serials = frozenset({AgentCap.CLIPBOARD_GRAB_SERIAL}) if self.several_clients else NOTHING
        return serials | (NOTHING if self.copy_paste else CLIPBOARD_CAPS)

    @property
    def added(self) -> int:
        """A bit that clients hear of although the agent does not announce it, -1 for none."""
        return -1 if self.file_transfer else AgentCap.FILE_XFER_DISABLED


def rewritten_capabilities(message: bytes, removed: frozenset[int], added: int) -> bytes:
    """An encoded ANNOUNCE_CAPABILITIES without some bits, and with one more; as it was when nothing changes."""
    announced = agent.AnnounceCapabilities.decode(message[AGENT_HEADER_SIZE:])
    bits = announced.bits - removed | (frozenset({added}) if added > 0 else NOTHING)
    if bits == announced.bits:
        return message
    return encode_agent_message(agent.AnnounceCapabilities.of(bits, request=bool(announced.request)))


def without_physical_sizes(message: bytes) -> bytes:
    """An encoded MONITORS_CONFIG without sizes in millimetres; as it was when it has none.

    spice-gtk 0.42 sends them, spice-vdagentd 0.22.1 refuses the whole message because of them, and no capability says
    who reads them. With the reference the message goes to QXL devices instead.
    """
    wanted = agent.MonitorsConfig.decode(message[AGENT_HEADER_SIZE:])
    if not wanted.sizes:
        return message
    flags = wanted.flags & ~MonitorsFlag.PHYSICAL_SIZE
    return encode_agent_message(agent.MonitorsConfig(flags, wanted.monitors))


@dataclass(slots=True)
class Routes:
    """Who asked for what."""

    asked: dict[int, list[int]] = field(default_factory=dict)
    """By selection: who waits for the guest's clipboard, in the order of asking, which is the order of the answers."""
    overtaken: dict[int, list[int]] = field(default_factory=dict)
    """The same of those whose question a new offer of the guest has overtaken: they may be answered, or not."""
    offered: dict[int, int] = field(default_factory=dict)
    """By selection: whose clipboard the guest has been offered."""
    transfers: dict[int, int] = field(default_factory=dict)
    """By id: who began a file transfer."""

    def client_said(self, client: int, head: MessageHead) -> None:
        """A client's message is complete."""
        match head.type:
            case AgentMessageType.CLIPBOARD_REQUEST:
                waiting = self.asked.setdefault(head.selection, [])
                waiting.append(client)
                del waiting[:-MAX_WAITING]
            case AgentMessageType.CLIPBOARD_GRAB:
                self.offered[head.selection] = client
            case AgentMessageType.FILE_XFER_START:
                self.transfers[head.first_word] = client
                if len(self.transfers) > MAX_TRANSFERS:
                    del self.transfers[next(iter(self.transfers))]
            case _:
                pass

    def targets(self, head: MessageHead, clients: tuple[int, ...]) -> tuple[int, ...]:
        """The clients that get a message of the agent; ask once for each."""
        match head.type:
            case AgentMessageType.CLIPBOARD:
                waiting = self.asked.get(head.selection) or self.overtaken.get(head.selection)
                target = waiting.pop(0) if waiting else None
            case AgentMessageType.CLIPBOARD_GRAB | AgentMessageType.CLIPBOARD_RELEASE:
                # A question that gets no answer would shift all later ones.
                waiting = self.asked.pop(head.selection, []) + self.overtaken.get(head.selection, [])
                self.overtaken[head.selection] = waiting[:MAX_WAITING]
                target = None
            case AgentMessageType.CLIPBOARD_REQUEST:
                target = self.offered.get(head.selection)
            case AgentMessageType.FILE_XFER_STATUS:
                target = self.transfers.get(head.first_word)
            case _:
                target = None
        return (target,) if target in clients else clients

    def waiting(self) -> list[tuple[int, int]]:
        """Selections, and who waits for an answer about them; the surest first."""
        return [(key, one) for table in (self.asked, self.overtaken) for key, found in table.items() for one in found]

    def rename(self, old: int, new: int) -> None:
        """A client has another number."""
        for waiting in (*self.asked.values(), *self.overtaken.values()):
            waiting[:] = [new if one == old else one for one in waiting]
        for table in (self.offered, self.transfers):
            for key, value in table.items():
                if value == old:
                    table[key] = new

    def forget(self, client: int) -> None:
        """A client is gone."""
        for waiting in (*self.asked.values(), *self.overtaken.values()):
            waiting[:] = [one for one in waiting if one != client]
        for table in (self.offered, self.transfers):
            for key in [key for key, value in table.items() if value == client]:
                del table[key]
