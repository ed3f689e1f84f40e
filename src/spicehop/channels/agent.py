"""The client's end of the guest agent's stream: capabilities, tokens, clipboard text, monitors (dossier D).

The stream runs inside the main channel and goes on across a seamless migration: half-sent messages, half-received ones
and tokens stay as they are, because the target restores its side. After any other migration it begins anew.
"""

from __future__ import annotations

from collections import deque

from spicehop.errors import ProtocolError, StateError, UsageError
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import (
    MAX_AGENT_MONITORS,
    UNLIMITED_TOKENS,
    AgentCap,
    ClipboardType,
    MonitorsFlag,
    Selection,
)
from spicehop.wire.agent_stream import AgentReader, encode_agent_message, slices
from spicehop.wire.layout import Data, Message

OWN_CAPABILITIES = frozenset(
    {
        AgentCap.MONITORS_CONFIG,
        AgentCap.REPLY,
        AgentCap.CLIPBOARD_BY_DEMAND,
        AgentCap.CLIPBOARD_SELECTION,
        AgentCap.MONITORS_CONFIG_POSITION,
    }
)
CLIPBOARD_LIMIT = 64 * 1024 * 1024
"""Largest agent message taken from the guest, in bytes."""
ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of answers that may wait for the guest while it asks for more."""
MONITOR_DEPTH = 32
MAX_SIDE = 65535


class Agent:
    """What this client knows of the guest's agent, and what it has still to tell it."""

    def __init__(self) -> None:
        self.connected = False
        self.capabilities: frozenset[int] = frozenset()
        """What the agent can do; empty until it says so."""
        self.tokens = 0
        """AGENT_DATA messages the server still takes."""
        self.trouble = ""
        """Why the agent's stream is not read any more; empty while it is."""
        self.offered: tuple[int, ...] = ()
        """`ClipboardType`s that the guest's clipboard offers."""
        self.received: bytes | None = None
        """Answer to the last `request_text`."""
        self.receptions = 0
        """Answers to `request_text` so far."""
        self.fetches = 0
        """How often the guest has asked for our text and has been answered."""
        self._own_text: bytes | None = None
        self._monitors: agent.MonitorsConfig | None = None
        self.bytes_queued = 0
        """Bytes of agent messages that wait for tokens."""
        self._outgoing: deque[bytes] = deque()
        self._reader = AgentReader(limit=CLIPBOARD_LIMIT)

    @property
    def has_clipboard(self) -> bool:
        """Whether the agent shares its clipboard on demand."""
        return AgentCap.CLIPBOARD_BY_DEMAND in self.capabilities

    # -- the stream -------------------------------------------------------------------------------------------------

    def connect(self, tokens: int) -> list[Message]:
        """The agent is there, and takes `tokens` messages; returns what the main channel sends for it."""
        self.disconnect()
        self.connected, self.tokens = True, tokens
        self._send(agent.AnnounceCapabilities.of(OWN_CAPABILITIES, request=True))
        return [main.AgentStart(UNLIMITED_TOKENS)]

    def disconnect(self) -> None:
        """The agent is gone, or the session begins anew: nothing of the stream is left."""
        self.connected, self.tokens, self.trouble = False, 0, ""
        self.capabilities, self.offered, self.received = frozenset(), (), None
        self._outgoing.clear()
        self.bytes_queued = 0
        self._reader = AgentReader(limit=CLIPBOARD_LIMIT)

    def tokens_received(self, tokens: int) -> None:
        """The server takes more messages."""
        self.tokens = min(self.tokens + tokens, UNLIMITED_TOKENS)

    def next_message(self) -> Message | None:
        """The next AGENT_DATA, None without tokens or without anything to say."""
        if not self._outgoing or not self.tokens:
            return None
        self.tokens -= 1
        piece = self._outgoing.popleft()
        self.bytes_queued -= len(piece)
        return main.AgentData(piece)

    def data_received(self, data: Data) -> None:
        """A slice of the agent's stream. What the guest gets wrong ends its stream, not the session."""
        if self.trouble:
            return
        try:
            for frame in self._reader.feed(data):
                self._handle(agent.decode(frame.type, frame.body, capabilities=self._common))
        except ProtocolError as error:
            self.trouble = f"the guest's agent sent what cannot be read: {error}"

    @property
    def _common(self) -> frozenset[int]:
        return OWN_CAPABILITIES & self.capabilities

    def _send(self, message: agent.AgentMessage) -> None:
        encoded = encode_agent_message(message, capabilities=self._common)
        self._outgoing.extend(bytes(piece) for piece in slices(encoded))
        self.bytes_queued += len(encoded)

    def _answer(self, message: agent.AgentMessage) -> None:
        if self.bytes_queued > ANSWER_LIMIT:
            raise ProtocolError(f"it asks for more while {self.bytes_queued} bytes of answers wait for it")
        self._send(message)

    def _handle(self, message: agent.AgentMessage) -> None:
        match message:
            case agent.AnnounceCapabilities():
                first = not self.capabilities
                self.capabilities = message.bits
                if message.request:
                    self._answer(agent.AnnounceCapabilities.of(OWN_CAPABILITIES, request=False))
                if first:
                    self._say_again()
            case agent.ClipboardGrab() if message.selection == Selection.CLIPBOARD:
                self.offered, self._own_text = message.types, None
            case agent.ClipboardRelease() if message.selection == Selection.CLIPBOARD:
                self.offered = ()
            case agent.ClipboardRequest():
                text = self._own_text if message.type == ClipboardType.UTF8_TEXT else None
                kind = ClipboardType.NONE if text is None else ClipboardType.UTF8_TEXT
                self.fetches += text is not None
                self._answer(agent.Clipboard(message.selection, kind, text or b""))
            case agent.Clipboard() if message.selection == Selection.CLIPBOARD:
                self.received = bytes(message.data) if message.type == ClipboardType.UTF8_TEXT else b""
                self.receptions += 1
            case _:
                pass

    def _say_again(self) -> None:
        """A new agent hears what the old one was told."""
        if self._own_text is not None:
            self.offer_text(self._own_text)
        if self._monitors is not None:
            self._send(self._monitors)

    # -- clipboard and monitors -------------------------------------------------------------------------------------

    def offer_text(self, text: bytes) -> None:
        """Take the guest's clipboard; the text goes there when the guest asks."""
        self._own_text = text
        if self.has_clipboard:
            self.offered = ()
            self._send(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (ClipboardType.UTF8_TEXT,)))

    def request_text(self) -> None:
        """Ask for the text of the guest's clipboard; `received` holds it once `receptions` has gone up."""
        if ClipboardType.UTF8_TEXT not in self.offered:
            raise StateError("the guest's clipboard offers no text")
        self.received = None
        self._send(agent.ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT))

    def want_monitors(self, monitors: tuple[tuple[int, int, int, int], ...]) -> None:
        """Ask the guest for monitors, each (x, y, width, height) in pixels; `UsageError` when there can be no such."""
        if len(monitors) > MAX_AGENT_MONITORS or any(not _possible(*monitor) for monitor in monitors):
            raise UsageError("a monitor has a size from 1 to 65535 pixels, and there are at most 256 of them")
        wanted = tuple(agent.Monitor(height, width, MONITOR_DEPTH, x, y) for x, y, width, height in monitors)
        self._monitors = agent.MonitorsConfig(MonitorsFlag.USE_POSITION, wanted)
        if self.connected:
            self._send(self._monitors)


def _possible(x: int, y: int, width: int, height: int) -> bool:
    return all(-MAX_SIDE <= place <= MAX_SIDE for place in (x, y)) and all(0 < n <= MAX_SIDE for n in (width, height))
