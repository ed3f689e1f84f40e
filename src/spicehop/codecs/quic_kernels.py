# cython: boundscheck=False, wraparound=False
"""The hot loops of the QUIC decoder (dossier E.1), typed for Cython's pure mode; they run uncompiled too.

They are not bounds-checked access by access. The checks that replace it: the words are padded by more than the longest
stretch of pixels between two looks at the position can take, the position is compared with the end at the start of
each stretch, and a run is compared with the room in its row before any of it is written. Every other index comes out
of a table that holds nothing larger.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

from spicehop.codecs.quic_codes import CHAOS, CODEWORD_LIMIT, RUN_ORDERS, TABLE_BITS, TRIGGERS, codes_of

_LONGEST_STRETCH = 64  # pixels between two updates of the model, because no wait mask has more than 6 bits
_SPARE_WORDS = _LONGEST_STRETCH * 3 * CODEWORD_LIMIT // 32 + 8

# Declared, because they are used while the GIL is released. The three faults are what the decoders return.
_TABLE_BITS = cython.declare(cython.int, TABLE_BITS)
_TRUNCATED = cython.declare(cython.int, -1)
_BAD_CODEWORD = cython.declare(cython.int, -2)
_LONG_RUN = cython.declare(cython.int, -3)
_PIXELS_PER_STEP = cython.declare(cython.int, 2048)  # after so many pixels the wait mask gets one bit more
_ONES = cython.declare(cython.ulonglong, 2**64 - 1)  # keeps what is uncompiled at 64 bits


def padded(words: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The words of a stream, followed by the room that the decoders may read before they see that it has ended."""
    made = np.zeros(len(words) + _SPARE_WORDS, np.uint32)
    made[: len(words)] = words
    return made


