"""Blending with premultiplied alpha in 8-bit arithmetic, rounded as pixman rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spicehop.codecs.bitmap import Pixels

_Wide = npt.NDArray[np.uint16]


def over(source: Pixels, target: Pixels, alpha: int) -> Pixels:
    """`source`, weakened by `alpha` of 255, over `target`; both `(height, width, 4)` with alpha in the fourth byte."""
    weakened = source.astype(np.uint16) if alpha == 255 else _multiplied(source, np.uint16(alpha))
    kept = _multiplied(target, np.uint16(255) - weakened[:, :, 3:])
    blended: Pixels = np.minimum(weakened + kept, np.uint16(255)).astype(np.uint8)
    return blended


def over_alpha(source: Pixels, target: Pixels, alpha: int) -> Pixels:
    """As `over`, for alpha planes `(height, width)`."""
    blended: Pixels = over(_as_pixels(source), _as_pixels(target), alpha)[:, :, 3]
    return blended


def _multiplied(values: npt.NDArray[Any], factor: _Wide | np.uint16) -> _Wide:
    """values * factor / 255, rounded, for values and factors up to 255."""
    product: _Wide = values.astype(np.uint16) * factor + np.uint16(128)
    return (product + (product >> np.uint16(8))) >> np.uint16(8)


def _as_pixels(plane: Pixels) -> Pixels:
    pixels = np.zeros((*plane.shape, 4), np.uint8)
    pixels[:, :, 3] = plane
    return pixels
