"""The guest's agent: its side of the agent protocol (dossier D)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from spicehop.errors import ProtocolError
from spicehop.guests.demo.agent_inbox import AgentInbox, Begun, Fault, InboxState, Received, check_inbox_state
from spicehop.guests.demo.agent_outbox import (
    LARGEST_TEXT,
    MAX_WAITING,
    AgentOutbox,
    WaitingMessages,
    numbered_hash,
)
from spicehop.guests.demo.clock import GuestClock
from spicehop.guests.demo.fnv import fnv1a
from spicehop.wire import agent
from spicehop.wire.agent_constants import (
    AGENT_PROTOCOL,
    AgentCap,
    AgentMessageType,
    AgentPort,
    ClipboardType,
    FileTransferResult,
    ReplyError,
    Selection,
)
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, AgentHeader, encode_agent_message
from spicehop.wire.layout import U8, U32, U64, Data, SizedBytes, Structure

CAPABILITIES = frozenset(
    {
        AgentCap.MOUSE_STATE,
        AgentCap.MONITORS_CONFIG,
        AgentCap.REPLY,
        AgentCap.CLIPBOARD_BY_DEMAND,
        AgentCap.CLIPBOARD_SELECTION,
        AgentCap.GUEST_LINEEND_LF,
        AgentCap.MONITORS_CONFIG_POSITION,
        AgentCap.MAX_CLIPBOARD,
        AgentCap.AUDIO_VOLUME_SYNC,
        AgentCap.FILE_XFER_DISABLED,
        AgentCap.CLIPBOARD_NO_RELEASE_ON_REGRAB,
    }
)
"""Without CLIPBOARD_GRAB_SERIAL: with several clients there is no one sequence of grabs."""
MAX_PASTE = 4096
"""Bytes of a clipboard that can be pasted, or copied."""
_BUSY = 64
"""With so many messages waiting to be read the agent reads no more."""


class AgentHost(Protocol):
    """What the agent does to the guest."""

    def agent_line(self, text: str) -> None:
        """Write a line of the log."""

    def agent_mouse(self, x: int, y: int, buttons: int) -> None:
        """The pointer is here; `buttons` has bit `MouseButton - 1` for each that is down."""

    def want_monitors(self, monitors: list[tuple[int, int, int, int]]) -> None:
        """A client asks for monitors, each (x, y, width, height)."""


@dataclass(frozen=True, slots=True)
class AgentState(Structure):
    """All of the agent that lives on in another guest."""

    received: U64
    messages: U32
    client_capabilities: U32
    has_client: U8
    noticed_client: U8
    clipboard_size: U32
    chunk: U32
    copied: Annotated[Data, SizedBytes("H")]
    pasted: Annotated[Data, SizedBytes("H")]
    inbox: InboxState
    outbox: WaitingMessages

    def check(self) -> None:
        """`ProtocolError` when no agent can be so."""
        if max(self.has_client, self.noticed_client) > 1 or max(len(self.copied), len(self.pasted)) > MAX_PASTE:
            raise ProtocolError("a saved agent is not one of the demo guest")
        if self.clipboard_size > LARGEST_TEXT or self.chunk > LARGEST_TEXT or 0 < self.chunk < AGENT_HEADER_SIZE:
            raise ProtocolError("a saved agent has a clipboard or chunks that are too large")
        if len(self.outbox) > MAX_WAITING:
            raise ProtocolError("a saved agent has too many messages waiting")
        check_inbox_state(self.inbox)
        for message in self.outbox:
            message.check()


class GuestAgent:
    """The agent as a char device: the server writes chunks to it and reads chunks from it."""

    def __init__(self, clock: GuestClock, host: AgentHost, *, clipboard_size: int, chunk: int) -> None:
        self._clock = clock
        self._host = host
        self._clipboard_size = clipboard_size
        self._chunk = chunk
        self._inbox = AgentInbox(self._text_start)
        self._outbox = AgentOutbox()
        self._received = 0
        self._messages = 0
        self._client_words = 0
        self._has_client = self._noticed_client = False
        self._copied = b""
        self.pasted = b""
        """The start of the text that a client has given."""
        self._actions: dict[int, Callable[[Received], None]] = {
            AgentMessageType.MOUSE_STATE: self._mouse,
            AgentMessageType.MONITORS_CONFIG: self._monitors,
            AgentMessageType.ANNOUNCE_CAPABILITIES: self._capabilities,
            AgentMessageType.CLIPBOARD_GRAB: self._grab,
            AgentMessageType.CLIPBOARD: self._clipboard,
            AgentMessageType.CLIPBOARD_REQUEST: self._request,
            AgentMessageType.FILE_XFER_START: self._file,
            AgentMessageType.CLIENT_DISCONNECTED: self._client_left,
        }

    @property
    def name(self) -> str:
        return "agent"

    @property
    def opened(self) -> bool:
        return True

    @property
    def common(self) -> frozenset[int]:
        """What agent and client can both do."""
        return frozenset(bit for bit in CAPABILITIES if self._client_words >> bit & 1)

    def write(self, data: bytes) -> int:
        """Takes all or none; none while the guest stands still or too much waits to be read."""
        if not self._clock.running or len(self._outbox) >= _BUSY:
            return 0
        self._received += len(data)
        for event in self._inbox.feed(bytes(data)):
            match event:
                case Fault(text):
                    self._host.agent_line(f"fault {text}")
                case Begun(size):
                    self._host.agent_line(f"clipboard-begins bytes={size}")
                case Received():
                    self._messages += 1
                    self._take(event)
        return len(data)

    def read(self, limit: int) -> bytes:
        if not self._clock.running:
            return b""
        data, done = self._outbox.take(limit)
        for message in done:
            if message.is_clipboard:
                size = message.size - AGENT_HEADER_SIZE - self._text_start()
                self._host.agent_line(f"clipboard-sent bytes={size}")
        return data

    def client_changed(self, *, present: bool) -> None:
        """Notes it; nothing is forgotten, the server says CLIENT_DISCONNECTED for that."""
        self._has_client = present
        self.notice_client()

    def notice_client(self) -> None:
        """The guest sees whether there is a client, if it runs."""
        if self._clock.running and self._noticed_client != self._has_client:
            self._noticed_client = self._has_client
            self._host.agent_line(f"{'open' if self._has_client else 'closed'} bytes={self._received}")

    def boot(self) -> None:
        """The agent starts: it says what it can do, and asks the same."""
        self._host.agent_line("port present=1")
        self._announce(request=True)

    def offer(self) -> None:
        """Take the clipboard, with the numbered text."""
        self._copied = b""
        self._send_grab()

    def copy(self, text: bytes) -> None:
        """Take the clipboard, with the end of a text."""
        self._copied = text[-MAX_PASTE:]
        self._send_grab()

    def sync(self) -> str:
        """The totals, for the log."""
        return f"sync bytes={self._received} messages={self._messages}"

    def state(self) -> AgentState:
        return AgentState(
            received=self._received,
            messages=self._messages,
            client_capabilities=self._client_words,
            has_client=int(self._has_client),
            noticed_client=int(self._noticed_client),
            clipboard_size=self._clipboard_size,
            chunk=self._chunk,
            copied=self._copied,
            pasted=self.pasted,
            inbox=self._inbox.state(),
            outbox=self._outbox.state(),
        )

    def restore(self, state: AgentState) -> None:
        """Go on where `state` was taken; it has been checked."""
        self._received, self._messages = state.received, state.messages
        self._client_words = state.client_capabilities
        self._has_client, self._noticed_client = bool(state.has_client), bool(state.noticed_client)
        self._clipboard_size, self._chunk = state.clipboard_size, state.chunk
        self._copied, self.pasted = bytes(state.copied), bytes(state.pasted)
        self._inbox.restore(state.inbox)
        self._outbox.restore(state.outbox)

    def _text_start(self) -> int:
        """Where a clipboard's content begins in its message."""
        return 8 if AgentCap.CLIPBOARD_SELECTION in self.common else 4

    def _take(self, received: Received) -> None:
        action = self._actions.get(received.type)
        if action is None:
            self._host.agent_line(f"message type={received.type} size={received.size}")
            return
        try:
            action(received)
        except ProtocolError:
            self._host.agent_line(f"fault message type {received.type} size {received.size} cannot be read")

    def _send(self, message: agent.AgentMessage) -> None:
        if not self._outbox.add(encode_agent_message(message, capabilities=self.common), self._chunk):
            self._host.agent_line("fault too many messages wait")

    def _announce(self, *, request: bool) -> None:
        self._send(agent.AnnounceCapabilities.of(CAPABILITIES, request=request))

    def _send_grab(self) -> None:
        self._host.agent_line("grabbing")
        self._send(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (ClipboardType.UTF8_TEXT,)))

    def _mouse(self, received: Received) -> None:
        mouse = agent.MouseState.decode(received.body)
        self._host.agent_line(f"mouse x={mouse.x} y={mouse.y} buttons={mouse.buttons}")
        self._host.agent_mouse(mouse.x, mouse.y, mouse.buttons >> 1)

    def _monitors(self, received: Received) -> None:
        config = agent.MonitorsConfig.decode(received.body)
        first = config.monitors[0] if config.monitors else agent.Monitor(0, 0, 0, 0, 0)
        self._host.agent_line(f"monitors count={len(config.monitors)} height={first.height} width={first.width}")
        self._host.want_monitors([(one.x, one.y, one.width, one.height) for one in config.monitors])
        self._send(agent.Reply(AgentMessageType.MONITORS_CONFIG, ReplyError.SUCCESS))

    def _capabilities(self, received: Received) -> None:
        announced = agent.AnnounceCapabilities.decode(received.body)
        self._client_words = announced.words[0] if announced.words else 0
        self._host.agent_line(
            f"capabilities request={announced.request} words={len(announced.words)} first={self._client_words:08x}"
        )
        if announced.request:
            self._announce(request=False)

    def _grab(self, received: Received) -> None:
        grab = agent.ClipboardGrab.decode(received.body, capabilities=self.common)
        first = grab.types[0] if grab.types else ClipboardType.NONE
        self._host.agent_line(f"grab bytes={received.size} first={first}")
        wanted = first if grab.types and ClipboardType.UTF8_TEXT not in grab.types else ClipboardType.UTF8_TEXT
        self._send(agent.ClipboardRequest(grab.selection, wanted))

    def _clipboard(self, received: Received) -> None:
        clipboard = agent.Clipboard.decode(received.body, capabilities=self.common)
        size = received.size - self._text_start()
        self._host.agent_line(f"clipboard-received bytes={size} fnv={received.text_hash:08x} kind={clipboard.type}")
        if clipboard.type == ClipboardType.UTF8_TEXT:
            self.pasted = bytes(clipboard.data)[:MAX_PASTE]

    def _request(self, received: Received) -> None:
        request = agent.ClipboardRequest.decode(received.body, capabilities=self.common)
        size = len(self._copied) if self._copied else self._clipboard_size
        checksum = fnv1a(self._copied) if self._copied else numbered_hash(size)
        self._host.agent_line(f"clipboard-sending bytes={size} fnv={checksum:08x}")
        message = agent.Clipboard(request.selection, ClipboardType.UTF8_TEXT, self._copied)
        body = message.encode(capabilities=self.common)
        text_size = 0 if self._copied else size
        header = AgentHeader(AGENT_PROTOCOL, AgentMessageType.CLIPBOARD, 0, len(body) + text_size).encode()
        if not self._outbox.add(header + body, self._chunk, text_size=text_size, is_clipboard=True):
            self._host.agent_line("fault too many messages wait")

    def _file(self, received: Received) -> None:
        start = agent.FileXferStart.decode(received.body)
        self._host.agent_line(f"file id={start.id}")
        self._send(agent.FileXferStatus(start.id, FileTransferResult.CANCELLED))

    def _client_left(self, received: Received) -> None:
        self._host.agent_line("client-disconnected")
        self._inbox.forget(AgentPort.CLIENT)
        self._client_words = 0
