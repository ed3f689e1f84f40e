"""GLZ images: LZ with matches into earlier images of the same client, and the window that keeps those (dossier E.3).

All display channels of one client share one window and one count of image ids. Their messages arrive over separate
connections, so an image may come before one it refers to: `decode` then raises `MissingImage` and changes nothing, and
the caller decodes the same bytes again when the window holds that image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from spicehop.codecs import lz_kernels
from spicehop.codecs.lz import MAGIC, MAX_EXPANSION, VERSION, LzType, check_size
from spicehop.errors import ProtocolError

_HEADER = struct.Struct(">IIBIIIQI")
_COLOR_TYPES = (LzType.RGB16, LzType.RGB24, LzType.RGB32, LzType.RGBA)
_FIRST_SLOTS = 64
_MAX_SLOTS = 2**20


class MissingImage(ProtocolError):
    """An image cannot be decoded before another one that is still on its way on another display channel.

    `image_id` is the image to wait for. With one display channel, or when nothing else is on its way, it is an error
    of the server like any other.
    """

    def __init__(self, message: str, image_id: int) -> None:
        super().__init__(message)
        self.image_id = image_id


@dataclass(frozen=True, slots=True)
class GlzHeader:
    """The first 33 bytes of a GLZ image."""

    kind: LzType
    top_down: bool  # whether the first row of the stream is the top one
    width: int  # pixels
    height: int  # rows
    image_id: int  # counts the images of this client, from 0
    window_head_distance: int  # no image older than image_id minus this is referred to from here on


def read_header(data: bytes | memoryview, max_pixels: int) -> GlzHeader:
    """Read and check the header; the compressed units follow at offset 33."""
    if len(data) < _HEADER.size:
        raise ProtocolError(f"a GLZ image of {len(data)} bytes ends inside its header")
    magic, version, flags, width, height, stride, image_id, distance = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ProtocolError("a GLZ image does not begin with magic and version")
    try:
        kind = LzType(flags & 15)
    except ValueError:
        raise ProtocolError(f"the GLZ image type {flags & 15} does not exist") from None
    if kind not in _COLOR_TYPES:
        # The encoder knows palettes too, but the protocol's GLZ message has no room for one.
        raise ProtocolError(f"a GLZ image cannot be of the type {kind.name}")
    check_size(kind, width, height, stride, max_pixels)
    if distance > image_id:
        raise ProtocolError(f"the window of GLZ image {image_id} starts {distance} images before it")
    return GlzHeader(kind, bool(flags >> 4), width, height, image_id, distance)


class GlzWindow:
    """The decoded images of one client that later ones may refer to.

    `capacity` is the window's size in pixels that the client has announced in its DISPLAY_INIT. A larger image is
    refused, and so is what would make the window hold more than twice that (three times for the image that closes a gap
    in the ids). Several threads may decode into one window; they take turns.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = Lock()
        self._wanted = np.zeros(1, np.uint64)
        self.clear()

    def clear(self, next_id: int = 0) -> None:
        """Forget all images and expect `next_id` as the server's next.

        For a server that begins anew: a new connection, switch-host, semi-seamless. In a seamless migration the ids
        go on and the window stays; the target's first image releases the old ones by itself.
        """
        with self._lock:
            self._images: dict[int, tuple[np.ndarray[Any, Any], int]] = {}
            self._next_id = next_id
            self._oldest = next_id
            self._pixels = 0
            self._lay_out(_FIRST_SLOTS)

    @property
    def next_id(self) -> int:
        """The lowest image id that has not arrived."""
        return self._next_id

    @property
    def pixels(self) -> int:
        """How many pixels the window holds."""
        return self._pixels

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._images

    def __len__(self) -> int:
        return len(self._images)

    def decode(self, data: bytes | memoryview) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Decode one image, keep it for later ones, and let go what the server says no later one refers to.

        The pixels are (height, width, 4), read-only since the window shares them, with 0 in the fourth byte of images
        that carry no alpha. Raises `MissingImage` when another image must come first.
        """
        header = read_header(data, self.capacity)
        view = memoryview(data).cast("B")
        if header.width * header.height > MAX_EXPANSION * (len(view) - _HEADER.size):
            raise ProtocolError("a GLZ image is too short for its size")
        with self._lock:
            self._admit(header)
            pixels = np.empty((header.height, header.width, 4), np.uint8)
            units = lz_kernels.RGB16 if header.kind == LzType.RGB16 else lz_kernels.RGB32
            end = self._unpack(view, _HEADER.size, pixels, units, header.image_id)
            if header.kind == LzType.RGBA:
                end = self._unpack(view, end, pixels, lz_kernels.ALPHA, header.image_id)
            if end != len(view):
                raise ProtocolError(f"a GLZ image is followed by {len(view) - end} bytes too many")
            self._keep(header, pixels)
        pixels.flags.writeable = False
        return pixels if header.top_down else np.ascontiguousarray(pixels[::-1])

    def _admit(self, header: GlzHeader) -> None:
        """Refuse an image that came before, that there is no room for, or that does not fit the slots."""
        image_id = header.image_id
        if image_id < self._next_id or image_id in self._images:
            raise ProtocolError(f"the GLZ image {image_id} comes a second time")
        closes_gap = image_id == self._next_id
        if self._pixels + header.width * header.height > self.capacity * (3 if closes_gap else 2):
            if closes_gap:
                raise ProtocolError(f"the GLZ window of {self.capacity} pixels is exceeded")
            raise MissingImage(f"the GLZ window is full until image {self._next_id} arrives", self._next_id)
        while self._sizes[image_id & (len(self._sizes) - 1)]:
            if len(self._sizes) >= _MAX_SLOTS:
                raise ProtocolError(f"the GLZ image {image_id} is too far from the others in the window")
            self._lay_out(2 * len(self._sizes))

    def _unpack(self, view: memoryview, start: int, pixels: np.ndarray[Any, Any], units: int, image_id: int) -> int:
        slots = (self._ids, self._sizes, self._places)
        end = lz_kernels.unpack_glz(view, start, pixels, units, image_id, slots, self._wanted)
        if end == lz_kernels.ABSENT:
            wanted = int(self._wanted[0])
            if wanted < self._next_id:
                raise ProtocolError(f"the GLZ image {image_id} refers to image {wanted}, which was released")
            raise MissingImage(f"the GLZ image {image_id} refers to image {wanted}, which has not arrived", wanted)
        return end

    def _keep(self, header: GlzHeader, pixels: np.ndarray[Any, Any]) -> None:
        self._images[header.image_id] = (pixels, header.window_head_distance)
        self._pixels += header.width * header.height
        self._place(header.image_id, pixels)
        while self._next_id in self._images:
            self._next_id += 1
        # Only the newest image with no gap before it decides: one that is still on its way may refer further back.
        newest = self._images.get(self._next_id - 1)
        if newest is not None:
            self._release(self._next_id - 1 - newest[1])

    def _release(self, oldest: int) -> None:
        while self._oldest < oldest:
            slot = self._oldest & (len(self._sizes) - 1)
            dropped = self._images.pop(self._oldest, None)
            if dropped is not None:
                self._pixels -= int(self._sizes[slot])
                self._sizes[slot] = 0
                self._places[slot] = 0
            self._oldest += 1

    def _lay_out(self, count: int) -> None:
        """Make the kernel's tables anew, with `count` slots."""
        self._ids = np.zeros(count, np.uint64)
        self._sizes = np.zeros(count, np.intp)
        self._places: Any = np.zeros(count, np.intp) if lz_kernels.COMPILED else [0] * count
        for image_id, (pixels, _) in self._images.items():
            self._place(image_id, pixels)

    def _place(self, image_id: int, pixels: np.ndarray[Any, Any]) -> None:
        slot = image_id & (len(self._sizes) - 1)
        self._ids[slot] = image_id
        self._sizes[slot] = pixels.size // 4
        self._places[slot] = pixels.ctypes.data if lz_kernels.COMPILED else pixels.reshape(-1).view(np.uint32).data
