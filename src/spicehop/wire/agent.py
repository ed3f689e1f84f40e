"""Messages of the guest agent (dossier D.4).

Some layouts depend on capabilities that both sides have: `capabilities` is that common set, of `AgentCap`. With
CLIPBOARD_SELECTION clipboard messages begin with a selection, with CLIPBOARD_GRAB_SERIAL a grab carries a serial.
How messages are cut into AGENT_DATA and chunks is in `agent_stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, TypeVar

from spicehop.errors import ProtocolError
from spicehop.wire.agent_constants import (
    MAX_AGENT_MONITORS,
    AgentCap,
    AgentMessageType,
    ClipboardType,
    MonitorsFlag,
    Selection,
)
from spicehop.wire.bitsets import bits_of, words_of
from spicehop.wire.layout import (
    I32,
    NOTHING,
    U8,
    U16,
    U32,
    U64,
    Array,
    Data,
    Integer,
    MatchingArray,
    Reader,
    Rest,
    RestBytes,
    SizedBytes,
    Structure,
    When,
    Writer,
    has,
    negotiated,
)

MAX_CAPABILITY_WORDS = 64
"""Longest capability list accepted; the protocol has used one word so far."""

SelectionByte = Annotated[
    int, When(negotiated(AgentCap.CLIPBOARD_SELECTION), Integer("B", padding=3), Selection.CLIPBOARD)
]
"""Which clipboard a message is about; CLIPBOARD without CLIPBOARD_SELECTION."""


class AgentMessage(Structure):
    """Base of all agent messages."""

    __slots__ = ()
    NAME: ClassVar[str] = ""
    """The protocol's name, for example `CLIPBOARD_GRAB`."""
    TYPE: ClassVar[int] = 0
    """The number in the message header, `AgentMessageType`."""

    @classmethod
    def decode(cls, body: Data, *, capabilities: frozenset[int] = NOTHING) -> Self:
        """Decode the bytes behind the message header."""
        message = cls.read(Reader(body, capabilities=capabilities))
        message.check()
        return message

    def encode(self, *, capabilities: frozenset[int] = NOTHING) -> bytes:
        """The bytes behind the message header."""
        writer = Writer(capabilities)
        self.write(writer)
        return writer.finish()

    def check(self) -> None:
        """`ProtocolError` when a value is beyond what either side may send."""


_A = TypeVar("_A", bound=type[AgentMessage])
_classes: dict[int, type[AgentMessage]] = {}


def _agent(kind: AgentMessageType) -> Callable[[_A], _A]:
    def register(cls: _A) -> _A:
        cls.NAME, cls.TYPE = kind.name, int(kind)
        _classes[kind] = cls
        return cls

    return register


@dataclass(frozen=True, slots=True)
class UnknownAgentMessage(AgentMessage):
    """A message whose type this version does not know, kept as data."""

    data: Rest
    type: int = 0

    def encode(self, *, capabilities: frozenset[int] = NOTHING) -> bytes:
        return bytes(self.data)


def decode(kind: int, body: Data, *, capabilities: frozenset[int]) -> AgentMessage:
    """The message with this type; `UnknownAgentMessage` when the type is not known.

    Raises `ProtocolError` when the body does not fit the message's layout.
    """
    cls = _classes.get(kind)
    if cls is None:
        return UnknownAgentMessage(body, kind)
    return cls.decode(body, capabilities=capabilities)


def type_of(message: AgentMessage) -> int:
    """The number in the message header."""
    return message.type if isinstance(message, UnknownAgentMessage) else message.TYPE


def registered() -> Iterator[tuple[int, type[AgentMessage]]]:
    """Every known message as (type, class)."""
    yield from sorted(_classes.items(), key=lambda item: item[0])


@_agent(AgentMessageType.MOUSE_STATE)
@dataclass(frozen=True, slots=True)
class MouseState(AgentMessage):
    """The pointer, from the server; a button's bit is `1 << MouseButton`."""

    x: U32
    y: U32
    buttons: U32
    display_id: U8


@dataclass(frozen=True, slots=True)
class Monitor(Structure):
    """A monitor that the client wants, in pixels; width 0 means none."""

    height: U32
    width: U32
    depth: U32
    x: I32
    y: I32


@dataclass(frozen=True, slots=True)
class PhysicalSize(Structure):
    """A monitor's size in mm."""

    height: U16
    width: U16


@_agent(AgentMessageType.MONITORS_CONFIG)
@dataclass(frozen=True, slots=True)
class MonitorsConfig(AgentMessage):
    """The monitors that the client wants; `flags` are `MonitorsFlag`, with PHYSICAL_SIZE there are sizes in mm."""

    flags: U32
    monitors: Annotated[tuple[Monitor, ...], Array(Monitor, count="I", before="flags")]
    sizes: Annotated[
        tuple[PhysicalSize, ...],
        When(has("flags", MonitorsFlag.PHYSICAL_SIZE), MatchingArray(PhysicalSize, matching="monitors"), ()),
    ] = ()

    def check(self) -> None:
        if len(self.monitors) > MAX_AGENT_MONITORS:
            raise ProtocolError(f"{len(self.monitors)} monitors are more than {MAX_AGENT_MONITORS}")


