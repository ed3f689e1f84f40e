"""Waiting, in bounds, for what cannot be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool], what: str = "", timeout: float = 20.0, *, interval: float = 0.005
) -> None:
    """Wait until `condition` holds, asked each `interval` seconds; AssertionError says `what` did not happen."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(interval)
    except TimeoutError:
        raise AssertionError(f"not within {timeout:g} s: {what or condition}") from None


async def until_async(condition: Callable[[], Awaitable[bool]], what: str = "", timeout: float = 20.0) -> None:
    """The same for a condition that has to be asked of somebody else."""
    try:
        async with asyncio.timeout(timeout):
            while not await condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {timeout:g} s: {what or condition}") from None
