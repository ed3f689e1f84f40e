"""Raster operations of two operands: descriptors of the wire, and their effect on pixels."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from spicehop.codecs.bitmap import Cells
from spicehop.raster.region import Mask
from spicehop.wire.display_constants import Ropd

_SOURCE = 0b1100
_TARGET = 0b1010


class Rop(IntEnum):
    """The sixteen functions of a source and a target bit.

    The value is the truth table: bit 3 is the result for (1, 1), bit 2 for (1, 0), bit 1 for (0, 1), bit 0 for (0, 0).
    """

    CLEAR = 0
    NOR = ~(_SOURCE | _TARGET) & 15
    AND_INVERTED = ~_SOURCE & _TARGET
    COPY_INVERTED = ~_SOURCE & 15
    AND_REVERSE = _SOURCE & ~_TARGET
    INVERT = ~_TARGET & 15
    XOR = _SOURCE ^ _TARGET
    NAND = ~(_SOURCE & _TARGET) & 15
    AND = _SOURCE & _TARGET
    EQUIVALENT = ~(_SOURCE ^ _TARGET) & 15
    NOOP = _TARGET
    OR_INVERTED = ~_SOURCE & 15 | _TARGET
    COPY = _SOURCE
    OR_REVERSE = _SOURCE | ~_TARGET & 15
    OR = _SOURCE | _TARGET
    SET = 15


def rop_of(descriptor: int, source: Ropd, target: Ropd) -> Rop:
    """The function that a descriptor stands for.

    `source` and `target` are the inversion bits that apply to the two operands, for example INVERS_SRC and
    INVERS_DEST for a copy. Of several operations in one descriptor the first in the order of the reference counts;
    INVERS_RES inverts only PUT, OR, AND and XOR; no operation at all is a plain copy
    (reference: canvas_base.c, ropd_descriptor_to_rop).
    """
    first = _SOURCE ^ (15 if descriptor & source else 0)
    second = _TARGET ^ (15 if descriptor & target else 0)
    if descriptor & Ropd.OP_PUT:
        result = first
    elif descriptor & Ropd.OP_OR:
        result = first | second
    elif descriptor & Ropd.OP_AND:
        result = first & second
    elif descriptor & Ropd.OP_XOR:
        result = first ^ second
    elif descriptor & Ropd.OP_BLACKNESS:
        return Rop.CLEAR
    elif descriptor & Ropd.OP_WHITENESS:
        return Rop.SET
    elif descriptor & Ropd.OP_INVERS:
        return Rop.INVERT
    else:
        return Rop.COPY
    return Rop(result ^ 15 if descriptor & Ropd.INVERS_RES else result)


def store(target: Cells, values: Cells, mask: Mask | None) -> None:
    """Write `values` into `target`, only where `mask` says so when there is one."""
    if mask is None:
        target[...] = values
    else:
        np.copyto(target, values, where=mask)


def combine(rop: Rop, source: Cells, target: Cells) -> Cells:
    """The result of a raster operation; `source` is an array like `target`, or one value as an array of no dimension.

    The result may be `source` or `target` itself, or one value for all.
    """
    match rop:
        case Rop.COPY:
            result = source
        case Rop.NOOP:
            result = target
        case Rop.CLEAR:
            result = np.zeros((), target.dtype)
        case Rop.SET:
            result = ~np.zeros((), target.dtype)
        case Rop.INVERT:
            result = ~target
        case Rop.COPY_INVERTED:
            result = ~source
        case Rop.AND:
            result = source & target
        case Rop.NAND:
            result = ~(source & target)
        case Rop.OR:
            result = source | target
        case Rop.NOR:
            result = ~(source | target)
        case Rop.XOR:
            result = source ^ target
        case Rop.EQUIVALENT:
            result = ~(source ^ target)
        case Rop.AND_REVERSE:
            result = source & ~target
        case Rop.AND_INVERTED:
            result = ~source & target
        case Rop.OR_REVERSE:
            result = source | ~target
        case Rop.OR_INVERTED:
            result = ~source | target
    return result
