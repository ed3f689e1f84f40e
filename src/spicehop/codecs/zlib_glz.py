"""ZLIB_GLZ images: a GLZ image inside a zlib stream (dossier E.4)."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from spicehop.codecs.glz import GlzWindow
from spicehop.errors import ProtocolError

MAX_GLZ_SIZE = 2**28
#: A shorter GLZ image is not worth a stream of its own.
LEAST_GLZ_SIZE = 100


def deflate(data: bytes, level: int = zlib.Z_DEFAULT_COMPRESSION) -> bytes | None:
    """Wrap a GLZ image, or None where that does not make it shorter: it goes as it is then."""
    if len(data) < LEAST_GLZ_SIZE:
        return None
    stream = zlib.compress(data, level)
    return stream if len(stream) < len(data) else None


def inflate(data: bytes | memoryview, glz_size: int, max_size: int = MAX_GLZ_SIZE) -> bytes:
    """Inflate exactly `glz_size` bytes, the GLZ image; anything less or more is a `ProtocolError`."""
    if glz_size > max_size:
        raise ProtocolError(f"a ZLIB_GLZ image of {glz_size} bytes is over the limit of {max_size}")
    stream = zlib.decompressobj()
    try:
        # One byte more than agreed is enough to see that there is more, and makes zlib look for the stream's end.
        image = stream.decompress(data, glz_size + 1)
    except zlib.error as error:
        raise ProtocolError(f"a ZLIB_GLZ image is not a zlib stream: {error}") from None
    if len(image) != glz_size or not stream.eof or stream.unused_data:
        raise ProtocolError(f"a ZLIB_GLZ image does not inflate to the {glz_size} bytes it announces")
    return image


def decode(data: bytes | memoryview, glz_size: int, window: GlzWindow) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Inflate and decode one image; see `GlzWindow.decode` for the pixels and for `MissingImage`."""
    # No GLZ stream of the largest image is longer: four bytes a pixel and two control bytes for each 32 of them.
    return window.decode(inflate(data, glz_size, 64 + 5 * window.capacity))
