"""The frame number drawn on the guest's screen."""

from __future__ import annotations

import numpy as np
import pytest

from spicehop.demo.payload import fnv1a
from spicehop.demo.stamp import CELL, COLUMNS, LEFT, MARK, TOP, read_stamp


def screen_with(frame: int) -> np.ndarray:
    hashed = fnv1a(frame.to_bytes(4, "big"))
    pixels = np.zeros((80, 200, 4), np.uint8)
    for row, word in enumerate((MARK, frame >> 16, frame & 0xFFFF, (hashed >> 16 ^ hashed) & 0xFFFF)):
        for column in range(COLUMNS):
            if word >> (COLUMNS - 1 - column) & 1:
                y, x = TOP + row * CELL, LEFT + column * CELL
                pixels[y : y + CELL, x : x + CELL] = 255
    return pixels


@pytest.mark.parametrize("frame", [0, 1, 22, 65535, 65536, 2**32 - 1])
def test_a_stamp_is_read(frame: int) -> None:
    assert read_stamp(screen_with(frame)) == frame


def test_noise_as_of_a_lossy_codec_does_no_harm() -> None:
    pixels = screen_with(123456).astype(int) + np.random.default_rng(1).integers(-60, 60, (80, 200, 4))
    assert read_stamp(pixels.clip(0, 255).astype(np.uint8)) == 123456


def test_what_is_no_stamp_is_none() -> None:
    assert read_stamp(np.zeros((80, 200, 4), np.uint8)) is None
    assert read_stamp(np.zeros((20, 20, 4), np.uint8)) is None
    torn = screen_with(7)
    torn[TOP + 2 * CELL :] = screen_with(8)[TOP + 2 * CELL :]
    torn[TOP + 3 * CELL :] = screen_with(7)[TOP + 3 * CELL :]
    assert read_stamp(torn) is None
