"""Helpers for tests of the asyncio client, and the rule that a session leaves nothing behind on the event loop."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]


@pytest.fixture
async def tidy() -> AsyncIterator[list[dict[str, Any]]]:
    """Fails a test that leaves a task pending or an exception unseen; yields what the loop's handler was told."""
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    before = asyncio.all_tasks()
    expected = len(told)
    yield told
    await asyncio.sleep(0.02)
    gc.collect(1)  # what a test made is young
    left = {task for task in asyncio.all_tasks() - before if not task.done()} - {asyncio.current_task()}
    assert left == set()
    assert told[expected:] == [context for context in told[expected:] if context.get("expected")]
