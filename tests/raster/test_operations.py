"""Raster operations against their definition, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.raster.operations import Rop, combine, rop_of, store
from spicehop.wire.display_constants import Ropd

ALL_PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("rop", list(Rop))
@pytest.mark.parametrize("dtype", [np.uint8, np.dtype("<u4")])
def test_each_operation_is_its_truth_table(rop: Rop, dtype: type) -> None:
    target = np.array([0b0101, 0b0011], dtype)
    for source in (np.array([0b0011, 0b0110], dtype), np.array(0b0011, dtype)):
        result = np.broadcast_to(combine(rop, source, target), target.shape)
        assert result.dtype == target.dtype
        for s, t, r in zip(np.broadcast_to(source, target.shape), target, result, strict=True):
            for bit in range(8 * target.itemsize):
                pair = (int(s) >> bit & 1) << 1 | int(t) >> bit & 1
                assert int(r) >> bit & 1 == rop >> pair & 1


@settings(max_examples=300, deadline=None)
@given(descriptor=st.integers(0, 0xFFFF))
def test_descriptors(descriptor: int) -> None:
    """Each operand inverted if asked, combined by the first operation that is set, then the result inverted."""
    for source_bit, target_bit in (
        (Ropd.INVERS_SRC, Ropd.INVERS_DEST),
        (Ropd.INVERS_BRUSH, Ropd.INVERS_DEST),
        (Ropd.INVERS_BRUSH, Ropd.INVERS_SRC),
    ):
        rop = rop_of(descriptor, source_bit, target_bit)
        for source, target in ALL_PAIRS:
            s = source ^ bool(descriptor & source_bit)
            t = target ^ bool(descriptor & target_bit)
            inverted = bool(descriptor & Ropd.INVERS_RES)
            for bit, value in (
                (Ropd.OP_PUT, s ^ inverted),
                (Ropd.OP_OR, (s | t) ^ inverted),
                (Ropd.OP_AND, (s & t) ^ inverted),
                (Ropd.OP_XOR, s ^ t ^ inverted),
                (Ropd.OP_BLACKNESS, 0),
                (Ropd.OP_WHITENESS, 1),
                (Ropd.OP_INVERS, 1 - target),
            ):
                if descriptor & bit:
                    expected = value
                    break
            else:
                expected = source
            assert rop >> (source << 1 | target) & 1 == expected


def test_a_mask_limits_what_is_stored() -> None:
    target = np.array([1, 2, 3], np.uint8)
    store(target, np.array(9, np.uint8), np.array([True, False, True]))
    assert target.tolist() == [9, 2, 9]
    store(target, np.array([4, 5, 6], np.uint8), None)
    assert target.tolist() == [4, 5, 6]
