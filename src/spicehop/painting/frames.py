"""Encoders of video frames, one for each stream."""

from __future__ import annotations

from io import BytesIO
from typing import Protocol

import numpy as np
from PIL import Image

from spicehop.codecs.bitmap import Pixels
from spicehop.wire.display_constants import VideoCodec


class FrameEncoder(Protocol):
    """Encodes the frames of one stream, all of one size; the first one stands alone."""

    def encode(self, pixels: Pixels, quality: int) -> bytes:
        """One frame, in the form STREAM_DATA carries it; `quality` is 1 to 100."""


class MjpegEncoder:
    """Every frame is a JPEG image."""

    def encode(self, pixels: Pixels, quality: int) -> bytes:
        return jpeg(pixels, quality)


def encoder_for(codec: VideoCodec, width: int, height: int) -> FrameEncoder | None:
    """An encoder, or None when this installation has none for the codec."""
    return MjpegEncoder() if codec is VideoCodec.MJPEG else None


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """A JPEG image of `(height, width, 4)` pixels."""
    height, width = pixels.shape[:2]
    picture = Image.frombuffer("RGB", (width, height), np.ascontiguousarray(pixels), "raw", "BGRX", 0, 1)
    into = BytesIO()
    picture.save(into, "JPEG", quality=quality)
    return into.getvalue()
