# cython: boundscheck=False, wraparound=False
"""LZ images: the decoder of all eleven types (dossier E.2).

The kernels are typed for Cython's pure mode and run uncompiled too. They are not bounds-checked access by access: each
run is checked once, against the input that is left and against the output that is left, before any of it is touched.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cython
import numpy as np

from spicehop.errors import ProtocolError

if cython.compiled:
    from cython.cimports.libc.string import memcpy, memset

MAGIC = 0x20205A4C
VERSION = 0x00010001
MAX_PIXELS = 2**26
#: No control sequence yields more units than this for each byte it takes: a full extension byte of a match.
MAX_EXPANSION = 255

_HEADER = struct.Struct(">7I")


class LzType(IntEnum):
    """What the units of an LZ or GLZ stream are. PLT1, PLT4 and PLT8 are indexes into a palette, LE: low bits first."""

    PLT1_LE = 1
    PLT1_BE = 2
    PLT4_LE = 3
    PLT4_BE = 4
    PLT8 = 5
    RGB16 = 6
    RGB24 = 7
    RGB32 = 8
    RGBA = 9
    XXXA = 10
    A8 = 11


PIXELS_PER_BYTE = {LzType.PLT1_LE: 8, LzType.PLT1_BE: 8, LzType.PLT4_LE: 2, LzType.PLT4_BE: 2, LzType.PLT8: 1}
BYTES_PER_PIXEL = {
    LzType.RGB16: 2,
    LzType.RGB24: 3,
    LzType.RGB32: 4,
    LzType.RGBA: 4,
    LzType.XXXA: 4,
    LzType.A8: 1,
}


@dataclass(frozen=True, slots=True)
class LzHeader:
    """The first 28 bytes of an LZ image."""

    kind: LzType
    width: int  # pixels
    height: int  # rows
    stride: int  # bytes a row before compression
    top_down: bool  # whether the first row of the stream is the top one

    @property
    def units(self) -> int:
        """How many units each pass of the stream yields: bytes of rows for palettes, else pixels."""
        return self.height * (self.stride if self.kind in PIXELS_PER_BYTE else self.width)


def check_size(kind: LzType, width: int, height: int, stride: int, max_pixels: int) -> None:
    """Refuse what no encoder writes: an empty image, one over the limit, or a stride that does not fit the width."""
    if not width or not height:
        raise ProtocolError(f"an LZ image of {width} by {height} pixels is empty")
    per_byte = PIXELS_PER_BYTE.get(kind)
    if per_byte is None:
        valid = stride == width * BYTES_PER_PIXEL[kind]
        total = width * height
    else:
        valid = stride == -(-width // per_byte)
        total = stride * per_byte * height
    if not valid:
        raise ProtocolError(f"the stride {stride} of an LZ image does not fit {width} pixels of type {kind.name}")
    if total > max_pixels:
        raise ProtocolError(f"an LZ image of {width} by {height} pixels is over the limit of {max_pixels}")


def read_header(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> LzHeader:
    """Read and check the header; the compressed units follow at offset 28."""
    if len(data) < _HEADER.size:
        raise ProtocolError(f"an LZ image of {len(data)} bytes ends inside its header")
    magic, version, number, width, height, stride, top_down = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ProtocolError("an LZ image does not begin with magic and version")
    try:
        kind = LzType(number)
    except ValueError:
        raise ProtocolError(f"the LZ image type {number} does not exist") from None
    check_size(kind, width, height, stride, max_pixels)
    return LzHeader(kind, width, height, stride, bool(top_down))


def decode(
    data: bytes | memoryview,
    palette: Sequence[int] | np.ndarray[Any, Any] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode one LZ image of any type.

    Colour and palette images become (height, width, 4), with 0 in the fourth byte of those that carry no alpha. A8 and
    XXXA become an alpha plane (height, width). `palette` holds 0x00RRGGBB values and is needed for the PLT types; an
    index beyond its end wraps around, as it does in the reference.
    """
    header = read_header(data, max_pixels)
    view = memoryview(data).cast("B")
    if header.units > MAX_EXPANSION * (len(view) - _HEADER.size):
        raise ProtocolError("an LZ image is too short for its size")
    kind = header.kind
    if kind in PIXELS_PER_BYTE:
        table = palette_table(kind, palette)
        packed = np.empty((header.height, header.stride), np.uint8)
        end = _unpack_units(view, _HEADER.size, packed, 1, 0)
        _finish(view, end)
        rows = table[packed].reshape(header.height, -1)[:, : header.width]
        colors = np.ascontiguousarray(rows if header.top_down else rows[::-1])
        return colors.view(np.uint8).reshape(header.height, header.width, 4)
    if kind in (LzType.A8, LzType.XXXA):
        pixels = np.empty((header.height, header.width), np.uint8)
        end = _unpack_units(view, _HEADER.size, pixels, 1, 0)
    else:
        pixels = np.empty((header.height, header.width, 4), np.uint8)
        end = _unpack_pixels(view, _HEADER.size, pixels, kind == LzType.RGB16)
        if kind == LzType.RGBA:
            end = _unpack_units(view, end, pixels, 4, 3)
    _finish(view, end)
    return pixels if header.top_down else np.ascontiguousarray(pixels[::-1])


