"""The stream of a guest's state: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import ProtocolError
from spicehop.wire import guest_stream as stream

FRAMES: list[stream.Frame] = [
    stream.Hello(1, 3, b"spicehop demo"),
    stream.Welcome(1),
    stream.Failed(b"because"),
    stream.Page(4096, b"abc"),
    stream.End(3, tuple(range(16)), 1),
    stream.Loaded(),
    stream.Run(),
    stream.Running(),
    stream.Done(),
    stream.Alive(),
]


@given(st.lists(st.sampled_from(FRAMES), max_size=12), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_frames_come_as_they_were_sent_however_they_are_cut(frames: list[stream.Frame], size: int) -> None:
    data = stream.PREAMBLE + b"".join(map(stream.encode_frame, frames))
    reader = stream.FrameReader()
    read = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert [frame.encode() for frame in read] == [frame.encode() for frame in frames]
    assert list(map(type, read)) == list(map(type, frames))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_bit_is_noticed(data: st.DataObject) -> None:
    sent = bytearray(stream.PREAMBLE + b"".join(map(stream.encode_frame, FRAMES)))
    bit = data.draw(st.integers(0, len(sent) * 8 - 1))
    sent[bit // 8] ^= 1 << bit % 8
    reader = stream.FrameReader()
    try:
        read = reader.feed(bytes(sent))
    except ProtocolError:
        return
    # A length that has grown leaves the reader waiting for more; an unknown frame that may be skipped never counts.
    assert [frame.encode() for frame in read] == [frame.encode() for frame in FRAMES[: len(read)]]
    assert len(read) < len(FRAMES)


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_noise_raises_nothing_else(noise: bytes) -> None:
    for begin in (b"", stream.PREAMBLE, stream.PREAMBLE + stream.encode_frame(FRAMES[0])):
        reader = stream.FrameReader()
        try:
            reader.feed(begin + noise)
        except ProtocolError:
            pass


def test_a_frame_that_is_not_known_is_skipped_when_it_can_be() -> None:
    reader = stream.FrameReader()
    later = stream.encode_skippable(200, b"of a later version") + stream.encode_frame(stream.Loaded())
    assert reader.feed(stream.PREAMBLE + later) == [stream.Loaded()]


def test_another_frame_that_is_not_known_ends_it() -> None:
    unknown = bytearray(stream.encode_skippable(200, b""))
    reader = stream.FrameReader()
    unknown[1] = 0
    with pytest.raises(ProtocolError):
        reader.feed(stream.PREAMBLE + bytes(unknown))


def test_a_stream_of_qemu_is_told_apart() -> None:
    with pytest.raises(ProtocolError, match="not the stream of a spicehop guest"):
        stream.FrameReader().feed(b"QEVM\0\0\0\3")


def test_a_length_beyond_the_limit_is_refused_before_the_body_comes() -> None:
    reader = stream.FrameReader()
    reader.feed(stream.PREAMBLE)
    with pytest.raises(ProtocolError):
        reader.feed(bytes((4, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0)))


def test_a_reason_is_one_short_line() -> None:
    assert stream.reason_of(stream.failed("no\n\x1b[31m" + "x" * 5000)).startswith("no  [31mxxx")
    assert len(stream.failed("x" * 5000).reason) == stream.MAX_REASON
