"""How a server paints, for all its clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spicehop.wire.display_constants import VideoCodec


class ImageCompression(StrEnum):
    """How images are encoded; what a client asks for by PREFERRED_COMPRESSION comes first."""

    AUTO = "auto"
    OFF = "off"
    QUIC = "quic"
    GLZ = "glz"
    LZ = "lz"
    LZ4 = "lz4"
    JPEG = "jpeg"


class Video(StrEnum):
    """Whether regions that change all the time become video streams."""

    AUTO = "auto"
    OFF = "off"
    ALL = "all"
    """Also those that look drawn rather than filmed."""


@dataclass(frozen=True, slots=True)
class PaintSettings:
    """What the operator has chosen; the defaults show every picture exactly as soon as it stands still."""

    compression: ImageCompression = ImageCompression.AUTO
    video: Video = Video.AUTO
    jpeg_quality: int = 85
    """For images, 1 to 95."""
    max_video_bit_rate: int = 60_000_000
    """Bits a second that all streams of a client may have together; less when its link is slower."""
    repair_after: float = 0.5
    """Seconds that a lossy area must stand still before it is sent exactly."""
    video_codecs: tuple[int, ...] = (VideoCodec.MJPEG, VideoCodec.VP8, VideoCodec.H264)
    """For streams, the best first; the client's own order comes before."""
    max_glz_pixels: int = 2**19
    """Of the client's GLZ window at most so much is used: its pixels are kept here too."""
    max_cached_pixels: int = 16 * 2**20
    """Of the client's image cache at most so much is used: what is known of it has to move in a migration."""
