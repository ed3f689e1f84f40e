"""What two spicehop servers say to each other on the direct link, while sessions go from the source to the target.

Both sides begin with `PREAMBLE` and `Hello`; then come frames: a head with kind, flags and length, and the body. Little
endian. A frame that is not known is skipped when its sender says that it can be, and else ends the link.

    source: SessionOffered                  StateAhead ...                SessionHanded
    target:                 SessionExpected            SessionLinked                    SessionRestored  GuestRuns

    source: LateBytes ... Flushed     (each channel)
    target:                                           SessionHere

after a link that was cut, on the one that takes its place:

    source: SessionResumed  LateBytes ... Flushed   (all of them again)
    target:                                             SessionRestored | SessionRefused

and when it does not come to that:

    source: SessionWithdrawn | SessionGone
    target:                                ChannelReturned ... SessionReturned | SessionRefused

Everything that comes is bounded: small frames by `MAX_BODY`, a session's state by `MAX_STATE`, a client's bytes by
`MAX_CLIENT_BYTES` a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, ClassVar, TypeVar

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.layout import U8, U16, U32, Data, Field, Reader, Rest, Structure, Writer, pack

PREAMBLE = b"SPICEHOP direct link\n"
"""Both sides' first bytes."""
FORMAT = 1
"""The newest version of the messages that is spoken here."""
OLDEST_READER = 1
"""Who knows this version, or a later one, can be spoken with."""
MAX_BODY = 64 * 1024
"""Largest body of a frame without a limit of its own."""
MAX_STATE = 256 << 20
"""Of one session, in one message."""
MAX_CLIENT_BYTES = 1 << 20
"""Of a client's bytes in one message."""
MAX_SKIPPED = 1 << 20
"""Largest body of a frame that is not known here."""
MAX_CHANNELS = 1024
MAX_REASON = 1000
MAX_NAME = 255
SKIPPABLE = 1
"""Flag: who does not know this frame can go on without it."""
_HEAD = struct.Struct("<BBHI")  # kind, flags, nothing, length
_COUNT = struct.Struct("<H")
_KEY = struct.Struct("<BB")

Keys = tuple[tuple[int, int], ...]
"""Channels, each as (type, id)."""


class Side(Enum):
    """Who is at an end of the link."""

    SOURCE = "source"
    TARGET = "target"

    @property
    def other(self) -> Side:
        """Who is at the other end."""
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


class Text(Field):
    """Text for people, in UTF-8 behind its size in bytes. What is too long is cut when it is written."""

    minimum = _COUNT.size

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> str:
        (size,) = reader.unpack(_COUNT)
        if size > self.limit:
            raise ProtocolError(f"a text of {size} bytes came, {self.limit} are the most")
        try:
            text = str(reader.take(size), "utf-8")
        except UnicodeDecodeError:
            raise ProtocolError("a text came that is no UTF-8") from None
        return "".join(character if character.isprintable() else " " for character in text)

    def encode(self, writer: Writer, value: str, owner: Any) -> None:
        data = value.encode(errors="replace")[: self.limit].decode(errors="ignore").encode()
        writer.buffer += pack(_COUNT, len(data)) + data

    def describe(self, name: str) -> str:
        return f"u16 n, u8[n] {name} (UTF-8)"


class ChannelKeys(Field):
    """Channels behind their number, none of them twice."""

    minimum = _COUNT.size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> Keys:
        (count,) = reader.unpack(_COUNT)
        if count > MAX_CHANNELS:
            raise ProtocolError(f"{count} channels of one session came, {MAX_CHANNELS} are the most")
        keys = tuple(_KEY.iter_unpack(reader.take(count * _KEY.size)))
        if len(set(keys)) != count:
            raise ProtocolError("a session came that has one channel twice")
        return keys

    def encode(self, writer: Writer, value: Keys, owner: Any) -> None:
        if len(value) > MAX_CHANNELS:
            raise StateError(f"{len(value)} channels of one session cannot be named, {MAX_CHANNELS} are the most")
        writer.buffer += pack(_COUNT, len(value))
        for key in value:
            writer.buffer += pack(_KEY, *key)

    def describe(self, name: str) -> str:
        return f"u16 n, (u8 channel, u8 channel_id)[n] {name}"


Reason = Annotated[str, Text(MAX_REASON)]
Channels = Annotated[Keys, ChannelKeys()]


@dataclass(frozen=True, slots=True)
class LinkMessage(Structure):
    """Base of the messages."""

    KIND: ClassVar[int]
    SENDER: ClassVar[Side | None] = None
    """Who may send it; None for both."""
    LIMIT: ClassVar[int] = MAX_BODY
    BULK: ClassVar[str] = ""
    """The last field, when it may be so large that it is better not copied."""


_KINDS: dict[int, type[LinkMessage]] = {}
_Kind = TypeVar("_Kind", bound=type[LinkMessage])


