"""A display channel of a server: waits for the client's caches, then carries what the painter makes (dossier B.2).

A frame is made when the client can take it, not before: `ready` says when. Frames in between are never made.
"""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.serving.channel import ChannelState, Peer, Received, ServerChannel, ServerEvent
from spicehop.errors import ProtocolError
from spicehop.wire import base, display
from spicehop.wire.constants import ChannelType, DisplayCap
from spicehop.wire.layout import Message

INIT_DEADLINE = 30.0
"""Seconds in which a client must say what caches it has, as in the reference."""
FLIGHT_UNKNOWN = 256 * 1024
"""Bytes that may be on their way to a client of whose link nothing is known."""
FLIGHT_SMALLEST = 32 * 1024
"""Bytes that may always be on their way."""
FLIGHT_SECONDS = 0.1
"""Seconds beyond the round trip for which bytes may be on their way: they are the delay that a client sees."""


@dataclass(frozen=True, slots=True)
class DisplayBegun(ServerEvent):
    """The client has said what caches it has: the painter can begin."""

    init: display.Init


@dataclass(frozen=True, slots=True)
class DisplayState:
    """What a display channel that goes on elsewhere begins with; what the client has is in its `ClientView`."""

    channel: ChannelState
    init: display.Init | None
    media_time: int = 0
    """As in `MainState`, for this channel goes on before the main channel does."""
    saved_at: float = 0.0


class ServerDisplay(ServerChannel):
    """Carries draw messages at the pace at which the client handles them."""

    ACK_WINDOW = 20
    PING_INTERVAL = 15.0

    def __init__(self, channel_id: int, peer: Peer, now: float, state: DisplayState | None = None) -> None:
        super().__init__(ChannelType.DISPLAY, channel_id, peer, now, state.channel if state else None)
        self.init: display.Init | None = state.init if state else None
        self._init_deadline = now + INIT_DEADLINE

    @classmethod
    def capabilities(cls) -> frozenset[int]:
        return frozenset(
            {
                DisplayCap.MONITORS_CONFIG,
                DisplayCap.PREF_COMPRESSION,
                DisplayCap.STREAM_REPORT,
                DisplayCap.PREF_VIDEO_CODEC_TYPE,
            }
        )

    def state(self) -> DisplayState:
        """What a later server needs."""
        return DisplayState(self.channel_state(), self.init)

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        match message:
            case display.Init():
                if self.init is not None:
                    raise ProtocolError(f"{self.name}: INIT came twice")
                if message.pixmap_cache_size < 0 or message.glz_window_size < 0:
                    raise ProtocolError(f"{self.name}: a cache of a negative size")
                self.init = message
                events.append(DisplayBegun(message))
            case _ if self.init is None:
                raise ProtocolError(f"{self.name}: {message.NAME} came before INIT")
            case _:
                events.append(Received(message))

    @property
    def ready(self) -> bool:
        """Whether a frame that is made now goes out at once."""
        if self.init is None or self.bytes_queued or self.blocked:
            return False
        return self.peer.local or self.delivery.in_flight <= self.flight_limit

    @property
    def flight_limit(self) -> float:
        """Bytes that may be on their way before the next frame is made."""
        rate, trip = self.delivery.rate, self.delivery.round_trip
        if rate is None or trip is None:
            return FLIGHT_UNKNOWN
        return max(FLIGHT_SMALLEST, rate * (trip + FLIGHT_SECONDS))

    def frame_sent(self, now: float) -> None:
        """A frame is queued whole: have the client say when it has handled it."""
        if self.pinger.interval is not None and not self.pinger.outstanding:
            self.ping(now)

    def _pong_received(self, message: base.Pong, now: float) -> None:
        super()._pong_received(message, now)
        if self.delivery.in_flight > FLIGHT_SMALLEST // 4:
            self.frame_sent(now)

    def next_deadline(self) -> float | None:
        own = self._init_deadline if self.init is None else None
        due = super().next_deadline()
        return due if own is None else own if due is None else min(own, due)

    def handle_timer(self, now: float) -> None:
        if self.init is None and now >= self._init_deadline:
            raise ProtocolError(f"{self.name}: the client did not say in {INIT_DEADLINE:.0f} s what caches it has")
