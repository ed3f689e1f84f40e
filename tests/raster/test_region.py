"""Regions against sets of pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.raster.region import Box, Region, bounds

edges = st.integers(-3, 12)
boxes = st.builds(Box, edges, edges, edges, edges)


def pixels_of(box: Box) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box.left, box.right) for y in range(box.top, box.bottom)}


def pixels_in(region: Region) -> list[tuple[int, int]]:
    """Every pixel as often as the region has it."""
    found = []
    for box, mask in region.parts():
        assert not box.is_empty
        for x, y in sorted(pixels_of(box)):
            if mask is None or mask[y - box.top, x - box.left]:
                found.append((x, y))
    return found


@settings(max_examples=200, deadline=None)
@given(box=boxes, clips=st.none() | st.lists(boxes, max_size=24))
def test_a_clipped_box_has_each_pixel_once(box: Box, clips: list[Box] | None) -> None:
    allowed = pixels_of(box)
    if clips is not None:
        allowed &= set().union(*(pixels_of(clip) for clip in clips))
    found = pixels_in(Region.clipped(box, clips))
    assert sorted(found) == sorted(allowed)


@settings(max_examples=200, deadline=None)
@given(
    box=boxes,
    clips=st.none() | st.lists(boxes, max_size=5),
    bits=st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=6),
    left=edges,
    top=edges,
)
def test_a_mask_keeps_what_it_marks(
    box: Box, clips: list[Box] | None, bits: list[list[bool]], left: int, top: int
) -> None:
    region = Region.clipped(box, clips)
    marked = {(left + x, top + y) for y, row in enumerate(bits) for x, bit in enumerate(row) if bit}
    masked = region.masked(np.array(bits), left, top)
    assert sorted(pixels_in(masked)) == sorted(set(pixels_in(region)) & marked)
    assert masked.is_empty is (not pixels_in(masked))
    again = masked.masked(np.array(bits)[::-1], left, top)
    flipped = {(left + x, top + len(bits) - 1 - y) for y, row in enumerate(bits) for x, bit in enumerate(row) if bit}
    assert sorted(pixels_in(again)) == sorted(set(pixels_in(masked)) & flipped)


def test_many_clips_take_time_in_proportion() -> None:
    clips = [Box(x, y, x + 2, y + 2) for y in range(0, 400, 2) for x in range(0, 400, 2)]
    region = Region.clipped(Box(0, 0, 400, 400), clips)
    assert region == Region((Box(0, 0, 400, 400),))
    sparse = Region.clipped(Box(0, 0, 400, 400), clips[::2])
    assert sparse.boxes == (bounds(clips[::2]),)
    assert sparse.mask is not None
    assert int(sparse.mask.sum()) == 4 * len(clips[::2])


def test_disjoint_clips_stay_boxes() -> None:
    clips = [Box(0, 0, 5, 1), Box(0, 1, 2, 5), Box(3, 2, 5, 5)]
    assert Region.clipped(Box(0, 0, 9, 9), clips) == Region(tuple(clips))
    many = [Box(x, 0, x + 1, 9) for x in range(0, 100, 2)]
    assert Region.clipped(Box(0, 0, 100, 9), many) == Region(tuple(many))


def test_bands_are_the_same_pixels_in_pieces() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (50, 2**15)).astype(bool)
    region = Region((Box(3, 4, 3 + 2**15, 54),), mask)
    pieces = list(region.bands())
    assert [box.height for box, _ in pieces] == [8] * 6 + [2]
    assert [box.top for box, _ in pieces] == list(range(4, 54, 8))
    assert np.array_equal(np.concatenate([piece for _, piece in pieces if piece is not None]), mask)
    assert list(Region((Box(0, 0, 2**19, 2),)).bands()) == [(Box(0, y, 2**19, y + 1), None) for y in (0, 1)]
