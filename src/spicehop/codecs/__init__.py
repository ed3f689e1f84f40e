"""Image codecs, each behind one small interface: bytes in, an array of pixels out.

Colour images are numpy uint8 arrays of shape (height, width, 4) in memory order B, G, R, X or A, rows from the top;
alpha-only images are of shape (height, width). Decoders raise only `ProtocolError` on bad bytes and check the pixel
count against a limit before they allocate.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES

if sys.byteorder != "little":
    raise ImportError("the image codecs handle pixels as little-endian words and need a machine of that byte order")

#: The modules that the build compiles when it can (`COMPILED` in setup.py lists their files).
HOT_MODULES = ("lz_encode_kernels", "lz_kernels", "palette_kernels", "quic_encode_kernels", "quic_kernels")


def is_compiled(module: str | None = None) -> bool:
    """Whether the hot modules run compiled: one of HOT_MODULES, or all of them when none is named."""
    names = HOT_MODULES if module is None else (module,)
    return all(
        str(getattr(import_module(f"{__name__}.{name}"), "__file__", "")).endswith(tuple(EXTENSION_SUFFIXES))
        for name in names
    )