def decode_alpha(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode the alpha plane (height, width) that follows the JPEG file of a JPEG_ALPHA image (dossier E.6)."""
    kind = read_header(data, max_pixels).kind
    if kind not in (LzType.XXXA, LzType.A8):
        raise ProtocolError(f"an alpha plane cannot be of the LZ type {kind.name}")
    return decode(data, max_pixels=max_pixels)


def palette_table(
    kind: LzType, palette: Sequence[int] | np.ndarray[Any, Any] | None
) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Map each packed byte to its pixels: shape (256, pixels a byte), values 0x00RRGGBB."""
    if palette is None or not len(palette):
        raise ProtocolError(f"an image of the LZ type {kind.name} comes without a palette")
    per_byte = PIXELS_PER_BYTE[kind]
    bits = 8 // per_byte
    shifts = np.arange(0, 8, bits)
    if kind in (LzType.PLT1_BE, LzType.PLT4_BE):
        shifts = shifts[::-1]
    indexes = (np.arange(256)[:, None] >> shifts) & ((1 << bits) - 1)
    colors = np.asarray(palette, dtype=np.uint32) & np.uint32(0x00FFFFFF)
    table: np.ndarray[Any, np.dtype[np.uint32]] = colors[indexes % len(colors)]
    return table


def _finish(view: memoryview, end: int) -> None:
    if end != len(view):
        raise ProtocolError(f"an LZ image is followed by {len(view) - end} bytes too many")


_FAULTS = {
    -1: "an LZ image ends before its last pixel",
    -2: "a run of an LZ image goes beyond its last pixel",
    -3: "a match of an LZ image starts before its first pixel",
}


def _unpack_pixels(view: memoryview, start: int, pixels: np.ndarray[Any, Any], high_color: bool) -> int:
    """Fill the 32-bit pixels of a colour image; returns where the input goes on."""
    source: cython.const[cython.uchar][::1] = view
    target: cython.uint[::1] = pixels.reshape(-1).view(np.uint32).data
    begin: cython.Py_ssize_t = start
    sixteen: cython.bint = high_color
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _pixel_pass(source, begin, source.shape[0], target, target.shape[0], sixteen)
    if end < 0:
        raise ProtocolError(_FAULTS[end])
    return int(end)


def _unpack_units(view: memoryview, start: int, plane: np.ndarray[Any, Any], step: int, offset: int) -> int:
    """Fill every `step`th byte of the plane from `offset` on; returns where the input goes on."""
    source: cython.const[cython.uchar][::1] = view
    target: cython.uchar[::1] = plane.reshape(-1).data
    begin: cython.Py_ssize_t = start
    stride: cython.Py_ssize_t = step
    shift: cython.Py_ssize_t = offset
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _byte_pass(source, begin, source.shape[0], target, target.shape[0] // stride, stride, shift)
    if end < 0:
        raise ProtocolError(_FAULTS[end])
    return int(end)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _repeat_pixels(
    target: cython.uint[::1],
    total: cython.Py_ssize_t,
    done: cython.Py_ssize_t,
    dist: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
) -> cython.void:
    """Copy `count` pixels to index `done` from `dist` before it; dist <= done and done + count <= total are checked."""
    i: cython.Py_ssize_t
    value: cython.uint
    if cython.compiled:
        if dist >= 4 and done + count + 3 <= total:
            # Four at a time. Up to three too many are written: what follows overwrites them, and there is room.
            if count > 64 and dist >= count:
                memcpy(cython.address(target[done]), cython.address(target[done - dist]), 4 * count)
                return
            i = done
            while i < done + count:
                memcpy(cython.address(target[i]), cython.address(target[i - dist]), 16)
                i += 4
        elif dist == 1:
            value = target[done - 1]
            for i in range(done, done + count):
                target[i] = value
        else:
            for i in range(done, done + count):
                target[i] = target[i - dist]
    else:
        for i in range(done, done + count):
            target[i] = target[i - dist]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _pixel_pass(
    source: cython.const[cython.uchar][::1],
    pos: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uint[::1],
    total: cython.Py_ssize_t,
    high_color: cython.bint,
) -> cython.Py_ssize_t:
    """One pass over RGB16 or RGB24/RGB32 units. Returns the position after it, or a key of _FAULTS."""
    done: cython.Py_ssize_t = 0
    control: cython.uint
    count: cython.Py_ssize_t
    dist: cython.Py_ssize_t
    i: cython.Py_ssize_t
    byte: cython.uint
    word: cython.uint = 0
    bias: cython.Py_ssize_t = 1
    width: cython.Py_ssize_t = 3
    if high_color:
        bias = 2
        width = 2
    while done < total:
        if pos >= size:
            return -1
        control = source[pos]
        pos += 1
        if control < 32:
            count = control + 1
            if count > total - done:
                return -2
            if count * width > size - pos:
                return -1
            if high_color:
                for i in range(done, done + count):
                    word = source[pos]
                    word = (word << 8) | source[pos + 1]
                    target[i] = (
                        ((word & 0x7C00) << 9)
                        | ((word & 0x7000) << 4)
                        | ((word & 0x03E0) << 6)
                        | ((word & 0x0380) << 1)
                        | ((word & 0x001F) << 3)
                        | ((word & 0x001C) >> 2)
                    )
                    pos += 2
            elif cython.compiled and count * 3 < size - pos:
                # One more byte than needed is read, and there is one.
                for i in range(done, done + count):
                    memcpy(cython.address(word), cython.address(source[pos]), 4)
                    target[i] = word & 0xFFFFFF
                    pos += 3
            else:
                for i in range(done, done + count):
                    word = source[pos + 2]
                    word = (word << 8) | source[pos + 1]
                    target[i] = (word << 8) | source[pos]
                    pos += 3
        else:
            count = control >> 5
            if count == 7:
                while True:
                    if pos >= size:
                        return -1
                    byte = source[pos]
                    pos += 1
                    count += byte
                    if byte != 255:
                        break
            if pos >= size:
                return -1
            byte = source[pos]
            pos += 1
            dist = ((control & 31) << 8) + byte
            if dist == 8191:
                if size - pos < 2:
                    return -1
                byte = source[pos]
                dist += (byte << 8) + source[pos + 1]
                pos += 2
            dist += 1
            count += bias - 1
            if count > total - done:
                return -2
            if dist > done:
                return -3
            _repeat_pixels(target, total, done, dist, count)
        done += count
    return pos


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _byte_pass(
    source: cython.const[cython.uchar][::1],
    pos: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uchar[::1],
    total: cython.Py_ssize_t,
    step: cython.Py_ssize_t,
    shift: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """One pass over units of a byte: unit i goes to target[i * step + shift]. Returns as `_pixel_pass` does."""
    done: cython.Py_ssize_t = 0
    control: cython.uint
    count: cython.Py_ssize_t
    dist: cython.Py_ssize_t
    i: cython.Py_ssize_t
    byte: cython.uint
    while done < total:
        if pos >= size:
            return -1
        control = source[pos]
        pos += 1
        if control < 32:
            count = control + 1
            if count > total - done:
                return -2
            if count > size - pos:
                return -1
            for i in range(count):
                target[(done + i) * step + shift] = source[pos + i]
            pos += count
        else:
            count = control >> 5
            if count == 7:
                while True:
                    if pos >= size:
                        return -1
                    byte = source[pos]
                    pos += 1
                    count += byte
                    if byte != 255:
                        break
            if pos >= size:
                return -1
            byte = source[pos]
            pos += 1
            dist = ((control & 31) << 8) + byte
            if dist == 8191:
                if size - pos < 2:
                    return -1
                byte = source[pos]
                dist += (byte << 8) + source[pos + 1]
                pos += 2
            dist += 1
            count += 2
            if count > total - done:
                return -2
            if dist > done:
                return -3
            if cython.compiled and step == 1 and count >= 16 and (dist == 1 or dist >= count):
                if dist == 1:
                    memset(cython.address(target[done]), target[done - 1], count)
                else:
                    memcpy(cython.address(target[done]), cython.address(target[done - dist]), count)
            else:
                for i in range(done, done + count):
                    target[i * step + shift] = target[(i - dist) * step + shift]
        done += count
    return pos
