"""The smartcard channel of a server: messages on the wire, a byte stream of them at the device (dossier B.7).

On the SPICE wire the three header words are little endian, at the device big endian. A client announces a reader; the
server tells the device, and the device answers. When the client leaves, the server takes the reader away.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from spicehop.channels.serving.channel import Peer, Received, ServerEvent
from spicehop.channels.serving.pipe import PipeState, ServerPipe
from spicehop.errors import ProtocolError
from spicehop.wire import smartcard
from spicehop.wire.constants import ChannelType, SmartcardType
from spicehop.wire.layout import Message

DEVICE_HEADER = struct.Struct(">III")
MAX_DATA = 64 * 1024
"""Longest message of a card or its device, in bytes."""
READER = 0
"""The one reader that a client may add."""
REMOVED_BEFORE = 0xFFFFFFFF
TO_DEVICE = frozenset(
    {
        SmartcardType.ERROR,
        SmartcardType.ATR,
        SmartcardType.CARD_REMOVE,
        SmartcardType.APDU,
        SmartcardType.FLUSH_COMPLETE,
    }
)
"""What a client may say to the device; readers are the server's business."""
NO_MORE_READERS = 2
"""Error code for a second reader."""


@dataclass(frozen=True, slots=True)
class SmartcardState:
    """What a smartcard channel that goes on elsewhere begins with."""

    pipe: PipeState
    has_reader: bool
    partial: bytes
    """What the device has given of a message that is not complete."""


class ServerSmartcard(ServerPipe):
    """One client's reader at the guest's card device."""

    MESSAGE_LIMIT = MAX_DATA + 64

    def __init__(self, channel_id: int, peer: Peer, now: float, state: SmartcardState | None = None) -> None:
        super().__init__(ChannelType.SMARTCARD, channel_id, peer, now, state.pipe if state else None)
        self.has_reader = state.has_reader if state else False
        self._partial = state.partial if state else b""

    def smartcard_state(self) -> SmartcardState:
        """What a later server needs."""
        return SmartcardState(self.state(), self.has_reader, self._partial)

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        if not isinstance(message, smartcard.SmartcardData):
            events.append(Received(message))
            return
        match message.type:
            case SmartcardType.READER_ADD:
                if self.has_reader:
                    code = smartcard.SmartcardError(NO_MORE_READERS).encode()
                    self.send(smartcard.SmartcardData(SmartcardType.ERROR, REMOVED_BEFORE, code))
                else:
                    self.has_reader = True
                    self._to_device(SmartcardType.READER_ADD, b"")
            case SmartcardType.READER_REMOVE:
                self._expect_reader(message)
                self.reader_removed()
            case kind if kind in TO_DEVICE:
                self._expect_reader(message)
                self._to_device(message.type, bytes(message.data))
            case SmartcardType.INIT | SmartcardType.FLUSH:
                pass
            case _:
                raise ProtocolError(f"{self.name}: a message of the unknown type {message.type}")

    def _expect_reader(self, message: smartcard.SmartcardData) -> None:
        if not self.has_reader or message.reader_id != READER:
            raise ProtocolError(f"{self.name}: there is no reader {message.reader_id}")

    def reader_removed(self) -> None:
        """The client's reader is gone, or the client is."""
        if self.has_reader:
            self.has_reader = False
            self._to_device(SmartcardType.READER_REMOVE, b"")

    def _to_device(self, kind: int, data: bytes) -> None:
        self.accept(DEVICE_HEADER.pack(kind, READER, len(data)) + data)

    def deliver(self, data: bytes) -> None:
        """Bytes of the device; whole messages go to the client. `ProtocolError` when the device breaks the framing."""
        self._partial += data
        self.bytes_sent += len(data)
        while len(self._partial) >= DEVICE_HEADER.size:
            kind, _, length = DEVICE_HEADER.unpack_from(self._partial)
            if length > MAX_DATA:
                raise ProtocolError(f"{self.name}: the device announces a message of {length} bytes")
            end = DEVICE_HEADER.size + length
            if len(self._partial) < end:
                return
            body = self._partial[DEVICE_HEADER.size : end]
            self._partial = self._partial[end:]
            if kind != SmartcardType.INIT:
                self.send(smartcard.SmartcardData(kind, READER, _words_turned(kind, body)))


def _words_turned(kind: int, body: bytes) -> bytes:
    """An error code is a word too, and changes its byte order with the header."""
    return body[3::-1] + body[4:] if kind == SmartcardType.ERROR and len(body) >= 4 else body
