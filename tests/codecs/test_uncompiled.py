"""The cases that pin the hot modules' behaviour hold for the same modules uncompiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif("SPICEHOP_UNCOMPILED" in os.environ, reason="this is the uncompiled run")
@pytest.mark.parametrize("module", ["lz", "lz_encoding", "glz", "glz_encoding", "quic", "quic_encoding", "encoding"])
def test_core_cases_hold_uncompiled(module):
    run = subprocess.run(
        [sys.executable, HERE / "uncompiled.py", HERE / f"test_{module}.py", "-k", "core or bad_bytes"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
