"""A client view as frozen data that moves from server to server: ids, sizes, order of use and digests, no pixels.

`ViewState.encode()` gives bytes and `ViewState.decode` takes them, in the layout language of `wire`. They may come
through a client, so nothing is believed: every number is checked before something is made of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Annotated, Any, NamedTuple

import numpy as np

from spicehop.errors import ProtocolError, StateError
from spicehop.painting.digests import Digests, Flags, Grid
from spicehop.painting.imagecache import MOST_IMAGES
from spicehop.raster.surface import check_surface_size
from spicehop.wire.display_constants import MAX_STREAMS, MAX_SURFACES, PALETTE_CACHE_ENTRIES
from spicehop.wire.layout import U8, U16, U32, U64, Array, Data, Field, Reader, SizedBytes, Structure, Writer, pack

MOST_PIXELS = 2**26
"""Of all surfaces of a view."""
_MOST_CACHE = 2**26
_COUNT = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class SurfaceState(Structure):
    """What the client shows on one surface: u64 digests of its tiles, and a bit for each tile that is stale or lossy.

    Without digests nothing is known of what it shows.
    """

    surface_id: U32
    width: U32
    height: U32
    digests: Annotated[Data, SizedBytes("I")]
    stale: Annotated[Data, SizedBytes("I")]
    lossy: Annotated[Data, SizedBytes("I")]


class ImageState(NamedTuple):
    """An image in the client's cache, with the u64 digests of its whole tiles or without any."""

    image_id: int
    width: int
    height: int
    digests: bytes = b""


class ImageColumns(Field):
    """Images column by column behind their number: thousands of them are read and written while a guest stands still,
    and one structure for each would take ten times as long.
    """

    minimum = _COUNT.size

    def decode(self, reader: Reader, seen: Mapping[str, Any]) -> tuple[ImageState, ...]:
        (count,) = reader.unpack(_COUNT)
        ids = struct.unpack(f"<{count}Q", reader.take(8 * count))
        sizes = struct.unpack(f"<{3 * count}H", reader.take(6 * count))
        widths, heights, lengths = sizes[:count], sizes[count : 2 * count], sizes[2 * count :]
        ends = list(accumulate(lengths, initial=0))
        digests = bytes(reader.take(ends[-1]))
        pieces = [digests[start:end] for start, end in pairwise(ends)]
        return tuple(map(ImageState._make, zip(ids, widths, heights, pieces, strict=True)))

    def encode(self, writer: Writer, value: tuple[ImageState, ...], owner: Any) -> None:
        sizes = [image.width for image in value]
        sizes += [image.height for image in value]
        sizes += [len(image.digests) for image in value]
        writer.buffer += pack(_COUNT, len(value))
        try:
            writer.buffer += struct.pack(f"<{len(value)}Q", *[image.image_id for image in value])
            writer.buffer += struct.pack(f"<{len(sizes)}H", *sizes)
        except struct.error as error:
            raise StateError(f"an image of a display's state cannot be written: {error}") from None
        writer.buffer += b"".join([image.digests for image in value])

    def describe(self, name: str) -> str:
        return f"u16 n, u64[n] ids, u16[n] widths, u16[n] heights, u16[n] bytes of digests, u8[] digests ({name})"


@dataclass(frozen=True, slots=True)
class StreamState(Structure):
    """A running stream: a `VideoCodec`, its box, a bit for each tile in which it is seen, bits a second."""

    stream_id: U8
    unique_id: U32
    codec: U8
    left: U16
    top: U16
    right: U16
    bottom: U16
    bit_rate: U32
    active: Annotated[Data, SizedBytes("I")]


@dataclass(frozen=True, slots=True)
class ViewState(Structure):
    """All of a client view. Images and palettes come in the order of their use, the least recently used first.

    `preferred_compression` is 0 when the client has not asked for any, `glz_window` is 0 when it has no dictionary.
    """

    display_id: U8
    displays: U8
    preferred_compression: U8
    preferred_codecs: Annotated[tuple[int, ...], Array("B", count="B")]
    refused_codecs: Annotated[tuple[int, ...], Array("B", count="B")]
    cache_pixels: U32
    glz_window: U32
    glz_next_id: U64
    streams_begun: U32
    surfaces: Annotated[tuple[SurfaceState, ...], Array(SurfaceState, count="H")]
    images: Annotated[tuple[ImageState, ...], ImageColumns()]
    palettes: Annotated[tuple[int, ...], Array("Q", count="H")]
    streams: Annotated[tuple[StreamState, ...], Array(StreamState, count="B")]

    def encode_within(self, limit: int) -> bytes:
        """In at most `limit` bytes, where that can be: first images lose their tiles, then off-screen surfaces and at
        last the primary their digests. What is left out is only sent again when it is needed.
        """
        data = self.encode()
        if len(data) <= limit:
            return data
        lean = replace(self, images=tuple([image._replace(digests=b"") for image in self.images]))
        for keep in (1, 0):
            data = lean.encode()
            if len(data) <= limit:
                return data
            surfaces = [_without_digests(state) for state in lean.surfaces[keep:]]
            lean = replace(lean, surfaces=(*lean.surfaces[:keep], *surfaces))
        return lean.encode()


def check(state: ViewState) -> None:
    """`ProtocolError` when a state's numbers contradict each other or are out of bounds."""
    ids = [surface.surface_id for surface in state.surfaces]
    if len(set(ids)) != len(ids) or any(number >= MAX_SURFACES for number in ids):
        raise ProtocolError("a display's state has a surface twice or one with an impossible id")
    for surface in state.surfaces:
        check_surface_size(surface.width, surface.height)
    if sum(surface.width * surface.height for surface in state.surfaces) > MOST_PIXELS:
        raise ProtocolError("the surfaces of a display's state are too large")
    streams = [stream.stream_id for stream in state.streams]
    if len(set(streams)) != len(streams) or any(number >= MAX_STREAMS for number in streams):
        raise ProtocolError("a display's state has a stream twice or one with an impossible id")
    if streams and 0 not in ids:
        raise ProtocolError("a display's state has streams and nothing to show them on")
    if not state.displays or state.cache_pixels > _MOST_CACHE or state.glz_window > _MOST_CACHE:
        raise ProtocolError("a display's state has impossible cache sizes")
    if sum(image.width * image.height for image in state.images) > state.cache_pixels:
        raise ProtocolError("the images of a display's state do not fit the client's cache")
    if len({image.image_id for image in state.images}) != len(state.images):
        raise ProtocolError("a display's state has an image twice")
    if len(state.images) > MOST_IMAGES or len(state.palettes) > PALETTE_CACHE_ENTRIES or 0 in state.palettes:
        raise ProtocolError("a display's state has too many images or palettes")


def bits(flags: Flags) -> bytes:
    """A bit for each tile."""
    return np.packbits(flags).tobytes()


def flags_of(data: Data, grid: Grid) -> Flags:
    """What `bits` was given, or a `ProtocolError`."""
    count = grid.rows * grid.columns
    if len(data) != (count + 7) // 8:
        raise ProtocolError("a display's state has flags for another number of tiles")
    found: Flags = np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(np.bool_)
    return found.reshape(grid.rows, grid.columns)


def numbers(data: Data, count: int) -> Digests:
    """So many digests, or a `ProtocolError`."""
    if len(data) != 8 * count:
        raise ProtocolError("a display's state has digests for another number of tiles")
    return np.frombuffer(data, "<u8").astype(np.uint64)


def _without_digests(state: SurfaceState) -> SurfaceState:
    return replace(state, digests=b"", stale=b"", lossy=b"")
