"""Make the helpers of this folder, of `wire` and in `support` importable by its tests."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS / "support")]
sys.path.append(str(TESTS / "wire"))
