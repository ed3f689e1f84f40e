"""The playback channel of a server: what the guest plays, now (dossier B.5).

Sound is not kept for a client that does not take it: beyond `BACKLOG` it is left out, and the clock in the next packet
says by how much.
"""

from __future__ import annotations

from dataclasses import dataclass

from spicehop.channels.serving.channel import ChannelState, Peer, ServerChannel
from spicehop.wire import playback
from spicehop.wire.constants import AudioFormat, ChannelType, PlaybackCap

BACKLOG = 128 * 1024
"""Bytes of sound that may wait for a client: about 0.7 s of raw samples."""


@dataclass(frozen=True, slots=True)
class PlaybackState:
    """What a playback channel that goes on elsewhere begins with."""

    channel: ChannelState
    mode: int
    playing: tuple[int, int] | None
    """Channels and frequency while something plays."""
    volume: tuple[int, ...]
    muted: bool


class ServerPlayback(ServerChannel):
    """Tells one client what to play, and how loud."""

    def __init__(self, channel_id: int, peer: Peer, now: float, state: PlaybackState | None = None) -> None:
        super().__init__(ChannelType.PLAYBACK, channel_id, peer, now, state.channel if state else None)
        self.mode: int = state.mode if state else 0
        """The `AudioMode` the client was told, 0 for none yet."""
        self._playing = state.playing if state else None
        self._volume = state.volume if state else ()
        self._muted = state.muted if state else False
        self.left_out = 0
        """Bytes of sound that the client did not get."""

    @classmethod
    def capabilities(cls) -> frozenset[int]:
        return frozenset({PlaybackCap.VOLUME})

    def state(self) -> PlaybackState:
        """What a later server needs."""
        return PlaybackState(self.channel_state(), self.mode, self._playing, self._volume, self._muted)

    @property
    def takes_opus(self) -> bool:
        """Whether the client decodes Opus."""
        return PlaybackCap.OPUS in self.peer.capabilities.channel

    def code(self, mode: int, now: float) -> None:
        """How sound is coded from now on, an `AudioMode`; said when it changes."""
        if mode != self.mode:
            self.mode = mode
            self.send(playback.Mode(self.media_clock.time(now), mode))

    def loudness(self, volume: tuple[int, ...], *, muted: bool) -> None:
        """The guest's volume; said when it changes."""
        if PlaybackCap.VOLUME not in self.peer.capabilities.channel:
            return
        if volume != self._volume:
            self._volume = volume
            self.send(playback.Volume(volume))
        if muted != self._muted:
            self._muted = muted
            self.send(playback.Mute(int(muted)))

    def playing(self, channels: int, frequency: int, now: float) -> None:
        """The guest plays in this format; said when it changes."""
        if self._playing == (channels, frequency):
            return
        self.silent()
        self._playing = (channels, frequency)
        self.send(playback.Start(channels, AudioFormat.S16, frequency, self.media_clock.time(now)))

    def silent(self) -> None:
        """The guest plays nothing."""
        if self._playing is not None:
            self._playing = None
            self.send(playback.Stop())

    def play(self, packet: bytes, now: float) -> None:
        """One packet in the channel's mode."""
        if self._playing is None or self.bytes_queued + len(packet) > BACKLOG:
            self.left_out += len(packet)
            return
        self.send(playback.PlaybackData(self.media_clock.time(now), packet))
