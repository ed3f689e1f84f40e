"""Scaling and blending against pixman itself, the library that the reference draws with: equal in every bit.

libpixman is there wherever QEMU's SPICE modules are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from spicehop.codecs.bitmap import from_cells, widen_555, widen_565
from spicehop.codecs.images import DecodedImage
from spicehop.raster.operations import Rop
from spicehop.raster.painter import Placement, draw_blended, draw_image
from spicehop.raster.region import Box, Region
from spicehop.raster.surface import Surface
from spicehop.wire.display_constants import SurfaceFormat

pytestmark = pytest.mark.peers

OP_SRC, OP_OVER = 1, 3
FILTER_GOOD, FILTER_NEAREST = 1, 3
WIDTH, HEIGHT = 60, 50


def format_code(bits: int, kind: int, *channels: int) -> int:
    """A pixman format: bits a pixel, channel order, bits of alpha, red, green and blue."""
    alpha, red, green, blue = channels
    return bits << 24 | kind << 16 | alpha << 12 | red << 8 | green << 4 | blue


FORMATS = {
    SurfaceFormat.XRGB_32: format_code(32, 2, 0, 8, 8, 8),
    SurfaceFormat.ARGB_32: format_code(32, 2, 8, 8, 8, 8),
    SurfaceFormat.RGB_565: format_code(16, 2, 0, 5, 6, 5),
    SurfaceFormat.RGB_555: format_code(16, 2, 0, 5, 5, 5),
    SurfaceFormat.ALPHA_8: format_code(8, 1, 8, 0, 0, 0),
}


class ClipRegion(ctypes.Structure):
    _fields_ = (("extents", ctypes.c_int32 * 4), ("data", ctypes.c_void_p))


class Pixman:
    """The few functions of pixman that the reference canvas uses for scaling and blending."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libpixman-1.so.0")
        pointer, number = ctypes.c_void_p, ctypes.c_int
        for name, result, arguments in (
            ("image_create_bits", pointer, [ctypes.c_uint32, number, number, pointer, number]),
            ("image_create_solid_fill", pointer, [pointer]),
            ("image_unref", number, [pointer]),
            ("image_set_transform", number, [pointer, pointer]),
            ("image_set_filter", number, [pointer, number, pointer, number]),
            ("image_set_clip_region32", number, [pointer, pointer]),
            ("region32_init_rect", None, [pointer, number, number, ctypes.c_uint, ctypes.c_uint]),
            ("image_composite32", None, [number, pointer, pointer, pointer] + [ctypes.c_int32] * 8),
        ):
            function = getattr(library, f"pixman_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def image(self, pixels: np.ndarray, format: SurfaceFormat) -> int:
        height, width = pixels.shape
        return self.image_create_bits(FORMATS[format], width, height, pixels.ctypes.data, pixels.strides[0])

    def draw(
        self,
        source: tuple[np.ndarray, SurfaceFormat],
        target: tuple[np.ndarray, SurfaceFormat],
        placement: Placement,
        part: Box,
        *,
        operator: int = OP_SRC,
        alpha: int = 255,
    ) -> None:
        """What sw_canvas.c does for one image: transform, filter, clip, composite."""
        image, canvas = self.image(*source), self.image(*target)
        area, box = placement.area, placement.box
        clip = ClipRegion()
        self.region32_init_rect(ctypes.byref(clip), part.left, part.top, part.width, part.height)
        self.image_set_clip_region32(canvas, ctypes.byref(clip))
        step_x, step_y = area.width * 65536 // box.width, area.height * 65536 // box.height
        matrix = (step_x, 0, area.left << 16, 0, step_y, area.top << 16, 0, 0, 65536)
        self.image_set_transform(image, (ctypes.c_int32 * 9)(*matrix))
        self.image_set_filter(image, FILTER_GOOD if placement.smooth else FILTER_NEAREST, None, 0)
        strength = None
        if alpha != 255:
            strength = self.image_create_solid_fill((ctypes.c_uint16 * 4)(0, 0, 0, alpha * 0x101))
        self.image_composite32(
            operator, image, strength, canvas, 0, 0, 0, 0, box.left, box.top, box.width, box.height
        )
        for used in (image, canvas, strength):
            if used is not None:
                self.image_unref(used)


@pytest.fixture(scope="module")
def pixman() -> Pixman:
    return Pixman()


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 2**32, (height, width), dtype=np.uint64).astype("<u4")


