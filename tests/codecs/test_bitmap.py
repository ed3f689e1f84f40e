"""Raw bitmaps against an encoder that writes one pixel at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.codecs import bitmap
from spicehop.codecs.bitmap import BITS_PER_PIXEL
from spicehop.errors import ProtocolError
from spicehop.wire.display_constants import BitmapFormat

FORMATS = list(BitmapFormat)


def encode(values: list[list[int]], kind: BitmapFormat, stride: int, *, top_down: bool, filler: int = 0xA5) -> bytes:
    """Pixel values (indexes, x555, xRGB or alpha) as a raw bitmap; padding is `filler`."""
    bits = BITS_PER_PIXEL[kind]
    lines = []
    for row in values:
        line = bytearray([filler]) * stride
        for x, value in enumerate(row):
            if bits >= 8:
                line[x * bits // 8 : (x + 1) * bits // 8] = value.to_bytes(4, "little")[: bits // 8]
                continue
            per_byte = 8 // bits
            place = x % per_byte
            if kind in (BitmapFormat.PALETTE_1_BE, BitmapFormat.PALETTE_4_BE):
                place = per_byte - 1 - place
            mask = ((1 << bits) - 1) << place * bits
            index = x // per_byte
            line[index] = line[index] & ~mask & 0xFF | value << place * bits
        lines.append(bytes(line))
    return b"".join(lines if top_down else lines[::-1])


def widened(value: int) -> int:
    """An x555 value as xRGB, by its definition: five bits, then the upper three of them again."""
    parts = [value >> shift & 31 for shift in (10, 5, 0)]
    red, green, blue = (part << 3 | part >> 2 for part in parts)
    return red << 16 | green << 8 | blue


def test_widening_repeats_the_high_bits() -> None:
    every = np.arange(65536, dtype=np.uint16)
    assert bitmap.widen_555(every).tolist() == [widened(value) for value in range(65536)]
    for value in (0, 0x1F, 0x7E0, 0xF800, 0xFFFF, 0x8410, 0x1234):
        red, green, blue = value >> 11, value >> 5 & 63, value & 31
        expected = (red << 3 | red >> 2) << 16 | (green << 2 | green >> 4) << 8 | (blue << 3 | blue >> 2)
        assert bitmap.widen_565(np.array([value])).tolist() == [expected]


@settings(max_examples=120, deadline=None)
@given(data=st.data(), kind=st.sampled_from(FORMATS), top_down=st.booleans())
def test_every_format_round_trips(data: st.DataObject, kind: BitmapFormat, top_down: bool) -> None:
    width, height = data.draw(st.integers(1, 19)), data.draw(st.integers(1, 5))
    bits = BITS_PER_PIXEL[kind]
    stride = (width * bits + 7) // 8 + data.draw(st.integers(0, 7))
    value = st.integers(0, (1 << bits) - 1)
    rows = data.draw(st.lists(st.lists(value, min_size=width, max_size=width), min_size=height, max_size=height))
    color = st.integers(0, 2**32 - 1)
    palette = tuple(data.draw(st.lists(color, max_size=1 << bits))) if bits <= 8 else ()
    palette_bits = data.draw(st.sampled_from((16, 32)))
    decoded = bitmap.decode(
        memoryview(encode(rows, kind, stride, top_down=top_down)),
        format=kind,
        width=width,
        height=height,
        stride=stride,
        top_down=top_down,
        palette=palette,
        palette_bits=palette_bits,
    )
    if kind is BitmapFormat.ALPHA_8:
        assert decoded.tolist() == rows
        return
    assert decoded.shape == (height, width, 4)
    assert decoded.flags.c_contiguous

    def expected(value: int) -> int:
        if kind is BitmapFormat.RGB_555:
            return widened(value)
        if bits > 8:
            return value
        chosen = palette[value] if value < len(palette) else 0
        return widened(chosen) if palette_bits == 16 else chosen

    assert bitmap.to_cells(decoded).tolist() == [[expected(value) for value in row] for row in rows]


@pytest.mark.parametrize("kind", [BitmapFormat.PALETTE_1_LE, BitmapFormat.PALETTE_1_BE])
def test_a_mask_needs_no_palette(kind: BitmapFormat) -> None:
    rows = [[1, 0, 0, 1, 1, 0, 1, 0, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]]
    mask = bitmap.decode_mask(
        encode(rows, kind, 3, top_down=False), format=kind, width=10, height=2, stride=3, top_down=False
    )
    assert mask.tolist() == [[255 * bit for bit in row] for row in rows]


GOLDEN = [
    # format, bytes, palette, the six xRGB pixels of a 3 x 2 picture
    (BitmapFormat.PALETTE_1_BE, "a0 40", (1, 2), [2, 1, 2, 1, 2, 1]),
    (BitmapFormat.PALETTE_1_LE, "05 02", (1, 2), [2, 1, 2, 1, 2, 1]),
    (BitmapFormat.PALETTE_4_BE, "12 30 21 00", (9, 8, 7, 6), [8, 7, 6, 7, 8, 9]),
    (BitmapFormat.PALETTE_4_LE, "21 03 12 00", (9, 8, 7, 6), [8, 7, 6, 7, 8, 9]),
    (BitmapFormat.PALETTE_8, "00 01 02 02 01 00", (5, 6, 7), [5, 6, 7, 7, 6, 5]),
    (
        BitmapFormat.RGB_555,
        "00 7c e0 03 1f 00 ff 7f 00 00 10 42",
        None,
        [0xFF0000, 0x00FF00, 0x0000FF, 0xFFFFFF, 0x000000, 0x848484],
    ),
    (
        BitmapFormat.BGR_24,
        "01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12",
        None,
        [0x030201, 0x060504, 0x090807, 0x0C0B0A, 0x0F0E0D, 0x121110],
    ),
]


@pytest.mark.parametrize(("kind", "data", "palette", "cells"), GOLDEN)
def test_written_out_vectors(kind: BitmapFormat, data: str, palette: tuple[int, ...] | None, cells: list[int]) -> None:
    raw = bytes.fromhex(data)
    size = {"format": kind, "width": 3, "height": 2, "stride": len(raw) // 2, "palette": palette}
    assert bitmap.to_cells(bitmap.decode(raw, top_down=True, **size)).ravel().tolist() == cells
    flipped = raw[len(raw) // 2 :] + raw[: len(raw) // 2]
    assert bitmap.to_cells(bitmap.decode(flipped, top_down=False, **size)).ravel().tolist() == cells


HOSTILE = [
    ({"format": 0}, "format 0"),
    ({"format": 11}, "format 11"),
    ({"width": 0}, "no pixels"),
    ({"height": 0}, "no pixels"),
    ({"width": 2**32 - 1, "height": 2**32 - 1, "stride": 2**32 - 1}, "limit"),
    ({"stride": 15}, "stride"),
    ({"height": 3}, "has only"),
    ({"stride": 2**31}, "has only"),
    ({"format": 5}, "palette"),
]


@pytest.mark.parametrize(("change", "message"), HOSTILE)
def test_lies_are_protocol_errors(change: dict[str, int], message: str) -> None:
    honest = {"format": 8, "width": 4, "height": 2, "stride": 16}
    with pytest.raises(ProtocolError, match=message):
        bitmap.decode(bytes(32), top_down=True, **{**honest, **change})
