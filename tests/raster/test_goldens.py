"""What real QEMUs sent on the display channel, drawn again and judged by QEMU's own `screendump`.

Pixels must be equal, but for those that were last drawn by JPEG or by a video: these together must reach a PSNR.
"""

from __future__ import annotations

import json
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spicehop.codecs.glz import GlzWindow, MissingImage
from spicehop.codecs.images import GLZ_WINDOW_PIXELS
from spicehop.raster.canvas import Canvas
from spicehop.raster.results import Damage, NotDrawn
from spicehop.wire import display as wire
from spicehop.wire import registry
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.display_constants import ImageType
from spicehop.wire.framing import FrameReader
from spicehop.wire.layout import Message

FOLDER = Path(__file__).parents[1] / "golden" / "display"
INDEX: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())

SUBJECTS = {
    "qxl-raw": {"BITMAP": 5},
    "qxl-lz": {"LZ_RGB": 5},
    "qxl-glz": {"GLZ_RGB": 5},
    "qxl-quic": {"QUIC": 5},
    "qxl-lz4": {"LZ4": 5},
    "qxl-zlib_glz": {"ZLIB_GLZ_RGB": 5},
    "qxl-jpeg": {"JPEG": 4},
    "qxl-mjpeg": {"LZ_RGB": 10},
    "vga-auto": {"GLZ_RGB": 20, "QUIC": 4},
    "vga-mixed": {"GLZ_RGB": 20, "ZLIB_GLZ_RGB": 20, "JPEG": 10},
}
"""What each capture is there for: image types, and at least how many images of them."""
PSNR = {"qxl-jpeg": 30.0, "vga-mixed": 40.0}
"""What pixels drawn with loss must reach, in dB. Measured: 30.8 with coloured text in it, 41.7 without."""
MJPEG_PSNR = 42.0
"""As `PSNR`, for the last frame of the video: 43.3."""
MJPEG_FRAMES = 8
PIECE = 16 * 1024

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Replay:
    """A canvas, what it was fed, and which of its pixels were last drawn with loss."""

    def __init__(self) -> None:
        self.canvas = Canvas()
        self.images: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.lossy: Mask = np.zeros((0, 0), np.bool_)

    def apply(self, message: Message) -> None:
        self.messages[message.NAME] += 1
        result = self.canvas.apply(message)
        assert not isinstance(result, NotDrawn), result
        primary = self.canvas.primary
        if primary is not None and self.lossy.shape != primary.pixels.shape[:2]:
            self.lossy = np.zeros(primary.pixels.shape[:2], np.bool_)
        source = message.source if isinstance(message, wire.DrawCopy) else None
        if source is not None:
            self.images[ImageType(source.descriptor.type).name] += 1
        if isinstance(result, Damage):
            with_loss = isinstance(message, wire.StreamData) or (
                source is not None and source.descriptor.type == ImageType.JPEG
            )
            for box in result.boxes:
                self.lossy[box.top : box.bottom, box.left : box.right] = with_loss

    def judge(self, name: str) -> float:
        """Compares with `screendump`: asserts equal pixels where nothing was lost, returns the PSNR of the rest."""
        expected = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))
        shown = self.canvas.screenshot()[:, :, 2::-1]
        assert shown.shape == expected.shape
        different = (shown != expected).any(axis=2)
        assert np.count_nonzero(different & ~self.lossy) == 0
        return psnr(shown[self.lossy], expected[self.lossy])


def psnr(shown: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Peak signal-to-noise ratio over all three colours in dB; infinite when both are the same."""
    mean_square = np.mean((shown.astype(np.float64) - expected) ** 2) if shown.size else 0.0
    return float("inf") if mean_square == 0 else float(10 * np.log10(255**2 / mean_square))


def messages(name: str) -> list[Message]:
    """The messages of a capture, cut from the stream as if it came from a network."""
    data = memoryview(lzma.decompress((FOLDER / f"{name}.bin.xz").read_bytes()))
    assert len(data) == INDEX[name]["bytes"]
    reader = FrameReader(mini_header=True)
    frames = [frame for start in range(0, len(data), PIECE) for frame in reader.feed(data[start : start + PIECE])]
    assert reader.pending == 0
    return [registry.decode(ChannelType.DISPLAY, Direction.FROM_SERVER, one.number, one.body) for one in frames]


def test_every_capture_has_its_subject() -> None:
    assert set(SUBJECTS) == set(INDEX) == {path.name.removesuffix(".bin.xz") for path in FOLDER.glob("*.bin.xz")}


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_picture_is_what_qemu_shows(name: str) -> None:
    replay = Replay()
    for message in messages(name):
        replay.apply(message)
    assert dict(sorted(replay.messages.items())) == INDEX[name]["messages"]
    assert dict(sorted(replay.images.items())) == INDEX[name]["images"]
    for kind, least in SUBJECTS[name].items():
        assert replay.images[kind] >= least
    assert replay.lossy.any() == (name in PSNR)
    assert replay.judge(name) >= PSNR.get(name, float("inf"))


def test_a_video_shows_what_qemu_shows() -> None:
    """Its last frame, before the server sends the same picture again without loss."""
    name = "qxl-mjpeg"
    read = messages(name)
    last = max(place for place, message in enumerate(read) if isinstance(message, wire.StreamData))
    assert any(isinstance(message, wire.DrawCopy) for message in read[last:])
    replay = Replay()
    for message in read[: last + 1]:
        replay.apply(message)
    assert replay.messages["STREAM_DATA"] >= MJPEG_FRAMES
    assert replay.lossy.any()
    assert replay.judge(name) >= MJPEG_PSNR


@pytest.mark.parametrize(("name", "least"), [("qxl-glz", 3), ("vga-auto", 20)])
def test_the_captures_have_glz_images_that_refer_to_others(name: str, least: int) -> None:
    refer = 0
    for message in messages(name):
        source = message.source if isinstance(message, wire.DrawCopy) else None
        if source is not None and source.descriptor.type == ImageType.GLZ_RGB:
            assert isinstance(source.payload, wire.Compressed)
            try:
                GlzWindow(GLZ_WINDOW_PIXELS).decode(source.payload.data)
            except MissingImage:
                refer += 1
    assert refer >= least