def _message(kind: _Kind) -> _Kind:
    _KINDS[kind.KIND] = kind
    return kind


# -- both ways ---------------------------------------------------------------------------------------------------------


@_message
@dataclass(frozen=True, slots=True)
class Hello(LinkMessage):
    """First of all: what the sender can speak. Later formats may append fields."""

    KIND: ClassVar[int] = 1
    format: U16
    """The newest that it knows; the older one of both is spoken."""
    oldest_reader: U16
    """It can be spoken with by whoever knows this format or a later one."""
    name: Annotated[str, Text(MAX_NAME)]
    """The guest's."""


@_message
@dataclass(frozen=True, slots=True)
class Goodbye(LinkMessage):
    """Last of all; also in place of a Hello."""

    KIND: ClassVar[int] = 2
    reason: Reason


@_message
@dataclass(frozen=True, slots=True)
class KeepAlive(LinkMessage):
    """The sender is there, and has had nothing to say."""

    KIND: ClassVar[int] = 3


# -- from the source ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FromSource(LinkMessage):
    """Base of what only the source sends."""

    SENDER: ClassVar[Side | None] = Side.SOURCE
    connection_id: U32
    """The session's."""


@_message
@dataclass(frozen=True, slots=True)
class SessionOffered(FromSource):
    """A session would come, with these channels: its connection id may be let in."""

    KIND: ClassVar[int] = 16
    channels: Channels


@_message
@dataclass(frozen=True, slots=True)
class StateAhead(FromSource):
    """State that is large and changes little, while the guest still runs; a later one takes its place."""

    KIND: ClassVar[int] = 17
    LIMIT: ClassVar[int] = 4 + MAX_STATE
    BULK: ClassVar[str] = "envelope"
    envelope: Rest


@_message
@dataclass(frozen=True, slots=True)
class SessionHanded(FromSource):
    """The guest stands still, and this is the session's state."""

    KIND: ClassVar[int] = 18
    LIMIT: ClassVar[int] = 4 + MAX_STATE
    BULK: ClassVar[str] = "envelope"
    envelope: Rest


@_message
@dataclass(frozen=True, slots=True)
class LateBytes(FromSource):
    """Bytes of the client that reached the source after the state had been saved, as they came."""

    KIND: ClassVar[int] = 19
    LIMIT: ClassVar[int] = 6 + MAX_CLIENT_BYTES
    BULK: ClassVar[str] = "data"
    channel: U8
    channel_id: U8
    data: Rest


@_message
@dataclass(frozen=True, slots=True)
class Flushed(FromSource):
    """The source has had the channel's FLUSH_MARK: there are no more late bytes."""

    KIND: ClassVar[int] = 20
    channel: U8
    channel_id: U8


@_message
@dataclass(frozen=True, slots=True)
class SessionWithdrawn(FromSource):
    """The session stays at the source: the target hands back what the client gave it."""

    KIND: ClassVar[int] = 21
    reason: Reason


@_message
@dataclass(frozen=True, slots=True)
class SessionGone(FromSource):
    """The client has left the source for good."""

    KIND: ClassVar[int] = 22
    reason: Reason


@_message
@dataclass(frozen=True, slots=True)
class SessionResumed(FromSource):
    """The link was cut when the session's state had gone over it: its late bytes and flush marks are said again, all of
    them, and the target passes by those that it has had.
    """

    KIND: ClassVar[int] = 23


# -- from the target ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FromTarget(LinkMessage):
    """Base of what only the target sends about a session."""

    SENDER: ClassVar[Side | None] = Side.TARGET
    connection_id: U32
    """The session's."""


@_message
@dataclass(frozen=True, slots=True)
class SessionExpected(FromTarget):
    """Its client is let in."""

    KIND: ClassVar[int] = 32


@_message
@dataclass(frozen=True, slots=True)
class SessionLinked(FromTarget):
    """The client has linked these channels at the target, and moves seamlessly."""

    KIND: ClassVar[int] = 33
    channels: Channels


@_message
@dataclass(frozen=True, slots=True)
class SessionRestored(FromTarget):
    """What `SessionHanded` brought is in place."""

    KIND: ClassVar[int] = 34


@_message
@dataclass(frozen=True, slots=True)
class SessionRefused(FromTarget):
    """The target cannot take the session, and has kept nothing of it."""

    KIND: ClassVar[int] = 35
    reason: Reason


@_message
@dataclass(frozen=True, slots=True)
class GuestRuns(LinkMessage):
    """The guest runs at the target."""

    KIND: ClassVar[int] = 36
    SENDER: ClassVar[Side | None] = Side.TARGET


@_message
@dataclass(frozen=True, slots=True)
class ChannelReturned(FromTarget):
    """Bytes of the client that the target had, handed back, as they came."""

    KIND: ClassVar[int] = 37
    LIMIT: ClassVar[int] = 6 + MAX_CLIENT_BYTES
    BULK: ClassVar[str] = "data"
    channel: U8
    channel_id: U8
    data: Rest


