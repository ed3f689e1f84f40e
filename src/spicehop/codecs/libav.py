"""What this machine's PyAV can do. It is imported on first use: it takes memory, and without it there is MJPEG and raw
sound."""

from __future__ import annotations

from functools import cache
from typing import Literal


@cache
def codec_exists(name: str, mode: Literal["r", "w"]) -> bool:
    """Whether the libraries that PyAV brings have a decoder (r) or an encoder (w) of this name."""
    try:
        from av.codec.codec import Codec, UnknownCodecError
    except ImportError:
        return False
    try:
        Codec(name, mode)
    except UnknownCodecError:
        return False
    return True
