"""Regions that change all the time become video streams (dossier B.2, E.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spicehop.codecs import jpeg_encoding, lz_encoding
from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.video import VideoEncoder, can_encode
from spicehop.errors import OperationError
from spicehop.painting import messages
from spicehop.painting.candidates import Candidates
from spicehop.painting.digests import Flags
from spicehop.painting.output import Output
from spicehop.painting.settings import PaintSettings, Video
from spicehop.painting.streams import Stream
from spicehop.painting.view import ClientView, SurfaceView
from spicehop.raster.changes import DisplayChange, Moved
from spicehop.raster.region import Box
from spicehop.wire import display as wire
from spicehop.wire.constants import DisplayCap
from spicehop.wire.display_constants import MAX_STREAMS, StreamFlag, VideoCodec

PRIMARY = 0
_CAPABILITIES = {
    VideoCodec.MJPEG: DisplayCap.CODEC_MJPEG,
    VideoCodec.VP8: DisplayCap.CODEC_VP8,
    VideoCodec.H264: DisplayCap.CODEC_H264,
}
_CLOSE = 0.3
"""Seconds between changes that count as one succession."""
_WAKINGS = 4
"""So many changes in close succession bring a tile back into a stream."""
_REPORT_FRAMES, _REPORT_MS = 5, 1000
_CANNOT_DECODE = 2**32 - 1
_LOWEST_BIT_RATE = 200_000
_FRAMES_A_SECOND = 25
_SAMPLE = 512
"""Pixels a side of what is looked at."""
_FILM_RATIO = 2


@dataclass(frozen=True, slots=True)
class Moment:
    """When a picture was taken: in seconds, and in ms of the multimedia clock."""

    now: float
    multi_media_time: int


class VideoPainter:
    """Begins, feeds and ends the streams of one client's primary surface."""

    def __init__(self, view: ClientView, settings: PaintSettings) -> None:
        self._view = view
        self._settings = settings
        self._streams = view.streams.running
        self._candidates = Candidates()
        self._encoders: dict[int, VideoEncoder] = {}
        self.bandwidth: int | None = None
        """Bits a second that the client's link takes, when that is known."""

    @property
    def _surface(self) -> SurfaceView:
        return self._view.surfaces[PRIMARY]

    def regions(self) -> list[Box]:
        """Where the client shows video instead of pictures."""
        return self._view.streams.parts(self._surface.grid) if self._streams else []

    def follow(self, changes: Sequence[DisplayChange], now: float, output: Output) -> None:
        """Let streams go with windows that have been moved."""
        for change in changes:
            if not isinstance(change, Moved) or change.surface_id != PRIMARY:
                continue
            for stream in list(self._streams.values()):
                target = stream.box.shifted(change.x - change.source.left, change.y - change.source.top)
                contained = stream.box.intersect(change.source) == stream.box
                if contained and target.intersect(self._surface.grid.box) == target:
                    self._end(stream, output)
                    self._begin(target, stream.codec, stream.bit_rate, now, output)

    def watch(self, boxes: Sequence[Box], pixels: Pixels, now: float, output: Output) -> None:
        """These areas have changed: begin streams where that goes on."""
        running = [stream.box for stream in self._streams.values()]
        for box in self._candidates.watch([box for box in boxes if not _is_in(box, running)], now):
            codec = self._codec()
            if codec is None:
                return
            if codec is VideoCodec.H264:
                box = _even(box, self._surface.grid.box)
            if self._settings.video is Video.ALL or _is_film(pixels[box.area], self._settings.jpeg_quality):
                for stream in list(self._streams.values()):
                    if not stream.box.intersect(box).is_empty:
                        self._end(stream, output)
                self._begin(box, codec, self._settings.max_video_bit_rate, now, output)

    def rest(self, still: Flags, output: Output) -> Flags:
        """Take tiles that stand still out of their streams, and end streams that have none left.

        Returns the tiles in which a stream is seen.
        """
        seen = np.zeros_like(still)
        for stream in list(self._streams.values()):
            leaving = (stream.active & still).any()
            stream.active &= ~still
            seen |= stream.active
            if not stream.active.any():
                self._end(stream, output)
            elif leaving:
                self._clip(stream, output)
        return seen

    def draw(self, changed: Flags, pixels: Pixels, moment: Moment, output: Output) -> Flags:
        """Send a frame of each stream in which something has changed; returns the tiles whose frame has to wait."""
        surface = self._surface
        waiting = surface.grid.flags()
        for stream in list(self._streams.values()):
            self._wake(stream, changed, moment.now, output)
            moving = stream.active & changed
            if not moving.any():
                continue
            if output.is_full:
                waiting |= moving
                continue
            if self._send(stream, pixels, moment, output):
                surface.drawn_at[moving] = moment.now
            else:
                waiting |= moving
        return waiting

    def report(self, message: wire.StreamReport) -> None:
        """What the client says of a stream: give it less when it cannot follow."""
        stream = self._streams.get(message.stream_id)
        if stream is None:
            return
        if message.frames == 0 and message.drops == _CANNOT_DECODE:
            self._view.streams.refused.add(stream.codec)
            stream.active[:] = False  # it ends with the next picture
        elif 10 * message.drops > message.frames:
            taken = 8 * _FRAMES_A_SECOND * stream.frame_bytes or stream.bit_rate
            stream.bit_rate = max(_LOWEST_BIT_RATE, min(stream.bit_rate, taken) * 3 // 4)
        else:
            stream.bit_rate = min(self._settings.max_video_bit_rate, stream.bit_rate * 21 // 20)

    def end_all(self, output: Output) -> None:
        """The primary surface goes."""
        for stream in list(self._streams.values()):
            self._end(stream, output)
        self._candidates = Candidates()

    def _codec(self) -> VideoCodec | None:
        """The best codec that both sides have; None when there is to be no video."""
        if self._settings.video is Video.OFF or len(self._streams) >= MAX_STREAMS:
            return None
        view = self._view
        for number in (*view.preferred_codecs, *self._settings.video_codecs):
            capability = _CAPABILITIES.get(number)  # type: ignore[call-overload]
            if capability is None or number in view.streams.refused:
                continue
            # A client without MULTI_CODEC knows MJPEG alone, and does not say so.
            silent = number == VideoCodec.MJPEG and DisplayCap.MULTI_CODEC not in view.capabilities
            if (silent or capability in view.capabilities) and can_encode(number, 64, 64):
                return VideoCodec(number)
        return None

    def _begin(self, box: Box, codec: VideoCodec, bit_rate: int, now: float, output: Output) -> None:
        surface, book = self._surface, self._view.streams
        stream_id = next(number for number in range(MAX_STREAMS) if number not in book.running)
        stream = Stream(stream_id, book.begun, codec, box, surface.grid, bit_rate)
        book.running[stream_id] = stream
        book.begun += 1
        surface.drawn_at[stream.active] = now
        surface.lossy |= stream.active
        width, height = box.width, box.height
        sizes = (width, height, width, height)
        output.add(
            wire.StreamCreate(
                PRIMARY, stream_id, StreamFlag.TOP_DOWN, codec, 0, *sizes, messages.rect(box), wire.Clip()
            )
        )
        if DisplayCap.STREAM_REPORT in self._view.capabilities:
            output.add(wire.StreamActivateReport(stream_id, stream.unique_id, _REPORT_FRAMES, _REPORT_MS))

    def _end(self, stream: Stream, output: Output) -> None:
        output.add(wire.StreamDestroy(stream.stream_id))
        del self._streams[stream.stream_id]
        self._encoders.pop(stream.stream_id, None)

    def _clip(self, stream: Stream, output: Output) -> None:
        parts = stream.parts(self._surface.grid)
        clip = wire.Clip() if parts == [stream.box] else messages.clip(tuple(parts))
        output.add(wire.StreamClip(stream.stream_id, clip))

    def _wake(self, stream: Stream, changed: Flags, now: float, output: Output) -> None:
        """Bring back tiles that move again."""
        touched = np.zeros_like(changed)
        touched[self._surface.grid.touched(stream.box)] = True
        resting = touched & ~stream.active & changed
        if not resting.any():
            return
        close = now - self._surface.drawn_at <= _CLOSE
        stream.wakings = np.where(resting, np.where(close, stream.wakings + 1, 1), stream.wakings)
        awake = resting & (stream.wakings >= _WAKINGS)
        if awake.any():
            stream.active |= awake
            self._surface.lossy |= awake
            stream.wakings[awake] = 0
            self._clip(stream, output)

    def _send(self, stream: Stream, pixels: Pixels, moment: Moment, output: Output) -> bool:
        """Whether a frame went out; not when the bit rate left no room for it, or the stream had to end."""
        bit_rate = self._bit_rate(stream)
        encoder = self._encoders.get(stream.stream_id)
        try:
            if encoder is None:
                box = stream.box
                encoder = VideoEncoder(stream.codec, box.width, box.height, fps=_FRAMES_A_SECOND, bit_rate=bit_rate)
                if encoder.codec is not stream.codec:  # the server that began the stream had an encoder for it
                    raise OperationError(f"there is no {stream.codec.name} encoder")
                self._encoders[stream.stream_id] = encoder
            encoder.change_bit_rate(bit_rate)
            data = encoder.encode(pixels[stream.box.area], moment.multi_media_time)
        except OperationError:
            self._view.streams.refused.add(stream.codec)
            self._end(stream, output)
            return False
        if data is None:
            return False
        stream.frame_bytes = len(data)
        output.add(wire.StreamData(stream.stream_id, moment.multi_media_time, data), len(data))
        return True

    def _bit_rate(self, stream: Stream) -> int:
        """The stream's share of the link; a quarter of that is left to everything else."""
        share = self._settings.max_video_bit_rate
        if self.bandwidth is not None:
            share = min(share, self.bandwidth * 3 // 4)
        return max(_LOWEST_BIT_RATE, min(stream.bit_rate, share // len(self._streams)))


def _is_film(pixels: Pixels, quality: int) -> bool:
    """Whether JPEG makes a picture so much smaller than lossless coding does, by its middle."""
    height, width = pixels.shape[:2]
    top, left = max(0, height - _SAMPLE) // 2, max(0, width - _SAMPLE) // 2
    sample = pixels[top : top + _SAMPLE, left : left + _SAMPLE]
    return len(lz_encoding.encode(sample)) > _FILM_RATIO * len(jpeg_encoding.encode(sample, quality))


def _is_in(box: Box, others: Sequence[Box]) -> bool:
    return any(box.intersect(other) == box for other in others)


def _even(box: Box, outer: Box) -> Box:
    """A box of even sides, as codecs with half as many colours want, one pixel larger or smaller."""
    width, height = box.width + box.width % 2, box.height + box.height % 2
    right = box.left + (width if box.left + width <= outer.right else width - 2)
    bottom = box.top + (height if box.top + height <= outer.bottom else height - 2)
    return Box(box.left, box.top, right, bottom)
