# cython: boundscheck=False, wraparound=False
"""The hot loops of LZ and GLZ images: one pass over a stream of literals and matches (dossier E.2, E.3).

Compiled by Cython when the package is built, and the same without. Access by access nothing is bounds-checked here;
instead each run is checked once, against the input left and against the output left, before any of it is touched.

Every pass returns the position in the input after it, or one of the negative faults below.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

from spicehop.errors import ProtocolError

if cython.compiled:
    from cython.cimports.libc.string import memcpy, memset

COMPILED = bool(cython.compiled)

#: Units of a GLZ pass.
RGB32 = 0
RGB16 = 1
ALPHA = 2

#: A GLZ match refers to an image that the window does not hold; its id is in the pass's `wanted`.
ABSENT = -4

FAULTS = {
    -1: "an image ends before its last pixel",
    -2: "a run goes beyond the last pixel of its image",
    -3: "a match refers to pixels outside of its image",
}


def unpack_pixels(source: memoryview, start: int, pixels: np.ndarray[Any, Any], high_color: bool) -> int:
    """Fill the 32-bit pixels of a colour image from RGB16 or RGB24/RGB32 units; returns where the input goes on."""
    data: cython.const[cython.uchar][::1] = source
    target: cython.uint[::1] = pixels.reshape(-1).view(np.uint32).data
    begin: cython.Py_ssize_t = start
    sixteen: cython.bint = high_color
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _pixel_pass(data, begin, data.shape[0], target, target.shape[0], sixteen)
    if end < 0:
        raise ProtocolError(FAULTS[end])
    return int(end)


def unpack_bytes(source: memoryview, start: int, plane: np.ndarray[Any, Any], step: int, offset: int) -> int:
    """Fill every `step`th byte of the plane from `offset` on; returns where the input goes on."""
    data: cython.const[cython.uchar][::1] = source
    target: cython.uchar[::1] = plane.reshape(-1).data
    begin: cython.Py_ssize_t = start
    stride: cython.Py_ssize_t = step
    shift: cython.Py_ssize_t = offset
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _byte_pass(data, begin, data.shape[0], target, target.shape[0] // stride, stride, shift)
    if end < 0:
        raise ProtocolError(FAULTS[end])
    return int(end)


def unpack_glz(
    source: memoryview,
    start: int,
    pixels: np.ndarray[Any, Any],
    units: int,
    image_id: int,
    slots: tuple[Any, Any, Any],
    wanted: np.ndarray[Any, Any],
) -> int:
    """Fill the 32-bit pixels of an image that may refer to others; returns where the input goes on, or ABSENT.

    `slots` is the window as three tables of one length, a power of two: ids, pixel counts (0: the slot is free) and
    where the pixels are, as addresses when compiled and as memoryviews when not. Image i is in slot i modulo length.
    """
    data: cython.const[cython.uchar][::1] = source
    target: cython.uint[::1] = pixels.reshape(-1).view(np.uint32).data
    ids: cython.ulonglong[::1] = slots[0]
    sizes: cython.Py_ssize_t[::1] = slots[1]
    if cython.compiled:
        places: cython.Py_ssize_t[::1] = slots[2]
    else:
        places = slots[2]
    missing: cython.ulonglong[::1] = wanted
    begin: cython.Py_ssize_t = start
    kind: cython.int = units
    own: cython.ulonglong = image_id
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _window_pass(
            data, begin, data.shape[0], target, target.shape[0], kind, own, ids, sizes, places, missing
        )
    if end < 0 and end != ABSENT:
        raise ProtocolError(FAULTS[end])
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
    i: cython.Py_ssize_t = done
    pair: cython.ulonglong
    if cython.compiled and done + count + 3 <= total:
        # Several at a time. Up to three too many are written: there is room, and what follows overwrites them.
        if dist == 1:
            pair = target[done - 1]
            pair |= pair << 32
            while i < done + count:
                memcpy(cython.address(target[i]), cython.address(pair), 8)
                i += 2
        elif dist < 4:
            while i < done + count:
                memcpy(cython.address(target[i]), cython.address(target[i - dist]), 8)
                i += 2
        elif count > 64 and dist >= count:
            memcpy(cython.address(target[done]), cython.address(target[done - dist]), 4 * count)
        else:
            while i < done + count:
                memcpy(cython.address(target[i]), cython.address(target[i - dist]), 16)
                i += 4
    else:
        for i in range(done, done + count):
            target[i] = target[i - dist]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _literal_pixels(
    data: cython.const[cython.uchar][::1],
    pos: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uint[::1],
    done: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
    sixteen: cython.bint,
) -> cython.void:
    """Take `count` pixels of two or three bytes each from `pos` on; that they are there is checked."""
    i: cython.Py_ssize_t
    word: cython.uint = 0
    if sixteen:
        for i in range(done, done + count):
            word = data[pos]
            word = (word << 8) | data[pos + 1]
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
        # One byte more than needed is read, and there is one.
        for i in range(done, done + count):
            memcpy(cython.address(word), cython.address(data[pos]), 4)
            target[i] = word & 0xFFFFFF
            pos += 3
    else:
        for i in range(done, done + count):
            word = data[pos + 2]
            word = (word << 8) | data[pos + 1]
            target[i] = (word << 8) | data[pos]
            pos += 3


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _pixel_pass(
    data: cython.const[cython.uchar][::1],
    pos: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uint[::1],
    total: cython.Py_ssize_t,
    sixteen: cython.bint,
) -> cython.Py_ssize_t:
    """One LZ pass over pixels of two or three bytes."""
    done: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t
    dist: cython.Py_ssize_t
    control: cython.uint
    byte: cython.uint
    width: cython.Py_ssize_t = 2 if sixteen else 3
    while done < total:
        if pos >= size:
            return -1
        control = data[pos]
        pos += 1
        if control < 32:
            count = control + 1
            if count > total - done:
                return -2
            if count * width > size - pos:
                return -1
            _literal_pixels(data, pos, size, target, done, count, sixteen)
            pos += count * width
        else:
            count = control >> 5
            if count == 7:
                while True:
                    if pos >= size:
                        return -1
                    byte = data[pos]
                    pos += 1
                    count += byte
                    if byte != 255:
                        break
            if pos >= size:
                return -1
            byte = data[pos]
            pos += 1
            dist = ((control & 31) << 8) + byte
            if dist == 8191:
                if size - pos < 2:
                    return -1
                byte = data[pos]
                dist += (byte << 8) + data[pos + 1]
                pos += 2
            dist += 1
            if sixteen:
                count += 1
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
    data: cython.const[cython.uchar][::1],
    pos: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uchar[::1],
    total: cython.Py_ssize_t,
    step: cython.Py_ssize_t,
    shift: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """One LZ pass over units of a byte: unit i goes to target[i * step + shift]."""
    done: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t
    dist: cython.Py_ssize_t
    i: cython.Py_ssize_t
    control: cython.uint
    byte: cython.uint
    while done < total:
        if pos >= size:
            return -1
        control = data[pos]
        pos += 1
        if control < 32:
            count = control + 1
            if count > total - done:
                return -2
            if count > size - pos:
                return -1
            for i in range(count):
                target[(done + i) * step + shift] = data[pos + i]
            pos += count
        else:
            count = control >> 5
            if count == 7:
                while True:
                    if pos >= size:
                        return -1
                    byte = data[pos]
                    pos += 1
                    count += byte
                    if byte != 255:
                        break
            if pos >= size:
                return -1
            byte = data[pos]
            pos += 1
            dist = ((control & 31) << 8) + byte
            if dist == 8191:
                if size - pos < 2:
                    return -1
                byte = data[pos]
                dist += (byte << 8) + data[pos + 1]
                pos += 2
            dist += 1
            count += 2
            if count > total - done:
                return -2
            if dist > done:
                return -3
            if cython.compiled and step == 1 and dist == 1:
                memset(cython.address(target[done]), target[done - 1], count)
            elif cython.compiled and step == 1 and count >= 16 and dist >= count:
                memcpy(cython.address(target[done]), cython.address(target[done - dist]), count)
            else:
                for i in range(done, done + count):
                    target[i * step + shift] = target[(i - dist) * step + shift]
        done += count
    return pos


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _window_pass(
    data: cython.const[cython.uchar][::1],
    pos: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    target: cython.uint[::1],
    total: cython.Py_ssize_t,
    kind: cython.int,
    own: cython.ulonglong,
    ids: cython.ulonglong[::1],
    sizes: cython.Py_ssize_t[::1],
    places: cython.Py_ssize_t[::1],
    missing: cython.ulonglong[::1],
) -> cython.Py_ssize_t:
    """One GLZ pass. The alpha pass comes second and changes only the highest byte of each pixel."""
    done: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t
    dist: cython.Py_ssize_t
    i: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    control: cython.uint
    byte: cython.uint
    back: cython.ulonglong
    other: cython.ulonglong
    color: cython.uint = 0xFFFFFF
    extra: cython.uint
    first: cython.uint
    k: cython.uint
    width: cython.Py_ssize_t = 3
    bias: cython.Py_ssize_t = 0
    picture: cython.p_const_uint
    if kind == 1:
        width = 2
        bias = 1
    elif kind == 2:
        width = 1
        bias = 2
    while done < total:
        if pos >= size:
            return -1
        control = data[pos]
        pos += 1
        if control < 32:
            count = control + 1
            if count > total - done:
                return -2
            if count * width > size - pos:
                return -1
            if kind == 2:
                for i in range(count):
                    byte = data[pos + i]
                    target[done + i] = (target[done + i] & color) | (byte << 24)
            else:
                _literal_pixels(data, pos, size, target, done, count, kind == 1)
            pos += count * width
            done += count
            continue
        count = control >> 5
        if count == 7:
            while True:
                if pos >= size:
                    return -1
                byte = data[pos]
                pos += 1
                count += byte
                if byte != 255:
                    break
        count += bias
        if size - pos < 2:
            return -1
        byte = data[pos]
        dist = (control & 15) + (byte << 4)
        first = data[pos + 1]
        pos += 2
        extra = first >> 6
        if extra > size - pos:
            return -1
        back = 0
        k = 0
        if control & 16:
            dist += (first & 31) << 12
        else:
            back = first & 63
            k = 6
        for i in range(extra):
            other = data[pos + i]
            back += other << k
            k += 8
        pos += extra
        if control & 16 and first & 32:
            if pos >= size:
                return -1
            byte = data[pos]
            dist += byte << 17
            pos += 1
        if count > total - done:
            return -2
        if back == 0:
            dist += 1
            if dist > done:
                return -3
            if kind == 2:
                for i in range(done, done + count):
                    target[i] = (target[i] & color) | (target[i - dist] & ~color)
            else:
                _repeat_pixels(target, total, done, dist, count)
        else:
            if back > own:
                return -3
            other = own - back
            slot = other & (ids.shape[0] - 1)
            if sizes[slot] == 0 or ids[slot] != other:
                missing[0] = other
                return -4
            if dist > sizes[slot] or count > sizes[slot] - dist:
                return -3
            if cython.compiled:
                picture = cython.cast(cython.p_const_uint, places[slot])
            else:
                picture = places[slot]
            if kind == 2:
                for i in range(count):
                    target[done + i] = (target[done + i] & color) | (picture[dist + i] & ~color)
            elif cython.compiled:
                memcpy(cython.address(target[done]), picture + dist, 4 * count)
            else:
                for i in range(count):
                    target[done + i] = picture[dist + i]
        done += count
    return pos
