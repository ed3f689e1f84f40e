"""Makes the golden vectors in tests/golden/encoded with our encoders: `python -m bench.encoded_vectors`.

Run again when an encoder changes what it writes; the tests hold it to these bytes. Each vector is judged by the
reference's own decoder: `pixels.npz` holds what that one makes of it, and nothing is written when it disagrees.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import images
from bench.reference import LZ_RGB32, LZ_RGBA, LZ_XXXA, ROOT, Reference
from spicehop.codecs import lz, lz_encoding
from spicehop.codecs.glz_encoding import GlzDictionary
from spicehop.codecs.lz import LzType

FOLDER = ROOT / "tests" / "golden" / "encoded"
PALETTE = np.arange(256, dtype=np.uint32) * 0x010305
WINDOW = 20_000

_Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def pictures() -> Iterator[tuple[str, _Pixels]]:
    """The pictures to encode: name and pixels of four bytes, alpha included."""
    random = np.random.default_rng(8)
    yield "noise-1x1", random.integers(0, 256, (1, 1, 4), np.uint8)
    yield "noise-3x5", random.integers(0, 256, (5, 3, 4), np.uint8)
    desktop = images.desktop()[55:116, 150:247].copy()
    desktop[..., 3] = np.where(desktop[..., 0] > 200, 255, desktop[..., 1])
    yield "desktop-97x61", desktop
    block = random.integers(0, 256, (1, 70, 4), np.uint8)
    far = np.zeros((40, 300, 4), np.uint8)
    far[0, :70] = far[1, 200:270] = far[30, 10:80] = far[39, 230:] = block
    yield "far-300x40", far


def packed(pixels: _Pixels, kind: LzType) -> _Pixels:
    """Some indices for a palette type, as many bytes a row as the width needs."""
    return np.ascontiguousarray(pixels[:, : -(-pixels.shape[1] // lz.PIXELS_PER_BYTE[kind]), 2])


def lz_vectors(reference: Reference) -> Iterator[tuple[dict[str, Any], bytes, _Pixels, _Pixels]]:
    """For each: what it is, the stream, what was encoded, and what the reference makes of it."""
    for name, pixels in pictures():
        height, width = pixels.shape[:2]
        for kind in LzType:
            source = pixels
            if kind in lz.PIXELS_PER_BYTE:
                source = packed(pixels, kind)
                data = lz_encoding.encode_packed(source, kind, width)
            else:
                source = np.ascontiguousarray(pixels[..., 3]) if kind == LzType.A8 else pixels
                data = lz_encoding.encode(source, kind)
            wanted = {LzType.RGBA: LZ_RGBA, LzType.XXXA: LZ_XXXA, LzType.A8: int(kind)}.get(kind, LZ_RGB32)
            per_byte = lz.PIXELS_PER_BYTE.get(kind, 1)
            columns = -(-width // per_byte) * per_byte
            seen = np.zeros((height, columns, 1 if kind == LzType.A8 else 4), np.uint8)
            reference.lz_decoder(data, seen, wanted, PALETTE.tolist() if kind in lz.PIXELS_PER_BYTE else ())()
            seen = np.ascontiguousarray(seen[:, :width])
            if kind in (LzType.A8, LzType.XXXA):
                seen = np.ascontiguousarray(seen[..., -1])
            elif kind != LzType.RGBA:
                seen[..., 3] = 0  # the reference leaves there what was there, or does not
            entry = {"codec": "lz", "file": f"{name}-{kind.name.lower()}.lz", "kind": int(kind), "width": width}
            yield entry, data, source, seen


def glz_pictures() -> Iterator[tuple[LzType, _Pixels]]:
    """A history of one client's images: repeated, shifted, in all types, and more of them than the window holds."""
    base = images.desktop()[40:140, 150:260].copy()
    base[..., 3] = base[..., 1]
    random = np.random.default_rng(9)
    for number in range(40):
        kind = (LzType.RGB32, LzType.RGBA, LzType.RGB24, LzType.RGB16)[number % 4]
        top, left = random.integers(0, 40), random.integers(0, 60)
        pixels = base[top : top + 60 - number, left : left + 50].copy()
        if number % 5 == 0:
            pixels[3:6] = random.integers(0, 256, (3, 50, 4), np.uint8)
        yield kind, pixels
    yield LzType.RGB32, base[:, ::-1].copy()
    yield LzType.RGB32, base


def _without_alpha(pixels: _Pixels, kind: LzType) -> _Pixels:
    made = pixels.copy()
    made[..., 3] = 0
    if kind == LzType.RGB16:
        np.bitwise_or(made >> 3 << 3, made >> 5, out=made)
    return made


def glz_vector(reference: Reference) -> tuple[bytes, dict[str, _Pixels]]:
    """The images of one dictionary, each with its length before it, and what the reference makes of each."""
    dictionary = GlzDictionary(WINDOW)
    window = reference.glz_window()
    stream, seen = b"", {}
    for number, (kind, pixels) in enumerate(glz_pictures()):
        data = dictionary.encode(pixels, kind)
        shown = np.zeros_like(pixels)
        window.decode(data, shown)
        if kind != LzType.RGBA:
            shown[..., 3] = 0
        stream += len(data).to_bytes(4, "big") + data
        expected = pixels if kind == LzType.RGBA else _without_alpha(pixels, kind)
        if not np.array_equal(shown, expected):
            raise AssertionError(f"the reference sees GLZ image {number} differently")
        seen[f"glz.{number}"] = shown
    window.close()
    return stream, seen


def main() -> None:
    """Write every vector, the index and the pixels."""
    reference = Reference.load()
    FOLDER.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for entry, data, source, seen in lz_vectors(reference):
        if not np.array_equal(lz.decode(data, PALETTE), seen):
            raise AssertionError(f"the reference's decoder sees {entry['file']} differently")
        (FOLDER / entry["file"]).write_bytes(data)
        arrays[f"{entry['file']}.pixels"] = source
        arrays[entry["file"]] = seen
        index.append({**entry, "pixels": f"{entry['file']}.pixels"})
    stream, shown = glz_vector(reference)
    (FOLDER / "window.glz").write_bytes(stream)
    for number, (kind, pixels) in enumerate(glz_pictures()):
        arrays[f"glz.{number}.pixels"] = pixels
        index.append({"codec": "glz", "file": "window.glz", "kind": int(kind), "pixels": f"glz.{number}.pixels"})
    arrays.update(shown)
    np.savez_compressed(FOLDER / "pixels.npz", **arrays)
    (FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n", "ascii")
    print(f"{len(index)} images, {sum(path.stat().st_size for path in FOLDER.iterdir())} bytes")


if __name__ == "__main__":
    main()
