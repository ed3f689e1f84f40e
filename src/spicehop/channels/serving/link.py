"""The server's side of the link stage, up to the first message (dossier A.2 to A.5).

Feed it what comes. It answers with an event that says what the caller decides next; the caller's answer is a method
that returns the bytes to write. After each answer call `feed(b"")`: more may have come already.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError
from spicehop.wire.constants import MAGIC, MAJOR_VERSION, TICKET_BYTES, AuthMechanism, CommonCap, LinkResult
from spicehop.wire.layout import Data
from spicehop.wire.link import HEADER_SIZE, U32_WORD, Capabilities, LinkMessage, LinkReply, decode_header

MAX_SASL_NAME = 100
MAX_SASL_DATA = 64 * 1024
"""Longest SASL answer taken, in bytes; the reference takes 1 MiB, no mechanism here needs that."""


class LinkState(Enum):
    """What the server waits for."""

    AWAITING_HEADER = "AwaitingHeader"
    AWAITING_MESSAGE = "AwaitingMessage"
    AWAITING_OFFER = "AwaitingOffer"
    AWAITING_MECHANISM = "AwaitingMechanism"
    AWAITING_TICKET = "AwaitingTicket"
    AWAITING_SASL_NAME = "AwaitingSaslName"
    AWAITING_SASL_START = "AwaitingSaslStart"
    AWAITING_SASL_ANSWER = "AwaitingSaslAnswer"
    AWAITING_SASL_CHALLENGE = "AwaitingSaslChallenge"
    AWAITING_VERDICT = "AwaitingVerdict"
    LINKED = "Linked"
    REFUSED = "Refused"


class LinkInput(Enum):
    """What happened."""

    HEADER_RECEIVED = "header received"
    MESSAGE_RECEIVED = "link message received"
    SELECTION_OFFERED = "authentication offered, the client selects"
    TICKET_OFFERED = "key offered, the client sends the ticket at once"
    SPICE_SELECTED = "ticket selected"
    SASL_SELECTED = "SASL selected"
    TICKET_RECEIVED = "ticket received"
    NAME_RECEIVED = "SASL mechanism received"
    ANSWER_RECEIVED = "SASL answer received"
    CHALLENGED = "SASL goes on"
    SASL_DONE = "SASL succeeded"
    ACCEPTED = "client accepted"
    FAILED = "client refused"


class LinkAction(Enum):
    """What the server does."""

    READ_ON = "read on"
    ASK_WHETHER_THERE = "ask whether the channel is there"
    ASK_WHETHER_RIGHT = "ask whether the ticket is right"
    SEND_OFFER = "send the link reply"
    LIST_MECHANISMS = "list the SASL mechanisms"
    ASK_SASL = "ask for the next SASL step"
    SEND_CHALLENGE = "send the SASL step"
    BEGIN = "send the result and begin the channel"
    END = "send the result and close"


def _rows() -> dict[tuple[LinkState, LinkInput], tuple[LinkAction, LinkState]]:
    s, i, a = LinkState, LinkInput, LinkAction
    rows = {
        (s.AWAITING_HEADER, i.HEADER_RECEIVED): (a.READ_ON, s.AWAITING_MESSAGE),
        (s.AWAITING_MESSAGE, i.MESSAGE_RECEIVED): (a.ASK_WHETHER_THERE, s.AWAITING_OFFER),
        (s.AWAITING_OFFER, i.SELECTION_OFFERED): (a.SEND_OFFER, s.AWAITING_MECHANISM),
        (s.AWAITING_OFFER, i.TICKET_OFFERED): (a.SEND_OFFER, s.AWAITING_TICKET),
        (s.AWAITING_MECHANISM, i.SPICE_SELECTED): (a.READ_ON, s.AWAITING_TICKET),
        (s.AWAITING_MECHANISM, i.SASL_SELECTED): (a.LIST_MECHANISMS, s.AWAITING_SASL_NAME),
        (s.AWAITING_TICKET, i.TICKET_RECEIVED): (a.ASK_WHETHER_RIGHT, s.AWAITING_VERDICT),
        (s.AWAITING_SASL_NAME, i.NAME_RECEIVED): (a.READ_ON, s.AWAITING_SASL_START),
        (s.AWAITING_SASL_START, i.ANSWER_RECEIVED): (a.ASK_SASL, s.AWAITING_SASL_CHALLENGE),
        (s.AWAITING_SASL_CHALLENGE, i.CHALLENGED): (a.SEND_CHALLENGE, s.AWAITING_SASL_ANSWER),
        (s.AWAITING_SASL_ANSWER, i.ANSWER_RECEIVED): (a.ASK_SASL, s.AWAITING_SASL_CHALLENGE),
        (s.AWAITING_SASL_CHALLENGE, i.SASL_DONE): (a.SEND_CHALLENGE, s.AWAITING_VERDICT),
        (s.AWAITING_VERDICT, i.ACCEPTED): (a.BEGIN, s.LINKED),
    }
    rows |= {(state, i.FAILED): (a.END, s.REFUSED) for state in s if state not in (s.LINKED, s.REFUSED)}
    return rows


SERVER_LINK_TABLE = _rows()


@dataclass(frozen=True, slots=True)
class LinkRequested:
    """The client asks for a channel: call `offer` or `refuse`."""

    message: LinkMessage


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """The password, encrypted for the key that was offered: call `accept` or `refuse`."""

    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class SaslSelected:
    """The client wants SASL: write `reply`, the list of mechanisms, and go on."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class SaslBegun:
    """The client has chosen a mechanism of those offered: call `challenge` or `refuse`. `data` is None when absent."""

    mechanism: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class SaslAnswered:
    """The client's answer to the last challenge: call `challenge` or `refuse`."""

    data: bytes | None


