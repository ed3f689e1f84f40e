"""QUIC images: the encoder of all five types (dossier E.1). It writes what the reference's encoder writes."""

from __future__ import annotations

import numpy as np

from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.pixels import cells_of, plane_of
from spicehop.codecs.quic import HEADER_WORDS, MAGIC, VERSION, QuicType
from spicehop.codecs.quic_encode_kernels import Pass, encode_rows, most_words

_FIRST_WORDS = 1 << 14


def encode(pixels: Pixels, kind: QuicType = QuicType.RGB32) -> bytes:
    """Encode one image of rows from the top.

    GRAY takes `(height, width)`, the others `(height, width, 4)` of B, G, R and X or A: RGBA keeps the fourth byte,
    RGB16 the upper five bits of each colour. Rows may lie apart, as in a part of a larger picture: RGB24, RGB32
    and RGBA are encoded without a copy all the same. Releases the GIL while it encodes.
    """
    depth = 8
    if kind == QuicType.GRAY:
        cells = plane_of(pixels).astype(np.uint32, order="C")
    else:
        cells = cells_of(pixels)
    height, width = cells.shape
    if kind == QuicType.RGB16:
        depth = 5
        cells = ((cells >> np.uint32(3)) & np.uint32(0x1F1F1F)).astype(np.uint32)
    first = Pass(cells, 1 if kind == QuicType.GRAY else 3, depth)
    second = Pass(cells, 1, depth, 24) if kind == QuicType.RGBA else None
    row_words = most_words(width)
    words = np.empty(HEADER_WORDS + row_words + min(height * row_words, _FIRST_WORDS + width * height // 4), "<u4")
    words[:HEADER_WORDS] = MAGIC, VERSION, kind, width, height
    filled = HEADER_WORDS
    row = 0
    while True:
        first.write_to(words, filled)
        if second is not None:
            second.write_to(words, filled)
        row = encode_rows(first, second, row)
        if row == height:
            return words[: first.finish()].tobytes()
        filled = first.position
        more = np.empty(2 * len(words), "<u4")
        more[:filled] = words[:filled]
        words = more
