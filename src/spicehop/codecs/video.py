"""Video of streams: encoders for a server, decoders for a client (dossier E.8).

MJPEG needs nothing; VP8 and H.264 come from PyAV where it has them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from spicehop.codecs import jpeg, jpeg_encoding
from spicehop.codecs.bitmap import MAX_PIXELS, Pixels
from spicehop.codecs.libav import codec_exists
from spicehop.codecs.pixels import cells_of
from spicehop.errors import OperationError, ProtocolError
from spicehop.wire.display_constants import VideoCodec

if TYPE_CHECKING:
    import av

_ENCODERS = {VideoCodec.VP8: "libvpx", VideoCodec.H264: "libx264"}
_DECODERS = {VideoCodec.VP8: "vp8", VideoCodec.H264: "h264"}
_MILLISECONDS = Fraction(1, 1000)
_BT601 = 6  # the matrix that pixels are converted with
_LIMITED_RANGE = 1
_BEST_QUALITY, _FIRST_QUALITY, _WORST_QUALITY = 90, 75, 25
_MOST_BACKLOG = 0.5  # seconds


def can_encode(codec: int, width: int, height: int) -> bool:
    """Whether there is an encoder for a `VideoCodec` that takes frames of this size. There always is one for MJPEG."""
    if codec == VideoCodec.MJPEG:
        return jpeg_encoding.takes(width, height)
    # 4:2:0 halves the sides; VP8 knows what to do with the odd pixel, H.264 as x264 writes it does not.
    odd = width % 2 or height % 2
    name = _ENCODERS.get(VideoCodec(codec)) if codec in _ENCODERS else None
    return name is not None and not (odd and codec == VideoCodec.H264) and codec_exists(name, "w")


def can_decode(codec: int) -> bool:
    """Whether there is a decoder for a `VideoCodec`."""
    return codec == VideoCodec.MJPEG or (codec in _DECODERS and codec_exists(_DECODERS[VideoCodec(codec)], "r"))


class _Encoder(Protocol):
    """What stands behind a `VideoEncoder`."""

    def encode(self, pixels: Pixels, time: int, *, key: bool) -> bytes | None:
        """Encode one frame, or drop it; `time` in ms grows with each frame."""

    def aim(self, bit_rate: int) -> None:
        """Take up another bit rate, in bits a second."""


class VideoEncoder:
    """Encodes the frames of one stream.

    `codec` is what the stream is told to be: what was asked for, or MJPEG where that cannot be had for this size. The
    first frame is a key frame, and so is the first one after a change of the bit rate of VP8 and H.264.
    """

    def __init__(self, codec: int, width: int, height: int, *, fps: float, bit_rate: int) -> None:
        self.codec = VideoCodec(codec) if can_encode(codec, width, height) else VideoCodec.MJPEG
        self.width = width
        self.height = height
        self._bit_rate = bit_rate
        self._time = 0
        self._mm_time: int | None = None
        self._key_wanted = True
        self._encoder: _Encoder
        if self.codec == VideoCodec.MJPEG:
            self._encoder = _MotionJpeg(fps, bit_rate)
        else:
            self._encoder = _Libav(self.codec, width, height, fps, bit_rate)

    @property
    def bit_rate(self) -> int:
        """What is aimed at, in bits a second."""
        return self._bit_rate

    def change_bit_rate(self, bit_rate: int) -> None:
        """Aim at another bit rate from the next frame on; a change of less than an eighth is left out."""
        if abs(bit_rate - self._bit_rate) * 8 < self._bit_rate:
            return
        self._bit_rate = bit_rate
        self._encoder.aim(bit_rate)

    def request_key_frame(self) -> None:
        """Let the next frame be one that needs no other: for a client that joins, or after a migration."""
        self._key_wanted = True

    def encode(self, pixels: Pixels, mm_time: int) -> bytes | None:
        """The data of a STREAM_DATA message, or None where the bit rate leaves no room for this frame.

        `pixels` are `(height, width, 4)`, rows from the top, and may be a part of a larger picture. `mm_time` is the
        frame's time in ms, modulo 2**32. Raises `OperationError` when the encoder fails; the stream has to end then.
        """
        if pixels.shape != (self.height, self.width, 4):
            raise ValueError(f"a frame of {pixels.shape} is not one of {self.width} by {self.height} pixels")
        data = self._encoder.encode(pixels, self._elapsed(mm_time), key=self._key_wanted)
        if data is not None:
            self._key_wanted = False
        return data

    def _elapsed(self, mm_time: int) -> int:
        """Milliseconds since the first frame; always more than at the frame before."""
        if self._mm_time is not None:
            step = (mm_time - self._mm_time) & 0xFFFFFFFF
            self._time += step if 0 < step < 2**31 else 1
        self._mm_time = mm_time
        return self._time


class _MotionJpeg:
    """JPEG files, whose quality follows the bit rate; frames are dropped when even the worst is too much."""

    def __init__(self, fps: float, bit_rate: int) -> None:
        self._frame_time = 1 / fps
        self._quality = _FIRST_QUALITY
        self._backlog = 0.0  # seconds that the bit rate takes for what was encoded so far, less those that passed
        self._time = 0
        self.aim(bit_rate)

    def aim(self, bit_rate: int) -> None:
        self._rate = bit_rate / 8

    def encode(self, pixels: Pixels, time: int, *, key: bool) -> bytes | None:
        self._backlog = max(0.0, self._backlog - (time - self._time) / 1000)
        self._time = time
        if self._backlog > _MOST_BACKLOG and not key:
            return None
        data = jpeg_encoding.encode(pixels, self._quality)
        seconds = len(data) / self._rate
        self._backlog += seconds
        share = seconds / self._frame_time
        if share > 1.1:
            self._quality = max(_WORST_QUALITY, self._quality - min(20, int(10 * share - 9)))
        elif share < 0.8:
            self._quality = min(_BEST_QUALITY, self._quality + 2)
        return data


class _Libav:
    """An encoder of PyAV, without frames from the future and with no more delay than a frame."""

    def __init__(self, codec: VideoCodec, width: int, height: int, fps: float, bit_rate: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._codec = codec
        self._width = width
        self._height = height
        self._fps = fps
        self._reformatter = VideoReformatter()
        self.aim(bit_rate)

    def aim(self, bit_rate: int) -> None:
        # PyAV has no way to change the limits of an open encoder, so there is another one, which begins with a key.
        from av.codec.context import CodecContext
        from av.error import FFmpegError

        context: Any = CodecContext.create(_ENCODERS[self._codec], "w")
        context.width, context.height = self._width, self._height
        context.pix_fmt = "yuv420p"
        context.time_base = _MILLISECONDS
        context.framerate = Fraction(self._fps).limit_denominator(1000)
        context.bit_rate = bit_rate
        context.gop_size = 100_000  # no key frames but those asked for: nothing gets lost on the way
        # One thread: two wait for each other in busy loops, which is many times slower where the cores have other work.
        context.thread_count = 1
        context.options = {"maxrate": str(bit_rate), "bufsize": str(bit_rate // 4)} | self._options(bit_rate)
        if self._codec == VideoCodec.H264:
            context.colorspace = context.color_primaries = context.color_trc = _BT601
            context.color_range = _LIMITED_RANGE
        try:
            context.open()
        except FFmpegError as error:
            raise OperationError(f"no {self._codec.name} encoder for these frames: {error}") from None
        self._context: av.VideoCodecContext = context

    def _options(self, bit_rate: int) -> dict[str, str]:
        if self._codec == VideoCodec.VP8:
            return {
                "deadline": "realtime",
                "cpu-used": "16",
                "lag-in-frames": "0",
                "auto-alt-ref": "0",
                "minrate": str(bit_rate),
                "qmin": "4",
                "static-thresh": "100",
            }
        x264 = "aud=1:scenecut=0:keyint=infinite"
        return {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "x264-params": x264}

    def encode(self, pixels: Pixels, time: int, *, key: bool) -> bytes | None:
        from av import VideoFrame
        from av.error import FFmpegError
        from av.video.frame import PictureType

        cells = cells_of(pixels)
        if cells.strides[0] < 4 * self._width:
            cells = np.ascontiguousarray(cells)
        source = cells.view(np.uint8).reshape(*cells.shape, 4) if cells.flags.c_contiguous else pixels
        try:
            picture = VideoFrame.from_numpy_buffer(source, format="bgra")
            frame = self._reformatter.reformat(picture, format="yuv420p")
            frame.pts, frame.time_base = time, _MILLISECONDS
            frame.pict_type = PictureType.I if key else PictureType.NONE
            data = b"".join(bytes(packet) for packet in self._context.encode(frame))
        except FFmpegError as error:
            raise OperationError(f"the {self._codec.name} encoder failed: {error}") from None
        return data or None


class VideoDecoder:
    """Decodes the frames of one stream, of at most `max_pixels` each."""

    def __init__(self, codec: int, *, max_pixels: int = MAX_PIXELS) -> None:
        if not can_decode(codec):
            raise OperationError(f"there is no decoder for video codec {codec}")
        self.codec = VideoCodec(codec)
        self._max_pixels = max_pixels
        self._context: Any = None
        if self.codec != VideoCodec.MJPEG:
            from av.codec.context import CodecContext

            self._context = CodecContext.create(_DECODERS[self.codec], "r")
            self._context.thread_count = 1  # threads would hold frames back
            # The libraries count what a frame takes with its margins; its own pixels are counted below.
            self._context.options = {"max_pixels": str(2 * max_pixels + 2**16), "flags": "low_delay"}

    def decode(self, data: bytes | memoryview) -> Pixels | None:
        """The pixels `(height, width, 4)` of one frame, or None where the decoder needs more frames first.

        Raises `ProtocolError` on bytes that are not one, and on a frame that is too large.
        """
        if self._context is None:
            return jpeg.decode(data, max_pixels=self._max_pixels)
        from av import Packet
        from av.error import FFmpegError

        if not len(data):
            raise ProtocolError("a video frame has no bytes")
        try:
            frames = self._context.decode(Packet(bytes(data)))
            if not frames:
                return None
            frame = frames[-1]
            if frame.width * frame.height > self._max_pixels:
                raise ProtocolError(f"a video frame of {frame.width} by {frame.height} pixels is over the limit")
            pixels: Pixels = frame.reformat(format="bgra").to_ndarray()
        except (FFmpegError, MemoryError) as error:
            raise ProtocolError(f"a {self.codec.name} frame does not decode: {error}") from None
        return pixels
