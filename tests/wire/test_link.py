"""The link stage: messages come back as they were, and what is not SPICE is told from it."""

from __future__ import annotations

import struct

import pytest
from damage import bit_flips, survives, truncations
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import ProtocolError
from spicehop.wire.constants import ChannelType, LinkResult
from spicehop.wire.link import HEADER_SIZE, Capabilities, LinkMessage, LinkReply, decode_header

quick = settings(max_examples=50, deadline=None)
BITS = st.frozensets(st.integers(0, 100), max_size=6)
CAPABILITIES = st.builds(Capabilities, BITS, BITS)
MESSAGE = LinkMessage(77, ChannelType.DISPLAY, 1, Capabilities(frozenset({0, 3}), frozenset({1, 40})))
REPLY = LinkReply(0, bytes(range(162)), Capabilities(frozenset({0, 1, 3}), frozenset({2})))


@quick
@given(st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255), CAPABILITIES)
def test_messages_come_back(connection_id: int, kind: int, channel_id: int, capabilities: Capabilities) -> None:
    message = LinkMessage(connection_id, kind, channel_id, capabilities)
    encoded = message.encode()
    assert decode_header(encoded[:HEADER_SIZE]).size == len(encoded) - HEADER_SIZE
    assert LinkMessage.decode(encoded[HEADER_SIZE:]) == message


@quick
@given(st.binary(min_size=162, max_size=162), CAPABILITIES)
def test_replies_come_back(key: bytes, capabilities: Capabilities) -> None:
    reply = LinkReply(LinkResult.OK, key, capabilities)
    encoded = reply.encode()
    assert decode_header(encoded[:HEADER_SIZE]).size == len(encoded) - HEADER_SIZE
    assert LinkReply.decode(encoded[HEADER_SIZE:]) == reply


def test_layout_of_a_message() -> None:
    """Dossier A.2: 16 bytes of header, 18 of message, then the capability words."""
    assert MESSAGE.encode() == (
        b"REDQ" + struct.pack("<III", 2, 2, 30) + struct.pack("<IBBIII", 77, 2, 1, 1, 2, 18)
        + struct.pack("<III", 0b1001, 0b10, 1 << 8)
    )  # fmt: skip


def test_an_error_reply_has_no_capabilities() -> None:
    reply = LinkReply.decode(struct.pack("<I", LinkResult.BAD_CONNECTION_ID) + bytes(174))
    assert reply.error == LinkResult.BAD_CONNECTION_ID
    assert reply.capabilities == Capabilities()


@pytest.mark.parametrize("message", [MESSAGE, REPLY], ids=["message", "reply"])
def test_damage_raises_nothing_else(message: LinkMessage | LinkReply) -> None:
    body = message.encode()[HEADER_SIZE:]
    for damaged in (*truncations(body), *bit_flips(body)):
        survives(type(message).decode, damaged)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"HTTP/1.1 400 Bad", "this is not SPICE: it begins with b'HTTP'"),
        (struct.pack("<4sIII", b"REDQ", 1, 0, 18), "SPICE version 1.0 is not supported"),
        (struct.pack("<4sIII", b"REDQ", 2, 2, 4097), "a link message of 4097 bytes is longer than 4096"),
    ],
)
def test_what_is_not_spice_is_told(header: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        decode_header(header)


def link_body(common: int, channel: int, offset: int, words: int) -> bytes:
    return struct.pack("<IBBIII", 1, 1, 0, common, channel, offset) + bytes(4 * words)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (link_body(1, 1, 18, 1), "reach beyond the end"),
        (link_body(65, 0, 18, 65), "a list of 65 capability words is longer than 64"),
        (link_body(2**32 - 1, 2**32 - 1, 18, 0), "is longer than 64"),
        (link_body(0, 0, 17, 0), "overlap its fields"),
        (link_body(1, 0, 2**32 - 1, 1), "reach beyond the end"),
        (bytes(17), "a link message of 17 bytes is too short"),
    ],
)
def test_capabilities_that_lie(body: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        LinkMessage.decode(body)
