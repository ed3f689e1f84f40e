"""Makes the golden vectors in tests/golden/quic with the reference's encoder: `python -m bench.quic_vectors`.

Run once; the vectors are committed. Each is judged by the reference's own decoder: `index.json` holds the SHA-256 of
the pixels it gives, in the form that spicehop's decoder returns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import images
from bench.reference import QUIC_GRAY, QUIC_RGB16, QUIC_RGB24, QUIC_RGB32, QUIC_RGBA, ROOT, Reference

FOLDER = ROOT / "tests" / "golden" / "quic"
KINDS = {"gray": QUIC_GRAY, "rgb16": QUIC_RGB16, "rgb24": QUIC_RGB24, "rgb32": QUIC_RGB32, "rgba": QUIC_RGBA}

_Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def pictures() -> Iterator[tuple[str, _Pixels]]:
    """The pictures to encode: name and pixels of four bytes, alpha included."""
    random = np.random.default_rng(7)
    for width, height in ((1, 1), (1, 37), (41, 1), (3, 5)):
        yield f"noise-{width}x{height}", random.integers(0, 256, (height, width, 4), np.uint8)
    rows, columns = np.mgrid[0:61, 0:97]
    gradient = np.stack([columns * 2, rows * 4, (rows + columns) * 3 // 2, 255 - columns], -1).astype(np.uint8)
    yield "gradient-97x61", gradient
    yield "noise-97x61", random.integers(0, 256, (61, 97, 4), np.uint8)
    yield "flat-97x61", np.full((61, 97, 4), (10, 200, 90, 128), np.uint8)
    desktop = images.desktop()[55:116, 150:247].copy()
    desktop[..., 3] = np.where(desktop[..., 0] > 200, 255, desktop[..., 1])
    yield "desktop-97x61", desktop
    # Wider than the 2048 pixels after which the model learns less often.
    wide = np.tile(images.desktop()[100:104, :1000], (1, 3, 1))
    wide[1, 2040:2060] += 1
    wide[..., 3] = wide[..., 2] // 16
    yield "wide-3000x4", wide


def stored(pixels: _Pixels, kind: int) -> _Pixels:
    """The pixels as the type stores them, the last axis being the bytes of a pixel."""
    if kind == QUIC_GRAY:
        return np.ascontiguousarray(pixels[..., :1])
    if kind == QUIC_RGB24:
        return np.ascontiguousarray(pixels[..., :3])
    if kind == QUIC_RGB16:
        blue, green, red = (pixels[..., i].astype(np.uint16) >> 3 for i in range(3))
        return (red << 10 | green << 5 | blue).astype("<u2").view(np.uint8).reshape(*pixels.shape[:2], 2)
    return pixels


def main() -> None:
    """Write every vector and the index."""
    reference = Reference.load()
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = []
    for picture, pixels in pictures():
        for name, kind in KINDS.items():
            data = reference.quic_encode(stored(pixels, kind), kind)
            height, width = pixels.shape[:2]
            depth = 1 if kind == QUIC_GRAY else 4
            out = np.empty((height, width, depth), np.uint8)
            wanted = kind if kind in (QUIC_GRAY, QUIC_RGBA) else QUIC_RGB32
            reference.quic_decoder(data, out, wanted)()
            path = FOLDER / f"{picture}-{name}.quic"
            path.write_bytes(data)
            digest = hashlib.sha256(out.tobytes()).hexdigest()
            shape = [height, width] if kind == QUIC_GRAY else [height, width, 4]
            index.append({"file": path.name, "kind": kind, "shape": shape, "sha256": digest})
    (FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n", "ascii")
    print(f"{len(index)} vectors, {sum(path.stat().st_size for path in FOLDER.iterdir())} bytes")


if __name__ == "__main__":
    main()
