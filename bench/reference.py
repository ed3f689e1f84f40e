"""The reference's C codecs, built at bench time and called through ctypes.

`Reference.load()` fetches the Debian source of spice and spice-gtk (see `bench.debian_source`), builds the QUIC, LZ
and GLZ codecs at -O2 against the stub headers in `bench/shim`, and loads the result. Nothing of it is shipped: source
and library stay in the ignored folder `.cache/reference`.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.debian_source import DebianSource
from spicehop.errors import OperationError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "reference"
SHIM = Path(__file__).resolve().parent / "shim"

SPICE_VERSION = "0.15.1"
SPICE_GTK_VERSION = "0.42"

QUIC_GRAY, QUIC_RGB16, QUIC_RGB24, QUIC_RGB32, QUIC_RGBA = range(1, 6)
LZ_RGB16, LZ_RGB24, LZ_RGB32, LZ_RGBA, LZ_XXXA, LZ_A8 = range(6, 12)

#: Which files are copied to which folder of the build, where the stub headers stand in for their neighbours.
_COMMON = (
    *("quic.c", "quic.h", "quic_config.h", "quic_tmpl.c", "quic_family_tmpl.c"),
    *("lz.c", "lz.h", "lz_common.h", "lz_config.h", "lz_compress_tmpl.c", "lz_decompress_tmpl.c"),
    *("log.h", "macros.h", "verify.h"),
)
_SERVER = (
    *("glz-encoder.c", "glz-encoder.h", "glz-encoder-dict.c", "glz-encoder-dict.h", "glz-encoder-priv.h"),
    *("glz-encode.tmpl.c", "glz-encode-match.tmpl.c"),
)
_GTK = ("decode-glz.c", "decode-glz-tmpl.c")
_UNITS = ("common/quic.c", "common/lz.c", "server/glz-encoder.c", "server/glz-encoder-dict.c", "gtk/decode-glz.c")

_Array = np.ndarray[Any, np.dtype[np.uint8]]


class Reference:
    """The reference's encoders and decoders. Not thread-safe: their contexts are shared."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name in ("shim_glz_create", "shim_window_create"):
            getattr(self._library, name).restype = ctypes.c_void_p

    @classmethod
    def load(cls) -> Reference:
        """Build what is not built yet, and load it. Raises OperationError with one sentence when it cannot be had."""
        return cls(build())

    # --- QUIC

    def quic_encode(self, pixels: _Array, kind: int = QUIC_RGB32) -> bytes:
        """QUIC stream of rows of pixels as the type stores them: 1, 2, 3 or 4 bytes each, shape (height, width, n)."""
        height, width = pixels.shape[:2]
        out = np.empty(pixels.nbytes * 2 + 4096, np.uint8)
        size = self._library.shim_quic_encode(
            kind, width, height, _pointer(pixels), pixels.strides[0], _pointer(out), out.nbytes
        )
        return _taken(out, size, "QUIC")

    def quic_encoder(self, pixels: _Array, kind: int = QUIC_RGB32) -> Callable[[], None]:
        """A function that encodes `pixels` into room that is there already, the same each time."""
        height, width = pixels.shape[:2]
        out = np.empty(pixels.nbytes * 2 + 4096, np.uint8)
        arguments = (kind, width, height, _pointer(pixels), pixels.strides[0], _pointer(out), out.nbytes)
        return _Call(self._library.shim_quic_encode, arguments, (pixels, out))

    def quic_decoder(self, data: bytes, pixels: _Array, kind: int = QUIC_RGB32) -> Callable[[], None]:
        """A function that decodes `data` into `pixels`, the same each time."""
        source = np.frombuffer(data, np.uint8).copy()
        call = self._library.shim_quic_decode
        arguments = (_pointer(source), source.nbytes, kind, _pointer(pixels), pixels.strides[0])
        return _Call(call, arguments, (source, pixels))

    # --- LZ

    def lz_encode(
        self, pixels: _Array, kind: int = LZ_RGB32, *, width: int | None = None, top_down: bool = True
    ) -> bytes:
        """LZ stream of rows of pixels as the type stores them; `width` is needed for palette types."""
        height = pixels.shape[0]
        stride = pixels.strides[0]
        out = np.empty(pixels.nbytes * 2 + 4096, np.uint8)
        size = self._library.shim_lz_encode(
            kind, width or pixels.shape[1], height, int(top_down), _pointer(pixels), stride, _pointer(out), out.nbytes
        )
        return _taken(out, size, "LZ")

    def lz_encoder(self, pixels: _Array, kind: int = LZ_RGB32) -> Callable[[], None]:
        """A function that encodes `pixels` into room that is there already, the same each time."""
        height, width = pixels.shape[:2]
        out = np.empty(pixels.nbytes * 2 + 4096, np.uint8)
        arguments = (kind, width, height, 1, _pointer(pixels), pixels.strides[0], _pointer(out), out.nbytes)
        return _Call(self._library.shim_lz_encode, arguments, (pixels, out))

    def lz_decoder(
        self, data: bytes, pixels: _Array, kind: int = LZ_RGB32, palette: Sequence[int] = ()
    ) -> Callable[[], None]:
        """A function that decodes `data` into `pixels`, the same each time."""
        source = np.frombuffer(data, np.uint8).copy()
        colors = np.array(palette, np.uint32)
        arguments = (_pointer(source), source.nbytes, kind, _pointer(colors), len(palette), _pointer(pixels))
        return _Call(self._library.shim_lz_decode, arguments, (source, colors, pixels))

    # --- GLZ

    def glz_encoder(self, window_pixels: int) -> GlzEncoder:
        """An encoder with a dictionary of its own."""
        return GlzEncoder(self._library, window_pixels)

    def glz_window(self) -> GlzWindow:
        """spice-gtk's decoder with a window of its own."""
        return GlzWindow(self._library)


