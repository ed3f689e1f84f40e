"""screendump: a picture of a display in a file, as PPM or PNG."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from spicehop.errors import OperationError
from spicehop.guests.interface import Pixels

FORMATS = ("png", "ppm")


def save_picture(pixels: Pixels, path: Path, kind: str) -> None:
    """Write pixels in the order B, G, R, X to a file, one of `FORMATS`; `OperationError` when it cannot be written."""
    rgb = pixels[:, :, 2::-1].copy()
    try:
        with open(path, "wb", opener=_open_at_once) as file:
            if kind == "ppm":
                file.write(b"P6\n%d %d\n255\n" % (rgb.shape[1], rgb.shape[0]))
                file.write(rgb.data)
            else:
                Image.fromarray(rgb).save(file, "PNG", compress_level=1)
    except OSError as error:
        raise OperationError(f"failed to open file '{path}': {error.strerror or error}") from None
    except ValueError:  # a NUL or half a surrogate
        raise OperationError("the file name is none") from None


def _open_at_once(name: str, flags: int) -> int:
    """A pipe that nobody reads is an error, and no reason to wait."""
    return os.open(name, flags | os.O_NONBLOCK, 0o666)
