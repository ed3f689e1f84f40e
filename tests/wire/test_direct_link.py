"""The direct link's messages: what is written is read, by whom it is for, and nothing else is."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import ProtocolError, StateError
from spicehop.wire import direct_link as wire
from spicehop.wire.direct_link import Side

BOTH: list[wire.LinkMessage] = [wire.Hello(1, 1, "spicehop demo"), wire.Goodbye("bye, ü"), wire.KeepAlive()]
FROM_SOURCE: list[wire.LinkMessage] = [
    wire.SessionOffered(7, ((1, 0), (2, 0), (2, 1))),
    wire.StateAhead(7, b"large"),
    wire.SessionHanded(0xFFFFFFFB, b""),
    wire.LateBytes(7, 3, 0, b"keys"),
    wire.Flushed(7, 3, 0),
    wire.SessionWithdrawn(7, "cancelled"),
    wire.SessionGone(7, ""),
    wire.SessionResumed(7),
]
FROM_TARGET: list[wire.LinkMessage] = [
    wire.SessionExpected(7),
    wire.SessionLinked(7, ()),
    wire.SessionRestored(7),
    wire.SessionRefused(7, "no room"),
    wire.GuestRuns(),
    wire.ChannelReturned(7, 3, 0, b"keys"),
    wire.SessionReturned(7),
    wire.SessionHere(7),
]
BY_SIDE = {Side.SOURCE: BOTH + FROM_SOURCE, Side.TARGET: BOTH + FROM_TARGET}
ALL = BOTH + FROM_SOURCE + FROM_TARGET


def read_all(reader: wire.FrameReader) -> list[wire.LinkMessage]:
    messages = []
    while (message := reader.next_message()) is not None:
        messages.append(message)
    return messages


def head(kind: int, length: int, *, flags: int = 0, nothing: int = 0) -> bytes:
    return struct.pack("<BBHI", kind, flags, nothing, length)


def reading(data: bytes, peer: Side = Side.SOURCE) -> wire.FrameReader:
    reader = wire.FrameReader(peer)
    reader.feed(wire.PREAMBLE + data)
    return reader


def test_every_message_is_here() -> None:
    assert sorted(type(message).KIND for message in ALL) == sorted(wire._KINDS)


@given(st.sampled_from(Side), st.data(), st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_messages_come_as_they_were_sent_however_they_are_cut(side: Side, data: st.DataObject, size: int) -> None:
    sent = data.draw(st.lists(st.sampled_from(BY_SIDE[side]), max_size=12))
    stream = wire.PREAMBLE + b"".join(map(wire.encode_frame, sent))
    reader = wire.FrameReader(side)
    read: list[wire.LinkMessage] = []
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
        read += read_all(reader)
    assert read == sent
    assert not reader.halfway


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), unique=True, max_size=40),
    st.text(max_size=400),
)
@settings(max_examples=80, deadline=None)
def test_whatever_the_fields_hold(number: int, keys: list[tuple[int, int]], reason: str) -> None:
    sent = [wire.SessionOffered(number, tuple(keys)), wire.SessionGone(number, reason)]
    offered, gone = read_all(reading(b"".join(map(wire.encode_frame, sent))))
    assert offered == sent[0]
    assert isinstance(gone, wire.SessionGone)
    assert len(gone.reason.encode()) <= wire.MAX_REASON
    assert gone.reason.isprintable() or not gone.reason


@given(st.sampled_from(Side), st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_bit_gives_messages_or_a_protocol_error(side: Side, data: st.DataObject) -> None:
    sent = bytearray(wire.PREAMBLE + b"".join(map(wire.encode_frame, BY_SIDE[side])))
    bit = data.draw(st.integers(0, len(sent) * 8 - 1))
    sent[bit // 8] ^= 1 << bit % 8
    reader = wire.FrameReader(side)
    reader.feed(bytes(sent))
    try:
        read_all(reader)
    except ProtocolError:
        pass


@given(st.sampled_from(Side), st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_noise_raises_nothing_else(side: Side, noise: bytes) -> None:
    for begin in (b"", wire.PREAMBLE, *(wire.PREAMBLE + head(kind, len(noise)) for kind in wire._KINDS)):
        reader = wire.FrameReader(side)
        reader.feed(begin + noise)
        try:
            read_all(reader)
        except ProtocolError:
            pass


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (head(200, 0), "a frame of kind 200 is not known here"),
        (head(200, wire.MAX_SKIPPED + 1, flags=1), "a frame of kind 200 of 1048577 bytes was announced"),
        (head(3, 0, flags=2), "no frame of a direct link"),
        (head(3, 0, nothing=1), "no frame of a direct link"),
        (head(3, 1) + b"x", "1 bytes stand behind the end of a KeepAlive"),
        (head(17, 3) + b"abc", "ends 1 bytes too early"),
        (head(17, wire.MAX_STATE + 5), "a StateAhead of 268435461 bytes was announced, 268435460 are the most"),
        (head(19, wire.MAX_CLIENT_BYTES + 7), "a LateBytes of 1048583 bytes was announced"),
        (head(16, wire.MAX_BODY + 1), "a SessionOffered of 65537 bytes was announced"),
        (head(16, 10) + struct.pack("<IH4B", 1, 2, 1, 0, 1, 0), "one channel twice"),
        (head(16, 6) + struct.pack("<IH", 1, 1025), "1025 channels of one session came"),
        (head(16, 6) + struct.pack("<IH", 1, 9), "ends 18 bytes too early"),
        (head(22, 6) + struct.pack("<IH", 1, 9), "ends 9 bytes too early"),
        (head(22, 6) + struct.pack("<IH", 1, 1001), "a text of 1001 bytes came"),
        (head(22, 7) + struct.pack("<IHB", 1, 1, 0xFF), "no UTF-8"),
        (head(36, 0), "a source does not send GuestRuns"),
    ],
)
def test_what_is_odd_is_refused(data: bytes, sentence: str) -> None:
    """Messages that came before are handed out first."""
    reader = reading(wire.encode_frame(wire.KeepAlive()) + data)
    assert reader.next_message() == wire.KeepAlive()
    with pytest.raises(ProtocolError, match=sentence):
        reader.next_message()


@pytest.mark.parametrize("message", FROM_SOURCE)
def test_a_target_does_not_send_what_a_source_sends(message: wire.LinkMessage) -> None:
    with pytest.raises(ProtocolError, match="a target does not send"):
        read_all(reading(wire.encode_frame(message), Side.TARGET))


def test_something_else_is_told_apart() -> None:
    for data in (b"REDQ\2\0\0\0", b"SPICEHOP guest 1\n"):
        reader = wire.FrameReader(Side.SOURCE)
        reader.feed(data)
        with pytest.raises(ProtocolError, match="not the direct link"):
            reader.next_message()


def test_a_frame_that_is_not_known_is_skipped_when_it_can_be() -> None:
    later = wire.encode_skippable(200, b"of a later format") + wire.encode_frame(wire.KeepAlive())
    assert read_all(reading(later)) == [wire.KeepAlive()]


def test_a_later_hello_may_be_longer() -> None:
    hello = wire.Hello(9, 1, "x").encode() + b"more"
    assert read_all(reading(head(1, len(hello)) + hello)) == [wire.Hello(9, 1, "x")]


def test_what_is_announced_takes_no_memory() -> None:
    reader = reading(head(17, wire.MAX_STATE))
    tracemalloc.start()
    try:
        assert reader.next_message() is None
        assert reader.halfway
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_is_too_large_is_not_sent() -> None:
    fits = wire.LateBytes(1, 2, 3, bytes(wire.MAX_CLIENT_BYTES))
    assert read_all(reading(wire.encode_frame(fits))) == [fits]
    for message in (
        wire.LateBytes(1, 2, 3, bytes(wire.MAX_CLIENT_BYTES + 1)),
        wire.SessionOffered(1, tuple((kind, number) for kind in range(5) for number in range(256))),
        wire.SessionOffered(1, ((256, 0),)),
        wire.SessionGone(2**32, ""),
    ):
        with pytest.raises(StateError):
            wire.encode_frame(message)


def test_a_reason_is_one_short_line() -> None:
    (message,) = read_all(reading(wire.encode_frame(wire.Goodbye("no\n\x1b[31m" + "ü" * 5000))))
    assert isinstance(message, wire.Goodbye)
    assert message.reason.startswith("no  [31müüü")
    assert wire.MAX_REASON - 1 <= len(message.reason.encode()) <= wire.MAX_REASON


@pytest.mark.parametrize(
    ("one", "other", "spoken"),
    [((1, 1), (1, 1), 1), ((3, 1), (1, 1), 1), ((3, 2), (5, 3), 3), ((2, 1), (4, 3), None), ((4, 3), (2, 1), None)],
)
def test_the_older_format_is_spoken(one: tuple[int, int], other: tuple[int, int], spoken: int | None) -> None:
    hellos = wire.Hello(*one, "x"), wire.Hello(*other, "x")
    if spoken is None:
        with pytest.raises(ProtocolError, match=r"one side speaks format 2 .* the other none before 3"):
            wire.agreed_format(*hellos)
    else:
        assert wire.agreed_format(*hellos) == spoken
