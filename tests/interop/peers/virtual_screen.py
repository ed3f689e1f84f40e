"""An X server without a monitor, what its screen shows, and programs that run on it."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
"""`(height, width, 3)`."""


class VirtualScreen:
    """Xvfb; enter it to start it, leave it to end it and every program that was started on it."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._folder = folder
        self._size = f"{width}x{height}x24"
        self._display = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        readable, writable = os.pipe()
        try:
            options = ("-screen", "0", self._size, "-fbdir", str(self._folder), "-nolisten", "tcp", "-noreset")
            await self.start("Xvfb", "-displayfd", str(writable), *options, pass_fds=(writable,))
            os.close(writable)
            writable = -1
            number = b""
            async with asyncio.timeout(20):
                while not number.endswith(b"\n"):  # it ends when it cannot write all of the line
                    piece = await asyncio.to_thread(os.read, readable, 16)
                    assert piece, f"Xvfb did not start: {self.log('Xvfb')}"
                    number += piece
            self._display = f":{number.decode().strip()}"
        except BaseException:
            await self._stack.aclose()
            raise
        finally:
            os.close(readable)
            if writable >= 0:
                os.close(writable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def environment(self) -> dict[str, str]:
        """For programs on this screen; they keep their files in the folder."""
        home = str(self._folder)
        folders = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"), home)
        quiet = {"GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1", "GDK_BACKEND": "x11", "LC_ALL": "C.UTF-8"}
        return {**os.environ, **folders, **quiet, "DISPLAY": self._display, "G_DEBUG": "fatal-criticals"}

    async def start(
        self, *command: str, pass_fds: tuple[int, ...] = (), name: str | None = None
    ) -> asyncio.subprocess.Process:
        """Start a program; what it prints is in `log(name)`, and it ends with the screen."""
        with (self._folder / f"{name or command[0]}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                pass_fds=pass_fds,
            )
        self._stack.push_async_callback(end, process)
        return process

    def log(self, name: str) -> str:
        """What a program has printed."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    async def run(self, *command: str, given: bytes | None = None, timeout: float = 20.0) -> str:
        """Run a program to its end; returns what it printed."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self.environment,
        )
        try:
            async with asyncio.timeout(timeout):
                printed, _ = await process.communicate(given)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"{command[0]} did not end in {timeout:g} s") from None
        return printed.decode(errors="replace")

    async def window(self, title: str, timeout: float = 20.0) -> str:
        """Wait for a window with these words in its title; returns its id."""
        async with asyncio.timeout(timeout):
            while True:
                found = (await self.run("xdotool", "search", "--onlyvisible", "--name", title)).split()
                if found:
                    return found[0]
                await asyncio.sleep(0.1)

    def picture(self) -> RGB:
        """What the screen shows now, from the file that Xvfb keeps it in (an X window dump)."""
        data = (self._folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack_from(">25I", data)
        size, width, height, stride, colours = header[0], header[4], header[5], header[12], header[19]
        rows = np.frombuffer(data, np.uint8, stride * height, size + 12 * colours).reshape(height, stride // 4, 4)
        return np.ascontiguousarray(rows[:, :width, 2::-1])

    def find(self, wanted: RGB) -> tuple[int, int] | None:
        """Where on the screen exactly this picture is shown, as x and y; None when it is not."""
        shown = self.picture()
        return next(_places(shown, wanted), None)


def _places(shown: RGB, wanted: RGB) -> Iterator[tuple[int, int]]:
    height, width = wanted.shape[:2]
    middle = height // 2
    for y in range(shown.shape[0] - height + 1):
        for x in range(shown.shape[1] - width + 1):
            if np.array_equal(shown[y + middle, x : x + 32], wanted[middle, :32]) and np.array_equal(
                shown[y : y + height, x : x + width], wanted
            ):
                yield x, y


async def end(process: asyncio.subprocess.Process) -> None:
    """End a program, gently first."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
