"""What keeps a session busy while it migrates: a typist, a port's stream, and an eye on the screen."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from spicehop.client.ports import Port
from spicehop.client.session import Session
from spicehop.demo.keys import TYPED_CODES, KeyPlan, SentKey
from spicehop.demo.payload import numbered_bytes
from spicehop.demo.stamp import read_stamp
from spicehop.migration.commands import MessageReceived, SessionEvent
from spicehop.raster.results import Damage
from spicehop.wire import display, inputs
from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import Message

INPUTS = (ChannelType.INPUTS, 0)
PORT_TICK = 0.02
"""Seconds between writes to the port."""
ECHO_WINDOW = 256 * 1024
"""Bytes that may be on their way to the guest and back."""


@dataclass(slots=True)
class _Written:
    code: int
    pressed_at: float = 0.0
    pressed_to: str = ""
    released_at: float = 0.0
    released_to: str = ""


class Typist:
    """Types a numbered sequence of keys and notes when each was written, and to which server."""

    def __init__(self, session: Session, *, keys_per_second: float = 50.0) -> None:
        self._session = session
        self._period = 1.0 / keys_per_second
        self._plan = KeyPlan()
        self._keys: list[_Written] = []
        self._pressed: dict[int, _Written] = {}
        self._stop = False
        session.on_input_written(self._written)

    @property
    def sent(self) -> tuple[SentKey, ...]:
        """The keys typed so far that have been written."""
        return tuple(
            SentKey(key.code, key.pressed_at, key.pressed_to, key.released_at, key.released_to)
            for key in self._keys
            if key.pressed_at
        )

    async def run(self) -> None:
        """Type until `stop`; each key is down for half of its time."""
        begun = time.monotonic()
        while not self._stop:
            code = self._plan[len(self._keys)]
            self._keys.append(_Written(code))
            self._session.keyboard.down(code)
            await asyncio.sleep(self._period / 2)
            self._session.keyboard.up(code)
            due = begun + len(self._keys) * self._period
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """Type no further; the key that is down is released first."""
        self._stop = True

    def _written(self, message: Message, now: float) -> None:
        link = self._session.core.current(INPUTS)
        server = str(link.address) if link is not None else ""
        if isinstance(message, inputs.KeyDown) and message.code in TYPED_CODES:
            key = next((key for key in self._keys[-64:] if key.code == message.code and not key.pressed_at), None)
            if key is not None:  # else it is a held key that the target is told again
                key.pressed_at, key.pressed_to = now, server
                self._pressed[key.code] = key
        elif isinstance(message, inputs.KeyUp):
            released = self._pressed.pop(message.code & 0x7F, None)
            if released is not None:
                released.released_at, released.released_to = now, server


class PortStream:
    """Writes numbered bytes to a port at a steady rate and collects what the guest echoes."""

    def __init__(self, port: Port, *, bytes_per_second: int = 65536) -> None:
        self._port = port
        self._tick = max(16, int(bytes_per_second * PORT_TICK) // 16 * 16)
        self._stop = False
        self.sent = 0
        self.echoed = bytearray()
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Write until `stop`."""
        due = time.monotonic()
        while not self._stop:
            if self.sent - len(self.echoed) < ECHO_WINDOW:
                self._port.write(numbered_bytes(self.sent, self._tick))
                self.sent += self._tick
            due = max(due + PORT_TICK, time.monotonic() - PORT_TICK)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def collect(self) -> None:
        """Read the echo until the session ends."""
        while data := await self._port.read():
            self.echoed += data
            self._came.set()

    def stop(self) -> None:
        """Write no more."""
        self._stop = True

    async def drained(self, timeout: float) -> bool:
        """Wait until everything written has come back; False when it has not by then."""
        try:
            async with asyncio.timeout(timeout):
                while len(self.echoed) < self.sent:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of the guest as it became visible at the client."""

    frame: int
    at: float


class FrameWatch:
    """Reads the frame number off the screen whenever it changes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.seen: list[Seen] = []
        session.picture.observers.append(self._changed)

    def _changed(self, display: int, damage: Damage) -> None:
        primary = self._session.picture.canvas(display).primary
        if primary is None or damage.surface_id != primary.surface_id:
            return
        frame = read_stamp(primary.pixels)
        if frame is not None and (not self.seen or self.seen[-1].frame != frame):
            self.seen.append(Seen(frame, time.monotonic()))

    def blackout(self, switched: float) -> float | None:
        """Seconds between the last frame before `switched` and the first new one after it; None when none came."""
        before = [seen for seen in self.seen if seen.at <= switched]
        after = [seen for seen in self.seen if seen.at > switched]
        if not before or not after:
            return None
        return after[0].at - before[-1].at


class VideoWatch:
    """Counts the frames that come as video."""

    def __init__(self, session: Session) -> None:
        self.frames = 0
        session.listeners.append(self._happened)

    def _happened(self, event: SessionEvent) -> None:
        if isinstance(event, MessageReceived):
            self.frames += isinstance(event.message, (display.StreamData, display.StreamDataSized))
