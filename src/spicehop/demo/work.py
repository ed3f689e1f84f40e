"""What both demos do in a session: type, stream, watch, press the guest's function keys, and compare pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from spicehop.client.session import Session
from spicehop.conductor.qmp import QmpAddress, QmpPeer
from spicehop.demo.keys import KEY_F7
from spicehop.demo.load import FrameWatch, PortStream, Typist
from spicehop.errors import OperationError

Progress = Callable[[str], None]
"""Is told in a sentence what the demo does now."""

SETTLE_SECONDS = 1.5
"""Time for the guest to freeze its drawing, and for the picture to be whole."""
COMPARISONS = 10
"""Attempts at a picture that is the same on both sides; the guest may still be drawing its last frame."""
LAST_BYTES_SECONDS = 10.0


class Work:
    """A typist, a port's stream and an eye on the screen, at work while its `async with` lasts.

    At the end of the block the typing stops and what is on its way comes back.
    """

    def __init__(
        self, session: Session, port: str, *, keys_per_second: float, port_bytes_per_second: int, progress: Progress
    ) -> None:
        self.typist = Typist(session, keys_per_second=keys_per_second)
        self.frames = FrameWatch(session)
        self._session = session
        self._port = port
        self._port_rate = port_bytes_per_second
        self._progress = progress
        self._stream: PortStream | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._collecting: asyncio.Task[None] | None = None

    @property
    def stream(self) -> PortStream:
        """The port's stream, once the work has begun."""
        assert self._stream is not None
        return self._stream

    async def __aenter__(self) -> Self:
        self._stream = PortStream(await self._session.port(self._port), bytes_per_second=self._port_rate)
        self._collecting = asyncio.create_task(self._stream.collect())
        self._tasks = [asyncio.create_task(self.typist.run()), asyncio.create_task(self._stream.run())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.typist.stop()
        self.stream.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is None:
            self._progress("the last bytes come back")
            await self.stream.drained(LAST_BYTES_SECONDS)
        assert self._collecting is not None
        self._collecting.cancel()
        await asyncio.gather(self._collecting, return_exceptions=True)

    def check(self) -> None:
        """Raise `OperationError` when the work could not go on."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise OperationError(f"the session did not last: {task.exception()}")


async def freeze_when_due(session: Session, number: int, moves: int, *, frozen: bool) -> bool:
    """The guest's drawing is frozen for the second half of the moves, before move `number`; whether it is now."""
    if frozen or number <= (moves + 1) // 2:
        return frozen
    press(session, KEY_F7)
    await asyncio.sleep(SETTLE_SECONDS)
    return True


def press(session: Session, scancode: int) -> None:
    """Press and release one of the guest's function keys."""
    session.keyboard.down(scancode)
    session.keyboard.up(scancode)


async def compare(session: Session, monitor: str, pictures: Path) -> bool:
    """Whether client and server show the same, pixel for pixel, by the server's own screendump; the guest is frozen.

    `monitor` is the server's QMP socket. The client's picture is kept as `pictures` with the ending .png, or, when it
    differs, with -differs.png, beside what the server showed, .ppm.
    """

    async def shown() -> npt.NDArray[np.uint8]:
        return session.screenshot().rgb()

    await asyncio.sleep(SETTLE_SECONDS)
    return await pixels_that_differ(monitor, pictures, shown) == 0


async def pixels_that_differ(
    monitor: str, pictures: Path, shown: Callable[[], Awaitable[npt.NDArray[np.uint8]]]
) -> int:
    """How many pixels of what a client has `shown`, `(height, width, 3)`, are not the server's; as of `compare`."""
    from PIL import Image

    dump = pictures.with_suffix(".ppm").resolve()
    peer = QmpPeer("server", QmpAddress.parse(monitor))
    await peer.connect()
    try:
        for _ in range(COMPARISONS):
            await peer.execute("screendump", {"filename": str(dump)})
            seen = await shown()
            with Image.open(dump) as picture:
                wanted = np.asarray(picture.convert("RGB"))
            if np.array_equal(wanted, seen):
                Image.fromarray(seen).save(pictures.with_suffix(".png"))
                dump.unlink()
                return 0
            await asyncio.sleep(0.3)
    finally:
        await peer.close()
    Image.fromarray(seen).save(pictures.with_name(f"{pictures.name}-differs.png"))
    if seen.shape != wanted.shape:
        return int(max(seen.size, wanted.size) // 3)
    return int((seen != wanted).any(axis=2).sum())
