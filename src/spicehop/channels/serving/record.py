"""The record channel of a server: what one client's microphone hears, for the guest (dossier B.6)."""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.serving.channel import ChannelState, Peer, Received, ServerChannel, ServerEvent
from spicehop.errors import ProtocolError
from spicehop.wire import record
from spicehop.wire.constants import AudioFormat, AudioMode, ChannelType, RecordCap
from spicehop.wire.layout import Message


@dataclass(frozen=True, slots=True)
class Recorded(ServerEvent):
    """Sound from the client in an `AudioMode`."""

    mode: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RecordState:
    """What a record channel that goes on elsewhere begins with."""

    channel: ChannelState
    mode: int
    recording: tuple[int, int] | None


class ServerRecord(ServerChannel):
    """Asks one client for sound while the guest wants it."""

    MESSAGE_LIMIT = 256 * 1024

    def __init__(
        self, channel_id: int, peer: Peer, now: float, *, opus: bool = False, state: RecordState | None = None
    ) -> None:
        super().__init__(ChannelType.RECORD, channel_id, peer, now, state.channel if state else None)
        self.mode: int = state.mode if state else AudioMode.RAW
        self._opus = opus
        self._recording = state.recording if state else None

    @classmethod
    def capabilities(cls) -> frozenset[int]:
        return frozenset({RecordCap.VOLUME})

    def state(self) -> RecordState:
        """What a later server needs."""
        return RecordState(self.channel_state(), self.mode, self._recording)

    def recording(self, wanted: tuple[int, int] | None) -> None:
        """Channels and frequency the guest records with, None when it does not; said when it changes."""
        if wanted == self._recording:
            return
        if self._recording is not None:
            self.send(record.Stop())
        self._recording = wanted
        if wanted is not None:
            channels, frequency = wanted
            self.send(record.Start(channels, AudioFormat.S16, frequency))

    def handle(self, message: Message, events: list[ServerEvent], now: float) -> None:
        match message:
            case record.Mode():
                allowed = {AudioMode.RAW, AudioMode.OPUS} if self._opus else {AudioMode.RAW}
                if message.mode not in allowed:
                    raise ProtocolError(f"{self.name}: sound in mode {message.mode} was not offered")
                self.mode = message.mode
            case record.RecordData():
                if self._recording is not None:
                    events.append(Recorded(self.mode, bytes(message.data)))
            case record.StartMark():
                pass
            case _:
                events.append(Received(message))
