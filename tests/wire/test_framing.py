"""Frames out of a byte stream: any chunking, both headers, sub-message lists, and streams that lie."""

from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from damage import bit_flips, survives, truncations
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.base import MAX_SUB_MESSAGES, MessageList, SubMessage, encode_sub_messages
from spicehop.wire.framing import FULL_HEADER, MINI_HEADER, FrameReader, encode_frame

quick = settings(max_examples=50, deadline=None)
MESSAGES = st.lists(st.tuples(st.integers(0, 2**16 - 1), st.binary(max_size=60)), max_size=8)
headers = pytest.mark.parametrize("mini_header", [True, False], ids=["mini", "full"])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@headers
def test_any_chunking_gives_the_same_frames(*, mini_header: bool) -> None:
    @quick
    @given(MESSAGES, st.lists(st.integers(0, 2000), max_size=12))
    def check(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
        stream = b"".join(
            encode_frame(number, body, mini_header=mini_header, serial=serial)
            for serial, (number, body) in enumerate(messages, 1)
        )
        reader = FrameReader(mini_header=mini_header)
        frames = [frame for piece in pieces(stream, cuts) for frame in reader.feed(piece)]
        assert [(frame.number, frame.body) for frame in frames] == messages
        assert [frame.serial for frame in frames] == list(range(1, len(messages) + 1))
        assert reader.serial == len(messages)
        assert reader.pending == 0

    check()


@headers
def test_what_is_no_frame_yet_can_be_taken_away(*, mini_header: bool) -> None:
    @quick
    @given(st.binary(min_size=1, max_size=60), st.integers(0, 1000))
    def check(body: bytes, cut: int) -> None:
        frame = encode_frame(5, body, mini_header=mini_header)
        cut %= len(frame)
        reader = FrameReader(mini_header=mini_header)
        assert reader.feed(frame[:cut]) == []
        assert reader.pending == cut
        assert reader.take_rest() == frame[:cut]
        assert reader.pending == 0
        (again,) = reader.feed(frame)
        assert again.body == body

    check()


def test_a_body_that_comes_in_one_piece_is_not_copied() -> None:
    stream = encode_frame(101, bytes(100_000), mini_header=True)
    (frame,) = FrameReader(mini_header=True).feed(stream)
    assert frame.body.obj is stream


@headers
def test_a_message_beyond_the_limit_is_refused_at_its_header(*, mini_header: bool) -> None:
    reader = FrameReader(mini_header=mini_header, limit=100)
    assert reader.feed(encode_frame(1, bytes(100), mini_header=mini_header))
    header = encode_frame(1, bytes(101), mini_header=mini_header)
    with pytest.raises(ProtocolError, match="a message of 101 bytes is larger than the limit of 100"):
        reader.feed(header[:-101])


def test_an_announced_size_allocates_nothing() -> None:
    reader = FrameReader(mini_header=True)
    tracemalloc.start()
    reader.feed(MINI_HEADER.pack(1, 60_000_000))
    reader.feed(bytes(10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000


def test_single_bytes_cost_little_more_than_themselves() -> None:
    size = 200_000
    reader = FrameReader(mini_header=True)
    reader.feed(MINI_HEADER.pack(1, size))
    byte = b"x"
    tracemalloc.start()
    for _ in range(size - 1):
        assert reader.feed(byte) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * size
    (frame,) = reader.feed(byte)
    assert frame.body == byte * size


def test_small_and_large_pieces_stay_in_order() -> None:
    body = bytes(range(256)) * 100
    stream = encode_frame(101, body, mini_header=True) + encode_frame(102, body[::-1], mini_header=True)
    reader = FrameReader(mini_header=True)
    frames = []
    start = 0
    for size in [1, 10, 5000, 3, 7000, 4095, 4096, 1, 20_000, 2, 100_000]:
        frames += reader.feed(stream[start : start + size])
        start += size
    assert [(frame.number, frame.body) for frame in frames] == [(101, body), (102, body[::-1])]


@headers
def test_damaged_streams_raise_nothing_else(*, mini_header: bool) -> None:
    sub_messages = encode_sub_messages((SubMessage(105, b"\1\0"), SubMessage(5, b"\0")), at=3)
    stream = encode_frame(7, b"abc" + sub_messages, mini_header=mini_header, sub_list=3)
    stream += encode_frame(8, b"", mini_header=mini_header)
    for damaged in (*truncations(stream), *bit_flips(stream)):
        survives(lambda data: FrameReader(mini_header=mini_header, limit=1000).feed(data), damaged)


def test_sub_messages_travel_in_the_full_header() -> None:
    subs = (SubMessage(105, b"first"), SubMessage(5, b""))
    body = b"main" + encode_sub_messages(subs, at=4)
    (frame,) = FrameReader(mini_header=False).feed(encode_frame(304, body, mini_header=False, serial=9, sub_list=4))
    assert frame.serial == 9
    assert frame.sub_messages == subs
    assert frame.body == body


def test_a_list_as_a_message() -> None:
    subs = (SubMessage(105, b"first"), SubMessage(5, b""))
    encoded = MessageList(subs).encode()
    assert encoded == (
        struct.pack("<HII", 2, 10, 21) + struct.pack("<HI", 105, 5) + b"first" + struct.pack("<HI", 5, 0)
    )
    assert MessageList.decode(encoded).messages == subs


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (struct.pack("<H", MAX_SUB_MESSAGES + 1), "longer than 64"),
        (struct.pack("<HI", 2, 0), "2 items are announced"),
        (struct.pack("<HI", 1, 7), "leads to byte 7"),
        (struct.pack("<HIHI", 1, 6, 5, 1), "ends 1 bytes too early"),
        (b"\1", "ends 1 bytes too early"),
    ],
)
def test_lists_that_lie(body: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        MessageList.decode(body)
    with pytest.raises(ProtocolError):
        FrameReader(mini_header=False).feed(FULL_HEADER.pack(1, 7, len(body) + 1, 1) + b"\0" + body)


def test_a_list_that_peers_would_refuse_is_not_encoded() -> None:
    with pytest.raises(StateError, match="65 sub-messages"):
        MessageList((SubMessage(1, b""),) * 65).encode()


def test_frames_before_a_bad_header_are_returned_and_the_error_is_raised_next() -> None:
    good, bad = encode_frame(7, b"abc", mini_header=True), MINI_HEADER.pack(8, 2**31)
    reader = FrameReader(mini_header=True)
    assert [frame.number for frame in reader.feed(good + bad)] == [7]
    assert "larger than the limit" in str(reader.failure)
    for _ in range(2):
        with pytest.raises(ProtocolError, match="larger than the limit"):
            reader.feed(b"")


def test_a_bad_header_at_once_is_raised_again_and_again() -> None:
    reader = FrameReader(mini_header=True)
    for data in (MINI_HEADER.pack(8, 2**31), b"", b"more"):
        with pytest.raises(ProtocolError, match="larger than the limit"):
            reader.feed(data)
