"""GLZ images: the encoder, and the dictionary of what one client has in its window (dossier E.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from threading import Lock
from typing import Any

import lz4.block
import numpy as np

from spicehop.codecs import lz_encode_kernels
from spicehop.codecs.bitmap import Pixels
from spicehop.codecs.lz import BYTES_PER_PIXEL, MAGIC, VERSION, LzType
from spicehop.codecs.lz_encode_kernels import ALPHA, RGB16, RGB32, index_glz, most_bytes, pack_glz
from spicehop.codecs.lz_encoding import high_color
from spicehop.codecs.pixels import Cells, cells_of
from spicehop.errors import ProtocolError

#: An image must have fewer pixels, for any of them to be within reach of a match.
MAX_IMAGE_PIXELS = 2**25
#: More images do not stay in a window, however small they are.
MAX_IMAGES = 2**14

_HEADER = struct.Struct(">IIBIIIQI")
_SAVED = struct.Struct(">IIQI")
_SAVED_IMAGE = struct.Struct(">QBII")
_SAVED_VERSION = 1
_FIRST_SLOTS = 64
_MAX_TABLE_BITS = 14
_KINDS = (LzType.RGB16, LzType.RGB24, LzType.RGB32, LzType.RGBA)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An image in the window."""

    kind: LzType
    cells: Cells  # flat; x1r5g5b5 for RGB16


def shareable(pixels: Pixels) -> Pixels:
    """The same pixels in one piece and for good, so that the dictionaries of several clients can keep one copy."""
    if pixels.flags.c_contiguous and _is_constant(pixels):
        return pixels
    kept = pixels.copy(order="C")
    kept.flags.writeable = False
    return kept


def _is_constant(pixels: Pixels) -> bool:
    # A view that cannot be written to is not enough: its base may change.
    return not pixels.flags.writeable and pixels.base is None


