"""Video streams: what one side encodes the other sees, at a rate, and bad bytes do no harm."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spicehop.codecs import video
from spicehop.codecs.video import VideoDecoder, VideoEncoder, can_decode, can_encode
from spicehop.errors import OperationError, ProtocolError
from spicehop.wire.display_constants import VideoCodec

MODERN = (VideoCodec.VP8, VideoCodec.H264)
ALL = (VideoCodec.MJPEG, *MODERN)
WIDTH, HEIGHT = 160, 96


def frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A smooth picture that moves by two pixels a frame."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin((columns + 2 * number) / 20), np.cos(rows / 15), np.sin((rows - columns) / 25)], -1)
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., :3] = 128 + 90 * waves
    return pixels


def encoder(codec: int, *, bit_rate: int = 2_000_000, width: int = WIDTH, height: int = HEIGHT) -> VideoEncoder:
    return VideoEncoder(codec, width, height, fps=30, bit_rate=bit_rate)


def is_shown_alone(codec: int, data: bytes) -> bool:
    try:
        return VideoDecoder(codec).decode(data) is not None
    except ProtocolError:
        return False


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one[..., :3].astype(int) - other[..., :3]).mean())


@pytest.mark.parametrize("codec", ALL)
def test_frames_come_back_one_by_one(codec):
    made, client = encoder(codec), VideoDecoder(codec, max_pixels=WIDTH * HEIGHT)
    assert made.codec == codec
    for number in range(12):
        data = made.encode(frame(number), 1000 + 33 * number)
        assert data is not None
        shown = client.decode(memoryview(data))
        assert shown.shape == (HEIGHT, WIDTH, 4)
        assert difference(shown, frame(number)) < 6


@pytest.mark.parametrize("codec", ALL)
def test_a_part_of_a_larger_picture_is_a_frame(codec):
    large = np.zeros((200, 300, 4), np.uint8)
    large[20 : 20 + HEIGHT, 30 : 30 + WIDTH] = frame(3)
    large.flags.writeable = False
    flipped = np.ascontiguousarray(frame(3)[::-1])[::-1]
    for part in (large[20 : 20 + HEIGHT, 30 : 30 + WIDTH], flipped, np.asfortranarray(frame(3))):
        data = encoder(codec).encode(part, 0)
        assert difference(VideoDecoder(codec).decode(data), frame(3)) < 6


@pytest.mark.parametrize("codec", MODERN)
def test_a_key_frame_needs_no_other(codec):
    made = encoder(codec)
    for number in range(5):
        made.encode(frame(number), 33 * number)
    assert not is_shown_alone(codec, made.encode(frame(5), 165))
    made.request_key_frame()
    data = made.encode(frame(6), 198)
    assert is_shown_alone(codec, data)
    assert difference(VideoDecoder(codec).decode(data), frame(6)) < 8
    assert not is_shown_alone(codec, made.encode(frame(7), 231))


@pytest.mark.parametrize("codec", MODERN)
def test_another_bit_rate_goes_on_in_the_same_stream(codec):
    made, client = encoder(codec, bit_rate=4_000_000), VideoDecoder(codec)
    noise = np.random.default_rng(1).integers(0, 256, (30, HEIGHT, WIDTH, 4), np.uint8)
    sizes = []
    for number in range(30):
        if number == 15:
            made.change_bit_rate(400_000)
        data = made.encode(noise[number], 33 * number)
        sizes.append(len(data or b""))
        if data is not None:
            assert client.decode(data) is not None
    assert made.bit_rate == 400_000
    assert sum(sizes[20:]) < sum(sizes[5:15]) / 2


def test_a_small_change_of_the_bit_rate_is_left_out():
    made = encoder(VideoCodec.MJPEG, bit_rate=1_000_000)
    made.change_bit_rate(1_100_000)
    assert made.bit_rate == 1_000_000
    made.change_bit_rate(1_200_000)
    assert made.bit_rate == 1_200_000


def test_motion_jpeg_follows_its_bit_rate():
    noise = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    for rate, least, most in ((3_000_000, 25, 30), (300_000, 3, 20)):
        made = encoder(VideoCodec.MJPEG, bit_rate=rate)
        sent = [made.encode(noise, 33 * number) for number in range(90)]
        last = [data for data in sent[60:] if data is not None]
        assert least <= len(last) <= most
        assert sum(map(len, last)) * 8 < 1.3 * rate
    made = encoder(VideoCodec.MJPEG, bit_rate=50_000_000)
    first, *_, later = [made.encode(frame(0), 33 * number) for number in range(30)]
    assert len(later) > len(first)


def test_a_dropped_frame_leaves_a_wanted_key_frame_wanted():
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    made = encoder(VideoCodec.MJPEG, bit_rate=20_000)
    assert made.encode(noise, 0) is not None
    assert made.encode(noise, 33) is None
    made.request_key_frame()
    assert made.encode(noise, 66) is not None


@pytest.mark.parametrize("codec", MODERN)
def test_times_that_stand_still_or_wrap_do_no_harm(codec):
    made, client = encoder(codec), VideoDecoder(codec)
    for number, time in enumerate((2**32 - 20, 2**32 - 10, 5, 5, 3, 2**31 + 7, 40, 73)):
        assert difference(client.decode(made.encode(frame(number), time)), frame(number)) < 8


@pytest.mark.parametrize(("width", "height"), [(33, 47), (2, 2), (1, 1)])
def test_odd_sizes_are_encoded_somehow(width, height):
    for codec in ALL:
        made = encoder(codec, width=width, height=height)
        shown = VideoDecoder(made.codec).decode(made.encode(frame(0, width, height), 0))
        assert shown.shape == (height, width, 4)
    assert encoder(VideoCodec.H264, width=33, height=48).codec == VideoCodec.MJPEG


def test_what_is_missing_becomes_motion_jpeg(monkeypatch):
    monkeypatch.setattr(video, "codec_exists", lambda name, mode: False)
    assert [can_encode(codec, 16, 16) for codec in (*ALL, VideoCodec.VP9, 77)] == [True, False, False, False, False]
    assert [can_decode(codec) for codec in (*ALL, VideoCodec.VP9, 77)] == [True, False, False, False, False]
    made = encoder(VideoCodec.H264)
    assert made.codec == VideoCodec.MJPEG
    assert made.encode(frame(0), 0).startswith(b"\xff\xd8")
    with pytest.raises(OperationError, match="no decoder"):
        VideoDecoder(VideoCodec.VP8)


def test_a_frame_of_another_size_is_refused():
    with pytest.raises(ValueError, match="not one of"):
        encoder(VideoCodec.VP8).encode(frame(0, 64, 64), 0)


@pytest.mark.parametrize("codec", ALL)
def test_bad_bytes_give_pixels_nothing_or_a_protocol_error(codec):
    made, generator = encoder(codec), random.Random(6)
    good = [made.encode(frame(number), 33 * number) for number in range(6)]
    client = VideoDecoder(codec, max_pixels=WIDTH * HEIGHT)
    for _ in range(60):
        data = bytearray(generator.choice(good))
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            shown = client.decode(bytes(data[: generator.choice([len(data), generator.randrange(len(data))])]))
        except ProtocolError:
            continue
        assert shown is None or shown.shape[0] * shown.shape[1] <= WIDTH * HEIGHT
    with pytest.raises(ProtocolError):
        client.decode(b"")


@pytest.mark.parametrize("codec", ALL)
def test_a_frame_over_the_limit_is_refused(codec):
    data = encoder(codec).encode(frame(0), 0)
    with pytest.raises(ProtocolError):
        VideoDecoder(codec, max_pixels=WIDTH * HEIGHT - 1).decode(data)
    huge = encoder(codec, width=2048, height=1024).encode(frame(0, 2048, 1024), 0)
    with pytest.raises(ProtocolError):
        VideoDecoder(codec, max_pixels=10_000).decode(huge)
