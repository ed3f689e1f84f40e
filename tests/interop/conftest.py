"""Makes the helpers in `peers` importable by the tests of this folder, and starts the stock client for them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).with_name("peers")))

from gtk_driver import GtkClient

StartGtkClient = Callable[..., Awaitable[GtkClient]]


@pytest.fixture
async def start_gtk_client(tmp_path: Path) -> AsyncIterator[StartGtkClient]:
    """Starts stock clients, `await start_gtk_client(port, ...)` as of GtkClient; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(port: int, **options: object) -> GtkClient:
            client = GtkClient(port, tmp_path, **options)  # type: ignore[arg-type]
            return await stack.enter_async_context(client)

        yield start
