"""Compiles the hot modules with Cython where that is possible.

The modules named in COMPILED are plain typed Python and run as they are. Without a C compiler or without Cython the
build still succeeds and the package uses them uncompiled; `spicehop.codecs.is_compiled()` says which it is, and
`spicehop demo` says it when they are not. Set SPICEHOP_PURE=1 at build time to leave compilation out on purpose.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

COMPILED = (
    "src/spicehop/codecs/lz_encode_kernels.py",
    "src/spicehop/codecs/lz_kernels.py",
    "src/spicehop/codecs/palette_kernels.py",
    "src/spicehop/codecs/quic_encode_kernels.py",
    "src/spicehop/codecs/quic_kernels.py",
    "src/spicehop/painting/digest_kernels.py",
)

DIRECTIVES = {
    "language_level": 3,
    # Bounds are each module's own affair: it checks them per run, or leaves Cython's boundscheck on.
    "cdivision": True,
    "initializedcheck": False,
}


def has_compiler() -> bool:
    """Whether modules can be compiled here. Tried in vain, each of them would warn in several lines."""
    if os.name != "posix":
        return True
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    return shutil.which(words[0]) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def extensions() -> list[Extension]:
    """The extension modules to build: none when compiling is unwanted, or impossible."""
    if os.environ.get("SPICEHOP_PURE") or not has_compiler():
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        print("spicehop: Cython is missing, the codecs stay uncompiled", file=sys.stderr)
        return []
    unix = os.name == "posix"
    modules = [
        Extension(
            path.removeprefix("src/").removesuffix(".py").replace("/", "."),
            [path],
            extra_compile_args=["-O2", "-g0"] if unix else [],
            extra_link_args=["-s"] if sys.platform.startswith("linux") else [],
        )
        for path in COMPILED
        if os.path.exists(path)
    ]
    built: list[Extension] = cythonize(modules, compiler_directives=DIRECTIVES, build_dir="build/cython", quiet=True)
    for extension in built:
        extension.optional = True  # given to the constructor it is lost in cythonize
    return built


setup(ext_modules=extensions())
