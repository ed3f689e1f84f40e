"""Messages of every channel (dossier B.0)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.layout import (
    U8,
    U16,
    U32,
    U64,
    Array,
    Data,
    Field,
    Message,
    Reader,
    Rest,
    SizedBytes,
    Structure,
    Writer,
)
from spicehop.wire.registry import ANY_CHANNEL, from_client, from_server


@from_server(ANY_CHANNEL, 1)
@dataclass(frozen=True, slots=True)
class Migrate(Message):
    """The source hands this channel over; `flags` are `MigrateFlag`."""

    flags: U32


@from_server(ANY_CHANNEL, 2)
@from_client(ANY_CHANNEL, 5)
@dataclass(frozen=True, slots=True)
class MigrateData(Message):
    """The channel's state on its way from source to target."""

    data: Rest


@from_server(ANY_CHANNEL, 3)
@dataclass(frozen=True, slots=True)
class SetAck(Message):
    """The client shall acknowledge every `window` messages, under this `generation`."""

    generation: U32
    window: U32


@from_server(ANY_CHANNEL, 4)
@dataclass(frozen=True, slots=True)
class Ping(Message):
    """Asks for a PONG with the same id and timestamp."""

    id: U32
    timestamp: U64
    padding: Rest = b""


@dataclass(frozen=True, slots=True)
class WaitFor(Structure):
    """One channel that must have handled the message with this serial."""

    channel_type: U8
    channel_id: U8
    serial: U64


@from_server(ANY_CHANNEL, 5)
@dataclass(frozen=True, slots=True)
class WaitForChannels(Message):
    """The next message waits for these channels."""

    channels: Annotated[tuple[WaitFor, ...], Array(WaitFor, count="B")]


@from_server(ANY_CHANNEL, 6)
@from_client(ANY_CHANNEL, 6)
@dataclass(frozen=True, slots=True)
class Disconnecting(Message):
    """The sender is about to close; `reason` is a `LinkResult`."""

    time: U64
    reason: U32


@from_server(ANY_CHANNEL, 7)
@dataclass(frozen=True, slots=True)
class Notify(Message):
    """A note for the user. As the reference does, a NUL follows the text that its length does not count."""

    time: U64
    severity: U32
    visibility: U32
    what: U32
    text: Annotated[Data, SizedBytes("I", nul_behind=True)]


@dataclass(frozen=True, slots=True)
class SubMessage(Structure):
    """One message inside a list."""

    number: U16
    data: Annotated[Data, SizedBytes("I")]


MAX_SUB_MESSAGES = 64
"""More in one list is refused; the reference sends two."""
_COUNT = struct.Struct("<H")


def read_sub_messages(reader: Reader) -> tuple[SubMessage, ...]:
    """The sub-messages of the list at the reader; their offsets count from the start of the body."""
    (count,) = reader.unpack(_COUNT)
    if count > MAX_SUB_MESSAGES:
        raise ProtocolError(f"a list of {count} sub-messages is longer than {MAX_SUB_MESSAGES}")
    reader.expect(count, 4)
    offsets = reader.unpack(struct.Struct(f"<{count}I"))
    return tuple([SubMessage.read(reader.at(offset)) for offset in offsets])


def encode_sub_messages(messages: tuple[SubMessage, ...], *, at: int) -> bytes:
    """The list as bytes that stand `at` bytes behind the start of the body."""
    if len(messages) > MAX_SUB_MESSAGES:
        raise StateError(f"a list of {len(messages)} sub-messages is longer than {MAX_SUB_MESSAGES}")
    offset = at + 2 + 4 * len(messages)
    offsets = []
    content = bytearray()
    for message in messages:
        offsets.append(offset + len(content))
        content += message.encode()
    return struct.pack(f"<H{len(messages)}I", len(messages), *offsets) + bytes(content)


class SubMessageList(Field):
    """The offsets of sub-messages and the sub-messages (dossier A.7)."""

    minimum = 2

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[SubMessage, ...]:
        return read_sub_messages(reader)

    def encode(self, writer: Writer, value: tuple[SubMessage, ...], owner: Any) -> None:
        writer.buffer += encode_sub_messages(value, at=len(writer.buffer))

    def parts(self) -> tuple[type[Structure], ...]:
        return (SubMessage,)

    def describe(self, name: str) -> str:
        return f"u16 n, ptr→SubMessage[n] {name}"


@from_server(ANY_CHANNEL, 8)
@dataclass(frozen=True, slots=True)
class MessageList(Message):
    """Several messages in one, LIST in the protocol (dossier A.7)."""

    messages: Annotated[tuple[SubMessage, ...], SubMessageList()]

    NAME = "LIST"


@from_client(ANY_CHANNEL, 1)
@dataclass(frozen=True, slots=True)
class AckSync(Message):
    """Answers SET_ACK."""

    generation: U32


@from_client(ANY_CHANNEL, 2)
@dataclass(frozen=True, slots=True)
class Ack(Message):
    """One ack window of messages has been handled."""


@from_client(ANY_CHANNEL, 3)
@dataclass(frozen=True, slots=True)
class Pong(Message):
    """Answers PING."""

    id: U32
    timestamp: U64


@from_client(ANY_CHANNEL, 4)
@dataclass(frozen=True, slots=True)
class MigrateFlushMark(Message):
    """The client has sent the source all that it will send there on this channel."""