class _Call:
    """One prepared call; keeps the arrays alive that it points to."""

    def __init__(self, call: Any, arguments: tuple[Any, ...], kept: tuple[Any, ...]) -> None:
        self._call = call
        self._arguments = arguments
        self._kept = kept

    def __call__(self) -> None:
        if self._call(*self._arguments) < 0:
            raise OperationError("the reference's codec refused the data")


class GlzEncoder:
    """The reference's GLZ encoder; ids count up from 0. Close it when done."""

    def __init__(self, library: ctypes.CDLL, window_pixels: int) -> None:
        self._library = library
        self._handle = ctypes.c_void_p(library.shim_glz_create(window_pixels))
        self._kept: list[_Array] = []

    def encode(self, pixels: _Array, kind: int = LZ_RGB32, *, width: int | None = None, top_down: bool = True) -> bytes:
        """GLZ stream of the next image; refers to earlier ones where that is shorter."""
        kept = pixels.copy()
        self._kept.append(kept)  # the dictionary refers to the pixels themselves
        out = np.empty(pixels.nbytes * 2 + 4096, np.uint8)
        size = self._library.shim_glz_encode(
            self._handle, kind, width or pixels.shape[1], pixels.shape[0], int(top_down), _pointer(kept),
            kept.strides[0], _pointer(out), out.nbytes,
        )  # fmt: skip
        return _taken(out, size, "GLZ")

    def close(self) -> None:
        """Release the dictionary."""
        self._library.shim_glz_destroy(self._handle)
        self._kept.clear()


class GlzWindow:
    """spice-gtk's GLZ decoder. Images must come in order. Close it when done."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._handle = ctypes.c_void_p(library.shim_window_create())

    def decode(self, data: bytes, pixels: _Array | None = None, palette: Sequence[int] = ()) -> None:
        """Decode one image into the window, and into `pixels` (height, width, 4) too when given.

        The rows are in the order of the stream, so bottom-up images come out upside down.
        """
        colors = np.array(palette, np.uint32)
        target = None if pixels is None else _pointer(pixels)
        count = 0 if pixels is None else pixels.shape[0] * pixels.shape[1]
        if self._library.shim_glz_decode(self._handle, data, _pointer(colors), len(palette), target, count):
            raise OperationError("the reference's GLZ decoder refused the data")

    def close(self) -> None:
        """Release the window's images."""
        self._library.shim_window_destroy(self._handle)


def _pointer(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    if not array.flags.c_contiguous:
        raise ValueError("pixels must be contiguous")
    return ctypes.c_void_p(array.ctypes.data)


def _taken(out: _Array, size: int, name: str) -> bytes:
    if size < 0:
        raise OperationError(f"the reference's {name} encoder refused the pixels")
    return out[:size].tobytes()


def build() -> Path:
    """Build the shared object when it is older than the shim; returns its path."""
    library = CACHE / "reference.so"
    shim_files = [path for path in SHIM.rglob("*") if path.is_file()]
    if library.exists() and library.stat().st_mtime > max(path.stat().st_mtime for path in shim_files):
        return library
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise OperationError("there is no C compiler to build the reference's codecs with; install gcc and libc6-dev")
    sources = DebianSource(CACHE)
    spice = sources.unpacked("spice", SPICE_VERSION)
    gtk = sources.unpacked("spice-gtk", SPICE_GTK_VERSION)
    folder = CACHE / "build"
    shutil.rmtree(folder, ignore_errors=True)
    for names, origin, target in (
        (_COMMON, spice / "subprojects/spice-common/common", folder / "common"),
        (_SERVER, spice / "server", folder / "server"),
        (_GTK, gtk / "src", folder / "gtk"),
    ):
        target.mkdir(parents=True)
        for name in names:
            shutil.copy(origin / name, target / name)
    includes = [f"-I{path}" for path in (folder, folder / "server", SHIM / "include", SHIM / "include/gtk")]
    made = folder / "reference.so"
    command = [compiler, "-O2", "-w", "-fPIC", "-shared", "-pthread", *includes, "-o", str(made),
               *(str(folder / unit) for unit in _UNITS), str(SHIM / "reference.c")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        words = folder / "errors.txt"
        words.write_text(done.stderr, "utf-8")
        raise OperationError(f"the reference's codecs do not build; the compiler's words are in {words}")
    made.replace(library)
    return library
