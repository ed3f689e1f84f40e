# cython: boundscheck=False, wraparound=False
"""The hot loops of the QUIC encoder (dossier E.1), typed for Cython's pure mode; they run uncompiled too.

They are not bounds-checked access by access. The one check that replaces it: before each row the room left for words
is compared with the most that a row can take, `most_words`, and a pass stops there and goes on with more room. Every
other index is a pixel's place in its row, or comes out of a table that holds nothing larger.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

from spicehop.codecs.quic_codes import CHAOS, CODEWORD_LIMIT, RUN_ORDERS, TRIGGERS, codes_of

if cython.compiled:
    from cython.cimports.libc.string import memcpy

# Declared, because they are used while the GIL is released.
_PIXELS_PER_STEP = cython.declare(cython.int, 2048)  # after so many pixels the wait mask gets one bit more
_COLORS = cython.declare(cython.uint, 0xFFFFFF)
_COLOR_PAIR = cython.declare(cython.ulonglong, 0x00FFFFFF_00FFFFFF)
_HALVES = cython.declare(cython.ulonglong, 0x7FF87FF8_7FF87FF8)
_ONES = cython.declare(cython.ulonglong, 2**64 - 1)  # keeps what is uncompiled at 64 bits

#: What the codes that begin and end a run can take for a pixel, in bits: a hit, the zero and the longest remainder.
_RUN_BITS = 2 + max(RUN_ORDERS)

_CHAOS = (np.array(CHAOS, np.uint32) & 63).astype(np.uint8)
_TRIGGERS = np.array(TRIGGERS, np.uint32)
_RUN_ORDERS = np.array(RUN_ORDERS, np.uint8)


def most_words(width: int) -> int:
    """How many words of 32 bits a row of four channels takes at most, with what finishes the stream."""
    return width * (4 * CODEWORD_LIMIT + 2 * _RUN_BITS) // 32 + 4


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _lesser(one: cython.uint, other: cython.uint) -> cython.uint:
    return one if one < other else other


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _least_lane(lanes: cython.ulonglong) -> cython.uint:
    """The least of four 16-bit numbers."""
    first: cython.uint = lanes & 0xFFFF
    second: cython.uint = (lanes >> 16) & 0xFFFF
    third: cython.uint = (lanes >> 32) & 0xFFFF
    fourth: cython.uint = lanes >> 48
    return _lesser(_lesser(first, second), _lesser(third, fourth))


@cython.final
@cython.cclass
class Pass:
    """The adaptive model and the position of one pass over rows: the three colours together, or one plane alone.

    `words` takes the stream. `pixels` are rows of 32-bit values, of which a colour pass takes the lowest 24 bits and
    a plane the byte at `shift`. `channels` is 3 or 1, `depth` 8 or 5 bits, each channel in a byte of its own.
    """

    words: cython.uint[::1]
    at: cython.Py_ssize_t
    pending: cython.ulonglong  # bits that are not in `words` yet, from the highest on
    used: cython.uint  # how many, below 32
    pixels: cython.const[cython.uint][:, :]
    height: cython.Py_ssize_t
    width: cython.Py_ssize_t
    channels: cython.int
    depth: cython.int
    shift: cython.uint
    mask: cython.uint
    table: cython.const[cython.ushort][::1]
    costs: cython.const[cython.ulonglong][::1]
    idle: cython.const[cython.ulonglong][::1]
    buckets: cython.const[cython.uchar][::1]
    chaos: cython.const[cython.uchar][::1]
    triggers: cython.const[cython.uint][::1]
    orders: cython.const[cython.uchar][::1]
    contexts: cython.uint[::1]
    best: cython.ushort[::1]
    counters: cython.ulonglong[::1]
    wait: cython.Py_ssize_t
    seed: cython.uint
    step: cython.uint
    left: cython.Py_ssize_t
    run_state: cython.int

    def __init__(self, pixels: np.ndarray[Any, Any], channels: int, depth: int, shift: int = 0) -> None:
        codes = codes_of(depth)
        self.at = 0
        self.pending = 0
        self.used = 0
        self.pixels = pixels if cython.compiled else [row.data for row in pixels]
        self.height = pixels.shape[0]
        self.width = pixels.shape[1]
        self.channels = channels
        self.depth = depth
        self.shift = shift
        self.mask = ((1 << depth) - 1) * (0x010101 if channels == 3 else 1)
        self.table = codes.words.data
        self.costs = codes.costs.data
        self.idle = codes.idle.data
        self.buckets = codes.buckets.data
        self.chaos = _CHAOS.data
        self.triggers = _TRIGGERS.data
        self.orders = _RUN_ORDERS.data
        # Residuals of the row, packed like pixels; entry i belongs to pixel i - 1. Those of a run keep what was there.
        self.contexts = np.zeros(self.width + 1, np.uint32).data
        # [channel * 8 + bucket]: the code of the bucket, shifted to where the table wants it.
        self.best = np.full(channels * 8, (depth - 1) << 8, np.uint16).data
        self.counters = np.tile(codes.idle, channels * 8).data
        self.wait = 0
        self.seed = 255
        self.step = 0
        self.left = _PIXELS_PER_STEP
        self.run_state = 0

    def write_to(self, words: np.ndarray[Any, Any], at: int) -> None:
        """Go on writing at the word `at` of `words`."""
        self.words = words.data
        self.at = at

    @property
    def position(self) -> int:
        """Index of the word that is being filled."""
        return int(self.at)

    def finish(self) -> int:
        """Fill the last word with zeros and add one of them; returns how many words there are."""
        if self.used > 0:
            self.put(0, 32 - self.used)
        self.put(0, 32)
        return int(self.at)

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def put(self, value: cython.ulonglong, length: cython.uint) -> cython.void:
        """Write `length` bits, 32 at most."""
        self.used += length
        self.pending |= value << (64 - self.used)
        self.words[self.at] = self.pending >> 32
        self.at += self.used >> 5
        self.pending <<= self.used & 32
        if not cython.compiled:
            self.pending &= _ONES
        self.used &= 31

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def learn(self, index: cython.Py_ssize_t) -> cython.void:
        """Let the model learn from pixel `index`: each channel's bucket counts what its codes would have cost."""
        before: cython.uint = self.contexts[index]
        now: cython.uint = self.contexts[index + 1]
        channel: cython.int = self.channels
        bucket: cython.uint
        residual: cython.uint
        low: cython.ulonglong
        high: cython.ulonglong
        least: cython.uint
        while channel > 0:
            channel -= 1
            bucket = channel * 8 + self.buckets[before & 255]
            residual = now & 255
            before >>= 8
            now >>= 8
            low = self.counters[2 * bucket] + self.costs[2 * residual]
            high = self.counters[2 * bucket + 1] + self.costs[2 * residual + 1]
            least = _lesser(_least_lane(low), _least_lane(high))
            self.best[bucket] = (7 - (least & 7)) << 8
            if least >> 3 > self.triggers[self.step]:
                low = ((low >> 1) & _HALVES) | self.idle[0]
                high = ((high >> 1) & _HALVES) | self.idle[1]
            self.counters[2 * bucket] = low
            self.counters[2 * bucket + 1] = high

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def waiting(self) -> cython.Py_ssize_t:
        """How many pixels to let pass before the model learns again."""
        self.seed = (self.seed + 1) & 255
        return self.chaos[self.seed] & ((1 << self.step) - 1)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_run(self, length: cython.Py_ssize_t) -> cython.void:
        """Write the length of a run."""
        order: cython.uint = self.orders[self.run_state]
        while length >= cython.cast(cython.Py_ssize_t, 1) << order:
            length -= cython.cast(cython.Py_ssize_t, 1) << order
            self.put(1, 1)
            if self.run_state < 31:
                self.run_state += 1
            order = self.orders[self.run_state]
        self.put(length, order + 1)
        if self.run_state > 0:
            self.run_state -= 1

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def line(self, y: cython.Py_ssize_t) -> cython.p_const_uint:
        """The pixels of a row, which follow each other."""
        return cython.address(self.pixels[y, 0]) if cython.compiled else self.pixels[y]

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def channels_of(self, pixel: cython.uint) -> cython.uint:
        """What this pass takes of a pixel."""
        return pixel & _COLORS if self.channels == 3 else (pixel >> self.shift) & 255

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def color_stretch(
        self,
        y: cython.Py_ssize_t,
        lag: cython.Py_ssize_t,
        index: cython.Py_ssize_t,
        limit: cython.Py_ssize_t,
        run_index: cython.Py_ssize_t,
        no_run_before: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Encode colour pixels from `index` on until `limit` or until a run begins; returns where."""
        up: cython.p_const_uint = self.line(y - 1 + lag)
        row: cython.p_const_uint = self.line(y)
        mask: cython.uint = self.mask
        at: cython.Py_ssize_t = self.at
        pending: cython.ulonglong = self.pending
        used: cython.uint = self.used
        context: cython.uint = self.contexts[index]
        red: cython.uint = context >> 16
        green: cython.uint = (context >> 8) & 255
        blue: cython.uint = context & 255
        bits: cython.ulonglong
        total: cython.uint
        pixel: cython.uint
        packed: cython.uint
        mean: cython.uint
        above: cython.uint
        above_before: cython.uint = up[index - 1 - lag] & _COLORS if index > lag else 0
        before: cython.uint = row[index - 1] & _COLORS
        before_that: cython.uint = row[index - 2] & _COLORS if index > 1 else 0
        while index < limit:
            above = up[index - lag] & _COLORS
            if above == above_before and before == before_that and index != run_index and index > no_run_before:
                break
            pixel = row[index] & _COLORS
            # The pixel less the mean of those before and above, each channel for itself.
            mean = (before & above) + (((before ^ above) >> 1) & 0x7F7F7F)
            packed = (((pixel | 0x808080) - (mean & 0x7F7F7F)) ^ (~(pixel ^ mean) & 0x808080)) & mask
            self.contexts[index + 1] = packed
            red = self.table[self.best[self.buckets[red]] | (packed >> 16)]
            green = self.table[self.best[8 + self.buckets[green]] | ((packed >> 8) & 255)]
            blue = self.table[self.best[16 + self.buckets[blue]] | (packed & 255)]
            total = (red & 31) + (green & 31) + (blue & 31)
            if total <= 32:
                bits = red >> 8
                bits = (bits << (green & 31)) | (green >> 8)
                bits = (bits << (blue & 31)) | (blue >> 8)
                used += total
                pending |= bits << (64 - used)
                self.words[at] = pending >> 32
                at += used >> 5
                pending <<= used & 32
                if not cython.compiled:
                    pending &= _ONES
                used &= 31
            else:
                self.at = at
                self.pending = pending
                self.used = used
                self.put(red >> 8, red & 31)
                self.put(green >> 8, green & 31)
                self.put(blue >> 8, blue & 31)
                at = self.at
                pending = self.pending
                used = self.used
            red = packed >> 16
            green = (packed >> 8) & 255
            blue = packed & 255
            before_that = before
            before = pixel
            above_before = above
            index += 1
        self.at = at
        self.pending = pending
        self.used = used
        return index

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def plane_stretch(
        self,
        y: cython.Py_ssize_t,
        lag: cython.Py_ssize_t,
        index: cython.Py_ssize_t,
        limit: cython.Py_ssize_t,
        run_index: cython.Py_ssize_t,
        no_run_before: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """What `color_stretch` does, for one channel."""
        up: cython.p_const_uint = self.line(y - 1 + lag)
        row: cython.p_const_uint = self.line(y)
        shift: cython.uint = self.shift
        residual: cython.uint = self.contexts[index]
        code: cython.uint
        pixel: cython.uint
        above: cython.uint
        above_before: cython.uint = (up[index - 1 - lag] >> shift) & 255 if index > lag else 0
        before: cython.uint = (row[index - 1] >> shift) & 255
        before_that: cython.uint = (row[index - 2] >> shift) & 255 if index > 1 else 0
        while index < limit:
            above = (up[index - lag] >> shift) & 255
            if above == above_before and before == before_that and index != run_index and index > no_run_before:
                break
            pixel = (row[index] >> shift) & 255
            code = self.best[self.buckets[residual]]
            residual = (pixel - ((before + above) >> 1)) & self.mask
            self.contexts[index + 1] = residual
            code = self.table[code | residual]
            self.put(code >> 8, code & 31)
            before_that = before
            before = pixel
            above_before = above
            index += 1
        return index

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def first_pixel(self, y: cython.Py_ssize_t) -> cython.void:
        """Encode the first pixel of a row, which is predicted by the one above it alone."""
        above: cython.uint = self.channels_of(self.line(y - 1)[0]) if y > 0 else 0
        pixel: cython.uint = self.channels_of(self.line(y)[0])
        packed: cython.uint
        channel: cython.int
        shift: cython.int
        code: cython.uint
        packed = (((pixel | 0x808080) - (above & 0x7F7F7F)) ^ (~(pixel ^ above) & 0x808080)) & self.mask
        self.contexts[0] = self.contexts[1] if y > 0 else 0
        self.contexts[1] = packed
        for channel in range(self.channels):
            shift = 8 * (self.channels - 1 - channel)
            code = self.best[8 * channel + self.buckets[(self.contexts[0] >> shift) & 255]]
            code = self.table[code | ((packed >> shift) & 255)]
            self.put(code >> 8, code & 31)
        if self.wait > 0:
            self.wait -= 1
        else:
            self.wait = self.waiting()
            self.learn(0)

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def run_end(
        self, y: cython.Py_ssize_t, index: cython.Py_ssize_t, end: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """Where the pixels from `index` on stop being what the one before `index` is."""
        row: cython.p_const_uint = self.line(y)
        same: cython.uint = self.channels_of(row[index - 1])
        pair: cython.ulonglong = 0
        wanted: cython.ulonglong
        if cython.compiled and self.channels == 3:
            wanted = same
            wanted |= wanted << 32
            while index + 1 < end:
                memcpy(cython.address(pair), row + index, 8)
                if (pair & _COLOR_PAIR) != wanted:
                    break
                index += 2
        while index < end and self.channels_of(row[index]) == same:
            index += 1
        return index

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def segment(
        self,
        y: cython.Py_ssize_t,
        index: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        no_run_before: cython.Py_ssize_t,
    ) -> cython.void:
        """Encode a part of a row for which the wait mask stays the same."""
        # In the first row the pixel before takes the place of the one above.
        lag: cython.Py_ssize_t = 1 if y == 0 else 0
        stop: cython.Py_ssize_t = index + self.wait
        limit: cython.Py_ssize_t
        run_index: cython.Py_ssize_t = 0
        while True:
            limit = stop + 1 if stop < end else end
            if self.channels == 3:
                index = self.color_stretch(y, lag, index, limit, run_index, no_run_before)
            else:
                index = self.plane_stretch(y, lag, index, limit, run_index, no_run_before)
            if index == limit:
                if stop >= end:
                    self.wait = stop - end
                    return
                self.learn(stop)
                stop = index + self.waiting()
                continue
            self.wait = stop - index
            run_index = index
            index = self.run_end(y, index, end)
            self.put_run(index - run_index)
            if index == end:
                return
            stop = index + self.wait

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def row(self, y: cython.Py_ssize_t, width: cython.Py_ssize_t) -> cython.void:
        """Encode one row."""
        no_run_before: cython.Py_ssize_t = width if y == 0 else 2
        index: cython.Py_ssize_t = 1
        start: cython.Py_ssize_t = 0
        end: cython.Py_ssize_t
        self.first_pixel(y)
        while self.step < 6 and self.left <= width - start:
            end = start + self.left
            self.segment(y, index, end, no_run_before)
            start = index = end
            self.step += 1
            self.left = _PIXELS_PER_STEP
        if start < width:
            self.segment(y, index, width, no_run_before)
            if self.step < 6:
                self.left -= width - start


def encode_rows(first: Pass, second: Pass | None, start: int) -> int:
    """Encode rows from `start` on, each by the first pass and then by the second, if there is one.

    Returns the row to go on with when there is more room for words; the height when all is done.
    """
    main: Pass = first
    alpha: Pass = first if second is None else second
    width: cython.Py_ssize_t = main.width
    height: cython.Py_ssize_t = main.height
    needed: cython.Py_ssize_t = most_words(width)
    room: cython.Py_ssize_t = main.words.shape[0]
    both: cython.bint = second is not None
    y: cython.Py_ssize_t = start
    with cython.nogil:
        while y < height and room - main.at >= needed:
            main.row(y, width)
            if both:
                alpha.at = main.at
                alpha.pending = main.pending
                alpha.used = main.used
                alpha.row(y, width)
                main.at = alpha.at
                main.pending = alpha.pending
                main.used = alpha.used
            y += 1
    return int(y)
