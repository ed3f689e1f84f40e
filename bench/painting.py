"""What a frame of desktop work costs a server for one client: time to find and encode what has changed, and bytes.

Each scene runs with the hints a guest gives and without a word from it. At its end the client's own canvas must show
the guest's pixels.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bench.images import Image, desktop, photo
from spicehop.codecs.images import ImageCaches
from spicehop.painting import ClientView, Painter, PaintSettings, SharedImages
from spicehop.painting.digests import digest
from spicehop.raster.canvas import Canvas
from spicehop.raster.changes import DisplayChange, Drawn, Moved
from spicehop.raster.region import Box
from spicehop.wire import display
from spicehop.wire.constants import DisplayCap

_CAPABILITIES = (DisplayCap.MONITORS_CONFIG, DisplayCap.LZ4_COMPRESSION, DisplayCap.MULTI_CODEC, DisplayCap.CODEC_MJPEG)
_CACHE_PIXELS = 20 * 2**20
_GLZ_PIXELS = 4 * 2**20
_FRAME = 0.04  # seconds
_CLIENTS = 8

Step = Iterator[Sequence[DisplayChange]]
"""Changes the picture once each time it is asked, and says how."""


@dataclass(frozen=True, slots=True)
class Result:
    """One scene."""

    scene: str
    hints: bool
    milliseconds: float  # a frame, median
    slowest: float  # frame, milliseconds
    bytes: float  # a frame, mean


@dataclass(frozen=True, slots=True)
class Results:
    """All of it."""

    scenes: tuple[Result, ...]
    digest_milliseconds: float
    """Of a whole picture, at best."""
    client_bytes: int
    """Memory that one more idle client takes, without its connections."""

    @property
    def goals_missed(self) -> list[str]:
        """A sentence for each figure that should be better."""
        missed = []
        if self.digest_milliseconds > 5:
            missed.append(f"digests of a picture take {self.digest_milliseconds:.1f} ms, the goal is 5")
        if self.client_bytes > 8_000_000:
            missed.append(f"an idle client takes {self.client_bytes:,} bytes, the goal is 8,000,000")
        return missed


def _still(image: Image) -> Step:
    while True:
        yield ()


def _typing(image: Image) -> Step:
    """A letter a frame."""
    paper = image[100:130, 200:1000].copy()
    while True:
        for column in range(200, 990, 9):
            box = Box(column, 600, column + 9, 614)
            image[box.area] = image[105 + column % 8 : 119 + column % 8, column : column + 9]
            yield (Drawn(0, (box,)),)
        image[600:614, 200:1000] = paper[:14]
        yield (Drawn(0, (Box(200, 600, 1000, 614),)),)


def _scrolling(image: Image) -> Step:
    """A window of text moves up by one line."""
    window = Box(1011, 230, 1790, 950)
    text = image[window.area].copy()
    line = 18
    for number in range(1 << 30):
        part = image[window.area]
        part[:-line] = part[line:].copy()
        first = (number * line) % (window.height - line)
        part[-line:] = text[first : first + line]
        moved = Moved(0, Box(window.left, window.top + line, window.right, window.bottom), window.left, window.top)
        yield moved, Drawn(0, (Box(window.left, window.bottom - line, window.right, window.bottom),))


def _moving(image: Image) -> Step:
    """A window is dragged over the desktop."""
    below = image.copy()
    window = image[560:900, 420:990].copy()
    height, width = window.shape[:2]
    x, y = 420, 560
    while True:
        for dx, dy in ((7, -3),) * 40 + ((-7, 3),) * 40:
            old = Box(x, y, x + width, y + height)
            x, y = x + dx, y + dy
            image[old.area] = below[old.area]
            image[y : y + height, x : x + width] = window
            new = Box(x, y, x + width, y + height)
            rows = Box(old.left, new.bottom, old.right, old.bottom)
            if dy > 0:
                rows = Box(old.left, old.top, old.right, new.top)
            columns = Box(old.left, old.top, new.left, old.bottom)
            if dx < 0:
                columns = Box(new.right, old.top, old.right, old.bottom)
            yield Moved(0, old, x, y), Drawn(0, (rows, columns))


def _film(width: int, height: int) -> Callable[[Image], Step]:
    def frames(image: Image) -> Step:
        film = photo(width + 200, height)
        box = Box(20, 20, 20 + width, 20 + height).intersect(Box(0, 0, image.shape[1], image.shape[0]))
        while True:
            for shift in (*range(0, 200, 4), *range(200, 0, -4)):
                image[box.area] = film[: box.height, shift : shift + box.width]
                yield (Drawn(0, (box,)),)

    return frames


SCENES: dict[str, Callable[[Image], Step]] = {
    "nothing changes": _still,
    "typing": _typing,
    "scrolling text": _scrolling,
    "moving a window": _moving,
    "film 640x360": _film(640, 360),
    "film full screen": _film(1900, 1060),
}


def measure(frames: int = 60) -> Results:
    """Run every scene for so many frames, on a screen of 1920 by 1080 pixels."""
    scenes = [_run(name, scene, hints, frames) for name, scene in SCENES.items() for hints in (True, False)]
    image = desktop()
    taken = []
    for _ in range(15):
        begin = time.perf_counter()
        digest(image)
        taken.append(time.perf_counter() - begin)
    return Results(tuple(scenes), 1000 * min(taken), _memory(image))


def _painter(shared: SharedImages) -> Painter:
    painter = Painter(ClientView(_CAPABILITIES), PaintSettings(), shared)
    painter.client_message(display.Init(1, _CACHE_PIXELS, 1, _GLZ_PIXELS), 0.0)
    return painter


def _run(name: str, scene: Callable[[Image], Step], hints: bool, frames: int) -> Result:
    image = desktop()
    painter = _painter(SharedImages())
    canvas = Canvas(ImageCaches(max_cached_pixels=_CACHE_PIXELS, glz_window_pixels=_GLZ_PIXELS))
    for message in painter.begin(image, {}, 0.0):
        canvas.apply(message)
    step = scene(image)
    now, taken, sent = 0.0, [], 0
    warm = 15  # a film has become a stream by then
    for number in range(frames + warm):
        changes = next(step)
        now += _FRAME
        begin = time.perf_counter()
        messages = painter.paint(image, {}, changes, now, complete=hints)
        bodies = [message.encode() for message in messages]
        if number >= warm:
            taken.append(time.perf_counter() - begin)
            sent += sum(len(body) for body in bodies)
        for message in messages:
            canvas.apply(message)
    while (deadline := painter.next_deadline()) is not None:
        for message in painter.paint(image, {}, (), deadline + 0.001, complete=True):
            canvas.apply(message)
    if not np.array_equal(canvas.screenshot()[..., :3], image[..., :3]):
        raise AssertionError(f"{name}: the client does not show the guest's pixels")
    return Result(name, hints, 1000 * statistics.median(taken), 1000 * max(taken), sent / frames)


def _memory(image: Image) -> int:
    """Bytes that each client takes which has the picture and is idle, beside a first one."""
    shared = SharedImages()
    painters = [_painter(shared)]
    painters[0].begin(image, {}, 0.0)
    tracemalloc.start()
    try:
        for _ in range(_CLIENTS):
            painters.append(_painter(shared))
            painters[-1].begin(image, {}, 0.0)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] // _CLIENTS
    finally:
        tracemalloc.stop()


def table(results: Results) -> str:
    """The results as lines of text."""
    lines = [f"{'painting 1920x1080':<20} {'hints':<6} {'ms a frame':>11} {'slowest':>9} {'bytes a frame':>14}"]
    lines += [
        f"{result.scene:<20} {'yes' if result.hints else 'no':<6} {result.milliseconds:>11.2f} {result.slowest:>9.2f}"
        f" {result.bytes:>14,.0f}"
        for result in results.scenes
    ]
    lines.append(f"digests of a whole picture   {results.digest_milliseconds:.2f} ms")
    lines.append(f"one more idle client         {results.client_bytes:,} bytes")
    return "\n".join(lines)


def as_json(results: Results) -> dict[str, object]:
    """The results as plain data."""
    return asdict(results)
