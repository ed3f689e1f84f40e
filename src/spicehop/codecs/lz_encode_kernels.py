# cython: boundscheck=False, wraparound=False
"""The hot loops of LZ and GLZ encoding: one pass over a plane of units (dossier E.2, E.3).

Compiled by Cython when the package is built, and the same without. Nothing is bounds-checked access by access. Pixels
are read up to the total only, and the room left for output is compared with what a run of literals or a match takes
at most before either is written.

A pass looks for three units that came before, by the hash of the three, and takes the match if it is shorter than the
literals that it replaces.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

if cython.compiled:
    from cython.cimports.libc.string import memcpy

COMPILED = bool(cython.compiled)

#: Units of a GLZ pass.
RGB32 = 0
RGB16 = 1
ALPHA = 2

# Declared, because they are used while the GIL is released.
_NO_ROOM = cython.declare(cython.Py_ssize_t, -1)  # what a pass returns when the output is too small
_ROOM = cython.declare(cython.Py_ssize_t, 16)  # more than a match takes besides its length, or what is overwritten
_NEAR = cython.declare(cython.Py_ssize_t, 8191)  # distances below, less one, take two bytes less
_FAR = cython.declare(cython.Py_ssize_t, 8191 + 65535)  # no distance, less one, reaches it
_SHORT = cython.declare(cython.Py_ssize_t, 1 << 12)  # GLZ offsets below take their whole place in three bytes
_MEDIUM = cython.declare(cython.Py_ssize_t, 1 << 17)  # those from here on take another byte
_LONG = cython.declare(cython.Py_ssize_t, 16)  # a match of more is good enough
_SELDOM = cython.declare(cython.ulonglong, 15 << 24)  # what is zero in one hash of sixteen
_ALPHA = cython.declare(cython.uint, 0xFF000000)
_PAIR = cython.declare(cython.ulonglong, 0x00000001_00000001)
_MULTIPLIER = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
_ONES = cython.declare(cython.ulonglong, 2**64 - 1)  # keeps what is uncompiled at 64 bits
_LOW = cython.declare(cython.ulonglong, 0xFFFFFFFF)


def most_bytes(units: int, width: int) -> int:
    """How many bytes a pass over `units` of `width` bytes each takes at most."""
    return units * (width + 1) + 64


def pack_glz(
    cells: np.ndarray[Any, Any],
    units: int,
    image_id: int,
    oldest_id: int,
    slots: tuple[Any, Any, Any, Any, Any],
    tables: tuple[Any, Any],
    out: memoryview,
) -> int:
    """Write a GLZ pass over 32-bit cells in one piece, of `units` RGB32, RGB16 (in the lowest 16 bits) or ALPHA.

    `slots` is the window as five tables of one length, a power of two: ids, unit counts, types, where the cells are (as
    addresses when compiled and as memoryviews when not), and the oldest id through which the image can be found, at
    first its own. Image i is in slot i modulo length; only those of the type of the image itself, which is in its slot
    already, are referred to. `tables` belong to the window: of u64, their lengths powers of two; the first for every
    place, the second for one in sixteen.
    """
    data: cython.const[cython.uint][::1] = cells.data
    ids: cython.ulonglong[::1] = slots[0]
    sizes: cython.Py_ssize_t[::1] = slots[1]
    kinds: cython.uchar[::1] = slots[2]
    if cython.compiled:
        pictures: cython.Py_ssize_t[::1] = slots[3]
    else:
        pictures = slots[3]
    roots: cython.ulonglong[::1] = slots[4]
    places: cython.ulonglong[::1] = tables[0]
    anchors: cython.ulonglong[::1] = tables[1]
    target: cython.uchar[::1] = out
    kind: cython.int = units
    own: cython.ulonglong = image_id
    oldest: cython.ulonglong = oldest_id
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _window_pass(
            data, data.shape[0], kind, own, oldest, ids, sizes, kinds, pictures, roots,
            places, anchors, target, target.shape[0],
        )  # fmt: skip
    return _checked(end)


def index_glz(cells: np.ndarray[Any, Any], units: int, kind: int, image_id: int, tables: tuple[Any, Any]) -> None:
    """Let later passes find an image of this type for which no pass was written here."""
    data: cython.const[cython.uint][::1] = cells.data
    anchors: cython.ulonglong[::1] = tables[1]
    mask: cython.uint = _mask_of(units)
    salt: cython.ulonglong = kind
    base: cython.ulonglong = image_id
    shift: cython.int = _shift_of(anchors.shape[0])
    base = (base & _LOW) << 32
    with cython.nogil:
        _index(data, 0, data.shape[0] - 2, mask, salt, base, anchors, shift)


def _checked(end: int) -> int:
    if end < 0:
        raise ValueError("an encoder was given less room than most_bytes says")
    return end


def pack_cells(cells: np.ndarray[Any, Any], sixteen: bool, table: np.ndarray[Any, Any], out: memoryview) -> int:
    """Write an LZ pass over 32-bit cells in one piece: RGB24 and RGB32, or RGB16 in the lowest 16 bits.

    `table` is of zeros, u32, its length a power of two.
    """
    data: cython.const[cython.uint][::1] = cells.data
    places: cython.uint[::1] = table.data
    target: cython.uchar[::1] = out
    high: cython.bint = sixteen
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _cell_pass(data, data.shape[0], places, target, target.shape[0], high)
    return _checked(end)


def pack_bytes(plane: np.ndarray[Any, Any], table: np.ndarray[Any, Any], out: memoryview) -> int:
    """Write an LZ pass over units of one byte: packed palette indices or alpha."""
    data: cython.const[cython.uchar][::1] = plane.data
    places: cython.uint[::1] = table.data
    target: cython.uchar[::1] = out
    end: cython.Py_ssize_t
    with cython.nogil:
        end = _byte_pass(data, data.shape[0], places, target, target.shape[0])
    return _checked(end)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _mix(
    one: cython.ulonglong, two: cython.ulonglong, three: cython.ulonglong, salt: cython.ulonglong
) -> cython.ulonglong:
    """A number for three units, of which the uppermost bits are the best; another one for another salt."""
    mixed: cython.ulonglong = (one ^ (two << 16) ^ (three << 32) ^ (salt << 58)) * _MULTIPLIER
    if not cython.compiled:
        mixed &= _ONES
    return mixed


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _shift_of(length: cython.Py_ssize_t) -> cython.int:
    """How far to shift what `_mix` gives, for an index into a table of this length."""
    shift: cython.int = 64
    while length > 1:
        length >>= 1
        shift -= 1
    return shift


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _equal_cells(
    one: cython.p_const_uint,
    other: cython.p_const_uint,
    count: cython.Py_ssize_t,
    limit: cython.Py_ssize_t,
    mask: cython.uint,
) -> cython.Py_ssize_t:
    """How many cells are equal, given that the first `count` are; `limit` at most."""
    pair: cython.ulonglong = 0
    wanted: cython.ulonglong = 0
    if cython.compiled:
        while count + 2 <= limit:
            memcpy(cython.address(pair), one + count, 8)
            memcpy(cython.address(wanted), other + count, 8)
            pair = (pair ^ wanted) & (mask * _PAIR)
            if pair != 0:
                # The lower half is the first of the two.
                return count + ((pair & _LOW) == 0)
            count += 2
    while count < limit and ((one[count] ^ other[count]) & mask) == 0:
        count += 1
    return count


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_cells(
    data: cython.const[cython.uint][::1],
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    target: cython.uchar[::1],
    pos: cython.Py_ssize_t,
    room: cython.Py_ssize_t,
    width: cython.int,
) -> cython.Py_ssize_t:
    """Write cells from `start` on as literals of 1 byte (alpha), 2 or 3; returns the position after them."""
    count: cython.Py_ssize_t
    i: cython.Py_ssize_t
    cell: cython.uint
    while start < end:
        count = end - start if end - start < 32 else 32
        if room - pos < 3 * count + _ROOM:
            return _NO_ROOM
        target[pos] = count - 1
        pos += 1
        if width == 1:
            for i in range(start, start + count):
                target[pos] = data[i] >> 24
                pos += 1
        elif width == 2:
            for i in range(start, start + count):
                cell = data[i]
                target[pos] = (cell >> 8) & 255
                target[pos + 1] = cell & 255
                pos += 2
        elif cython.compiled:
            # One byte more than needed is written; there is room, and what follows overwrites it.
            for i in range(start, start + count):
                memcpy(cython.address(target[pos]), cython.address(data[i]), 4)
                pos += 3
        else:
            for i in range(start, start + count):
                cell = data[i]
                target[pos] = cell & 255
                target[pos + 1] = (cell >> 8) & 255
                target[pos + 2] = (cell >> 16) & 255
                pos += 3
        start += count
    return pos


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_length(
    target: cython.uchar[::1], pos: cython.Py_ssize_t, length: cython.Py_ssize_t, low: cython.uint
) -> cython.Py_ssize_t:
    """Write the control byte of a match, `low` being its lower five bits, and what does not fit in it of the length.

    No branch depends on the length as long as it is usual: what is written too much is overwritten.
    """
    target[pos] = ((length if length < 7 else 7) << 5) | low
    pos += 1
    length -= 7
    while length >= 255:
        target[pos] = 255
        pos += 1
        length -= 255
    target[pos] = length & 255
    return pos + (length >= 0)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_match(
    target: cython.uchar[::1], pos: cython.Py_ssize_t, length: cython.Py_ssize_t, dist: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Write an LZ match; `length` and `dist` come with their biases taken off."""
    far: cython.bint = dist >= _NEAR
    pos = _put_length(target, pos, length, 31 if far else dist >> 8)
    target[pos] = 255 if far else dist & 255
    dist -= _NEAR
    target[pos + 1] = (dist >> 8) & 255
    target[pos + 2] = dist & 255
    return pos + (3 if far else 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _cell_pass(
    data: cython.const[cython.uint][::1],
    total: cython.Py_ssize_t,
    places: cython.uint[::1],
    target: cython.uchar[::1],
    room: cython.Py_ssize_t,
    sixteen: cython.bint,
) -> cython.Py_ssize_t:
    """One LZ pass over cells. The table holds where three cells came last, plus one."""
    mask: cython.uint = 0x7FFF if sixteen else 0xFFFFFF
    bias: cython.Py_ssize_t = 1 if sixteen else 0
    width: cython.int = 2 if sixteen else 3
    shift: cython.int = _shift_of(places.shape[0])
    pos: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t = 0
    literals: cython.Py_ssize_t = 0
    dist: cython.Py_ssize_t
    length: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    place: cython.Py_ssize_t
    one: cython.uint = data[0] & mask
    before: cython.uint = one ^ 1
    two: cython.uint = data[1] & mask if total > 1 else 0
    three: cython.uint
    while i + 3 <= total:
        three = data[i + 2] & mask
        if two == one and three == one and before == one:
            dist = 1
            length = 3
        else:
            slot = _mix(one, two, three, 0) >> shift
            place = places[slot]
            places[slot] = i + 1
            dist = i + 1 - place
            if place == 0 or dist > _FAR or (data[place - 1] & mask) != one or (data[place] & mask) != two:
                before = one
                one = two
                two = three
                i += 1
                continue
            length = 2
        if cython.compiled:
            length = _equal_cells(
                cython.address(data[i - dist]), cython.address(data[i]), length, total - i, mask
            )
        else:
            length = _equal_cells(data[i - dist :], data[i:], length, total - i, mask)
        if dist > _NEAR and length < 2 + bias:
            before = one
            one = two
            two = three
            i += 1
            continue
        pos = _put_cells(data, literals, i, target, pos, room, width)
        if pos < 0 or room - pos < length // 255 + _ROOM:
            return _NO_ROOM
        pos = _put_match(target, pos, length - bias, dist - 1)
        i += length
        literals = i
        # The last two places of the match are remembered, those inside of it are not.
        if i + 1 < total:
            before = data[i - 1] & mask
            one = data[i] & mask
            two = data[i + 1] & mask
            places[_mix(data[i - 2] & mask, before, one, 0) >> shift] = i - 1
            places[_mix(before, one, two, 0) >> shift] = i
    return _put_cells(data, literals, total, target, pos, room, width)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_bytes(
    data: cython.const[cython.uchar][::1],
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    target: cython.uchar[::1],
    pos: cython.Py_ssize_t,
    room: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Write bytes from `start` on as literals; returns the position after them."""
    count: cython.Py_ssize_t
    i: cython.Py_ssize_t
    while start < end:
        count = end - start if end - start < 32 else 32
        if room - pos < count + _ROOM:
            return _NO_ROOM
        target[pos] = count - 1
        pos += 1
        for i in range(count):
            target[pos + i] = data[start + i]
        pos += count
        start += count
    return pos


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _byte_pass(
    data: cython.const[cython.uchar][::1],
    total: cython.Py_ssize_t,
    places: cython.uint[::1],
    target: cython.uchar[::1],
    room: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """One LZ pass over bytes."""
    shift: cython.int = _shift_of(places.shape[0])
    pos: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t = 0
    literals: cython.Py_ssize_t = 0
    dist: cython.Py_ssize_t
    length: cython.Py_ssize_t
    limit: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    place: cython.Py_ssize_t
    eight: cython.ulonglong = 0
    wanted: cython.ulonglong = 0
    while i + 3 <= total:
        if i > 0 and data[i] == data[i - 1] and data[i + 1] == data[i] and data[i + 2] == data[i]:
            dist = 1
        else:
            slot = _mix(data[i], data[i + 1], data[i + 2], 0) >> shift
            place = places[slot]
            places[slot] = i + 1
            dist = i + 1 - place
            if (
                place == 0
                or dist > _FAR
                or data[place - 1] != data[i]
                or data[place] != data[i + 1]
                or data[place + 1] != data[i + 2]
            ):
                i += 1
                continue
        length = 3
        limit = total - i
        if cython.compiled:
            while length + 8 <= limit:
                memcpy(cython.address(eight), cython.address(data[i - dist + length]), 8)
                memcpy(cython.address(wanted), cython.address(data[i + length]), 8)
                if eight != wanted:
                    break
                length += 8
        while length < limit and data[i - dist + length] == data[i + length]:
            length += 1
        if dist > _NEAR and length < 5:
            i += 1
            continue
        pos = _put_bytes(data, literals, i, target, pos, room)
        if pos < 0 or room - pos < length // 255 + _ROOM:
            return _NO_ROOM
        pos = _put_match(target, pos, length - 2, dist - 1)
        i += length
        literals = i
        if i + 1 < total:
            places[_mix(data[i - 2], data[i - 1], data[i], 0) >> shift] = i - 1
            places[_mix(data[i - 1], data[i], data[i + 1], 0) >> shift] = i
    return _put_bytes(data, literals, total, target, pos, room)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _mask_of(kind: cython.int) -> cython.uint:
    """Which bits of a cell a GLZ pass is about."""
    if kind == 1:
        return 0x7FFF
    return _ALPHA if kind == 2 else 0xFFFFFF


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _extra_bytes(back: cython.ulonglong, offset: cython.Py_ssize_t) -> cython.int:
    """How many bytes of their own the distance between two images takes in a GLZ match."""
    if offset >= _SHORT:
        return 0 if back == 0 else 1 if back < 1 << 8 else 2 if back < 1 << 16 else 3
    return 0 if back < 1 << 6 else 1 if back < 1 << 14 else 2 if back < 1 << 22 else 3


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_window_match(
    target: cython.uchar[::1],
    pos: cython.Py_ssize_t,
    length: cython.Py_ssize_t,
    offset: cython.Py_ssize_t,
    back: cython.ulonglong,
) -> cython.Py_ssize_t:
    """Write a GLZ match with an image `back` ids before; `length` and `offset` come with their biases taken off."""
    extra: cython.int = _extra_bytes(back, offset)
    pos = _put_length(target, pos, length, (offset & 15) | (16 if offset >= _SHORT else 0))
    target[pos] = (offset >> 4) & 255
    if offset >= _SHORT:
        target[pos + 1] = (extra << 6) | (32 if offset >= _MEDIUM else 0) | ((offset >> 12) & 31)
    else:
        target[pos + 1] = (extra << 6) | (back & 63)
        back >>= 6
    pos += 2
    while extra > 0:
        target[pos] = back & 255
        back >>= 8
        pos += 1
        extra -= 1
    if offset >= _MEDIUM:
        target[pos] = (offset >> 17) & 255
        pos += 1
    return pos


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _index(
    data: cython.const[cython.uint][::1],
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    mask: cython.uint,
    salt: cython.ulonglong,
    base: cython.ulonglong,
    anchors: cython.ulonglong[::1],
    shift: cython.int,
) -> cython.void:
    """Enter the places from `start` on into the table for one in sixteen."""
    mixed: cython.ulonglong
    i: cython.Py_ssize_t
    for i in range(start, end):
        mixed = _mix(data[i] & mask, data[i + 1] & mask, data[i + 2] & mask, salt)
        if (mixed & _SELDOM) == 0:
            anchors[mixed >> shift] = base | (i + 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _match(
    data: cython.const[cython.uint][::1],
    i: cython.Py_ssize_t,
    total: cython.Py_ssize_t,
    mask: cython.uint,
    entry: cython.ulonglong,
    own: cython.ulonglong,
    ids: cython.ulonglong[::1],
    sizes: cython.Py_ssize_t[::1],
    kinds: cython.uchar[::1],
    pictures: cython.Py_ssize_t[::1],
) -> cython.Py_ssize_t:
    """How many cells from `i` on are also where a table's entry leads to: 0, or 2 at least."""
    place: cython.Py_ssize_t = entry & _LOW
    other_id: cython.ulonglong = own - ((own - (entry >> 32)) & _LOW)
    slot: cython.Py_ssize_t = other_id & (ids.shape[0] - 1)
    limit: cython.Py_ssize_t
    other: cython.p_const_uint
    if place == 0 or ids[slot] != other_id or kinds[slot] != kinds[own & (ids.shape[0] - 1)]:
        return 0
    # An entry of the pass before this one, over the colours of the same image, may lie ahead.
    if other_id == own and place > i:
        return 0
    place -= 1
    limit = sizes[slot] - place
    limit = total - i if total - i < limit else limit
    if limit < 2:
        return 0
    if cython.compiled:
        other = cython.cast(cython.p_const_uint, pictures[slot]) + place
    else:
        other = pictures[slot][place:]
    if ((other[0] ^ data[i]) & mask) != 0 or ((other[1] ^ data[i + 1]) & mask) != 0:
        return 0
    return _equal_cells(other, cython.address(data[i]) if cython.compiled else data[i:], 2, limit, mask)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _window_pass(
    data: cython.const[cython.uint][::1],
    total: cython.Py_ssize_t,
    kind: cython.int,
    own: cython.ulonglong,
    oldest: cython.ulonglong,
    ids: cython.ulonglong[::1],
    sizes: cython.Py_ssize_t[::1],
    kinds: cython.uchar[::1],
    pictures: cython.Py_ssize_t[::1],
    roots: cython.ulonglong[::1],
    places: cython.ulonglong[::1],
    anchors: cython.ulonglong[::1],
    target: cython.uchar[::1],
    room: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """One GLZ pass. The tables hold where three cells came last: the lower half of the image id, and place plus one.

    The first table forgets an image while the next one is encoded. The second takes only places whose hash has zeros
    in it, whatever the image, and so still knows some place in every stretch of those that are long ago; matches are
    extended backwards to where they begin. Either may lead to an image that has left the window, or to one whose id has
    the same lower half: what it leads to is compared before it is taken.
    """
    mask: cython.uint = _mask_of(kind)
    width: cython.int = 3 - kind
    shift: cython.int = _shift_of(places.shape[0])
    anchor_shift: cython.int = _shift_of(anchors.shape[0])
    base: cython.ulonglong = (own & _LOW) << 32
    pos: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t = 0
    literals: cython.Py_ssize_t = 0
    begin: cython.Py_ssize_t
    place: cython.Py_ssize_t
    offset: cython.Py_ssize_t = 0
    length: cython.Py_ssize_t
    longer: cython.Py_ssize_t
    mixed: cython.ulonglong
    entry: cython.ulonglong
    anchor: cython.ulonglong
    back: cython.ulonglong = 0
    root: cython.ulonglong
    aging: cython.ulonglong = (own - oldest) // 2
    salt: cython.ulonglong = kinds[own & (ids.shape[0] - 1)]
    one: cython.uint = data[0] & mask
    two: cython.uint = data[1] & mask if total > 1 else 0
    before: cython.uint = one ^ 1
    three: cython.uint
    other: cython.p_const_uint
    while i + 3 <= total:
        three = data[i + 2] & mask
        if two == one and three == one and before == one:
            # A run: the entry is the one that leads to the cell before.
            entry = base | i
            if cython.compiled:
                length = _equal_cells(cython.address(data[i - 1]), cython.address(data[i]), 3, total - i, mask)
            else:
                length = _equal_cells(data[i - 1 :], data[i:], 3, total - i, mask)
        else:
            mixed = _mix(one, two, three, salt)
            entry = places[mixed >> shift]
            places[mixed >> shift] = base | (i + 1)
            length = _match(data, i, total, mask, entry, own, ids, sizes, kinds, pictures)
            if (mixed & _SELDOM) == 0:
                anchor = anchors[mixed >> anchor_shift]
                anchors[mixed >> anchor_shift] = base | (i + 1)
                if length < _LONG:
                    longer = _match(data, i, total, mask, anchor, own, ids, sizes, kinds, pictures)
                    if longer > length:
                        length = longer
                        entry = anchor
        begin = i
        if length > 0:
            place = (entry & _LOW) - 1
            back = (own - (entry >> 32)) & _LOW
            if cython.compiled:
                other = cython.cast(cython.p_const_uint, pictures[(own - back) & (ids.shape[0] - 1)])
            else:
                other = pictures[(own - back) & (ids.shape[0] - 1)]
            while begin > literals and place > 0 and ((other[place - 1] ^ data[begin - 1]) & mask) == 0:
                begin -= 1
                place -= 1
                length += 1
            offset = begin - place - 1 if back == 0 else place
            if width * length <= 3 + _extra_bytes(back, offset) + (offset >= _MEDIUM):
                length = 0
        if length == 0:
            before = one
            one = two
            two = three
            i += 1
            continue
        pos = _put_cells(data, literals, begin, target, pos, room, width)
        if pos < 0 or room - pos < length // 255 + _ROOM:
            return _NO_ROOM
        pos = _put_window_match(target, pos, length - kind, offset, back)
        if back > 0 and length > _LONG:
            root = roots[(own - back) & (ids.shape[0] - 1)]
            if own - root > aging:
                _index(data, begin, begin + length - 2, mask, salt, base, anchors, anchor_shift)
            elif root < roots[own & (ids.shape[0] - 1)]:
                roots[own & (ids.shape[0] - 1)] = root
        i = begin + length
        literals = i
        if i + 1 < total:
            before = data[i - 1] & mask
            one = data[i] & mask
            two = data[i + 1] & mask
            places[_mix(data[i - 2] & mask, before, one, salt) >> shift] = base | (i - 1)
            places[_mix(before, one, two, salt) >> shift] = base | i
    return _put_cells(data, literals, total, target, pos, room, width)
