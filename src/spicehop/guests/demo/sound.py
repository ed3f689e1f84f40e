"""The tone that the demo guest plays, and what it hears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicehop.errors import ProtocolError
from spicehop.guests.demo.clock import GuestClock
from spicehop.guests.demo.fnv import FNV_START, fnv1a
from spicehop.guests.demo.scene import MAX_LEVEL
from spicehop.guests.demo.tables import TURN, sines
from spicehop.guests.interface import SoundFormat
from spicehop.wire.layout import U8, U16, U32, U64, Structure

FORMAT = SoundFormat()
TONES = (440, 660)
"""What is to be heard left and right, in Hz."""
PERIOD = 20_000
"""Microseconds after which there is something new to play."""
_AMPLITUDE = 8192
_FRAME = 2 * FORMAT.channels
_BACKLOG = FORMAT.frequency // 5
"""Frames that are kept for a reader who is late."""


@dataclass(frozen=True, slots=True)
class SoundState(Structure):
    """The tone and the recorder."""

    playing: U8
    muted: U8
    level: U8
    position: U64
    recording: U8
    heard: U64
    heard_hash: U32
    peak: U16
    shown_level: U8

    def check(self) -> None:
        """`ProtocolError` when nothing can sound so."""
        if max(self.playing, self.muted, self.recording) > 1 or max(self.level, self.shown_level) > MAX_LEVEL:
            raise ProtocolError("the sound of a saved guest is not one of the demo guest")


class Tone:
    """Sine waves; `guests.interface.SoundOut`."""

    def __init__(self, clock: GuestClock, *, playing: bool) -> None:
        self._clock = clock
        self.playing = playing
        self.muted = False
        self.level = 6
        """Of `MAX_LEVEL`."""
        self._position = 0

    @property
    def format(self) -> SoundFormat | None:
        return FORMAT if self.playing else None

    @property
    def volume(self) -> tuple[int, ...]:
        return (65535 * self.level // MAX_LEVEL,) * FORMAT.channels

    def toggle(self) -> None:
        """Play, or stop playing."""
        self.playing = not self.playing
        self._position = self._reached

    def louder(self, steps: int) -> None:
        """Change the volume."""
        self.level = min(max(self.level + steps, 0), MAX_LEVEL)

    def read(self, limit: int) -> bytes:
        """What was played since the last call; the oldest is left out when that was long ago."""
        if not self.playing or not self._clock.running:
            return b""
        start = max(self._position, self._reached - _BACKLOG)
        count = max(0, min(self._reached - start, limit // _FRAME))
        self._position = start + count
        number = np.arange(start, start + count, dtype=np.int64)
        waves = [sines()[number * tone * TURN // FORMAT.frequency % TURN] for tone in TONES]
        return (np.stack(waves, axis=1) * _AMPLITUDE >> 15).astype("<i2").tobytes()

    @property
    def position(self) -> int:
        """The next frame of samples to be read."""
        return self._position

    @property
    def _reached(self) -> int:
        return self._clock.time * FORMAT.frequency // 1_000_000

    def restore(self, state: SoundState) -> None:
        """Go on where `state` was taken; it has been checked."""
        self.playing, self.muted, self.level = bool(state.playing), bool(state.muted), state.level
        self._position = state.position


class Recorder:
    """Counts what it hears and shows how loud it is; `guests.interface.SoundIn`."""

    def __init__(self, clock: GuestClock) -> None:
        self._clock = clock
        self.recording = False
        self.shown_level = 0
        self.heard = 0
        """Bytes since recording began."""
        self.heard_hash = FNV_START
        self.peak = 0

    @property
    def format(self) -> SoundFormat | None:
        return FORMAT if self.recording else None

    def toggle(self) -> str:
        """Record, or stop recording; returns what the log says."""
        self.recording = not self.recording
        if not self.recording:
            self.shown_level = 0
            return f"recorded bytes={self.heard} fnv={self.heard_hash:08x} peak={self.peak}"
        self.heard, self.heard_hash, self.peak = 0, FNV_START, 0
        return "recording"

    def write(self, samples: bytes) -> None:
        if not self.recording or not self._clock.running:
            return
        self.heard += len(samples)
        self.heard_hash = fnv1a(samples, self.heard_hash)
        values = np.frombuffer(samples, "<i2", len(samples) // 2).astype(np.int32)
        loudest = int(np.abs(values).max()) if len(values) else 0
        self.peak = max(self.peak, loudest)
        self.shown_level = max(self.shown_level, min(MAX_LEVEL, loudest.bit_length() - 7))

    def tick(self, frame: int) -> None:
        """One frame of the picture: the level falls."""
        if frame % 3 == 0 and self.shown_level:
            self.shown_level -= 1

    def restore(self, state: SoundState) -> None:
        """Go on where `state` was taken; it has been checked."""
        self.recording, self.shown_level = bool(state.recording), state.shown_level
        self.heard, self.heard_hash, self.peak = state.heard, state.heard_hash, state.peak


def sound_state(tone: Tone, recorder: Recorder) -> SoundState:
    return SoundState(
        playing=int(tone.playing),
        muted=int(tone.muted),
        level=tone.level,
        position=tone.position,
        recording=int(recorder.recording),
        heard=recorder.heard,
        heard_hash=recorder.heard_hash,
        peak=recorder.peak,
        shown_level=recorder.shown_level,
    )
