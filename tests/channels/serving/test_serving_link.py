"""The server's link stage: what is answered to what, and to nonsense."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.machine import Machine
from spicehop.channels.serving.link import (
    SERVER_LINK_TABLE,
    LinkInput,
    LinkRefused,
    LinkRequested,
    LinkState,
    SaslAnswered,
    SaslBegun,
    SaslSelected,
    ServerLink,
    TicketReceived,
)
from spicehop.errors import StateError
from spicehop.wire.constants import AuthMechanism, CommonCap, LinkResult
from spicehop.wire.link import Capabilities, LinkMessage, LinkReply

ALL = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER})
OWN = Capabilities(ALL, frozenset({1, 3}))
HELLO = LinkMessage(7, 2, 0, Capabilities(ALL, frozenset({1})))
KEY = b"k" * 162
TICKET = bytes(range(128))


def word(value: int) -> bytes:
    return struct.pack("<I", value)


SHORTEST = b"REDQ" + word(2) + word(2) + word(18) + word(0) + b"\1\0"
"""A link message for the main channel, up to its capability counts."""


def offered(link: ServerLink, hello: LinkMessage = HELLO) -> None:
    assert link.feed(hello.encode()) == LinkRequested(hello)
    link.offer(KEY, OWN)


def test_a_client_with_a_ticket_comes_in() -> None:
    link = ServerLink()
    assert link.feed(HELLO.encode()) == LinkRequested(HELLO)
    reply = LinkReply.decode(link.offer(KEY, OWN)[16:])
    assert (reply.error, reply.public_key, reply.capabilities) == (LinkResult.OK, KEY, OWN)
    assert link.feed(word(AuthMechanism.SPICE)) is None
    assert link.feed(TICKET + b"the channel's") == TicketReceived(TICKET)
    result, linked = link.accept()
    assert result == word(LinkResult.OK)
    assert (linked.message, linked.mini_header, linked.rest) == (HELLO, True, b"the channel's")


def test_one_byte_at_a_time() -> None:
    link = ServerLink()
    stream = HELLO.encode()
    assert [link.feed(stream[i : i + 1]) for i in range(len(stream) - 1)] == [None] * (len(stream) - 1)
    assert link.feed(stream[-1:]) == LinkRequested(HELLO)


def test_everything_at_once() -> None:
    link = ServerLink()
    assert link.feed(HELLO.encode() + word(AuthMechanism.SPICE) + TICKET) == LinkRequested(HELLO)
    assert link.feed(b"") is None
    link.offer(KEY, OWN)
    assert link.feed(b"") == TicketReceived(TICKET)


def test_a_client_that_selects_nothing_sends_its_ticket_at_once() -> None:
    link = ServerLink()
    offered(link, LinkMessage(0, 1, 0, Capabilities()))
    assert link.feed(TICKET) == TicketReceived(TICKET)
    assert not link.accept()[1].mini_header


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"GET / HTTP/1.1\r\n", LinkResult.INVALID_MAGIC),
        (b"\x16\x03\x01", LinkResult.INVALID_MAGIC),
        (b"REDQ" + word(1) + word(2) + word(18), LinkResult.VERSION_MISMATCH),
        (b"REDQ" + word(3), LinkResult.VERSION_MISMATCH),
        (b"REDQ" + word(2) + word(2) + word(0xFFFFFFFF), LinkResult.INVALID_DATA),
        (b"REDQ" + word(2) + word(2) + word(0), LinkResult.INVALID_DATA),
        (SHORTEST + word(1) + word(0) + word(18), LinkResult.INVALID_DATA),
        (SHORTEST + word(0) + word(0) + word(2), LinkResult.INVALID_DATA),
        (SHORTEST + word(2**31) + word(2**31) + word(18), LinkResult.INVALID_DATA),
    ],
)
def test_nonsense_is_refused_with_its_code(stream: bytes, code: int) -> None:
    refused = ServerLink().feed(stream)
    assert isinstance(refused, LinkRefused)
    assert refused.code == code
    assert LinkReply.decode(refused.reply[16:]).error == code


def test_half_a_link_message_waits() -> None:
    link = ServerLink()
    assert link.feed(HELLO.encode()[:20]) is None
    assert link.state is LinkState.AWAITING_MESSAGE


def test_a_refused_channel_gets_the_reply_and_a_refused_ticket_the_result() -> None:
    link = ServerLink()
    link.feed(HELLO.encode())
    assert LinkReply.decode(link.refuse(LinkResult.NEED_SECURED)[16:]).error == LinkResult.NEED_SECURED
    link = ServerLink()
    offered(link)
    link.feed(word(AuthMechanism.SPICE) + TICKET)
    assert link.refuse(LinkResult.PERMISSION_DENIED) == word(LinkResult.PERMISSION_DENIED)
    assert link.state is LinkState.REFUSED


def test_another_mechanism_than_offered() -> None:
    link = ServerLink()
    offered(link)
    refused = link.feed(word(AuthMechanism.SASL))
    assert isinstance(refused, LinkRefused)
    link = ServerLink(("PLAIN",))
    offered(link)
    assert isinstance(link.feed(word(AuthMechanism.SPICE)), LinkRefused)


def test_sasl_step_by_step() -> None:
    link = ServerLink(("SCRAM-SHA-256", "PLAIN"))
    offered(link)
    assert link.feed(word(AuthMechanism.SASL)) == SaslSelected(word(21) + b",SCRAM-SHA-256,PLAIN,")
    assert link.feed(word(13) + b"SCRAM-") is None
    assert link.feed(b"SHA-256" + word(4) + b"one\0") == SaslBegun("SCRAM-SHA-256", b"one")
    assert link.challenge(b"two", done=False) == word(4) + b"two\0" + b"\0"
    assert link.feed(word(0)) == SaslAnswered(None)
    assert link.challenge(None, done=True) == word(0) + b"\1" + word(0)
    assert link.accept()[0] == word(LinkResult.OK)


@pytest.mark.parametrize("name", [b"PLAIN,SCRAM", b"NTLM"])
def test_a_sasl_mechanism_that_is_not_there(name: bytes) -> None:
    link = ServerLink(("PLAIN",))
    offered(link)
    link.feed(word(AuthMechanism.SASL))
    refused = link.feed(word(len(name)) + name)
    assert isinstance(refused, LinkRefused)
    assert refused.reply == b""


@pytest.mark.parametrize("size", [0, 101, 2**32 - 1])
def test_a_sasl_name_of_an_impossible_length(size: int) -> None:
    link = ServerLink(("PLAIN",))
    offered(link)
    link.feed(word(AuthMechanism.SASL))
    assert isinstance(link.feed(word(size)), LinkRefused)


@settings(max_examples=100)
@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_bytes_are_answered_or_waited_for(noise: bytes, cut: int) -> None:
    stream = HELLO.encode()[:cut] + noise
    link = ServerLink()
    event = link.feed(stream)
    while event is not None and not isinstance(event, LinkRefused):
        if isinstance(event, LinkRequested):
            link.offer(KEY, OWN)
        elif isinstance(event, TicketReceived):
            link.refuse(LinkResult.PERMISSION_DENIED)
        event = link.feed(b"")


@pytest.mark.parametrize("state", list(LinkState))
@pytest.mark.parametrize("happened", list(LinkInput))
def test_every_pair_moves_or_is_an_error(state: LinkState, happened: LinkInput) -> None:
    machine = Machine("link", SERVER_LINK_TABLE, state)
    if (state, happened) in SERVER_LINK_TABLE:
        machine.step(happened, from_peer=False)
    else:
        with pytest.raises(StateError):
            machine.step(happened, from_peer=False)
