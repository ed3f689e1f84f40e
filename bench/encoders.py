"""How fast each codec encodes, against the reference's C encoder and against zlib level 1 of the same pixels.

One thread, 1920 by 1080 pixels of 32 bits; speeds are medians, ratios the medians of the ratios within each round. The
reference's QUIC and LZ encoders write into room that is there already, ours make what they return, as they do in use.
GLZ encodes two pictures with a new dictionary, the second being the first scrolled by a few rows; both sides copy the
pixels that they keep.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from bench.images import HEIGHT, PICTURES, WIDTH, Image
from bench.reference import Reference
from bench.timing import interleaved
from spicehop.codecs.encoding import ImageCodec, encode
from spicehop.codecs.glz_encoding import GlzDictionary

_SCROLLED_ROWS = 9

#: How many times faster than the reference a codec must be on desktop and photo, and how much longer its bytes may be.
GOALS = {"lz": (1.4, 1.01), "quic": (1.0, 1.0)}
GOAL_PICTURES = ("desktop", "photo")


@dataclass(frozen=True, slots=True)
class Result:
    """One codec on one picture; speeds in megapixels a second, None where there is nothing to compare with."""

    codec: str
    picture: str
    bytes: int
    speed: float
    reference: float | None
    ratio: float | None  # to the reference
    size_ratio: float | None  # to the reference's bytes
    zlib: float  # speed of deflating the same pixels
    zlib_ratio: float

    @property
    def missed(self) -> str | None:
        """What goal this misses, as a sentence."""
        if self.ratio is None or self.size_ratio is None or self.codec not in GOALS:
            return None
        speed, size = GOALS[self.codec]
        if self.picture in GOAL_PICTURES and self.ratio < speed:
            return f"{self.codec} encodes {self.picture} at {self.ratio:.2f} of the reference's speed, not {speed}"
        if self.size_ratio > size:
            return f"{self.codec} makes {self.size_ratio:.3f} of the reference's bytes of {self.picture}"
        return None


@dataclass(frozen=True, slots=True)
class _Case:
    """A codec on a picture: what to time, how long what it makes is, how many pictures a run encodes."""

    ours: Callable[[], object]
    size: int
    reference: Callable[[], object] | None = None
    reference_size: int | None = None
    pictures: int = 1


def _cases(picture: Image, reference: Reference | None) -> dict[str, _Case]:
    cases = {}
    for codec in ImageCodec:
        if codec in (ImageCodec.GLZ, ImageCodec.ZLIB_GLZ):
            continue
        ours = _one(picture, codec)
        cases[codec.value] = _Case(ours, ours())
    scrolled = np.concatenate([picture[_SCROLLED_ROWS:], picture[:_SCROLLED_ROWS]])
    for codec in (ImageCodec.GLZ, ImageCodec.ZLIB_GLZ):
        ours = _two(picture, scrolled, codec)
        cases[codec.value] = _Case(ours, ours(), pictures=2)
    if reference is None:
        return cases

    def glz() -> int:
        encoder = reference.glz_encoder(4 * picture.shape[0] * picture.shape[1])
        size = sum(len(encoder.encode(image)) for image in (picture, scrolled))
        encoder.close()
        return size

    for name, theirs, size in (
        ("quic", reference.quic_encoder(picture), len(reference.quic_encode(picture))),
        ("lz", reference.lz_encoder(picture), len(reference.lz_encode(picture))),
        ("glz", glz, glz()),
    ):
        case = cases[name]
        cases[name] = _Case(case.ours, case.size, theirs, size, case.pictures)
    return cases


def _one(picture: Image, codec: ImageCodec) -> Callable[[], int]:
    return lambda: encode(picture, compression=codec).size


def _two(picture: Image, scrolled: Image, codec: ImageCodec) -> Callable[[], int]:
    def run() -> int:
        dictionary = GlzDictionary(4 * picture.shape[0] * picture.shape[1])
        both = (encode(image, compression=codec, dictionary=dictionary) for image in (picture, scrolled))
        return sum(image.size for image in both)

    return run


def measure(reference: Reference | None, rounds: int = 15, scale: int = 1) -> list[Result]:
    """Encode every picture with every codec; `scale` divides width and height."""
    results: list[Result] = []
    width, height = WIDTH // scale, HEIGHT // scale
    for name, make in PICTURES.items():
        picture = make(width, height)
        cases = _cases(picture, reference)
        raw = picture.tobytes()
        candidates: dict[str, Callable[[], object]] = {"zlib": lambda raw=raw: zlib.compress(raw, 1)}  # type: ignore[misc]
        for codec, case in cases.items():
            candidates[codec] = case.ours
            if case.reference is not None:
                candidates[f"{codec} C"] = case.reference
        timings = interleaved(candidates, rounds)
        for codec, case in cases.items():
            pixels = case.pictures * width * height / 1e6
            speed = pixels / timings.seconds(codec)
            theirs = ratio = size_ratio = None
            if case.reference is not None and case.reference_size is not None:
                theirs = pixels / timings.seconds(f"{codec} C")
                ratio = timings.ratio(codec, f"{codec} C")
                size_ratio = case.size / case.reference_size
            deflating = width * height / 1e6 / timings.seconds("zlib")
            zlib_ratio = case.pictures * timings.ratio(codec, "zlib")
            results.append(
                Result(codec, name, case.size, speed, theirs, ratio, size_ratio, deflating, zlib_ratio)
            )
    return results


def table(results: list[Result]) -> str:
    """The results as lines of text, by codec."""
    lines = [
        f"{'encoding':<11}{'picture':<9}{'bytes':>10}{'Mpixel/s':>10}{'C -O2':>8}{'ratio':>7}{'size':>7}"
        f"{'zlib 1':>8}{'ratio':>8}"
    ]
    order = list(dict.fromkeys(result.codec for result in results))
    for result in sorted(results, key=lambda result: order.index(result.codec)):
        theirs = "-" if result.reference is None else f"{result.reference:.0f}"
        ratio = "-" if result.ratio is None else f"{result.ratio:.2f}"
        size = "-" if result.size_ratio is None else f"{result.size_ratio:.3f}"
        lines.append(
            f"{result.codec:<11}{result.picture:<9}{result.bytes:>10,}{result.speed:>10.0f}{theirs:>8}{ratio:>7}"
            f"{size:>7}{result.zlib:>8.0f}{result.zlib_ratio:>8.2f}" + ("  misses the goal" if result.missed else "")
        )
    return "\n".join(lines)


def as_json(results: list[Result]) -> list[dict[str, object]]:
    """The results as plain data."""
    return [asdict(result) for result in results]
