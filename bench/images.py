"""Synthetic pictures to measure codecs on: the same pixels on every machine, 32 bits each, B, G, R and 0 in memory.

`desktop` has windows, text, icons and one gradient; `photo` has soft shapes, texture and sensor noise; `flat` is one
colour; `noise` is random in every channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH, HEIGHT = 1920, 1080

Image = np.ndarray[Any, np.dtype[np.uint8]]


def _blank(width: int, height: int, color: tuple[int, int, int]) -> Image:
    image = np.zeros((height, width, 4), np.uint8)
    image[..., :3] = color
    return image


def _glyphs(random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Sixty-four letter-like shapes of 12 by 7 pixels with softened edges, 0 (paper) to 255 (ink)."""
    shapes = np.zeros((64, 14, 9), np.float64)
    for shape in shapes:
        for _ in range(3):
            if random.random() < 0.5:
                column = random.integers(1, 7)
                shape[random.integers(2, 5) : random.integers(8, 12), column : column + 1] = 1
            else:
                row = random.integers(2, 11)
                shape[row : row + 1, random.integers(1, 3) : random.integers(5, 8)] = 1
    soft = 0.8 * shapes + 0.1 * (np.roll(shapes, 1, 2) + np.roll(shapes, -1, 2))
    return (soft * 255).astype(np.uint8)


def _write(image: Image, top: int, left: int, columns: int, glyphs: Image, random: np.random.Generator) -> None:
    """A line of words in dark ink over what is there."""
    for column in range(columns):
        if random.random() < 0.16:
            continue
        ink = glyphs[random.integers(0, len(glyphs))].astype(np.uint16)[..., None]
        place = image[top : top + 14, left + 9 * column : left + 9 * column + 9, :3]
        ink = ink[: place.shape[0], : place.shape[1]]
        place[:] = (place * (255 - ink) // 255).astype(np.uint8)


def desktop(width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Windows with text over a gradient, with icons and a task bar."""
    random = np.random.default_rng(1)
    glyphs = _glyphs(random)
    image = _blank(width, height, (0, 0, 0))
    rows = np.linspace(0, 1, height)[:, None]
    for channel, (first, last) in enumerate(((150, 90), (110, 60), (40, 30))):
        image[..., channel] = (first + (last - first) * rows).astype(np.uint8)
    for number in range(12):  # icons
        top, left = 40 + 90 * number, 30
        icon = random.integers(0, 256, (12, 12, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        place = image[top : top + 48, left : left + 48, :3]
        place[:] = icon[: place.shape[0], : place.shape[1]]
    for top, left, rows_of_text, columns in ((60, 160, 38, 90), (200, 1010, 40, 85), (560, 420, 20, 60)):
        bottom, right = top + 18 * rows_of_text + 60, left + 9 * columns + 30
        image[top - 1 : bottom + 1, left - 1 : right + 1, :3] = 90
        image[top:bottom, left:right, :3] = 252
        image[top : top + 30, left:right, :3] = (222, 216, 212)
        _write(image, top + 8, left + 10, 24, glyphs, random)
        for line in range(rows_of_text):
            length = int(random.integers(0, columns)) if random.random() < 0.3 else columns
            _write(image, top + 45 + 18 * line, left + 15, length, glyphs, random)
    image[height - 40 :, :, :3] = (48, 44, 40)
    return image


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Soft shapes in several sizes with a little noise, as a camera gives."""
    random = np.random.default_rng(2)
    total = np.zeros((height, width, 3))
    for cell, strength in ((240, 40.0), (80, 20.0), (24, 8.0), (8, 4.0)):
        grid = random.normal(0, 0.5 * strength, (height // cell + 3, width // cell + 3, 3))
        grid += random.normal(0, strength, grid.shape[:2])[..., None]
        rows, columns = np.arange(height) / cell, np.arange(width) / cell
        top, left = rows.astype(int), columns.astype(int)
        down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
        upper = grid[top][:, left] * (1 - across) + grid[top][:, left + 1] * across
        lower = grid[top + 1][:, left] * (1 - across) + grid[top + 1][:, left + 1] * across
        total += upper * (1 - down) + lower * down
    total += 120 + random.normal(0, 2.0, total.shape)
    image = np.zeros((height, width, 4), np.uint8)
    image[..., :3] = total.clip(0, 255).astype(np.uint8)
    return image


def flat(width: int = WIDTH, height: int = HEIGHT) -> Image:
    """One colour."""
    return _blank(width, height, (200, 150, 100))


def noise(width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Random in every channel: what no codec can shrink."""
    image = np.zeros((height, width, 4), np.uint8)
    image[..., :3] = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    return image


PICTURES: dict[str, Callable[..., Image]] = {"desktop": desktop, "photo": photo, "flat": flat, "noise": noise}
