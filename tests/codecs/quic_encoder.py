"""A QUIC encoder for tests, written for reading, from dossier E.1. It writes what the reference's encoder writes."""

from __future__ import annotations

import struct

import numpy as np

from spicehop.codecs.quic import MAGIC, QuicType
from spicehop.codecs.quic_codes import CHAOS, RUN_ORDERS, TRIGGERS, codewords


class Bits:
    """Bits gathered to little-endian words, the first bit of a word being its highest."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def put(self, value: int, length: int) -> None:
        if length:
            self.text.append(format(value, f"0{length}b"))

    def words(self) -> bytes:
        text = "".join(self.text)
        text += "0" * (-len(text) % 32 + 32)
        return b"".join(struct.pack("<I", int(text[i : i + 32], 2)) for i in range(0, len(text), 32))


class Plane:
    """One pass: rows of pixels, each a tuple of channel values of `depth` bits."""

    def __init__(self, bits: Bits, width: int, channels: int, depth: int) -> None:
        self.bits = bits
        self.channels = range(channels)
        self.depth = depth
        self.levels = 1 << depth
        self.codes = [list(codewords(depth, code)) for code in range(depth)]
        self.best = [[depth - 1] * depth for _ in self.channels]
        self.counters = [[[0] * depth for _ in range(depth)] for _ in self.channels]
        self.ranks = [[0] * (width + 1) for _ in self.channels]  # of pixel i at i + 1
        self.wait = self.step = self.run_state = 0
        self.seed = 255
        self.left = 2048

    def bucket(self, rank: int) -> int:
        return min((rank + 1).bit_length() - 1, self.depth - 1)

    def put(self, index: int, pixel: tuple[int, ...], predicted: list[int]) -> None:
        for channel in self.channels:
            residual = (pixel[channel] - predicted[channel]) % self.levels
            rank = 2 * residual if 2 * residual < self.levels else 2 * (self.levels - 1 - residual) + 1
            context = self.ranks[channel][index]
            self.ranks[channel][index + 1] = rank
            self.bits.put(*self.codes[self.best[channel][self.bucket(context)]][rank])

    def learn(self, index: int) -> None:
        for channel in self.channels:
            bucket = self.bucket(self.ranks[channel][index])
            counters = self.counters[channel][bucket]
            for code in range(self.depth):
                counters[code] += self.codes[code][self.ranks[channel][index + 1]][1]
            best = min(reversed(range(self.depth)), key=counters.__getitem__)
            self.best[channel][bucket] = best
            if counters[best] > TRIGGERS[self.step]:
                counters[:] = [count // 2 for count in counters]

    def waiting(self) -> int:
        self.seed = (self.seed + 1) % 256
        return CHAOS[self.seed] & ((1 << self.step) - 1)

    def put_run(self, length: int) -> None:
        while length >= 1 << RUN_ORDERS[self.run_state]:
            self.bits.put(1, 1)
            length -= 1 << RUN_ORDERS[self.run_state]
            self.run_state = min(self.run_state + 1, 31)
        self.bits.put(length, RUN_ORDERS[self.run_state] + 1)
        self.run_state = max(self.run_state - 1, 0)

    def row(self, above: list[tuple[int, ...]] | None, row: list[tuple[int, ...]]) -> None:
        for channel in self.channels:
            self.ranks[channel][0] = 0 if above is None else self.ranks[channel][1]
        start = 0
        while self.step < 6 and self.left <= len(row) - start:
            self.segment(above, row, start, start + self.left)
            start += self.left
            self.step += 1
            self.left = 2048
        if start < len(row):
            self.segment(above, row, start, len(row))
            if self.step < 6:
                self.left -= len(row) - start

    def segment(self, above: list[tuple[int, ...]] | None, row: list[tuple[int, ...]], index: int, end: int) -> None:
        run_index = 0
        if index == 0:
            self.put(0, row[0], [0] * len(row[0]) if above is None else list(above[0]))
            index = 1
            if self.wait:
                self.wait -= 1
            else:
                self.wait = self.waiting()
                self.learn(0)
        stop = index + self.wait
        while index < end:
            before = row[index - 1]
            may_run = above is not None and index > 2 and index != run_index
            if may_run and above[index - 1] == above[index] and before == row[index - 2]:
                run_index, self.wait = index, stop - index
                while index < end and row[index] == before:
                    index += 1
                self.put_run(index - run_index)
                if index == end:
                    return
                stop = index + self.wait
                continue
            other = before if above is None else above[index]
            self.put(index, row[index], [(a + b) // 2 for a, b in zip(before, other, strict=True)])
            if index == stop:
                self.learn(index)
                stop = index + 1 + self.waiting()
            index += 1
        self.wait = stop - end


def encode(kind: QuicType, pixels: np.ndarray) -> bytes:
    """Encode (height, width) of grey, or (height, width, 4) of B, G, R, A; RGB16 takes the upper five bits."""
    height, width = pixels.shape[:2]
    bits = Bits()
    for value in (MAGIC, 0, kind, width, height):
        bits.put(value, 32)
    if kind == QuicType.GRAY:
        passes = [(Plane(bits, width, 1, 8), pixels[..., None])]
    else:
        color = pixels[..., 2::-1]
        passes = [(Plane(bits, width, 3, 8), color)]
        if kind == QuicType.RGB16:
            passes = [(Plane(bits, width, 3, 5), color >> 3)]
        if kind == QuicType.RGBA:
            passes.append((Plane(bits, width, 1, 8), pixels[..., 3:]))
    above: list[list[tuple[int, ...]] | None] = [None] * len(passes)
    for y in range(height):
        for number, (plane, values) in enumerate(passes):
            row = [tuple(pixel) for pixel in values[y].tolist()]
            plane.row(above[number], row)
            above[number] = row
    return bits.words()