@_agent(AgentMessageType.REPLY)
@dataclass(frozen=True, slots=True)
class Reply(AgentMessage):
    """Whether a message of `type` was carried out, a `ReplyError`."""

    type: U32
    error: U32


@_agent(AgentMessageType.CLIPBOARD)
@dataclass(frozen=True, slots=True)
class Clipboard(AgentMessage):
    """What the clipboard holds, a `ClipboardType`; the answer to CLIPBOARD_REQUEST."""

    selection: SelectionByte
    type: U32
    data: Rest


@_agent(AgentMessageType.DISPLAY_CONFIG)
@dataclass(frozen=True, slots=True)
class DisplayConfig(AgentMessage):
    """What the guest shall leave out, `DisplayConfigFlag`."""

    flags: U32
    depth: U32


@_agent(AgentMessageType.ANNOUNCE_CAPABILITIES)
@dataclass(frozen=True, slots=True)
class AnnounceCapabilities(AgentMessage):
    """What the sender can do; `request` asks for the same in return. `words` are bit sets of `AgentCap`."""

    request: U32
    words: Annotated[tuple[int, ...], Array("I", count=None)]

    @property
    def bits(self) -> frozenset[int]:
        """The capabilities."""
        return bits_of(self.words)

    @classmethod
    def of(cls, bits: Iterable[int], *, request: bool) -> AnnounceCapabilities:
        """The message that announces these capabilities."""
        return cls(int(request), words_of(bits))

    def check(self) -> None:
        if len(self.words) > MAX_CAPABILITY_WORDS:
            raise ProtocolError(f"{len(self.words)} capability words are more than {MAX_CAPABILITY_WORDS}")


@_agent(AgentMessageType.CLIPBOARD_GRAB)
@dataclass(frozen=True, slots=True)
class ClipboardGrab(AgentMessage):
    """The sender has the clipboard now, and offers it in these `ClipboardType`."""

    selection: SelectionByte
    serial: Annotated[int, When(negotiated(AgentCap.CLIPBOARD_GRAB_SERIAL), Integer("I"), 0)]
    types: Annotated[tuple[int, ...], Array("I", count=None)]


@_agent(AgentMessageType.CLIPBOARD_REQUEST)
@dataclass(frozen=True, slots=True)
class ClipboardRequest(AgentMessage):
    """Asks for the clipboard as a `ClipboardType`."""

    selection: SelectionByte
    type: U32 = ClipboardType.UTF8_TEXT


@_agent(AgentMessageType.CLIPBOARD_RELEASE)
@dataclass(frozen=True, slots=True)
class ClipboardRelease(AgentMessage):
    """The sender has the clipboard no more."""

    selection: SelectionByte


@_agent(AgentMessageType.FILE_XFER_START)
@dataclass(frozen=True, slots=True)
class FileXferStart(AgentMessage):
    """A file is to be sent; `description` is a key file with the group vdagent-file-xfer, keys name and size."""

    id: U32
    description: Annotated[Data, RestBytes(terminated=True)]


@_agent(AgentMessageType.FILE_XFER_STATUS)
@dataclass(frozen=True, slots=True)
class FileXferStatus(AgentMessage):
    """How a transfer stands, a `FileTransferResult`; with FILE_XFER_DETAILED_ERRORS `detail` may say more."""

    id: U32
    result: U32
    detail: Rest = b""


@dataclass(frozen=True, slots=True)
class NotEnoughSpaceDetail(Structure):
    """Detail of NOT_ENOUGH_SPACE: free bytes in the guest."""

    free: U64


@dataclass(frozen=True, slots=True)
class FileErrorDetail(Structure):
    """Detail of ERROR: 0 for an error of GIO, and its code."""

    type: U8
    code: U32


@_agent(AgentMessageType.FILE_XFER_DATA)
@dataclass(frozen=True, slots=True)
class FileXferData(AgentMessage):
    """A piece of a file."""

    id: U32
    data: Annotated[Data, SizedBytes("Q")]


@_agent(AgentMessageType.CLIENT_DISCONNECTED)
@dataclass(frozen=True, slots=True)
class ClientDisconnected(AgentMessage):
    """The last client has left, from the server."""


@_agent(AgentMessageType.MAX_CLIPBOARD)
@dataclass(frozen=True, slots=True)
class MaxClipboard(AgentMessage):
    """Largest clipboard the client accepts in bytes; -1 for any."""

    maximum: I32


@_agent(AgentMessageType.AUDIO_VOLUME_SYNC)
@dataclass(frozen=True, slots=True)
class AudioVolumeSync(AgentMessage):
    """Volume of the client's playback or, with `is_playback` 0, recording."""

    is_playback: U8
    mute: U8
    volumes: Annotated[tuple[int, ...], Array("H", count="B")]


@dataclass(frozen=True, slots=True)
class GraphicsDevice(Structure):
    """Which device, by its address text, shows a monitor of a display channel."""

    channel_id: U32
    monitor_id: U32
    device_display_id: U32
    address: Annotated[Data, SizedBytes("I", terminated=True)]


@_agent(AgentMessageType.GRAPHICS_DEVICE_INFO)
@dataclass(frozen=True, slots=True)
class GraphicsDeviceInfo(AgentMessage):
    """How display channels and guest devices belong together, from the server."""

    devices: Annotated[tuple[GraphicsDevice, ...], Array(GraphicsDevice, count="I")]
