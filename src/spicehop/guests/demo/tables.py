"""Numbers that pictures and tones are made of: integers only, so that two hosts never differ in a pixel."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int32]
TURN = 4096
"""Entries of the sine table."""


@cache
def sines() -> Integers:
    """One turn of the sine, from -32767 to 32767."""
    return np.array([round(32767 * math.sin(2 * math.pi * step / TURN)) for step in range(TURN)], np.int32)


def scrambled(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Each number made into another that looks random (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def chance(seed: int, number: int) -> int:
    """A number of 63 bits that belongs to `seed` and `number`."""
    start = np.array([(seed * 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95 + 1) % 2**64], np.uint64)
    return int(scrambled(start)[0]) >> 1


@cache
def noise(size: int, seed: int) -> npt.NDArray[np.uint8]:
    """`(size, size)` clouds whose opposite edges meet; `size` is a power of two from 64 on."""
    total = np.zeros((size, size), np.int64)
    weight = 128
    cells = 4
    while cells <= size // 2 and weight >= 4:
        total += _octave(size, cells, seed) * weight
        weight //= 2
        cells *= 2
    low, high = int(total.min()), int(total.max())
    return ((total - low) * 255 // max(1, high - low)).astype(np.uint8)


def _octave(size: int, cells: int, seed: int) -> npt.NDArray[np.int64]:
    """Random values at `cells` by `cells` places, smooth between them."""
    start = np.uint64((seed * 1_000_003 + cells) * 65_536 % 2**64)
    corners = (scrambled(np.arange(cells * cells, dtype=np.uint64) + start) >> np.uint64(56)).astype(np.int64)
    grid = corners.reshape(cells, cells)
    step = size // cells
    place = np.arange(size)
    cell, inside = place // step, place % step * 256 // step
    smooth = inside * inside * (768 - 2 * inside) >> 16  # 3t² - 2t³ of 256
    following = (cell + 1) % cells
    rows = grid[cell] * (256 - smooth)[:, None] + grid[following] * smooth[:, None]
    result: npt.NDArray[np.int64] = (rows[:, cell] * (256 - smooth) + rows[:, following] * smooth) >> 16
    return result


def ridge(length: int, seed: int, height: int) -> Integers:
    """The outline of hills, `length` heights from 0 to `height` whose ends meet."""
    turns = np.arange(length, dtype=np.int64) * TURN // length
    total = np.zeros(length, np.int64)
    for wave, weight in ((1, 40), (2, 30), (3, 22), (5, 14), (8, 8), (13, 5), (29, 2)):
        shift = chance(seed, wave) % TURN
        total += sines()[(turns * wave + shift) % TURN] * weight
    low, high = int(total.min()), int(total.max())
    return ((total - low) * height // max(1, high - low)).astype(np.int32)
