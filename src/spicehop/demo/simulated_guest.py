"""The guest of a simulated server: it logs keys and bytes, echoes its port, has an agent with a clipboard, and moves.

Its log is the judge of a simulation. What it is told while it stands still is gone, as with a real one, and counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

from spicehop.errors import OperationError, ProtocolError
from spicehop.guests.interface import Display, DisplayChange, Drawn, GuestDevices, Pointer, Resized
from spicehop.migration.guest_pages import MAX_STATE
from spicehop.raster.region import Box
from spicehop.simulator.texts import is_whole, numbered_text
from spicehop.wire import agent
from spicehop.wire.agent_constants import AgentCap, AgentPort, ClipboardType, Selection
from spicehop.wire.agent_stream import (
    AGENT_HEADER_SIZE,
    CHUNK_HEADER_SIZE,
    AgentHeader,
    ChunkHeader,
    encode_agent_message,
    encode_chunk,
    slices,
)

SIDE = 64
SQUARE = 16
DRAW_SECONDS = 0.2
CAPABILITIES = frozenset(
    {AgentCap.MONITORS_CONFIG, AgentCap.REPLY, AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION}
)
BACKLOG = 64 * 1024
"""Bytes that the guest writes to a device before it waits for the server to read them."""
_SIZE = struct.Struct("<I")
_NUMBERS = struct.Struct("<8Q")
_PARTS = 8


class EchoPort:
    """A port whose bytes come back."""

    name = "org.example.echo.0"

    def __init__(self, guest: SimulatedGuest) -> None:
        self.received = bytearray()
        self.unsent = bytearray()
        self._guest = guest

    @property
    def opened(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        if not self._guest.running or len(self.unsent) > BACKLOG:
            return 0
        self.received += data
        self.unsent += data
        return len(data)

    def read(self, limit: int) -> bytes:
        if not self._guest.running:
            return b""
        data = bytes(self.unsent[:limit])
        del self.unsent[:limit]
        return data

    def client_changed(self, *, present: bool) -> None:
        """It works all the same."""


class ClipboardAgent:
    """The agent: it asks for whatever is offered, offers texts of its own, and counts."""

    name = "agent"

    def __init__(self, guest: SimulatedGuest) -> None:
        self.grabs = 0
        """Offers of clients that have come."""
        self.texts = 0
        """Texts of clients that have come, empty answers left out."""
        self.empty = 0
        self.asked = 0
        """Texts that were asked for."""
        self.offers = 0
        self.given = 0
        self.torn = 0
        """Texts that were not what a client had offered."""
        self.fault = ""
        self.unsent = bytearray()
        self._guest = guest
        self._chunks = b""
        self._message = b""

    @property
    def opened(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        if not self._guest.running or len(self.unsent) > BACKLOG:
            return 0
        self._chunks += data
        try:
            self._read_chunks()
        except ProtocolError as error:
            self.fault = self.fault or str(error)
        return len(data)

    def read(self, limit: int) -> bytes:
        if not self._guest.running:
            return b""
        data = bytes(self.unsent[:limit])
        del self.unsent[:limit]
        return data

    def client_changed(self, *, present: bool) -> None:
        """Nothing of it depends on who is there."""

    def offer(self) -> None:
        """Take the clipboard."""
        self.offers += 1
        self._say(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (ClipboardType.UTF8_TEXT,)))

    def _read_chunks(self) -> None:
        while len(self._chunks) >= CHUNK_HEADER_SIZE:
            header = ChunkHeader.decode(self._chunks[:CHUNK_HEADER_SIZE])
            if header.port not in (AgentPort.CLIENT, AgentPort.SERVER) or header.size > 2048:
                raise ProtocolError(f"a chunk of port {header.port} with {header.size} bytes")
            end = CHUNK_HEADER_SIZE + header.size
            if len(self._chunks) < end:
                return
            piece, self._chunks = self._chunks[CHUNK_HEADER_SIZE:end], self._chunks[end:]
            if header.port == AgentPort.CLIENT:
                self._message += piece
                self._read_message()

    def _read_message(self) -> None:
        if len(self._message) < AGENT_HEADER_SIZE:
            return
        header = AgentHeader.decode(self._message[:AGENT_HEADER_SIZE])
        end = AGENT_HEADER_SIZE + header.size
        if header.protocol != 1 or len(self._message) > end:
            raise ProtocolError("a message's header is wrong, or it is longer than it says")
        if len(self._message) == end:
            body, self._message = self._message[AGENT_HEADER_SIZE:], b""
            self._handle(agent.decode(header.type, memoryview(body), capabilities=CAPABILITIES))

    def _handle(self, message: agent.AgentMessage) -> None:
        match message:
            case agent.AnnounceCapabilities(request=1):
                self._say(agent.AnnounceCapabilities.of(CAPABILITIES, request=False))
            case agent.ClipboardGrab():
                self.grabs += 1
                self.asked += 1
                self._say(agent.ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT))
            case agent.ClipboardRequest():
                self.given += 1
                text = numbered_text(self.given, self._guest.text_size)
                self._say(agent.Clipboard(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT, text))
            case agent.Clipboard():
                if message.type != ClipboardType.UTF8_TEXT:
                    self.empty += 1
                else:
                    self.texts += 1
                    self.torn += not is_whole(bytes(message.data))
            case _:
                pass

    def _say(self, message: agent.AgentMessage) -> None:
        for piece in slices(encode_agent_message(message, capabilities=CAPABILITIES)):
            self.unsent += encode_chunk(AgentPort.CLIENT, piece)

    def state(self) -> tuple[bytes, bytes, bytes, tuple[int, ...]]:
        """What lives on elsewhere."""
        numbers = (self.grabs, self.texts, self.empty, self.asked, self.offers, self.given)
        return self._chunks, self._message, bytes(self.unsent), numbers

    def restore(self, chunks: bytes, message: bytes, unsent: bytes, numbers: tuple[int, ...]) -> None:
        """Go on where that was taken."""
        self._chunks, self._message, self.unsent = chunks, message, bytearray(unsent)
        self.grabs, self.texts, self.empty, self.asked, self.offers, self.given = numbers


class SmallDisplay:
    """A few pixels, of which a square changes now and then."""

    def __init__(self) -> None:
        self.pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
        self.surfaces: dict[int, np.ndarray] = {}
        self._changes: list[DisplayChange] = [Resized(SIDE, SIDE)]

    def draw(self, number: int) -> None:
        """Fill a square."""
        per_row = SIDE // SQUARE
        left, top = number % per_row * SQUARE, number // per_row % per_row * SQUARE
        box = Box(left, top, left + SQUARE, top + SQUARE)
        self.pixels[box.area][..., :3] = number * 37 % 256
        self._changes.append(Drawn(0, (box,)))

    def show(self, pixels: bytes) -> None:
        """Show a picture as a whole."""
        self.pixels = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 4).copy()
        self._changes.append(Drawn(0, (Box(0, 0, SIDE, SIDE),)))

    def take_changes(self) -> Sequence[DisplayChange]:
        taken, self._changes = self._changes, []
        return taken


class SimulatedGuest:
    """A guest with a small screen, a keyboard, a port and an agent. `offer_seconds` is how often it offers a text,
    `changed` is called when it begins to run and when it stops.
    """

    def __init__(
        self,
        *,
        offer_seconds: float = 0.5,
        text_size: int = 3000,
        works_until: float = float("inf"),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.display = SmallDisplay()
        self.pressed: list[int] = []
        """Codes of the presses that it saw, in order; repeats of a held key are none."""
        self.held: dict[int, None] = {}
        self.dropped: list[int] = []
        """Codes of presses that came while it stood still."""
        self.port = EchoPort(self)
        self.agent = ClipboardAgent(self)
        self.devices = GuestDevices(agent=self.agent, ports=(self.port,))
        self.text_size = text_size
        self.pointer = Pointer()
        self.lock_keys = 0
        self.absolute_pointer = True
        self.sound_out = None
        self.sound_in = None
        self.running = False
        self.refuses = self.bloated = False
        """It cannot be loaded, or is too large to be sent."""
        self.loads = 0
        """How often it has come from elsewhere."""
        self.name = "simulated"
        self.uuid = bytes(16)
        self._offer_seconds = offer_seconds
        self._works_until = works_until
        self._changed = changed
        self._drawn = 0
        self._now = self._next_draw = self._next_offer = 0.0

    @property
    def displays(self) -> Sequence[Display]:
        return (self.display,)

    def run(self, now: float) -> None:
        self.running = True
        self._now = now
        self._next_draw, self._next_offer = now + DRAW_SECONDS, now + self._offer_seconds
        self._changed()

    def stop(self, now: float) -> None:
        self.running = False
        self._changed()

    @property
    def _works(self) -> bool:
        return self.running and self._now < self._works_until

    def advance(self, now: float) -> None:
        self._now = now
        if not self._works:
            return
        if now >= self._next_draw:
            self._next_draw = now + DRAW_SECONDS
            self._drawn += 1
            self.display.draw(self._drawn)
        if now >= self._next_offer:
            self._next_offer = now + self._offer_seconds
            self.agent.offer()

    def next_deadline(self) -> float | None:
        return min(self._next_draw, self._next_offer) if self._works else None

    def key(self, scancodes: bytes) -> None:
        code = scancodes[0] & 0x7F
        released = bool(scancodes[0] & 0x80)
        if not self.running:
            if not released:
                self.dropped.append(code)
        elif released:
            self.held.pop(code, None)
        elif code not in self.held:
            self.held[code] = None
            self.pressed.append(code)

    def pointer_moved(self, dx: int, dy: int, buttons: int) -> None:
        """Nobody moves it here."""

    def pointer_placed(self, display: int, x: int, y: int, buttons: int) -> None:
        """Nobody moves it here."""

    def buttons_changed(self, buttons: int) -> None:
        """Nobody clicks here."""

    def want_monitors(self, monitors: Sequence[tuple[int, int, int, int]]) -> None:
        """There is one."""

    # -- its way ----------------------------------------------------------------------------------------------------

    def draft(self) -> bytes:
        """Its state as of now."""
        chunks, message, unsent, numbers = self.agent.state()
        numbers = (*numbers, self._drawn, self.loads)
        parts = (
            bytes(self.pressed),
            bytes(self.held),
            bytes(self.port.received),
            bytes(self.port.unsent),
            chunks,
            message,
            unsent,
            self.display.pixels.tobytes(),
        )
        return _NUMBERS.pack(*numbers) + b"".join(_SIZE.pack(len(part)) + part for part in parts)

    def save(self) -> bytes:
        return self.draft() + bytes(MAX_STATE if self.bloated else 0)

    def load(self, state: bytes) -> None:
        if self.refuses:
            raise OperationError("the simulated guest cannot be loaded")
        parts: list[bytes] = []
        at = _NUMBERS.size
        while len(parts) < _PARTS and at + _SIZE.size <= len(state):
            (size,) = _SIZE.unpack_from(state, at)
            parts.append(state[at + _SIZE.size : at + _SIZE.size + size])
            at += _SIZE.size + size
        if len(parts) != _PARTS or at != len(state):
            raise ProtocolError("these bytes are not the state of a simulated guest")
        *numbers, self._drawn, loads = _NUMBERS.unpack_from(state)
        self.loads = loads + 1
        self.pressed, self.held = list(parts[0]), dict.fromkeys(parts[1])
        self.port.received, self.port.unsent = bytearray(parts[2]), bytearray(parts[3])
        self.agent.restore(parts[4], parts[5], parts[6], tuple(numbers))
        self.display.show(parts[7])
