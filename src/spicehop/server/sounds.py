"""The guest's sound: what it plays goes to all clients, what it records comes from one."""

from __future__ import annotations

from collections.abc import Iterable

from spicehop.channels.serving.playback import ServerPlayback
from spicehop.channels.serving.record import ServerRecord
from spicehop.guests.interface import Guest
from spicehop.wire.constants import AudioMode

READ_BYTES = 16 * 1024


class SoundDesk:
    """Reads what the guest plays and hands it on."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def pump(self, now: float, players: Iterable[ServerPlayback], recorder: ServerRecord | None) -> None:
        """Bring all channels up to date."""
        self._play(now, list(players))
        source = self._guest.sound_in
        if source is not None and recorder is not None:
            wanted = source.format
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
                player.playing(playing.channels, playing.frequency, now)
        if playing is None:
            return
        while samples := source.read(READ_BYTES):
            for player in players:
                if player.mode == AudioMode.RAW:
                    player.play(samples, now)

    def recorded(self, mode: int, data: bytes) -> None:
        """Sound from the client that has the microphone."""
        sink = self._guest.sound_in
        if sink is not None and mode == AudioMode.RAW and sink.format is not None:
            frame = 2 * sink.format.channels
            sink.write(data[: len(data) // frame * frame])
