"""The server's side of the link stage, as a model server needs it (dossier A.2 to A.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spicehop.errors import ProtocolError
from spicehop.simulator.network import End
from spicehop.wire.constants import CommonCap, LinkResult
from spicehop.wire.link import HEADER_SIZE, U32_WORD, Capabilities, LinkMessage, LinkReply, decode_header

TICKET_SIZE = 128
COMMON = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER})


@dataclass(frozen=True, slots=True)
class Admission:
    """A link that may become a channel: who asks for what, and what already came behind the ticket."""

    message: LinkMessage
    rest: bytes


class ModelLink:
    """Reads one link. `judge` says with which result the server answers it."""

    def __init__(
        self,
        end: End,
        capabilities: Callable[[int], frozenset[int]],
        judge: Callable[[LinkMessage, bytes], int],
        admitted: Callable[[Admission], None],
    ) -> None:
        self._end = end
        self._capabilities = capabilities
        self._judge = judge
        self._admitted = admitted
        self._buffer = b""
        self._message: LinkMessage | None = None

    def data_received(self, end: End, data: bytes) -> None:
        """Bytes of the link stage. A client that speaks wrongly is closed."""
        self._buffer += data
        try:
            self._go_on()
        except ProtocolError:
            end.close()

    def connection_lost(self, end: End, reason: str) -> None:
        """The client went away before it was linked."""

    def _go_on(self) -> None:
        if self._message is None:
            if len(self._buffer) < HEADER_SIZE:
                return
            size = decode_header(self._buffer[:HEADER_SIZE]).size
            if len(self._buffer) < HEADER_SIZE + size:
                return
            self._message = LinkMessage.decode(self._buffer[HEADER_SIZE : HEADER_SIZE + size])
            self._buffer = self._buffer[HEADER_SIZE + size :]
            own = Capabilities(COMMON, self._capabilities(self._message.channel_type))
            self._end.send(LinkReply(LinkResult.OK, b"key", own).encode())
        needed = U32_WORD.size + TICKET_SIZE
        if len(self._buffer) < needed:
            return
        ticket, rest = self._buffer[U32_WORD.size : needed], self._buffer[needed:]
        result = self._judge(self._message, ticket)
        self._end.send(U32_WORD.pack(result))
        if result == LinkResult.OK:
            self._admitted(Admission(self._message, rest))
        else:
            self._end.close()


def model_ticket(password: str) -> bytes:
    """What stands for the encrypted password: a simulation needs no RSA."""
    return password.encode().ljust(TICKET_SIZE, b"\0")
