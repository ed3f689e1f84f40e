"""The link stage: what comes before the first message of a channel (dossier A.2 to A.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from spicehop.errors import ProtocolError
from spicehop.wire.bitsets import bits_of, words_of
from spicehop.wire.constants import MAGIC, MAJOR_VERSION, MINOR_VERSION, TICKET_PUBLIC_KEY_BYTES
from spicehop.wire.layout import Data, pack

HEADER_SIZE = 16
MAX_LINK_SIZE = 4096
"""Longest link message either side accepts behind the header (dossier A.2)."""
MAX_CAPABILITY_WORDS = 64
"""Longest capability list accepted; the protocol has used one word so far, the reference allows 1,024."""

_HEADER = struct.Struct("<4sIII")
_MESSAGE = struct.Struct("<IBBIII")
_REPLY = struct.Struct(f"<I{TICKET_PUBLIC_KEY_BYTES}sIII")
U32_WORD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capability bits of one side for one channel."""

    common: frozenset[int] = frozenset()
    channel: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """Magic, version and the size of what follows."""

    major: int
    minor: int
    size: int


@dataclass(frozen=True, slots=True)
class LinkMessage:
    """The client asks for a channel; `connection_id` is 0 for a new session's main channel."""

    connection_id: int
    channel_type: int
    channel_id: int
    capabilities: Capabilities

    def encode(self) -> bytes:
        """Header, message and capability words."""
        common, channel = words_of(self.capabilities.common), words_of(self.capabilities.channel)
        body = pack(
            _MESSAGE, self.connection_id, self.channel_type, self.channel_id, len(common), len(channel), _MESSAGE.size
        )
        return _framed(body + _pack_words(common) + _pack_words(channel))

    @classmethod
    def decode(cls, body: Data) -> LinkMessage:
        """From the bytes behind the header; `ProtocolError` when they do not hold a link message."""
        if len(body) < _MESSAGE.size:
            raise ProtocolError(f"a link message of {len(body)} bytes is too short")
        connection_id, channel_type, channel_id, common, channel, offset = _MESSAGE.unpack_from(body)
        if offset < _MESSAGE.size:
            raise ProtocolError("the capabilities of the link message overlap its fields")
        return cls(connection_id, channel_type, channel_id, _capabilities(body, common, channel, offset))


@dataclass(frozen=True, slots=True)
class LinkReply:
    """The server's answer: a `LinkResult`, the ticket's public key (DER) and capabilities."""

    error: int
    public_key: bytes
    capabilities: Capabilities

    def encode(self) -> bytes:
        """Header, reply and capability words."""
        common, channel = words_of(self.capabilities.common), words_of(self.capabilities.channel)
        key = self.public_key.ljust(TICKET_PUBLIC_KEY_BYTES, b"\0")
        body = pack(_REPLY, self.error, key, len(common), len(channel), _REPLY.size)
        return _framed(body + _pack_words(common) + _pack_words(channel))

    @classmethod
    def decode(cls, body: Data) -> LinkReply:
        """From the bytes behind the header; `ProtocolError` when they do not hold a link reply."""
        if len(body) < _REPLY.size:
            raise ProtocolError(f"a link reply of {len(body)} bytes is too short")
        error, key, common, channel, offset = _REPLY.unpack_from(body)
        if error:
            return cls(error, bytes(key), Capabilities())
        if offset < _REPLY.size:
            raise ProtocolError("the capabilities of the link reply overlap its fields")
        return cls(error, bytes(key), _capabilities(body, common, channel, offset))


def decode_header(data: Data) -> LinkHeader:
    """The first 16 bytes of either side; `ProtocolError` when this is not SPICE, or another major version."""
    magic, major, minor, size = _HEADER.unpack(data)
    if magic != MAGIC:
        raise ProtocolError(f"this is not SPICE: it begins with {bytes(magic)!r}")
    if major != MAJOR_VERSION:
        raise ProtocolError(f"SPICE version {major}.{minor} is not supported, only version {MAJOR_VERSION}")
    if size > MAX_LINK_SIZE:
        raise ProtocolError(f"a link message of {size} bytes is longer than {MAX_LINK_SIZE}")
    return LinkHeader(major, minor, size)


def _framed(body: bytes) -> bytes:
    return _HEADER.pack(MAGIC, MAJOR_VERSION, MINOR_VERSION, len(body)) + body


def _pack_words(words: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def _capabilities(body: Data, common: int, channel: int, offset: int) -> Capabilities:
    if max(common, channel) > MAX_CAPABILITY_WORDS:
        raise ProtocolError(f"a list of {max(common, channel)} capability words is longer than {MAX_CAPABILITY_WORDS}")
    if offset + 4 * (common + channel) > len(body):
        raise ProtocolError("the capabilities reach beyond the end of the link message")
    words = struct.unpack_from(f"<{common + channel}I", body, offset)
    return Capabilities(bits_of(words[:common]), bits_of(words[common:]))
