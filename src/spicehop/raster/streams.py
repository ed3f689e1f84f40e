"""Video streams of one display channel: frames are drawn when they arrive (dossier B.2, E.8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spicehop.codecs import jpeg
from spicehop.codecs.images import DecodedImage
from spicehop.errors import ProtocolError
from spicehop.raster.geometry import box_of, clip_boxes
from spicehop.raster.operations import Rop
from spicehop.raster.painter import Placement, draw_image
from spicehop.raster.region import Box, Region
from spicehop.raster.results import Damage, NotDrawn
from spicehop.raster.surfaces import SurfaceTable
from spicehop.wire.display import (
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDataSized,
)
from spicehop.wire.display_constants import MAX_STREAMS, StreamFlag, VideoCodec


@dataclass(slots=True)
class VideoStream:
    """A running stream."""

    stream_id: int
    surface_id: int
    codec: int  # a VideoCodec
    top_down: bool
    destination: Box
    clips: tuple[Box, ...] | None
    frames: int = 0  # drawn
    frames_not_drawn: int = 0
    report: StreamActivateReport | None = None  # what the server wants to hear, if anything

    @property
    def is_shown(self) -> bool:
        """Whether frames of this codec can be decoded."""
        return self.codec == VideoCodec.MJPEG


class StreamTable:
    """Streams by id.

    What concerns a stream that does not exist is left out, as at the reference: a reset here may have ended a stream
    that the server still believes in.
    """

    def __init__(self, max_frame_pixels: int) -> None:
        self._max_frame_pixels = max_frame_pixels
        self._streams: dict[int, VideoStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[VideoStream]:
        return iter(self._streams.values())

    def stream(self, stream_id: int) -> VideoStream | None:
        """The stream with this id, if there is one."""
        return self._streams.get(stream_id)

    def create(self, message: StreamCreate) -> None:
        """Begin a stream, in place of one with the same id."""
        if message.id >= MAX_STREAMS:
            raise ProtocolError(f"video stream id {message.id} is over the limit of {MAX_STREAMS - 1}")
        self._streams[message.id] = VideoStream(
            stream_id=message.id,
            surface_id=message.surface_id,
            codec=message.codec,
            top_down=bool(message.flags & StreamFlag.TOP_DOWN),
            destination=box_of(message.destination),
            clips=clip_boxes(message.clip),
        )

    def clip(self, message: StreamClip) -> None:
        """Change what is visible of a stream."""
        stream = self._streams.get(message.id)
        if stream is not None:
            stream.clips = clip_boxes(message.clip)

    def activate_report(self, message: StreamActivateReport) -> None:
        """Remember what the server wants to hear about a stream."""
        stream = self._streams.get(message.stream_id)
        if stream is not None:
            stream.report = message

    def destroy(self, stream_id: int) -> None:
        """End one stream; an unknown id is fine."""
        self._streams.pop(stream_id, None)

    def destroy_on(self, surface_id: int) -> None:
        """End the streams that show on a surface."""
        for stream in list(self._streams.values()):
            if stream.surface_id == surface_id:
                del self._streams[stream.stream_id]

    def clear(self) -> None:
        """End all streams."""
        self._streams.clear()

    def draw(self, message: StreamData | StreamDataSized, surfaces: SurfaceTable) -> Damage | NotDrawn | None:
        """Draw one frame on the stream's surface, stretched over its destination by the nearest pixel."""
        stream = self._streams.get(message.id)
        if stream is None:
            return NotDrawn(message.NAME, f"video stream {message.id} does not exist")
        if stream.surface_id not in surfaces:
            return NotDrawn(message.NAME, f"surface {stream.surface_id} does not exist")
        surface = surfaces.surface(stream.surface_id)
        if not stream.is_shown:
            stream.frames_not_drawn += 1
            return NotDrawn(message.NAME, f"{_codec_name(stream.codec)} video is not decoded")
        pixels = jpeg.decode(message.data, max_pixels=self._max_frame_pixels)
        if not stream.top_down:
            pixels = np.ascontiguousarray(pixels[::-1])
        destination = (
            box_of(message.destination) if isinstance(message, StreamDataSized) else stream.destination
        )
        stream.frames += 1
        region = Region.clipped(destination.intersect(surface.box), stream.clips)
        if region.is_empty:
            return None
        area = Box(0, 0, pixels.shape[1], pixels.shape[0])
        frame = DecodedImage(pixels, has_alpha=False, lossy=True)
        draw_image(surface, region, frame, Placement(area, destination), Rop.COPY)
        return Damage(surface.surface_id, region.boxes)


def _codec_name(codec: int) -> str:
    try:
        return VideoCodec(codec).name
    except ValueError:
        return f"codec {codec}"
