"""The main channel of a server: the session's number, its channels, mouse modes, the clock, the first measurement.

The agent's stream runs through this channel; `agent.AgentHub` makes what is said there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spicehop.channels.serving.channel import ChannelState, Peer, Received, ServerChannel, ServerEvent
from spicehop.errors import ProtocolError
from spicehop.wire import base, main
from spicehop.wire.constants import AGENT_CHUNK_BYTES, ChannelType, MainCap, MouseMode, NotifySeverity
from spicehop.wire.layout import Message

CLOCK_LEAD = 100
"""Milliseconds by which a client's multimedia clock is behind the server's: time to wait for sound and video."""
NET_TEST_BYTES = 256_000
"""Padding of the last ping of the bandwidth test (dossier A.9)."""
LONGEST_TRIP = 10.0
FASTEST_LINK = 10**10
"""A client may state what it likes; seconds and bytes a second beyond these it may not."""
RAM_HINT = 0
_U32 = 0xFFFFFFFF


class NetTest(Enum):
    """Which ping of the bandwidth test is out."""

    NONE = "None"
    FIRST = "AwaitingFirstPong"
    EMPTY = "AwaitingEmptyPong"
    FULL = "AwaitingFullPong"


@dataclass(frozen=True, slots=True)
class ChannelsAsked(ServerEvent):
    """The client wants the list of channels."""


@dataclass(frozen=True, slots=True)
class MouseModeAsked(ServerEvent):
    """The client asks for a `MouseMode`."""

    mode: int


@dataclass(frozen=True, slots=True)
class AgentStarted(ServerEvent):
    """The client opens the agent's stream and takes this many slices."""

    tokens: int


@dataclass(frozen=True, slots=True)
class AgentDataCame(ServerEvent):
    """A slice for the agent."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AgentTokensCame(ServerEvent):
    """The client takes this many slices more."""

    tokens: int


@dataclass(frozen=True, slots=True)
class NetMeasured(ServerEvent):
    """What is known of the way to the client: round trip in seconds, bytes a second."""

    round_trip: float
    rate: float


@dataclass(frozen=True, slots=True)
class MainState:
    """What a main channel that goes on elsewhere begins with."""

    channel: ChannelState
    connection_id: int
    mouse_mode: int
    supported_mouse_modes: int
    listed: bool
    media_time: int = 0
    """The session's multimedia clock when this was saved, in ms."""
    saved_at: float = 0.0
    """Seconds since 1970 then: two hosts have no other clock in common."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What MAIN_INIT, NAME and UUID tell a new client."""

    connection_id: int
    displays: int
    absolute_pointer: bool
    agent_tokens: int
    """Slices the client may send; 0 when there is no agent."""
    name: str
    uuid: bytes


