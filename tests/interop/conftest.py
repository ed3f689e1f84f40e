"""Makes the helpers in `peers` importable by the tests of this folder, and starts stock clients and labs for them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).with_name("peers")))

from migration_lab import Lab

from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.guest_image import GuestImage

StartGtkClient = Callable[..., Awaitable[GtkClient]]
Report = Callable[[str, object], None]


@pytest.fixture
async def lab(guest_image: GuestImage, tmp_path: Path) -> AsyncIterator[Lab]:
    """A guest that moves from QEMU to QEMU under a client of ours; all of it ends with the test."""
    async with Lab(guest_image, tmp_path) as lab:
        yield lab


@pytest.fixture
def report(record_property: Report) -> Report:
    """`report(name, figure)` shows a figure with `-s` and keeps it in the JUnit report."""

    def show(name: str, figure: object) -> None:
        print(f"{name}: {figure}")
        record_property(name, str(figure))  # a worker of pytest-xdist hands on nothing but plain values

    return show


@pytest.fixture
async def start_gtk_client(tmp_path: Path) -> AsyncIterator[StartGtkClient]:
    """Starts stock clients, `await start_gtk_client(port, ...)` as of GtkClient; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(port: int, **options: object) -> GtkClient:
            client = GtkClient(port, tmp_path, **options)  # type: ignore[arg-type]
            return await stack.enter_async_context(client)

        yield start
