"""Sound of the playback and record channels: Opus through PyAV where it has that, else raw (dossier B.5).

Samples are signed 16 bit little endian, two channels in turn, 48,000 a second, which is all that the reference sends.
An Opus packet holds 10 ms, since that is all that stock clients make room for.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from spicehop.codecs.libav import codec_exists
from spicehop.errors import OperationError, ProtocolError
from spicehop.wire.constants import AudioMode

RATE = 48_000
CHANNELS = 2
PACKET_SAMPLES = 480
PACKET_BYTES = PACKET_SAMPLES * CHANNELS * 2
OPUS_BIT_RATE = 128_000

_MOST_OPUS_BYTES = 1275 * 6  # of the longest packet, of 120 ms
_DECODERS = ("libopus", "opus")


def can_encode(mode: int) -> bool:
    """Whether sound can be encoded as this `AudioMode`."""
    return mode == AudioMode.RAW or (mode == AudioMode.OPUS and codec_exists("libopus", "w"))


def can_decode(mode: int) -> bool:
    """Whether sound of this `AudioMode` can be decoded."""
    return mode == AudioMode.RAW or (
        mode == AudioMode.OPUS and any(codec_exists(name, "r") for name in _DECODERS)
    )


class SoundEncoder:
    """Cuts sound into packets of 10 ms and encodes them; `mode` is what was asked for, or RAW where that is missing."""

    def __init__(self, mode: int, *, bit_rate: int = OPUS_BIT_RATE) -> None:
        self.mode = AudioMode(mode) if can_encode(mode) else AudioMode.RAW
        self._waiting = bytearray()
        self._samples = 0
        self._context: Any = None
        if self.mode == AudioMode.OPUS:
            from av.codec.context import CodecContext

            self._context = CodecContext.create("libopus", "w")
            self._context.sample_rate = RATE
            self._context.layout = "stereo"
            self._context.format = "s16"
            self._context.bit_rate = bit_rate
            self._context.options = {"frame_duration": "10", "application": "audio"}

    @property
    def waiting(self) -> int:
        """Bytes of samples that wait for more to make a packet."""
        return len(self._waiting)

    def encode(self, samples: bytes | bytearray | memoryview) -> list[bytes]:
        """The packets that are complete with these samples; any number of bytes is fine."""
        self._waiting += samples
        whole = len(self._waiting) // PACKET_BYTES * PACKET_BYTES
        ready = bytes(self._waiting[:whole])
        del self._waiting[:whole]
        packets = [ready[at : at + PACKET_BYTES] for at in range(0, whole, PACKET_BYTES)]
        if self._context is None:
            return packets
        return [data for packet in packets for data in self._opus(packet)]

    def _opus(self, samples: bytes) -> list[bytes]:
        from av import AudioFrame
        from av.error import FFmpegError

        frame = AudioFrame.from_ndarray(np.frombuffer(samples, "<i2").reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = self._samples
        self._samples += PACKET_SAMPLES
        try:
            return [bytes(packet) for packet in self._context.encode(frame)]
        except FFmpegError as error:
            raise OperationError(f"the Opus encoder failed: {error}") from None


class SoundDecoder:
    """Turns packets of one `AudioMode` into samples."""

    def __init__(self, mode: int) -> None:
        if not can_decode(mode):
            raise OperationError(f"there is no decoder for sound of mode {mode}")
        self.mode = AudioMode(mode)
        self._context: Any = None
        if self.mode == AudioMode.OPUS:
            from av.audio.resampler import AudioResampler
            from av.codec.context import CodecContext

            name = next(name for name in _DECODERS if codec_exists(name, "r"))
            self._context = CodecContext.create(name, "r")
            self._context.sample_rate = RATE
            self._context.layout = "stereo"
            self._resampler = AudioResampler("s16", "stereo", RATE)

    def decode(self, data: bytes | memoryview) -> bytes:
        """The samples of a packet. Raises `ProtocolError` on bytes that are none."""
        if self._context is None:
            if len(data) % (CHANNELS * 2):
                raise ProtocolError(f"{len(data)} bytes are not whole samples of raw sound")
            return bytes(data)
        from av import Packet
        from av.error import FFmpegError

        if not 0 < len(data) <= _MOST_OPUS_BYTES:
            raise ProtocolError(f"an Opus packet cannot have {len(data)} bytes")
        try:
            frames = self._context.decode(Packet(bytes(data)))
            parts = [part for frame in frames for part in self._resampler.resample(frame)]
        except FFmpegError as error:
            raise ProtocolError(f"an Opus packet does not decode: {error}") from None
        return b"".join(part.to_ndarray().tobytes() for part in parts)
