"""How many frames of full-screen video a second each stream codec encodes and decodes: 1920 by 1080 pixels, 8 Mbit/s.

The video is the photo moving over the desktop by a few pixels a frame. There is no reference to compare with here: the
reference's server takes its encoders from libjpeg and GStreamer plugins, which stand on the same libraries.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass

from bench.images import HEIGHT, WIDTH, Image, desktop, photo
from spicehop.codecs.video import VideoDecoder, VideoEncoder, can_encode
from spicehop.wire.display_constants import VideoCodec

_BIT_RATE = 8_000_000
_FPS = 30


@dataclass(frozen=True, slots=True)
class Result:
    """One codec."""

    codec: str
    encoded: float  # frames a second, by the median of a frame
    decoded: float
    bit_rate: float  # Mbit/s of what was sent
    dropped: int  # frames that the encoder left out to keep to the bit rate


def _frames(count: int, scale: int) -> list[Image]:
    width, height = WIDTH // scale, HEIGHT // scale
    moving = photo(width, height)
    frames: list[Image] = []
    for number in range(count):
        frame = desktop(width, height) if not number else frames[0].copy()
        left = 4 * number
        frame[:, left : left + width // 2] = moving[:, left : left + width // 2]
        frames.append(frame)
    return frames


def measure(frame_count: int = 30, scale: int = 1) -> list[Result]:
    """Encode and decode the video with every codec there is."""
    results = []
    frames = _frames(frame_count, scale)
    height, width = frames[0].shape[:2]
    for codec in (VideoCodec.MJPEG, VideoCodec.VP8, VideoCodec.H264):
        if not can_encode(codec, width, height):
            continue
        encoder = VideoEncoder(codec, width, height, fps=_FPS, bit_rate=_BIT_RATE)
        decoder = VideoDecoder(codec)
        encoding, decoding, size, dropped = [], [], 0, 0
        for number, frame in enumerate(frames):
            begin = time.perf_counter()
            data = encoder.encode(frame, number * 1000 // _FPS)
            if data is None:
                dropped += 1
                continue
            middle = time.perf_counter()
            decoder.decode(data)
            encoding.append(middle - begin)
            decoding.append(time.perf_counter() - middle)
            size += len(data)
        rate = 8 * size * _FPS / len(frames) / 1e6
        results.append(
            Result(codec.name, 1 / statistics.median(encoding), 1 / statistics.median(decoding), rate, dropped)
        )
    return results


def table(results: list[Result]) -> str:
    """The results as lines of text."""
    lines = [f"{'video':<9}{'encoded':>10}{'decoded':>10}{'Mbit/s':>9}{'dropped':>9}   frames a second, full screen"]
    lines += [
        f"{result.codec:<9}{result.encoded:>10.0f}{result.decoded:>10.0f}{result.bit_rate:>9.1f}{result.dropped:>9}"
        for result in results
    ]
    return "\n".join(lines)


def as_json(results: list[Result]) -> list[dict[str, object]]:
    """The results as plain data."""
    return [asdict(result) for result in results]
