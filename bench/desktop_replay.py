"""QEMU with libspice-server, showing pixels that are made outside of it: see `replay/replay.c`.

The machine has Debian's kernel, one program and a standard VGA. The pixels come through memory that it shares with this
process, so that QEMU's processor time is that of copying them to the screen, which it spends without a client too, and
of showing the screen to clients.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.desktop_script import HEIGHT, WIDTH
from spicehop.demo.guest_image import COMPILE, build_guest
from spicehop.demo.qemu import free_port
from spicehop.errors import OperationError
from spicehop.guests.interface import CopiedFromSurface, DisplayChange, Drawn, Moved, Pixels
from spicehop.raster.region import Box

_SOURCE = Path(__file__).with_name("replay") / "replay.c"
_SLOT, _SLOTS, _FIRST_SLOT, _SHARED = 9 << 20, 7, 4096, 64 << 20
_SCREEN = Box(0, 0, WIDTH, HEIGHT)
_COUNTS = struct.Struct("<QQ")


def changed_boxes(changes: Sequence[DisplayChange]) -> list[Box]:
    """Where the screen may be other than before."""
    found: list[Box] = []
    for change in changes:
        match change:
            case Drawn(0, boxes):
                found += boxes
            case Moved(0, source, x, y) | CopiedFromSurface(_, source, x, y):
                found.append(Box(x, y, x + source.width, y + source.height))
            case _:
                pass
    return [box for box in dict.fromkeys(box.intersect(_SCREEN) for box in found) if not box.is_empty]


def _build(folder: Path) -> None:
    """The initial file system, `initrd`: the program and nothing else."""
    made = subprocess.run([*COMPILE, "-o", str(folder / "init"), str(_SOURCE)], capture_output=True, check=False)
    if made.returncode:
        raise OperationError(f"the replaying guest cannot be built: {made.stderr.decode(errors='replace')}")
    pack = ("cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet")
    packed = subprocess.run(pack, cwd=folder, input=b"init\n", capture_output=True, check=True)
    (folder / "initrd").write_bytes(packed.stdout)


class Replay:
    """The machine; enter it to start it, leave it to end it."""

    def __init__(self, folder: Path, spice: str) -> None:
        self._folder = folder
        self._spice = spice
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()

    async def __aenter__(self) -> Self:
        folder = self._folder
        folder.mkdir(parents=True)
        shared = folder / "shared"
        with shared.open("wb") as file:
            file.truncate(_SHARED)
        with shared.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SHARED)
        _build(folder)
        command = [
            *("qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-cpu", "qemu64", "-m", "256", "-nodefaults"),
            *("-kernel", str(build_guest().kernel), "-initrd", str(folder / "initrd")),
            *("-append", "quiet console=ttyS0", "-serial", f"file:{folder / 'replay.serial'}"),
            *("-device", "VGA,addr=2,vgamem_mb=16"),
            *("-object", f"memory-backend-file,id=shared,share=on,size={_SHARED},mem-path={shared}"),
            *("-device", "ivshmem-plain,memdev=shared,addr=4"),
            *("-spice", f"addr=127.0.0.1,port={self.port},disable-ticketing=on{self._spice}"),
        ]
        with (folder / "replay.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *command), stdin=asyncio.subprocess.DEVNULL, stderr=log
            )
        try:
            await self._ready()
        except BaseException:
            await self._end()
            raise
        return self

    async def _ready(self) -> None:
        serial = self._folder / "replay.serial"
        for _ in range(600):
            if serial.exists() and "READY" in serial.read_text(errors="replace"):
                return
            assert self._process is not None
            if self._process.returncode is not None:
                break
            await asyncio.sleep(0.1)
        raise OperationError(f"the replaying guest did not start: {(self._folder / 'replay.log').read_text()}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._memory.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """QEMU's process."""
        assert self._process is not None
        return self._process.pid

    async def show_all(self, pixels: Pixels) -> None:
        """Let the machine show all of a picture."""
        await self.show(pixels, [_SCREEN])

    async def show(self, pixels: Pixels, boxes: Sequence[Box]) -> None:
        """Let the machine show these parts; waits while it has too many frames before it."""
        async with asyncio.timeout(30):
            while True:
                written, shown = _COUNTS.unpack_from(self._memory)
                if written - shown < _SLOTS - 1:
                    break
                await asyncio.sleep(0.002)
        boxes = list(boxes)
        if sum(16 + 4 * box.width * box.height for box in boxes) + 4 > _SLOT:
            boxes = [_SCREEN]
        place = _FIRST_SLOT + written % _SLOTS * _SLOT
        struct.pack_into("<I", self._memory, place, len(boxes))
        place += 4
        for box in boxes:
            struct.pack_into("<4I", self._memory, place, box.left, box.top, box.width, box.height)
            data = pixels[box.area].tobytes()
            self._memory[place + 16 : place + 16 + len(data)] = data
            place += 16 + len(data)
        struct.pack_into("<Q", self._memory, 0, written + 1)

    async def caught_up(self) -> None:
        """Wait until everything is on the machine's screen."""
        async with asyncio.timeout(30):
            while True:
                written, shown = _COUNTS.unpack_from(self._memory)
                if written == shown:
                    return
                await asyncio.sleep(0.01)


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, user and system, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
