"""How fast each codec decodes, against the reference's C decoder and against zlib level 1 of the same pixels.

One thread, 1920 by 1080 pixels of 32 bits; speeds are medians, ratios the medians of the ratios within each round.
LZ, QUIC and GLZ are encoded by the reference's encoders; its decoders write into a picture that is there already, ours
make a new one each time, as they do in use. GLZ decodes two pictures into an empty window, the second being the first
scrolled by a few rows, so that it refers to it.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import lz4.block
import numpy as np
from PIL import Image as PillowImage

from bench.images import HEIGHT, PICTURES, WIDTH, Image
from bench.reference import Reference
from bench.timing import interleaved
from spicehop.codecs import bitmap, glz, jpeg, lz, quic
from spicehop.codecs import lz4 as lz4_image
from spicehop.wire.display_constants import BitmapFormat

_SCROLLED_ROWS = 9
_LZ4_ROWS = 64

#: Codecs that must be at least as fast as the reference on the pictures named.
GOALS = {"lz": ("desktop", "photo"), "quic": ("desktop", "photo")}


@dataclass(frozen=True, slots=True)
class Result:
    """One codec on one picture; speeds in megapixels a second, None where there is nothing to compare with."""

    codec: str
    picture: str
    bytes: int
    speed: float
    reference: float | None
    ratio: float | None  # to the reference
    zlib: float  # speed of inflating the same pixels
    zlib_ratio: float

    @property
    def goal_missed(self) -> bool:
        """Whether this is slower than the reference where it must not be."""
        return self.ratio is not None and self.picture in GOALS.get(self.codec, ()) and self.ratio < 1


@dataclass(frozen=True, slots=True)
class _Case:
    """A codec with its data: what to time, how many pictures a run decodes, and what must come out of the last."""

    size: int
    ours: Callable[[], np.ndarray[Any, Any]]
    reference: Callable[[], None] | None = None
    pictures: int = 1
    expected: Image | None = None  # None for a lossy codec


def _cases(picture: Image, reference: Reference | None) -> dict[str, _Case]:
    height, width = picture.shape[:2]
    raw = picture.tobytes()
    cases = {
        "raw": _Case(
            len(raw),
            lambda: bitmap.decode(
                raw, format=BitmapFormat.XRGB_32, width=width, height=height, stride=4 * width, top_down=False
            ),
            expected=picture[::-1],
        ),
    }
    blocks = _lz4_blocks(picture)
    cases["lz4"] = _Case(len(blocks), lambda: lz4_image.decode(blocks, width, height), expected=picture)
    file = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(picture[..., 2::-1])).save(file, "JPEG", quality=85)
    cases["jpeg"] = _Case(len(file.getvalue()), lambda: jpeg.decode(file.getvalue()))
    if reference is None:
        return cases

    out = np.empty_like(picture)
    lz_data = reference.lz_encode(picture)
    quic_data = reference.quic_encode(picture)
    cases["lz"] = _Case(
        len(lz_data), lambda: lz.decode(lz_data), reference.lz_decoder(lz_data, out), expected=picture
    )
    cases["quic"] = _Case(
        len(quic_data), lambda: quic.decode(quic_data), reference.quic_decoder(quic_data, out), expected=picture
    )
    scrolled = np.concatenate([picture[_SCROLLED_ROWS:], picture[:_SCROLLED_ROWS]])
    encoder = reference.glz_encoder(4 * width * height)
    glz_data = [encoder.encode(image) for image in (picture, scrolled)]
    encoder.close()

    def glz_ours() -> np.ndarray[Any, Any]:
        window = glz.GlzWindow(4 * width * height)
        window.decode(glz_data[0])
        return window.decode(glz_data[1])

    def glz_reference() -> None:
        window = reference.glz_window()
        for data in glz_data:
            window.decode(data)
        window.close()

    cases["glz"] = _Case(sum(map(len, glz_data)), glz_ours, glz_reference, 2, scrolled)
    return cases


def _lz4_blocks(picture: Image) -> bytes:
    """An LZ4 image as the server makes it: blocks of whole rows, each with the output before it as dictionary."""
    parts = [bytes((1, BitmapFormat.XRGB_32))]
    before = b""
    for row in range(0, picture.shape[0], _LZ4_ROWS):
        rows = picture[row : row + _LZ4_ROWS].tobytes()
        block = lz4.block.compress(rows, store_size=False, dict=before[-65536:])
        parts += [len(block).to_bytes(4, "big"), block]
        before = rows
    return b"".join(parts)


def measure(reference: Reference | None, rounds: int = 15, scale: int = 1) -> list[Result]:
    """Decode every picture with every codec; `scale` divides width and height. Without a reference LZ, QUIC and GLZ
    are left out, since there is nobody to encode for them."""
    results: list[Result] = []
    width, height = WIDTH // scale, HEIGHT // scale
    for name, make in PICTURES.items():
        picture = make(width, height)
        cases = _cases(picture, reference)
        deflated = zlib.compress(picture.tobytes(), 1)
        candidates: dict[str, Callable[[], object]] = {"zlib": lambda data=deflated: zlib.decompress(data)}  # type: ignore[misc]
        for codec, case in cases.items():
            if case.expected is not None and not np.array_equal(case.ours(), case.expected):
                raise AssertionError(f"{codec} does not give back the {name} picture")
            candidates[codec] = case.ours
            if case.reference is not None:
                candidates[f"{codec} C"] = case.reference
        timings = interleaved(candidates, rounds)
        for codec, case in cases.items():
            pixels = case.pictures * width * height / 1e6
            speed = pixels / timings.seconds(codec)
            theirs = ratio = None
            if case.reference is not None:
                theirs = pixels / timings.seconds(f"{codec} C")
                ratio = timings.ratio(codec, f"{codec} C")
            inflating = width * height / 1e6 / timings.seconds("zlib")
            zlib_ratio = case.pictures * timings.ratio(codec, "zlib")
            results.append(Result(codec, name, case.size, speed, theirs, ratio, inflating, zlib_ratio))
    return results


def table(results: list[Result]) -> str:
    """The results as lines of text, by codec."""
    lines = [
        f"{'decoding':<9}{'picture':<9}{'bytes':>10}{'Mpixel/s':>10}{'C -O2':>8}{'ratio':>7}{'zlib 1':>8}{'ratio':>8}"
    ]
    order = list(dict.fromkeys(result.codec for result in results))
    for result in sorted(results, key=lambda result: order.index(result.codec)):
        theirs = "-" if result.reference is None else f"{result.reference:.0f}"
        ratio = "-" if result.ratio is None else f"{result.ratio:.2f}"
        lines.append(
            f"{result.codec:<9}{result.picture:<9}{result.bytes:>10,}{result.speed:>10.0f}{theirs:>8}{ratio:>7}"
            f"{result.zlib:>8.0f}{result.zlib_ratio:>8.2f}" + ("  slower than the goal" if result.goal_missed else "")
        )
    return "\n".join(lines)


def as_json(results: list[Result]) -> list[dict[str, object]]:
    """The results as plain data."""
    return [asdict(result) for result in results]