class GlzDictionary:
    """The images that one client has decoded and later ones may refer to, for all its display channels.

    `capacity` is the window's size in pixels from the client's DISPLAY_INIT, or less: the server may use a smaller
    one. An image that was encoded must be sent, and once only: the client waits for every id. Several threads may
    encode with one dictionary; they take turns.

    Over a seamless migration the ids go on. Without the pixels the window begins anew: `GlzDictionary(capacity,
    next_id=old.next_id)`. With them, `GlzDictionary.restored(old.save())` refers to what the client already has.
    """

    def __init__(self, capacity: int, *, next_id: int = 0) -> None:
        self.capacity = capacity
        self._next_id = next_id
        self._oldest = next_id
        self._pixels = 0
        self._images: dict[int, _Kept] = {}
        self._roots = np.zeros(0, np.uint64)
        self._lock = Lock()
        self._made_tables: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None
        self._lay_out(_FIRST_SLOTS)

    @property
    def next_id(self) -> int:
        """The id of the next image."""
        return self._next_id

    @property
    def pixels(self) -> int:
        """How many pixels the window holds."""
        return self._pixels

    def __len__(self) -> int:
        return len(self._images)

    def takes(self, width: int, height: int) -> bool:
        """Whether an image of this size can be encoded: it must fit into the window."""
        return 0 < width * height <= self.capacity and width * height < MAX_IMAGE_PIXELS

    def encode(self, pixels: Pixels, kind: LzType = LzType.RGB32) -> bytes:
        """Encode the next image, `(height, width, 4)` of B, G, R and X or A, rows from the top; see `takes`.

        The pixels are kept. They are copied, unless `shareable` made them.
        """
        height, width = pixels.shape[:2]
        if kind not in _KINDS or not self.takes(width, height):
            raise ValueError(f"a window of {self.capacity} pixels takes no {kind.name} image of {width} by {height}")
        cells = cells_of(shareable(pixels)).reshape(-1)
        if kind == LzType.RGB16:
            cells = high_color(cells)
        with self._lock:
            image_id = self._next_id
            self._next_id += 1
            self._keep(image_id, _Kept(kind, cells))
            distance = image_id - self._oldest
            stride = width * BYTES_PER_PIXEL[kind]
            header = _HEADER.pack(MAGIC, VERSION, kind | 1 << 4, width, height, stride, image_id, distance)
            return b"".join((header, *(self._pack(cells, units, image_id) for units in _passes(kind))))

    def save(self, since: int = 0) -> bytes:
        """All that `restored` needs to go on from here, pixels included; or what `continued` needs where the
        dictionary is known up to the id `since`.
        """
        with self._lock:
            images = {image_id: image for image_id, image in self._images.items() if image_id >= since}
            parts = [_SAVED.pack(_SAVED_VERSION, self.capacity, self._next_id, len(images))]
            for image_id, image in images.items():
                data = lz4.block.compress(image.cells.data, store_size=False)
                parts += [_SAVED_IMAGE.pack(image_id, image.kind, image.cells.size, len(data)), data]
        return b"".join(parts)

    @classmethod
    def restored(cls, data: bytes | memoryview, *, max_capacity: int = 2**24) -> GlzDictionary:
        """The dictionary that `save` was called on. Raises `ProtocolError` on bytes that are not of it."""
        made = cls(_saved_head(memoryview(data), max_capacity)[0])
        made._take(memoryview(data), evicting=False)
        return made

    def continued(self, data: bytes | memoryview) -> None:
        """Take over what another dictionary has encoded since this was its copy: `save(since)` gave it. What leaves the
        window there has left it here too. Raises `ProtocolError` on bytes that do not fit; it is of no use then.
        """
        self._take(memoryview(data), evicting=True)

    def _take(self, view: memoryview, *, evicting: bool) -> None:
        capacity, next_id, count = _saved_head(view, self.capacity)
        if capacity != self.capacity or next_id < self._next_id:
            raise ProtocolError("a saved GLZ dictionary is not the continuation of this one")
        self._next_id = next_id
        if not self._images:
            self._oldest = next_id
        at = _SAVED.size
        for _ in range(count):
            if len(view) - at < _SAVED_IMAGE.size:
                raise ProtocolError("a saved GLZ dictionary ends inside an image")
            image_id, kind, size, length = _SAVED_IMAGE.unpack_from(view, at)
            at += _SAVED_IMAGE.size
            room = self.capacity if evicting else self.capacity - self._pixels
            self._put_back(image_id, kind, size, view[at : at + length], room)
            at += length
        if at != len(view):
            raise ProtocolError("a saved GLZ dictionary does not end where it should")

    def _put_back(self, image_id: int, kind: int, size: int, data: memoryview, room: int) -> None:
        newest = next(reversed(self._images), -1)
        if kind not in _KINDS or not newest < image_id < self._next_id or self._next_id - image_id > MAX_IMAGES:
            raise ProtocolError(f"a saved GLZ dictionary cannot hold image {image_id} of type {kind}")
        if not 0 < size <= room or size >= MAX_IMAGE_PIXELS:
            raise ProtocolError(f"image {image_id} of {size} pixels does not fit a saved GLZ dictionary")
        try:
            raw = lz4.block.decompress(data, uncompressed_size=4 * size)
        except (lz4.block.LZ4BlockError, ValueError):
            raise ProtocolError(f"image {image_id} of a saved GLZ dictionary does not decompress") from None
        if len(raw) != 4 * size:
            raise ProtocolError(f"image {image_id} of a saved GLZ dictionary has {len(raw)} bytes, not {4 * size}")
        cells = np.frombuffer(raw, np.uint32)
        if not self._images:
            self._oldest = image_id
        self._keep(image_id, _Kept(LzType(kind), cells))
        for units in _passes(LzType(kind)):
            index_glz(cells, units, kind, image_id, self._tables())

    def _pack(self, cells: Cells, units: int, image_id: int) -> memoryview:
        out = np.empty(most_bytes(cells.size, 3 - units), np.uint8).data
        slots = (self._ids.data, self._sizes.data, self._kinds.data, self._addresses, self._roots.data)
        return out[: pack_glz(cells, units, image_id, self._oldest, slots, self._tables(), out)]

    def _tables(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        # Made when it is needed: a client that draws nothing costs nothing.
        if self._made_tables is None:
            bits = max(((self.capacity - 1) // 16).bit_length(), 8)
            self._made_tables = np.zeros(1 << min(bits, _MAX_TABLE_BITS), np.uint64), np.zeros(1 << bits, np.uint64)
        return self._made_tables

    def _keep(self, image_id: int, image: _Kept) -> None:
        """Put an image into the window, after those have left for which there is no room beside it."""
        while self._images and (
            self._pixels + image.cells.size > self.capacity or image_id - self._oldest >= MAX_IMAGES
        ):
            self._drop(self._oldest)
        if not self._images:
            self._oldest = image_id
        while self._sizes[self._slot(image_id)]:
            self._lay_out(2 * len(self._ids))
        self._images[image_id] = image
        self._pixels += image.cells.size
        self._place(image_id, image)

    def _drop(self, image_id: int) -> None:
        slot = self._slot(image_id)
        self._pixels -= self._images.pop(image_id).cells.size
        self._sizes[slot] = 0
        self._kinds[slot] = 0
        self._addresses[slot] = 0
        self._oldest = next(iter(self._images), image_id + 1)

    def _lay_out(self, count: int) -> None:
        """Make the kernel's tables anew, with `count` slots."""
        roots = {image_id: self._roots[self._slot(image_id)] for image_id in self._images}
        self._ids = np.zeros(count, np.uint64)
        self._sizes = np.zeros(count, np.intp)
        self._kinds = np.zeros(count, np.uint8)
        self._roots = np.zeros(count, np.uint64)
        self._addresses: Any = np.zeros(count, np.intp) if lz_encode_kernels.COMPILED else [0] * count
        for image_id, image in self._images.items():
            self._place(image_id, image)
            self._roots[self._slot(image_id)] = roots[image_id]

    def _slot(self, image_id: int) -> int:
        return image_id & (len(self._ids) - 1)

    def _place(self, image_id: int, image: _Kept) -> None:
        slot = self._slot(image_id)
        self._ids[slot] = self._roots[slot] = image_id
        self._sizes[slot] = image.cells.size
        self._kinds[slot] = image.kind
        self._addresses[slot] = image.cells.ctypes.data if lz_encode_kernels.COMPILED else image.cells.data


def _saved_head(view: memoryview, max_capacity: int) -> tuple[int, int, int]:
    """Capacity, next id, and the number of images."""
    if len(view) < _SAVED.size:
        raise ProtocolError("a saved GLZ dictionary ends inside its header")
    version, capacity, next_id, count = _SAVED.unpack_from(view)
    if version != _SAVED_VERSION or not 0 < capacity <= max_capacity or count > MAX_IMAGES:
        raise ProtocolError(f"a saved GLZ dictionary of version {version} with {capacity} pixels is not usable")
    return capacity, next_id, count


def _passes(kind: LzType) -> tuple[int, ...]:
    if kind == LzType.RGBA:
        return RGB32, ALPHA
    return (RGB16,) if kind == LzType.RGB16 else (RGB32,)