@dataclass(frozen=True, slots=True)
class LinkRefused:
    """The client broke the rules: write `reply` and close. `code` is a `LinkResult`."""

    code: int
    reason: str
    reply: bytes


@dataclass(frozen=True, slots=True)
class ClientLinked:
    """The channel begins. `rest` came behind the ticket and belongs to the channel."""

    message: LinkMessage
    mini_header: bool
    rest: bytes

    @property
    def capabilities(self) -> Capabilities:
        """What the client announced."""
        return self.message.capabilities


LinkEvent = LinkRequested | TicketReceived | SaslSelected | SaslBegun | SaslAnswered | LinkRefused


class _Refusal(ProtocolError):
    """Carries the link error for what a client did wrong."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ServerLink:
    """One link from the first byte to the link result; `mechanisms` are those of SASL, none for tickets."""

    def __init__(self, mechanisms: tuple[str, ...] = ()) -> None:
        self.mechanisms = mechanisms
        self._machine = Machine("link", SERVER_LINK_TABLE, LinkState.AWAITING_HEADER)
        self._buffer = b""
        self._needed = HEADER_SIZE
        self.message: LinkMessage | None = None
        """What the client asks for, once it has."""
        self._own = Capabilities()
        self._mechanism = ""

    @property
    def state(self) -> LinkState:
        """Where the link stands."""
        return self._machine.state

    # -- what comes ------------------------------------------------------------------------------------------------

    def feed(self, data: Data) -> LinkEvent | None:
        """Take what the client sent; says what the caller decides next, None while more bytes are needed."""
        self._buffer += data
        try:
            return self._advance()
        except _Refusal as error:
            return LinkRefused(error.code, str(error), self.refuse(error.code))
        except ProtocolError as error:
            return LinkRefused(LinkResult.INVALID_DATA, str(error), self.refuse(LinkResult.INVALID_DATA))

    def _advance(self) -> LinkEvent | None:
        if self.state is LinkState.AWAITING_HEADER:
            self._check_magic()
        while len(self._buffer) >= self._needed:
            match self.state:
                case LinkState.AWAITING_HEADER:
                    self._needed = decode_header(self._take()).size
                    self._machine.step(LinkInput.HEADER_RECEIVED)
                case LinkState.AWAITING_MESSAGE:
                    self.message = LinkMessage.decode(self._take())
                    self._machine.step(LinkInput.MESSAGE_RECEIVED)
                    return LinkRequested(self.message)
                case LinkState.AWAITING_MECHANISM:
                    if self._sasl_selected(*U32_WORD.unpack(self._take())):
                        return SaslSelected(self._mechanism_list())
                case LinkState.AWAITING_TICKET:
                    self._machine.step(LinkInput.TICKET_RECEIVED)
                    return TicketReceived(self._take())
                case LinkState.AWAITING_SASL_NAME:
                    name = self._take_sized(1, MAX_SASL_NAME)
                    if name is None:
                        return None
                    self._name_received(name)
                case LinkState.AWAITING_SASL_START | LinkState.AWAITING_SASL_ANSWER:
                    answer = self._take_sized(0, MAX_SASL_DATA)
                    if answer is None:
                        return None
                    return self._answer_received(answer)
                case _:
                    return None
        return None

    def _check_magic(self) -> None:
        """Garbage is told apart as early as it can be."""
        begin = self._buffer[: len(MAGIC)]
        if not MAGIC.startswith(begin):
            raise _Refusal(f"this is not SPICE: it begins with {begin!r}", LinkResult.INVALID_MAGIC)
        word = self._buffer[len(MAGIC) : 2 * len(MAGIC)]
        major = int.from_bytes(word, "little")
        if len(word) == len(MAGIC) and major != MAJOR_VERSION:
            raise _Refusal(f"SPICE version {major} is not spoken", LinkResult.VERSION_MISMATCH)

    def _sasl_selected(self, mechanism: int) -> bool:
        if mechanism == AuthMechanism.SPICE and not self.mechanisms:
            self._machine.step(LinkInput.SPICE_SELECTED)
            self._needed = TICKET_BYTES
            return False
        if mechanism == AuthMechanism.SASL and self.mechanisms:
            self._machine.step(LinkInput.SASL_SELECTED)
            self._needed = U32_WORD.size
            return True
        raise _Refusal(f"authentication mechanism {mechanism} was not offered", LinkResult.INVALID_DATA)

    def _mechanism_list(self) -> bytes:
        names = f",{','.join(self.mechanisms)},".encode()
        return U32_WORD.pack(len(names)) + names

    def _name_received(self, name: bytes) -> None:
        self._mechanism = name.rstrip(b"\0").decode("ascii", "replace")
        if self._mechanism not in self.mechanisms:
            raise _Refusal("the client chose a SASL mechanism that was not offered", LinkResult.INVALID_DATA)
        self._machine.step(LinkInput.NAME_RECEIVED)

    def _answer_received(self, answer: bytes) -> LinkEvent:
        """A length counts the NUL behind the data; no length means no data (dossier A.5)."""
        begun = self.state is LinkState.AWAITING_SASL_START
        self._machine.step(LinkInput.ANSWER_RECEIVED)
        data = answer[:-1] if answer else None
        return SaslBegun(self._mechanism, data) if begun else SaslAnswered(data)

    def _take_sized(self, low: int, high: int) -> bytes | None:
        """What a u32 length announces; None while it is not all there."""
        (size,) = U32_WORD.unpack_from(self._buffer)
        if not low <= size <= high:
            raise _Refusal(f"a SASL field of {size} bytes is not between {low} and {high}", LinkResult.INVALID_DATA)
        end = U32_WORD.size + size
        if len(self._buffer) < end:
            self._needed = end
            return None
        self._needed = end
        taken = self._take()[U32_WORD.size :]
        self._needed = U32_WORD.size
        return taken

    def _take(self) -> bytes:
        taken, self._buffer = self._buffer[: self._needed], self._buffer[self._needed :]
        return taken

    # -- what the caller decides ------------------------------------------------------------------------------------

    def offer(self, public_key: bytes, own: Capabilities) -> bytes:
        """The channel is there: the link reply with the ticket's key (DER, RSA-1024) and what this side announces."""
        assert self.message is not None
        self._own = own
        bit = CommonCap.PROTOCOL_AUTH_SELECTION
        selects = bit in own.common and bit in self.message.capabilities.common
        happened = LinkInput.SELECTION_OFFERED if selects else LinkInput.TICKET_OFFERED
        if not selects and self.mechanisms:
            return self.refuse(LinkResult.INVALID_DATA)
        self._machine.step(happened, from_peer=False)
        self._needed = U32_WORD.size if selects else TICKET_BYTES
        return LinkReply(LinkResult.OK, public_key, own).encode()

    def challenge(self, data: bytes | None, *, done: bool) -> bytes:
        """The next step of SASL, and with the last one the word that says yes; then call `accept`."""
        self._machine.step(LinkInput.SASL_DONE if done else LinkInput.CHALLENGED, from_peer=False)
        step = U32_WORD.pack(0) if data is None else U32_WORD.pack(len(data) + 1) + data + b"\0"
        return step + (b"\1" + U32_WORD.pack(LinkResult.OK) if done else b"\0")

    def accept(self) -> tuple[bytes, ClientLinked]:
        """Let the client in: the link result, and what the channel begins with."""
        self._machine.step(LinkInput.ACCEPTED, from_peer=False)
        assert self.message is not None
        rest, self._buffer = self._buffer, b""
        mini = CommonCap.MINI_HEADER in self.message.capabilities.common & self._own.common
        return U32_WORD.pack(LinkResult.OK), ClientLinked(self.message, mini, rest)

    def refuse(self, code: int) -> bytes:
        """Turn the client away with a `LinkResult`; write this and close. A failed SASL gets none (dossier A.5)."""
        state = self.state
        if state is LinkState.REFUSED:
            return b""
        self._machine.step(LinkInput.FAILED, from_peer=False)
        self._buffer = b""
        if state in (LinkState.AWAITING_HEADER, LinkState.AWAITING_MESSAGE, LinkState.AWAITING_OFFER):
            return LinkReply(code, b"", Capabilities()).encode()
        if state in (LinkState.AWAITING_MECHANISM, LinkState.AWAITING_TICKET, LinkState.AWAITING_VERDICT):
            return U32_WORD.pack(code)
        return b""
