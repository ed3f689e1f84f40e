"""The client's side of the link stage, up to the first message (dossier A.2, A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spicehop.channels.machine import Machine
from spicehop.errors import LinkError, ProtocolError
from spicehop.wire.constants import AuthMechanism, CommonCap, LinkResult
from spicehop.wire.link import (
    HEADER_SIZE,
    U32_WORD,
    Capabilities,
    LinkMessage,
    LinkReply,
    decode_header,
)


class LinkState(Enum):
    """What the client waits for."""

    AWAITING_HEADER = "AwaitingHeader"
    AWAITING_REPLY = "AwaitingReply"
    AWAITING_TICKET = "AwaitingTicket"
    AWAITING_RESULT = "AwaitingResult"
    LINKED = "Linked"


class LinkInput(Enum):
    """What happened."""

    HEADER_RECEIVED = "header received"
    REPLY_RECEIVED = "reply received"
    TICKET_ENCRYPTED = "ticket encrypted"
    RESULT_RECEIVED = "result received"


class LinkAction(Enum):
    """What the client does."""

    EXPECT_REPLY = "expect the reply"
    ASK_FOR_TICKET = "ask for the ticket"
    SEND_TICKET = "send the ticket"
    BEGIN = "begin the channel"


LINK_TABLE = {
    (LinkState.AWAITING_HEADER, LinkInput.HEADER_RECEIVED): (LinkAction.EXPECT_REPLY, LinkState.AWAITING_REPLY),
    (LinkState.AWAITING_REPLY, LinkInput.REPLY_RECEIVED): (LinkAction.ASK_FOR_TICKET, LinkState.AWAITING_TICKET),
    (LinkState.AWAITING_TICKET, LinkInput.TICKET_ENCRYPTED): (LinkAction.SEND_TICKET, LinkState.AWAITING_RESULT),
    (LinkState.AWAITING_RESULT, LinkInput.RESULT_RECEIVED): (LinkAction.BEGIN, LinkState.LINKED),
}

REFUSALS = {
    LinkResult.ERROR: "the server reports an error",
    LinkResult.INVALID_MAGIC: "the server does not take this for SPICE",
    LinkResult.INVALID_DATA: "the server finds the link message invalid",
    LinkResult.VERSION_MISMATCH: "the server speaks another version of SPICE",
    LinkResult.NEED_SECURED: "the server wants TLS for this channel",
    LinkResult.NEED_UNSECURED: "the server wants this channel without TLS",
    LinkResult.PERMISSION_DENIED: "the server does not accept the password",
    LinkResult.BAD_CONNECTION_ID: "the server does not know this session",
    LinkResult.CHANNEL_NOT_AVAILABLE: "the server does not have this channel",
}


@dataclass(frozen=True, slots=True)
class TicketWanted:
    """Encrypt the password for this key (DER, RSA-1024) with OAEP and SHA-1, then call `ticket_encrypted`."""

    public_key: bytes


@dataclass(frozen=True, slots=True)
class Linked:
    """The channel begins. `rest` came behind the link result and belongs to the channel."""

    capabilities: Capabilities
    mini_header: bool
    rest: bytes


def link_refused(code: int) -> LinkError:
    """The error for a link result that is not OK."""
    try:
        return LinkError(REFUSALS[LinkResult(code)], code)
    except (ValueError, KeyError):
        return LinkError(f"the server refuses the link with code {code}", code)


class ClientLink:
    """One link from the first byte to the link result. Raises `LinkError` when the server refuses."""

    def __init__(self, connection_id: int, channel_type: int, channel_id: int, own: Capabilities) -> None:
        self._message = LinkMessage(connection_id, channel_type, channel_id, own)
        self._own = own
        self._machine = Machine("link", LINK_TABLE, LinkState.AWAITING_HEADER)
        self._buffer = b""
        self._needed = HEADER_SIZE
        self._server = Capabilities()

    @property
    def state(self) -> LinkState:
        """Where the link stands."""
        return self._machine.state

    def opening(self) -> bytes:
        """The first bytes to send."""
        return self._message.encode()

    def feed(self, data: bytes) -> TicketWanted | Linked | None:
        """Take what the server sent; says what is to be done next, None while more bytes are needed."""
        self._buffer += data
        if self.state is LinkState.AWAITING_HEADER and len(self._buffer) >= self._needed:
            self._needed = decode_header(self._take()).size
            self._machine.step(LinkInput.HEADER_RECEIVED)
        if self.state is LinkState.AWAITING_REPLY and len(self._buffer) >= self._needed:
            reply = LinkReply.decode(self._take())
            if reply.error != LinkResult.OK:
                raise link_refused(reply.error)
            self._server = reply.capabilities
            if self._selects_auth and CommonCap.AUTH_SPICE not in self._server.common:
                raise LinkError("the server wants SASL, which this client does not speak", LinkResult.PERMISSION_DENIED)
            self._machine.step(LinkInput.REPLY_RECEIVED)
            self._needed = U32_WORD.size
            self._expect_silence()
            return TicketWanted(reply.public_key)
        if self.state is LinkState.AWAITING_TICKET:
            self._expect_silence()
        if self.state is LinkState.AWAITING_RESULT and len(self._buffer) >= self._needed:
            (result,) = U32_WORD.unpack(self._take())
            if result != LinkResult.OK:
                raise link_refused(result)
            self._machine.step(LinkInput.RESULT_RECEIVED)
            mini = CommonCap.MINI_HEADER in self._own.common and CommonCap.MINI_HEADER in self._server.common
            return Linked(self._server, mini, self._buffer)
        return None

    def ticket_encrypted(self, ticket: bytes) -> bytes:
        """The bytes to send once the ticket is there: the auth word, where both sides select one, and the ticket."""
        self._machine.step(LinkInput.TICKET_ENCRYPTED, from_peer=False)
        return (U32_WORD.pack(AuthMechanism.SPICE) if self._selects_auth else b"") + ticket

    def _expect_silence(self) -> None:
        if self._buffer:
            raise ProtocolError("the server goes on before it has the ticket")

    @property
    def _selects_auth(self) -> bool:
        bit = CommonCap.PROTOCOL_AUTH_SELECTION
        return bit in self._own.common and bit in self._server.common

    def _take(self) -> bytes:
        taken, self._buffer = self._buffer[: self._needed], self._buffer[self._needed :]
        return taken
