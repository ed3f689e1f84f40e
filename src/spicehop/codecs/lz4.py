"""LZ4 images (dossier E.5): two header bytes, then blocks of one LZ4 stream whose output is a tight raw bitmap."""

from __future__ import annotations

import lz4.block

from spicehop.codecs.bitmap import BITS_PER_PIXEL, MAX_PIXELS, Pixels, check_size
from spicehop.codecs.bitmap import decode as decode_bitmap
from spicehop.errors import ProtocolError
from spicehop.wire.display_constants import BitmapFormat

_WINDOW = 65536
_MAX_RATIO = 255
"""LZ4 never expands a block by more: one length byte adds at most 255 bytes."""

_FORMATS = (
    BitmapFormat.RGB_555,
    BitmapFormat.BGR_24,
    BitmapFormat.XRGB_32,
    BitmapFormat.ARGB_32,
)


def decode(data: bytes | memoryview, width: int, height: int, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Colour pixels of an LZ4 image; its size comes from the image descriptor."""
    check_size(width, height, max_pixels)
    if len(data) < 2:
        raise ProtocolError("an LZ4 image is too short for its header")
    if data[1] not in _FORMATS:
        raise ProtocolError(f"an LZ4 image cannot have bitmap format {data[1]}")
    kind = BitmapFormat(data[1])
    stride = width * BITS_PER_PIXEL[kind] // 8
    raw = _decompress(memoryview(data)[2:], stride * height)
    return decode_bitmap(
        raw,
        format=kind,
        width=width,
        height=height,
        stride=stride,
        top_down=bool(data[0]),
        max_pixels=max_pixels,
    )


def has_alpha(data: bytes | memoryview) -> bool:
    """Whether the image carries an alpha channel."""
    return len(data) > 1 and data[1] == BitmapFormat.ARGB_32


def _decompress(blocks: memoryview, size: int) -> bytes:
    """The output of all blocks, exactly `size` bytes."""
    output = bytearray()
    position = 0
    while position < len(blocks):
        if len(blocks) - position < 4:
            raise ProtocolError("an LZ4 image ends inside a block size")
        block_size = int.from_bytes(blocks[position : position + 4], "big")
        position += 4
        if not 0 < block_size <= len(blocks) - position:
            raise ProtocolError(f"an LZ4 block of {block_size} bytes, {len(blocks) - position} are left")
        if len(output) == size:
            raise ProtocolError("an LZ4 image goes on after its last pixel")
        limit = min(size - len(output), block_size * _MAX_RATIO)
        try:
            part = lz4.block.decompress(
                blocks[position : position + block_size],
                uncompressed_size=limit,
                dict=bytes(output[-_WINDOW:]),
            )
        except (lz4.block.LZ4BlockError, ValueError) as error:
            raise ProtocolError(f"a block of an LZ4 image does not decompress: {error}") from None
        if not part:
            raise ProtocolError("a block of an LZ4 image is empty")
        output += part
        position += block_size
    if len(output) != size:
        raise ProtocolError(f"an LZ4 image has {len(output)} bytes of pixels instead of {size}")
    return bytes(output)
