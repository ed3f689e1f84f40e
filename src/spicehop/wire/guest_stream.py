"""The stream in which a guest's state goes from one server to another, and the way back on the same connection.

Both sides begin with `PREAMBLE`; then come frames: a head with kind, flags, length and checksum, and the body. Little
endian. A frame that is not known is skipped when its sender says that it can be, and else ends the migration.

    source: HELLO                PAGE PAGE ... END           RUN            DONE
    target:        WELCOME                        LOADED         RUNNING
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeVar

from spicehop.errors import ProtocolError
from spicehop.wire.layout import U8, U16, U32, Data, FixedArray, Rest, SizedBytes, Structure

PREAMBLE = b"SPICEHOP guest 1\n"
"""Both sides' first bytes; QEMU's stream begins otherwise."""
NEWEST = 1
"""The newest version of the frames that is spoken here."""
OLDEST = 1
PAGE_BYTES = 4096
"""The state is sent in pieces of at most this size."""
MAX_BODY = 64 * 1024
"""Largest body of a frame that is read."""
MAX_REASON = 1000
SKIPPABLE = 1
"""Flag: who does not know this frame can go on without it."""
DIGEST_BYTES = 16
_HEAD = struct.Struct("<BBHII")  # kind, flags, nothing, length, checksum
_CHECKED = struct.Struct("<BBHI")


@dataclass(frozen=True, slots=True)
class Frame(Structure):
    """Base of the frames."""

    KIND: ClassVar[int]


_KINDS: dict[int, type[Frame]] = {}
_Kind = TypeVar("_Kind", bound=type[Frame])


def _frame(kind: _Kind) -> _Kind:
    _KINDS[kind.KIND] = kind
    return kind


@_frame
@dataclass(frozen=True, slots=True)
class Hello(Frame):
    """The source can speak these versions, and has such a guest."""

    KIND: ClassVar[int] = 1
    oldest: U16
    newest: U16
    guest: Annotated[Data, SizedBytes("B")]
    """What kind of guest it is; it can live on only in one of the same kind."""


@_frame
@dataclass(frozen=True, slots=True)
class Welcome(Frame):
    """The target takes it, and this version is spoken from now on."""

    KIND: ClassVar[int] = 2
    version: U16


@_frame
@dataclass(frozen=True, slots=True)
class Failed(Frame):
    """The sender cannot go on, and its guest does not run because of this migration."""

    KIND: ClassVar[int] = 3
    reason: Annotated[Data, SizedBytes("H")]


@_frame
@dataclass(frozen=True, slots=True)
class Page(Frame):
    """A piece of the state, from `offset` on; a later one for the same place counts."""

    KIND: ClassVar[int] = 4
    offset: U32
    data: Rest


@_frame
@dataclass(frozen=True, slots=True)
class End(Frame):
    """The guest stands still and this is all of its state."""

    KIND: ClassVar[int] = 5
    length: U32
    digest: Annotated[tuple[int, ...], FixedArray("B", DIGEST_BYTES)]
    """BLAKE2b of the state."""
    runs: U8
    """Whether it ran before."""


@_frame
@dataclass(frozen=True, slots=True)
class Loaded(Frame):
    """The guest is at the target and could run."""

    KIND: ClassVar[int] = 6


@_frame
@dataclass(frozen=True, slots=True)
class Run(Frame):
    """The source lets go of the guest, unless it hears nothing more."""

    KIND: ClassVar[int] = 7


@_frame
@dataclass(frozen=True, slots=True)
class Running(Frame):
    """The target has the guest and has let it run, if it is to."""

    KIND: ClassVar[int] = 8


@_frame
@dataclass(frozen=True, slots=True)
class Done(Frame):
    """The source has heard it and has let go."""

    KIND: ClassVar[int] = 9


@_frame
@dataclass(frozen=True, slots=True)
class Alive(Frame):
    """The source is there, and has nothing to send now."""

    KIND: ClassVar[int] = 10


def encode_frame(frame: Frame) -> bytes:
    """The frame with its head."""
    body = frame.encode()
    return _head(frame.KIND, 0, body) + body


def encode_skippable(kind: int, body: bytes) -> bytes:
    """A frame of a kind that older targets pass over."""
    return _head(kind, SKIPPABLE, body) + body


def failed(reason: str) -> Failed:
    """`Failed` with as much of the reason as can be sent."""
    return Failed(reason.encode(errors="replace")[:MAX_REASON])


def reason_of(frame: Failed) -> str:
    """The reason as text for people: one line."""
    text = bytes(frame.reason).decode(errors="replace")
    return "".join(character if character.isprintable() else " " for character in text)


class FrameReader:
    """Cuts a byte stream into frames. Whatever the bytes, it raises nothing but `ProtocolError` and keeps little."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False

    def feed(self, data: Data) -> list[Frame]:
        """The frames that these bytes complete."""
        self._buffer += data
        frames: list[Frame] = []
        at = self._preamble()
        while self._greeted and len(self._buffer) - at >= _HEAD.size:
            kind, flags, nothing, length, checksum = _HEAD.unpack_from(self._buffer, at)
            if nothing or flags & ~SKIPPABLE or length > MAX_BODY:
                raise ProtocolError("these bytes are no frame of a guest's stream")
            if len(self._buffer) - at < _HEAD.size + length:
                break
            body = bytes(self._buffer[at + _HEAD.size : at + _HEAD.size + length])
            at += _HEAD.size + length
            if _checksum(kind, flags, body) != checksum:
                raise ProtocolError("the guest's stream was damaged on its way")
            if kind in _KINDS:
                frames.append(_KINDS[kind].decode(body))
            elif not flags & SKIPPABLE:
                raise ProtocolError(f"a frame of kind {kind} is not known here")
        del self._buffer[:at]
        return frames

    def _preamble(self) -> int:
        """How many bytes of it are to be passed over."""
        if self._greeted:
            return 0
        begin = bytes(self._buffer[: len(PREAMBLE)])
        if not PREAMBLE.startswith(begin):
            raise ProtocolError("what came is not the stream of a spicehop guest")
        self._greeted = begin == PREAMBLE
        return len(PREAMBLE) if self._greeted else 0


def _head(kind: int, flags: int, body: bytes) -> bytes:
    return _HEAD.pack(kind, flags, 0, len(body), _checksum(kind, flags, body))


def _checksum(kind: int, flags: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_CHECKED.pack(kind, flags, 0, len(body))))