class ServerMain(ServerChannel):
    """Opens the session and says what changes in it."""

    PING_INTERVAL = 15.0
    MESSAGE_LIMIT = 64 * 1024

    def __init__(self, peer: Peer, now: float, state: MainState | None = None) -> None:
        super().__init__(ChannelType.MAIN, 0, peer, now, state.channel if state else None)
        self.connection_id = state.connection_id if state else 0
        self.mouse_mode: int = state.mouse_mode if state else MouseMode.SERVER
        self.supported_mouse_modes: int = state.supported_mouse_modes if state else MouseMode.SERVER
        self.listed = state.listed if state else False
        """Whether the client has had its list of channels."""
        self.net_test = NetTest.NONE
        self._test_bytes = 0
        self._test_begun = 0.0
        self._test_trip = 0.0
        self._measured: NetMeasured | None = None
        self.stated: NetMeasured | None = None
        """What the client says of its link."""

    @classmethod
    def capabilities(cls) -> frozenset[int]:
        return frozenset(
            {
                # spice-gtk takes MIGRATE_END only of a server that announces the first, and asks only for the second.
                MainCap.SEMI_SEAMLESS_MIGRATE,
                MainCap.SEAMLESS_MIGRATE,
                MainCap.NAME_AND_UUID,
                MainCap.AGENT_CONNECTED_TOKENS,
                MainCap.LINK_STATEMENT,
            }
        )

    def state(self) -> MainState:
        """What a later server needs."""
        return MainState(
            self.channel_state(), self.connection_id, self.mouse_mode, self.supported_mouse_modes, self.listed
        )

    # -- what comes ------------------------------------------------------------------------------------------------

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        match message:
            case main.AttachChannels():
                events.append(ChannelsAsked())
            case main.MouseModeRequest():
                events.append(MouseModeAsked(message.mode))
            case main.AgentStart():
                events.append(AgentStarted(message.tokens))
            case main.AgentToken():
                events.append(AgentTokensCame(message.tokens))
            case main.AgentData():
                if len(message.data) > AGENT_CHUNK_BYTES:
                    raise ProtocolError(f"{self.name}: a slice of {len(message.data)} bytes for the agent")
                events.append(AgentDataCame(bytes(message.data)))
            case main.QualityIndicator() if MainCap.LINK_STATEMENT in self.peer.capabilities.channel:
                self._link_stated(main.LinkStatement.decode(message.data))
            case _:
                events.append(Received(message))

    def _link_stated(self, link: main.LinkStatement) -> None:
        """The client knows its link; what is measured later counts more."""
        if link.round_trip and link.rate:
            trip = min(link.round_trip / 1_000_000, LONGEST_TRIP)
            self.stated = self._measured = NetMeasured(trip, float(min(link.rate, FASTEST_LINK)))

    def _pong_received(self, message: base.Pong, now: float) -> None:
        before = self.pinger.outstanding
        super()._pong_received(message, now)
        if before and not self.pinger.outstanding:
            self._test_pong(now)

    def take_measurement(self) -> NetMeasured | None:
        """The result of the bandwidth test, or what the client stated, once."""
        measured, self._measured = self._measured, None
        return measured

    # -- the bandwidth test -----------------------------------------------------------------------------------------

    def begin_net_test(self, now: float, size: int = NET_TEST_BYTES) -> None:
        """Two empty pings and a full one; the first only warms the way up. Not for clients on the same machine."""
        if not self.peer.local:
            self.net_test, self._test_bytes = NetTest.FIRST, size
            self.ping(now)

    def _test_pong(self, now: float) -> None:
        match self.net_test:
            case NetTest.FIRST:
                self.net_test = NetTest.EMPTY
                self._test_begun = now
                self.ping(now)
            case NetTest.EMPTY:
                self.net_test = NetTest.FULL
                self._test_trip, self._test_begun = now - self._test_begun, now
                self.ping(now, padding=bytes(self._test_bytes))
            case NetTest.FULL:
                self.net_test = NetTest.NONE
                spent = max(now - self._test_begun - self._test_trip, 1e-4)
                self._measured = NetMeasured(self._test_trip, self._test_bytes / spent)
            case NetTest.NONE:
                pass

    # -- what goes out ----------------------------------------------------------------------------------------------

    def introduce(self, what: Introduction, now: float) -> None:
        """MAIN_INIT and what follows it (dossier B.1)."""
        self.connection_id = what.connection_id
        self.supported_mouse_modes = supported_modes(absolute_pointer=what.absolute_pointer)
        self.send(
            main.Init(
                session_id=what.connection_id,
                display_channels_hint=what.displays,
                supported_mouse_modes=self.supported_mouse_modes,
                current_mouse_mode=self.mouse_mode,
                agent_connected=int(bool(what.agent_tokens)),
                agent_tokens=what.agent_tokens,
                multi_media_time=(self.media_clock.time(now) - CLOCK_LEAD) & _U32,
                ram_hint=RAM_HINT,
            )
        )
        if MainCap.NAME_AND_UUID in self.peer.capabilities.channel:
            self.send(main.Name(what.name.encode()))
            self.send(main.Uuid(what.uuid))

    def tell_time(self, now: float) -> None:
        """The clock for sound and video, to a client that has had another server's."""
        self.send(main.MultiMediaTime((self.media_clock.time(now) - CLOCK_LEAD) & _U32))

    def list_channels(self, channels: list[tuple[int, int]]) -> None:
        """The channels to connect, or one that is there now too."""
        self.listed = True
        self.send(main.ChannelsList(tuple(main.ChannelId(kind, number) for kind, number in channels)))

    def change_mouse_mode(self, wanted: int, *, absolute_pointer: bool) -> None:
        """Take up a mode the client asks for, or leave one that is not possible any more; the client hears of it."""
        supported = supported_modes(absolute_pointer=absolute_pointer)
        current = wanted if wanted in (MouseMode.SERVER, MouseMode.CLIENT) and wanted & supported else MouseMode.SERVER
        if (supported, current) != (self.supported_mouse_modes, self.mouse_mode):
            self.supported_mouse_modes, self.mouse_mode = supported, current
            self.send(main.MouseMode(supported, current))

    def agent_connected(self, tokens: int) -> None:
        """The agent is there, and takes this many slices."""
        if MainCap.AGENT_CONNECTED_TOKENS in self.peer.capabilities.channel:
            self.send(main.AgentConnectedTokens(tokens))
        else:
            self.send(main.AgentConnected())

    def agent_disconnected(self, error: int = 0) -> None:
        """The agent is gone."""
        self.send(main.AgentDisconnected(error))

    def notify(self, text: str, now: float, severity: NotifySeverity = NotifySeverity.INFO) -> None:
        """A sentence for the user."""
        self.send(base.Notify(int(now * 1_000_000_000), severity, 2, 0, text.encode()))

    def disconnecting(self, reason: int, now: float) -> None:
        """Say why the session ends, a `LinkResult`."""
        self.send(base.Disconnecting(int(now * 1_000_000_000), reason))


# Plain numbers: the server asks for them at every turn, and arithmetic of flags is slow.
_SERVER_MODE, _BOTH_MODES = int(MouseMode.SERVER), int(MouseMode.SERVER | MouseMode.CLIENT)


def supported_modes(*, absolute_pointer: bool) -> int:
    """The mouse modes there are: a client's own pointer needs a guest that takes positions."""
    return _BOTH_MODES if absolute_pointer else _SERVER_MODE
