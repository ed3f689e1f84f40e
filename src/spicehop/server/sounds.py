"""The guest's sound: what it plays goes to all clients, what it records comes from one."""

from __future__ import annotations

from collections.abc import Iterable

from spicehop.channels.serving.playback import ServerPlayback
from spicehop.channels.serving.record import ServerRecord
from spicehop.codecs.sound import CHANNELS, RATE, SoundDecoder, SoundEncoder, can_encode
from spicehop.guests.interface import Guest, SoundFormat
from spicehop.wire.constants import AudioMode

READ_BYTES = 16 * 1024
STANDARD = SoundFormat(CHANNELS, RATE)
"""What is cut into packets and compressed; any other format goes raw, as it is read."""


class SoundDesk:
    """Reads what the guest plays and hands it on, encoded once for all clients that take the same."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._encoders: dict[int, SoundEncoder] = {}
        self._decoder: SoundDecoder | None = None
        self._opus = can_encode(AudioMode.OPUS)

    def pump(self, now: float, players: Iterable[ServerPlayback], recorder: ServerRecord | None) -> None:
        """Bring all channels up to date."""
        self._play(now, list(players))
        source = self._guest.sound_in
        if recorder is not None:
            wanted = source.format if source is not None else None
            recorder.recording(None if wanted is None else (wanted.channels, wanted.frequency))

    def _play(self, now: float, players: list[ServerPlayback]) -> None:
        source = self._guest.sound_out
        if source is None:
            return
        playing = source.format
        for player in players:
            player.loudness(source.volume, muted=source.muted)
            if playing is None:
                player.silent()
            else:
                player.code(self._mode(player, playing), now)
                player.playing(playing.channels, playing.frequency, now)
        if playing is None:
            self._encoders.clear()
            return
        while samples := source.read(READ_BYTES):
            self._hand_on(samples, playing, players, now)

    def _mode(self, player: ServerPlayback, playing: SoundFormat) -> int:
        return AudioMode.OPUS if self._opus and player.takes_opus and playing == STANDARD else AudioMode.RAW

    def _hand_on(self, samples: bytes, playing: SoundFormat, players: list[ServerPlayback], now: float) -> None:
        packets = {}
        for mode in {player.mode for player in players}:
            if playing == STANDARD:
                encoder = self._encoders.setdefault(mode, SoundEncoder(mode))
                packets[mode] = encoder.encode(samples)
            else:
                packets[mode] = [samples]
        for player in players:
            for packet in packets[player.mode]:
                player.play(packet, now)

    def recorded(self, mode: int, data: bytes) -> None:
        """Sound from the client that has the microphone; `ProtocolError` when it cannot be decoded."""
        sink = self._guest.sound_in
        if sink is None or sink.format is None:
            return
        if mode != AudioMode.RAW:
            if self._decoder is None or self._decoder.mode != mode:
                self._decoder = SoundDecoder(mode)
            data = self._decoder.decode(data)
        frame = 2 * sink.format.channels
        sink.write(data[: len(data) // frame * frame])