def target(rng: np.random.Generator, format: SurfaceFormat) -> tuple[Surface, np.ndarray]:
    """A surface full of noise, and the same in the format's own bits."""
    surface = Surface(0, WIDTH, HEIGHT, format, is_primary=True)
    native = noise(rng, HEIGHT, WIDTH)
    if format is SurfaceFormat.XRGB_32:
        native &= 0xFFFFFF
    elif format is SurfaceFormat.RGB_555:
        native = (native & 0x7FFF).astype("<u2")
    elif format is not SurfaceFormat.ARGB_32:
        native = native.astype("<u2" if format is SurfaceFormat.RGB_565 else np.uint8)
    surface.cells[...] = widened(native, format)
    return surface, native


def widened(native: np.ndarray, format: SurfaceFormat) -> np.ndarray:
    if format is SurfaceFormat.RGB_555:
        return widen_555(native)
    if format is SurfaceFormat.RGB_565:
        return widen_565(native)
    return native & 0xFFFFFF if format is SurfaceFormat.XRGB_32 else native


def shown(surface: Surface) -> np.ndarray:
    return surface.cells & 0xFFFFFF if surface.format is SurfaceFormat.XRGB_32 else surface.cells


def cases(rng: np.random.Generator, count: int) -> Iterator[tuple[np.ndarray, Placement, Box]]:
    """Images with an area that may lie partly outside, a box, and a visible part of the box."""
    while count:
        width, height, box_width, box_height = (int(side) for side in rng.integers(1, 45, 4))
        left, top = (int(place) for place in rng.integers(-4, 20, 2))
        area = Box(left, top, left + int(rng.integers(1, 40)), top + int(rng.integers(1, 40)))
        if rng.integers(2):
            area = area.intersect(Box(0, 0, width, height))
        box = Box(3, 4, 3 + box_width, 4 + box_height)
        part = box.intersect(Box(*(int(edge) for edge in rng.integers((0, 0, 20, 20), (20, 20, WIDTH, HEIGHT)))))
        placement = Placement(area, box, smooth=bool(rng.integers(2)))
        if not area.is_empty and not part.is_empty and placement.is_scaled:
            count -= 1
            yield noise(rng, height, width), placement, part


def source_format(*, has_alpha: bool) -> SurfaceFormat:
    return SurfaceFormat.ARGB_32 if has_alpha else SurfaceFormat.XRGB_32


@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("format", [format for format in FORMATS if format is not SurfaceFormat.ALPHA_8])
def test_scaled_copies(pixman: Pixman, format: SurfaceFormat, has_alpha: bool) -> None:
    rng = np.random.default_rng([format, has_alpha])
    for cells, placement, part in cases(rng, 150):
        surface, native = target(rng, format)
        draw_image(surface, Region((part,)), DecodedImage(from_cells(cells), has_alpha), placement, Rop.COPY)
        source = (cells, source_format(has_alpha=has_alpha))
        if native.itemsize == 2:
            # The reference brings an image to the surface's format before it scales.
            height, width = cells.shape
            whole = Box(0, 0, width, height)
            reduced = np.zeros((height, width + width % 2), "<u2")
            pixman.draw(source, (reduced, format), Placement(whole, whole), whole)
            source = (reduced[:, :width], format)
        pixman.draw(source, (native, format), placement, part)
        assert np.array_equal(shown(surface), widened(native, format)), (placement, part)


@pytest.mark.parametrize("alpha", [255, 100, 1])
@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("format", list(FORMATS))
def test_blending(pixman: Pixman, format: SurfaceFormat, has_alpha: bool, alpha: int) -> None:
    rng = np.random.default_rng([format, has_alpha, alpha])
    for number, (cells, placement, part) in enumerate(cases(rng, 40)):
        surface, native = target(rng, format)
        area, box = placement.area, placement.box
        if number % 2:
            box = Box(box.left, box.top, box.left + area.width, box.top + area.height)
            area = Box(0, 0, area.width, area.height)
            cells, part = noise(rng, area.height, area.width), box.intersect(Box(7, 5, 40, 30))
            if part.is_empty:
                continue
        placement = Placement(area, box)
        image = DecodedImage(from_cells(cells), has_alpha)
        draw_blended(surface, Region((part,)), image, placement, alpha, target_has_alpha=False)
        source = (cells, source_format(has_alpha=has_alpha))
        pixman.draw(source, (native, format), placement, part, operator=OP_OVER, alpha=alpha)
        assert np.array_equal(shown(surface), widened(native, format)), (placement, part)
