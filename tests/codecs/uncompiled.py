"""Run pytest with the hot modules as plain Python, whatever is built: `python uncompiled.py PATH... [options]`."""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest


class PlainModules(MetaPathFinder):
    """Finds modules of spicehop.codecs by their .py file even when an extension module lies beside it."""

    def find_spec(self, fullname, path, target=None):
        package, _, name = fullname.rpartition(".")
        if package != "spicehop.codecs" or path is None:
            return None
        for folder in path:
            file = Path(folder) / f"{name}.py"
            if file.exists():
                return spec_from_file_location(fullname, file)
        return PathFinder.find_spec(fullname, path, target)


if __name__ == "__main__":
    os.environ["SPICEHOP_UNCOMPILED"] = "1"
    sys.meta_path.insert(0, PlainModules())
    from spicehop.codecs import HOT_MODULES, is_compiled

    assert not any(is_compiled(name) for name in HOT_MODULES)
    sys.exit(pytest.main(sys.argv[1:]))