@_message
@dataclass(frozen=True, slots=True)
class SessionReturned(FromTarget):
    """All of it has been handed back."""

    KIND: ClassVar[int] = 38


@_message
@dataclass(frozen=True, slots=True)
class SessionHere(FromTarget):
    """The client's channels have all come over."""

    KIND: ClassVar[int] = 39


# -- frames ------------------------------------------------------------------------------------------------------------


def encode_frame(message: LinkMessage) -> bytes:
    """The message with its head; `StateError` for one that is too large."""
    return b"".join(encode_parts(message))


def encode_parts(message: LinkMessage) -> tuple[Data, ...]:
    """The same in pieces, the large one being the message's own bytes."""
    bulk: Data = getattr(message, message.BULK) if message.BULK else b""
    body = (replace(message, **{message.BULK: b""}) if message.BULK else message).encode()
    length = len(body) + len(bulk)
    if length > message.LIMIT:
        name = type(message).__name__
        raise StateError(f"a {name} of {length} bytes cannot be sent, {message.LIMIT} are the most")
    head = _HEAD.pack(message.KIND, 0, 0, length) + body
    return (head, bulk) if len(bulk) else (head,)


def encode_skippable(kind: int, body: bytes) -> bytes:
    """A frame of a kind that older peers pass over."""
    return _HEAD.pack(kind, SKIPPABLE, 0, len(body)) + body


def agreed_format(one: Hello, other: Hello) -> int:
    """The format that both can speak; `ProtocolError` when there is none."""
    spoken = min(one.format, other.format)
    needed = max(one.oldest_reader, other.oldest_reader)
    if spoken < needed:
        raise ProtocolError(f"one side speaks format {spoken} of the direct link, the other none before {needed}")
    return spoken


class FrameReader:
    """Cuts what a peer sends into messages: `feed`, then `next_message` until there is none.

    Whatever the bytes, it raises nothing but `ProtocolError`, and no message that came before the fault is lost. What
    it keeps grows with what has come, never with what was announced.
    """

    def __init__(self, peer: Side) -> None:
        self._peer = peer
        self._waiting = bytearray()
        self._greeted = False
        self._head: tuple[int, int, int] | None = None
        """Kind, flags and length of the frame whose body is being gathered."""
        self._body = bytearray()

    @property
    def halfway(self) -> bool:
        """Whether only a part of something has come."""
        return bool(self._waiting) or self._head is not None

    def feed(self, data: Data) -> None:
        """Take bytes."""
        self._waiting += data

    def next_message(self) -> LinkMessage | None:
        """The next whole message; None when more bytes are needed."""
        while self._preamble_came() and self._head_came():
            assert self._head is not None
            kind, flags, length = self._head
            missing = length - len(self._body)
            self._body += self._waiting[:missing]
            del self._waiting[:missing]
            if len(self._body) < length:
                return None
            body, self._body, self._head = self._body, bytearray(), None
            if kind in _KINDS:
                return self._decoded(_KINDS[kind], memoryview(body).toreadonly())
            if not flags & SKIPPABLE:
                raise ProtocolError(f"a frame of kind {kind} is not known here")
        return None

    def _preamble_came(self) -> bool:
        if not self._greeted:
            begin = bytes(self._waiting[: len(PREAMBLE)])
            if not PREAMBLE.startswith(begin):
                raise ProtocolError("what came is not the direct link of a spicehop server")
            if begin == PREAMBLE:
                del self._waiting[: len(PREAMBLE)]
                self._greeted = True
        return self._greeted

    def _head_came(self) -> bool:
        if self._head is None and len(self._waiting) >= _HEAD.size:
            kind, flags, nothing, length = _HEAD.unpack_from(self._waiting)
            known = _KINDS.get(kind)
            if nothing or flags & ~SKIPPABLE:
                raise ProtocolError("these bytes are no frame of a direct link")
            limit = MAX_SKIPPED if known is None else known.LIMIT
            if length > limit:
                name = f"frame of kind {kind}" if known is None else known.__name__
                raise ProtocolError(f"a {name} of {length} bytes was announced, {limit} are the most")
            if known is not None and known.SENDER not in (None, self._peer):
                raise ProtocolError(f"a {self._peer.value} does not send {known.__name__}")
            del self._waiting[: _HEAD.size]
            self._head = kind, flags, length
        return self._head is not None

    @staticmethod
    def _decoded(kind: type[LinkMessage], body: memoryview) -> LinkMessage:
        reader = Reader(body)
        message = kind.read(reader)
        if reader.position != reader.size and kind is not Hello:
            raise ProtocolError(f"{reader.size - reader.position} bytes stand behind the end of a {kind.__name__}")
        return message
