"""The client's link stage: the way there in every chunking, refusals, and servers that lie."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_end import capabilities

from spicehop.channels.link import ClientLink, Linked, LinkState, TicketWanted, link_refused
from spicehop.errors import LinkError, ProtocolError, StateError
from spicehop.wire.constants import AuthMechanism, ChannelType, CommonCap, LinkResult, MainCap
from spicehop.wire.link import HEADER_SIZE, Capabilities, LinkMessage, LinkReply, decode_header

OWN = capabilities(MainCap.SEAMLESS_MIGRATE)
KEY = bytes(range(162))
REPLY = LinkReply(LinkResult.OK, KEY, capabilities(MainCap.SEAMLESS_MIGRATE, MainCap.NAME_AND_UUID)).encode()
OK = struct.pack("<I", LinkResult.OK)
TICKET = b"t" * 128


def link(own: Capabilities = OWN) -> ClientLink:
    return ClientLink(0x1234, ChannelType.MAIN, 0, own)


def replied(own: Capabilities = OWN, reply: bytes = REPLY) -> ClientLink:
    """A link whose server has the ticket."""
    machine = link(own)
    assert isinstance(machine.feed(reply), TicketWanted)
    machine.ticket_encrypted(TICKET)
    return machine


def header(size: int, *, magic: bytes = b"REDQ", major: int = 2, minor: int = 2) -> bytes:
    return struct.pack("<4sIII", magic, major, minor, size)


def test_the_chart_of_a_link() -> None:
    machine = link()
    opening = machine.opening()
    assert decode_header(opening[:HEADER_SIZE]).size == len(opening) - HEADER_SIZE
    assert LinkMessage.decode(opening[HEADER_SIZE:]) == LinkMessage(0x1234, ChannelType.MAIN, 0, OWN)
    assert machine.feed(REPLY) == TicketWanted(KEY)
    assert machine.state is LinkState.AWAITING_TICKET
    assert machine.ticket_encrypted(TICKET) == struct.pack("<I", AuthMechanism.SPICE) + TICKET
    linked = machine.feed(OK + b"first message")
    assert linked == Linked(
        capabilities(MainCap.SEAMLESS_MIGRATE, MainCap.NAME_AND_UUID), mini_header=True, rest=b"first message"
    )
    assert machine.state is LinkState.LINKED


@pytest.mark.parametrize("size", [1, 2, 7, 15, 16, 17, 100, 1000])
def test_every_chunking_of_the_reply_is_the_same(size: int) -> None:
    machine = link()
    steps = [machine.feed(REPLY[at : at + size]) for at in range(0, len(REPLY), size)]
    assert steps[:-1] == [None] * (len(steps) - 1)
    assert steps[-1] == TicketWanted(KEY)
    machine.ticket_encrypted(TICKET)
    results = [machine.feed(OK[at : at + size]) for at in range(0, len(OK), size)]
    assert results[:-1] == [None] * (len(results) - 1)
    assert isinstance(results[-1], Linked)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=40), st.binary(max_size=40))
def test_what_is_behind_the_result_belongs_to_the_channel(sizes: list[int], rest: bytes) -> None:
    machine = replied()
    stream = OK + rest
    taken = b""
    linked = None
    for size in [*sizes, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        if linked is None:
            step = machine.feed(piece)
            linked = step if isinstance(step, Linked) else None
        else:
            taken += piece
    assert linked is not None
    assert linked.rest + taken == rest


@pytest.mark.parametrize("code", [code for code in LinkResult if code])
@pytest.mark.parametrize("stage", ["reply", "result"])
def test_a_refusal_carries_the_protocols_code_and_a_sentence(code: LinkResult, stage: str) -> None:
    machine = link() if stage == "reply" else replied()
    answer = LinkReply(code, b"", Capabilities()).encode() if stage == "reply" else struct.pack("<I", code)
    with pytest.raises(LinkError) as refusal:
        machine.feed(answer)
    assert refusal.value.code == code
    assert str(refusal.value).startswith("the server ")
    assert str(refusal.value) == str(link_refused(code))


def test_an_unknown_refusal_keeps_its_number() -> None:
    with pytest.raises(LinkError, match="code 77") as refusal:
        replied().feed(struct.pack("<I", 77))
    assert refusal.value.code == 77


def test_a_server_with_sasl_only_is_refused_before_a_password_goes_out() -> None:
    common = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SASL, CommonCap.MINI_HEADER})
    with pytest.raises(LinkError, match="SASL") as refusal:
        link().feed(LinkReply(0, KEY, Capabilities(common)).encode())
    assert refusal.value.code == LinkResult.PERMISSION_DENIED


def test_without_auth_selection_the_ticket_goes_alone() -> None:
    """Dossier A.4: such a server goes straight to the 128 bytes."""
    machine = link()
    machine.feed(LinkReply(0, KEY, Capabilities(frozenset({CommonCap.MINI_HEADER}))).encode())
    assert machine.ticket_encrypted(TICKET) == TICKET


@pytest.mark.parametrize(("client", "server"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_mini_header_is_used_when_both_sides_have_it(client: bool, server: bool) -> None:
    reply = LinkReply(0, KEY, capabilities(mini_header=server)).encode()
    linked = replied(capabilities(mini_header=client), reply).feed(OK)
    assert isinstance(linked, Linked)
    assert linked.mini_header is (client and server)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (b"HTTP/1.1 400 Bad", "this is not SPICE"),
        (b"\0" * 16, "this is not SPICE"),
        (header(178, major=1), "version 1.2 is not supported"),
        (header(178, major=3, minor=9), "version 3.9"),
        (header(2**32 - 1), "longer than"),
        (header(4097), "longer than"),
        (header(0), "too short"),
        (header(177) + b"\0" * 177, "too short"),
        (header(178) + struct.pack("<I162sIII", 0, KEY, 1, 0, 178), "beyond the end"),
        (header(178) + struct.pack("<I162sIII", 0, KEY, 2**31, 2**31, 178), "longer than"),
        (header(178) + struct.pack("<I162sIII", 0, KEY, 0, 0, 2**32 - 4), "beyond the end"),
        (header(178) + struct.pack("<I162sIII", 0, KEY, 0, 0, 4), "overlap"),
        (REPLY + b"\0", "before it has the ticket"),
        (REPLY + OK, "before it has the ticket"),
    ],
)
def test_a_server_that_lies_is_a_protocol_error(reply: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        link().feed(reply)


def test_a_server_that_goes_on_before_the_ticket_is_found_in_any_chunking() -> None:
    machine = link()
    machine.feed(REPLY)
    with pytest.raises(ProtocolError, match="before it has the ticket"):
        machine.feed(OK)


def test_a_huge_size_is_refused_with_the_header_alone() -> None:
    machine = link()
    with pytest.raises(ProtocolError):
        machine.feed(header(100 * 1024 * 1024))


def test_a_minor_version_is_not_looked_at() -> None:
    machine = link()
    assert isinstance(machine.feed(header(len(REPLY) - 16, minor=77) + REPLY[16:]), TicketWanted)


def test_a_ticket_at_the_wrong_time_is_the_callers_mistake() -> None:
    with pytest.raises(StateError):
        link().ticket_encrypted(TICKET)
    with pytest.raises(StateError):
        replied().ticket_encrypted(TICKET)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_arbitrary_bytes_end_in_a_step_or_a_typed_error(pieces: list[bytes]) -> None:
    machine = link()
    with suppress(ProtocolError, LinkError):
        for piece in pieces:
            if isinstance(machine.feed(piece), TicketWanted):
                machine.ticket_encrypted(TICKET)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_reply_ends_in_a_step_or_a_typed_error(data: st.DataObject) -> None:
    damaged = bytearray(REPLY)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError, LinkError):
        link().feed(bytes(damaged))
