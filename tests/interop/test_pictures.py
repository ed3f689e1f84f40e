"""The client's picture of a real guest, judged by QEMU's `screendump` pixel for pixel."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qemu.qmp import QMPClient

from spicehop.client import Session, connect
from spicehop.demo.qemu import HOST, QemuOptions, QemuProcess
from spicehop.demo.serial import read_serial
from spicehop.demo.stamp import read_stamp
from spicehop.errors import ProtocolError
from spicehop.migration.commands import ChannelOpened, MessageReceived, SessionEvent
from spicehop.wire.constants import ChannelType
from spicehop.wire.display import DrawCopy
from spicehop.wire.display_constants import Compression, ImageType

pytestmark = pytest.mark.peers
StartQemu = Callable[[QemuOptions], Awaitable[QemuProcess]]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
LIMIT = 10.0
DISPLAY = (ChannelType.DISPLAY, 0)

PREFERENCES = {
    Compression.OFF: ImageType.BITMAP,
    Compression.QUIC: ImageType.QUIC,
    Compression.GLZ: ImageType.GLZ_RGB,
    Compression.LZ: ImageType.LZ_RGB,
    Compression.LZ4: ImageType.LZ4,
}
"""What the client asks for, and what it then gets most of."""
# QXL gives LZ and GLZ only what is as wide as the screen; std VGA also the tile and the text.
DRAWINGS = {"qxl-vga": {"band": 48}, "VGA": {"tile": 96}, "virtio-vga": {"tile": 96}}


@asynccontextmanager
async def monitor(qemu: QemuProcess) -> AsyncIterator[QMPClient]:
    client = QMPClient("pictures")
    await client.connect(str(qemu.qmp_paths[-1]))
    try:
        yield client
    finally:
        await client.disconnect()


async def screendump(qmp: QMPClient, path: Path) -> Pixels:
    await qmp.execute("screendump", {"filename": str(path), "format": "png"})
    return np.asarray(Image.open(path).convert("RGB"))


async def press_freeze(session: Session, vm: QemuProcess) -> None:
    """F7: the guest's drawing stops, or goes on."""
    before = read_serial([vm.serial_path]).is_frozen
    await session.keyboard.press("F7")
    await vm.wait_for(lambda: read_serial([vm.serial_path]).is_frozen != before, "take F7", LIMIT)


async def assert_equal_pictures(session: Session, vm: QemuProcess, folder: Path) -> None:
    """The picture becomes what `screendump` shows; asks again while the last drawing may be on its way."""
    deadline = time.monotonic() + LIMIT
    async with monitor(vm) as qmp:
        while True:
            expected, shown = await screendump(qmp, folder / "screen.png"), session.screenshot().rgb()
            same_shape = shown.shape == expected.shape
            wrong = np.count_nonzero((shown != expected).any(axis=2)) if same_shape else -1
            if wrong == 0 and read_stamp(shown) == last_frame(vm):
                return
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
    session.screenshot().save(folder / "shown.png")
    raise AssertionError(f"{wrong} pixels differ: shown {shown.shape}, screendump {expected.shape}, see {folder}")


def last_frame(vm: QemuProcess) -> int:
    """The last frame that the guest drew before it stopped."""
    return read_serial([vm.serial_path]).of("SCREEN", "frozen")[-1].number("frame") - 1


def count_images(session: Session) -> Counter[int]:
    """Image types of what the session gets from now on."""
    kinds: Counter[int] = Counter()

    def listener(event: SessionEvent) -> None:
        if isinstance(event, MessageReceived) and isinstance(event.message, DrawCopy):
            source = event.message.source
            if source is not None:
                kinds[source.descriptor.type] += 1

    session.listeners.append(listener)
    return kinds


async def watch(session: Session, changes: int) -> None:
    """Let the guest draw for a while."""
    for _ in range(changes):
        await session.wait_for_change(LIMIT)


@pytest.mark.parametrize("vga", ["qxl-vga", "VGA"])
async def test_pictures_by_every_compression(start_qemu: StartQemu, tmp_path: Path, vga: str) -> None:
    vm = await start_qemu(QemuOptions(vga=vga, guest_options=DRAWINGS[vga]))
    await vm.wait_ready()
    for preference, image_type in PREFERENCES.items():
        async with connect(f"spice://{HOST}:{vm.spice_port}", preferred_compression=preference) as session:
            images = count_images(session)
            await watch(session, 15)
            await press_freeze(session, vm)
            await assert_equal_pictures(session, vm, tmp_path)
            assert images.most_common(1)[0][0] == image_type
            assert session.picture.not_drawn == {}
            assert session.lost_channels == {}
            await press_freeze(session, vm)


def fail_display_once(session: Session, after: int) -> Callable[[], bool]:
    """Let the display fail after so many pictures, as bytes that cannot be decoded do; says whether it is back."""
    drawn, reopened = 0, False

    def listener(event: SessionEvent) -> None:
        nonlocal drawn, reopened
        if isinstance(event, MessageReceived) and isinstance(event.message, DrawCopy):
            drawn += 1
            if drawn == after:
                session.core.channel_failed(event.key, ProtocolError("made to fail by the test"), time.monotonic())
        elif isinstance(event, ChannelOpened) and event.key == DISPLAY:
            reopened = True

    session.listeners.append(listener)
    return lambda: reopened


@pytest.mark.parametrize("vga", ["qxl-vga", "VGA"])
async def test_a_lost_display_comes_back_with_its_picture(start_qemu: StartQemu, tmp_path: Path, vga: str) -> None:
    """The server begins its GLZ dictionary and its caches anew, in the middle of a session."""
    vm = await start_qemu(QemuOptions(vga=vga, guest_options=DRAWINGS[vga]))
    await vm.wait_ready()
    async with connect(f"spice://{HOST}:{vm.spice_port}", preferred_compression=Compression.GLZ) as session:
        for _ in range(2):
            has_come_back = fail_display_once(session, after=10)
            async with asyncio.timeout(LIMIT):
                while not has_come_back():
                    await session.wait_for_change(LIMIT)
            images = count_images(session)
            async with asyncio.timeout(LIMIT):
                while images[ImageType.GLZ_RGB] < 10:
                    await session.wait_for_change(LIMIT)
        await press_freeze(session, vm)
        await assert_equal_pictures(session, vm, tmp_path)
        assert session.lost_channels == {}


@pytest.mark.parametrize("vga", ["qxl-vga", "virtio-vga"])
async def test_the_picture_follows_the_guest_s_mode(start_qemu: StartQemu, tmp_path: Path, vga: str) -> None:
    """QXL-KMS keeps its surface and shows a part of it; virtio has a new surface for each mode."""
    vm = await start_qemu(QemuOptions(vga=vga))
    await vm.wait_ready()
    async with connect(f"spice://{HOST}:{vm.spice_port}") as session:
        for width, height in ((800, 600), (640, 480), (1024, 768)):
            session.resize(width, height)
            async with asyncio.timeout(LIMIT):
                while session.screenshot().pixels.shape[:2] != (height, width):
                    await session.wait_for_change(LIMIT)
            await press_freeze(session, vm)
            await assert_equal_pictures(session, vm, tmp_path)
            await press_freeze(session, vm)