@cython.final
@cython.cclass
class Pass:
    """The adaptive model and the position of one pass over rows: the three colours together, or one plane alone.

    `words` come from `padded`; `start` and `end` are positions in bits. `pixels` takes the picture of a colour pass,
    and the two latest rows of a plane. `channels` is 3 or 1, `depth` 8 or 5 bits.
    """

    words: cython.const[cython.uint][::1]
    end: cython.ulonglong
    pos: cython.ulonglong
    pixels: cython.uint[::1]
    channels: cython.int
    depth: cython.int
    mask: cython.uint
    table: cython.const[cython.ushort][::1]
    lengths: cython.const[cython.uchar][::1]
    prefixes: cython.const[cython.uchar][::1]
    suffixes: cython.const[cython.uchar][::1]
    residuals: cython.const[cython.uchar][::1]
    buckets: cython.const[cython.uchar][::1]
    starts: cython.const[cython.uint][::1]
    chaos: cython.const[cython.uchar][::1]
    triggers: cython.const[cython.uint][::1]
    orders: cython.const[cython.uchar][::1]
    contexts: cython.uint[::1]
    best: cython.ushort[::1]
    counters: cython.uint[::1]
    wait: cython.Py_ssize_t
    seed: cython.uint
    step: cython.uint
    left: cython.Py_ssize_t
    run_state: cython.int

    def __init__(
        self,
        words: np.ndarray[Any, Any],
        start: int,
        end: int,
        width: int,
        pixels: np.ndarray[Any, Any],
        channels: int,
        depth: int,
    ) -> None:
        codes = codes_of(depth)
        self.words = words.data
        self.end = end
        self.pos = start
        self.pixels = pixels.data
        self.channels = channels
        self.depth = depth
        self.mask = ((1 << depth) - 1) * (0x010101 if channels == 3 else 1)
        self.table = codes.table.data
        self.lengths = codes.lengths.data
        self.prefixes = codes.prefixes.data
        self.suffixes = codes.suffixes.data
        self.residuals = codes.residuals.data
        self.buckets = codes.buckets.data
        self.starts = codes.starts.data
        self.chaos = (np.array(CHAOS, np.uint32) & 63).astype(np.uint8).data
        self.triggers = np.array(TRIGGERS, np.uint32).data
        self.orders = np.array(RUN_ORDERS, np.uint8).data
        # Residuals of the row, packed like pixels; entry i belongs to pixel i - 1. Those of a run keep what was there.
        self.contexts = np.zeros(width + 1, np.uint32).data
        # [channel * 256 + context]: the code of the context's bucket, shifted to where the table wants it.
        self.best = np.full(channels * 256, (depth - 1) << _TABLE_BITS, np.uint16).data
        self.counters = np.zeros(channels * 64, np.uint32).data
        self.wait = 0
        self.seed = 255
        self.step = 0
        self.left = _PIXELS_PER_STEP
        self.run_state = 0

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def window(self, pos: cython.ulonglong) -> cython.ulonglong:
        """The 64 bits from `pos` on."""
        at: cython.ulonglong = pos >> 5
        shift: cython.uint = pos & 31
        high: cython.ulonglong = self.words[at]
        low: cython.ulonglong = self.words[at + 2]
        high = (high << 32) | self.words[at + 1]
        high <<= shift
        if not cython.compiled:
            high &= _ONES
        return high | (low >> (32 - shift))

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def symbol(self, pos: cython.ulonglong, code: cython.int) -> cython.int:
        """Decode one codeword of any length: U << 8 | length, or a fault."""
        window: cython.ulonglong = self.window(pos)
        prefix: cython.int = self.prefixes[code]
        zeros: cython.int = 0
        length: cython.int
        rank: cython.int
        while zeros < prefix and not (window >> (63 - zeros)) & 1:
            zeros += 1
        if zeros < prefix:
            length = zeros + 1 + code
            rank = (zeros << code) | ((window >> (64 - length)) & ((1 << code) - 1))
        else:
            length = prefix + self.suffixes[code]
            rank = (prefix << code) + ((window >> (64 - length)) & ((1 << self.suffixes[code]) - 1))
        if rank >= 1 << self.depth:
            return _BAD_CODEWORD
        return (self.residuals[rank] << 8) | length

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def residual(self, before: cython.uint) -> cython.int:
        """Decode the residuals of one pixel without the table, given those of the pixel before it."""
        channel: cython.int
        symbol: cython.int
        shift: cython.int
        packed: cython.int = 0
        for channel in range(self.channels):
            shift = 8 * (self.channels - 1 - channel)
            symbol = self.symbol(self.pos, self.best[256 * channel + ((before >> shift) & 255)] >> _TABLE_BITS)
            if symbol < 0:
                return symbol
            self.pos += symbol & 255
            packed = (packed << 8) | (symbol >> 8)
        return packed

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def learn(self, index: cython.Py_ssize_t) -> cython.void:
        """Let the model learn from pixel `index`: each channel's bucket counts what its codes would have cost."""
        before: cython.uint = self.contexts[index]
        now: cython.uint = self.contexts[index + 1]
        channel: cython.int
        shift: cython.int
        context: cython.uint
        costs: cython.uint
        bucket: cython.uint
        counter: cython.uint
        code: cython.int
        best: cython.int
        least: cython.uint
        cost: cython.uint
        rank: cython.uint
        shifted: cython.ushort
        for channel in range(self.channels):
            shift = 8 * (self.channels - 1 - channel)
            context = (before >> shift) & 255
            costs = ((now >> shift) & 255) * 8
            bucket = self.buckets[context]
            counter = (channel * 8 + bucket) * 8
            best = self.depth - 1
            least = self.counters[counter + best] + self.lengths[costs + best]
            self.counters[counter + best] = least
            code = best - 1
            while code >= 0:
                cost = self.counters[counter + code] + self.lengths[costs + code]
                self.counters[counter + code] = cost
                if cost < least:
                    least = cost
                    best = code
                code -= 1
            if least > self.triggers[self.step]:
                for code in range(self.depth):
                    self.counters[counter + code] >>= 1
            shifted = best << _TABLE_BITS
            if self.best[256 * channel + context] != shifted:
                for rank in range(self.starts[bucket], self.starts[bucket + 1]):
                    self.best[256 * channel + self.residuals[rank]] = shifted

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
    def run_length(self, room: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Decode the length of a run that may have `room` pixels at most."""
        length: cython.Py_ssize_t = 0
        window: cython.ulonglong
        hits: cython.int
        order: cython.int
        state: cython.int = self.run_state
        while True:
            if self.pos > self.end:
                return _TRUNCATED
            window = self.window(self.pos)
            hits = 0
            while hits < 32 and (window >> 63) & 1:
                window <<= 1
                if not cython.compiled:
                    window &= _ONES
                hits += 1
                length += cython.cast(cython.Py_ssize_t, 1) << self.orders[state]
                if length > room:
                    return _LONG_RUN
                if state < 31:
                    state += 1
            self.pos += hits
            if hits < 32:
                break
        order = self.orders[state]
        # One bit, a zero, ends the hits; up to 15 bits of remainder follow.
        self.pos += 1 + order
        window = (window >> (63 - order)) & ((1 << order) - 1)
        length += window
        if length > room:
            return _LONG_RUN
        self.run_state = state - 1 if state > 0 else 0
        return length

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def color_stretch(
        self,
        up: cython.Py_ssize_t,
        cur: cython.Py_ssize_t,
        index: cython.Py_ssize_t,
        limit: cython.Py_ssize_t,
        run_index: cython.Py_ssize_t,
        no_run_before: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Decode colour pixels from `index` on until `limit` or until a run begins; returns where, or a fault."""
        pos: cython.ulonglong = self.pos
        mask: cython.uint = self.mask
        context: cython.uint = self.contexts[index]
        red: cython.uint = context >> 16
        green: cython.uint = (context >> 8) & 255
        blue: cython.uint = context & 255
        window: cython.ulonglong = self.window(pos)
        ahead: cython.ulonglong
        bits: cython.ulonglong
        length: cython.uint
        packed: cython.uint
        mean: cython.uint
        above: cython.uint
        # Not read where there is none: row 0 takes the pixel before for the one above.
        above_before: cython.uint = self.pixels[up + index - 1] & 0xFFFFFF if up + index > 0 else 0
        before: cython.uint = self.pixels[cur + index - 1]
        before_that: cython.uint = self.pixels[cur + index - 2] if index > 1 else 0
        slow: cython.int
        while index < limit:
            above = self.pixels[up + index] & 0xFFFFFF
            if above == above_before and before == before_that and index != run_index and index > no_run_before:
                break
            # `window` was loaded before the last pixel and holds 34 bits at least, enough for three short codewords.
            ahead = self.window(pos)
            bits = window
            red = self.table[self.best[red] | (bits >> 54)]
            bits <<= red & 63
            if not cython.compiled:
                bits &= _ONES
            green = self.table[self.best[256 + green] | (bits >> 54)]
            bits <<= green & 63
            if not cython.compiled:
                bits &= _ONES
            blue = self.table[self.best[512 + blue] | (bits >> 54)]
            length = (red & 63) + (green & 63) + (blue & 63)
            if red & green & blue & 128:
                pos += length
                window = ahead << length
                if not cython.compiled:
                    window &= _ONES
                red >>= 8
                green >>= 8
                blue >>= 8
                packed = (red << 16) | (green << 8) | blue
            else:
                self.pos = pos
                slow = self.residual(self.contexts[index])
                if slow < 0:
                    return slow
                packed = slow
                pos = self.pos
                window = self.window(pos)
                red = packed >> 16
                green = (packed >> 8) & 255
                blue = packed & 255
            self.contexts[index + 1] = packed
            # The mean of the pixels before and above plus the residual, each channel for itself.
            mean = (before & above) + (((before ^ above) >> 1) & 0x7F7F7F)
            before_that = before
            before = (((mean & 0x7F7F7F) + (packed & 0x7F7F7F)) ^ ((mean ^ packed) & 0x808080)) & mask
            self.pixels[cur + index] = before
            above_before = above
            index += 1
        self.pos = pos
        return index

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def plane_stretch(
        self,
        up: cython.Py_ssize_t,
        cur: cython.Py_ssize_t,
        index: cython.Py_ssize_t,
        limit: cython.Py_ssize_t,
        run_index: cython.Py_ssize_t,
        no_run_before: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """What `color_stretch` does, for one channel."""
        pos: cython.ulonglong = self.pos
        mask: cython.uint = self.mask
        residual: cython.uint = self.contexts[index]
        window: cython.ulonglong = self.window(pos)
        ahead: cython.ulonglong
        above: cython.uint
        above_before: cython.uint = self.pixels[up + index - 1] if up + index > 0 else 0
        before: cython.uint = self.pixels[cur + index - 1]
        before_that: cython.uint = self.pixels[cur + index - 2] if index > 1 else 0
        slow: cython.int
        while index < limit:
            above = self.pixels[up + index]
            if above == above_before and before == before_that and index != run_index and index > no_run_before:
                break
            ahead = self.window(pos)
            residual = self.table[self.best[residual] | (window >> 54)]
            if residual & 128:
                pos += residual & 63
                window = ahead << (residual & 63)
                if not cython.compiled:
                    window &= _ONES
                residual >>= 8
            else:
                self.pos = pos
                slow = self.residual(self.contexts[index])
                if slow < 0:
                    return slow
                residual = slow
                pos = self.pos
                window = self.window(pos)
            self.contexts[index + 1] = residual
            before_that = before
            before = (((before + above) >> 1) + residual) & mask
            self.pixels[cur + index] = before
            above_before = above
            index += 1
        self.pos = pos
        return index

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def first_pixel(self, above: cython.uint, cur: cython.Py_ssize_t) -> cython.int:
        """Decode the first pixel of a row, which is predicted by the one above it alone."""
        packed: cython.int
        residual: cython.uint
        if self.pos > self.end:
            return _TRUNCATED
        packed = self.residual(self.contexts[0])
        if packed < 0:
            return packed
        residual = packed
        self.contexts[1] = residual
        above &= self.mask
        self.pixels[cur] = (((above & 0x7F7F7F) + (residual & 0x7F7F7F)) ^ ((above ^ residual) & 0x808080)) & self.mask
        if self.wait > 0:
            self.wait -= 1
        else:
            self.wait = self.waiting()
            self.learn(0)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def segment(
        self,
        up: cython.Py_ssize_t,
        cur: cython.Py_ssize_t,
        index: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        no_run_before: cython.Py_ssize_t,
    ) -> cython.int:
        """Decode a part of a row for which the wait mask stays the same; returns a fault or 0."""
        stop: cython.Py_ssize_t = index + self.wait
        limit: cython.Py_ssize_t
        length: cython.Py_ssize_t
        i: cython.Py_ssize_t
        run_index: cython.Py_ssize_t = 0
        value: cython.uint
        while True:
            limit = stop + 1 if stop < end else end
            if self.pos > self.end:
                return _TRUNCATED
            if self.channels == 3:
                index = self.color_stretch(up, cur, index, limit, run_index, no_run_before)
            else:
                index = self.plane_stretch(up, cur, index, limit, run_index, no_run_before)
            if index < 0:
                return index
            if index == limit:
                if stop >= end:
                    self.wait = stop - end
                    return 0
                self.learn(stop)
                stop = index + self.waiting()
                continue
            length = self.run_length(end - index)
            if length < 0:
                return length
            self.wait = stop - index
            run_index = index
            value = self.pixels[cur + index - 1]
            for i in range(cur + index, cur + index + length):
                self.pixels[i] = value
            index += length
            if index == end:
                return 0
            stop = index + self.wait

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def row(
        self, up: cython.Py_ssize_t, cur: cython.Py_ssize_t, width: cython.Py_ssize_t, first: cython.bint
    ) -> cython.int:
        """Decode the row that begins at pixel `cur`, below the one that begins at `up`; returns a fault or 0."""
        # In the first row the pixel before takes the place of the one above, and there are no runs.
        no_run_before: cython.Py_ssize_t = width if first else 2
        index: cython.Py_ssize_t = 1
        start: cython.Py_ssize_t = 0
        end: cython.Py_ssize_t
        fault: cython.int
        self.contexts[0] = 0 if first else self.contexts[1]
        fault = self.first_pixel(0 if first else self.pixels[up], cur)
        if first:
            up = cur - 1
        while fault == 0 and self.step < 6 and self.left <= width - start:
            end = start + self.left
            fault = self.segment(up, cur, index, end, no_run_before)
            start = index = end
            self.step += 1
            self.left = _PIXELS_PER_STEP
        if fault == 0 and start < width:
            fault = self.segment(up, cur, index, width, no_run_before)
            if self.step < 6:
                self.left -= width - start
        return int(fault)


def decode_color(color: Pass, columns: int, rows: int) -> int:
    """Decode the rows of three channels; returns a fault or 0."""
    width: cython.Py_ssize_t = columns
    height: cython.Py_ssize_t = rows
    row: cython.Py_ssize_t
    fault: cython.int = 0
    with cython.nogil:
        for row in range(height):
            fault = color.row((row - 1) * width, row * width, width, row == 0)
            if fault != 0:
                break
        if fault == 0 and color.pos > color.end:
            fault = _TRUNCATED
    return int(fault)


def decode_color_and_alpha(color: Pass, alpha: Pass, columns: int, rows: int) -> int:
    """Decode rows of three channels, each followed by its alpha; returns a fault or 0."""
    width: cython.Py_ssize_t = columns
    height: cython.Py_ssize_t = rows
    row: cython.Py_ssize_t
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    fault: cython.int = 0
    with cython.nogil:
        for row in range(height):
            fault = color.row((row - 1) * width, row * width, width, row == 0)
            if fault != 0:
                break
            at = (row & 1) * width
            alpha.pos = color.pos
            fault = alpha.row(width - at, at, width, row == 0)
            if fault != 0:
                break
            color.pos = alpha.pos
            for i in range(width):
                color.pixels[row * width + i] |= alpha.pixels[at + i] << 24
        if fault == 0 and color.pos > color.end:
            fault = _TRUNCATED
    return int(fault)


def decode_gray(gray: Pass, target: memoryview, columns: int, rows: int) -> int:
    """Decode the rows of one channel into the bytes of `target`; returns a fault or 0."""
    plane: cython.uchar[::1] = target
    width: cython.Py_ssize_t = columns
    height: cython.Py_ssize_t = rows
    row: cython.Py_ssize_t
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    fault: cython.int = 0
    with cython.nogil:
        for row in range(height):
            at = (row & 1) * width
            fault = gray.row(width - at, at, width, row == 0)
            if fault != 0:
                break
            for i in range(width):
                plane[row * width + i] = gray.pixels[at + i]
        if fault == 0 and gray.pos > gray.end:
            fault = _TRUNCATED
    return int(fault)
