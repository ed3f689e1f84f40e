"""Judges the sound that a client receives: whether it is the demo guest's tone, and whether pieces are missing.

The guest plays another sine wave on each side, which makes the sound its own measure: the phase of each packet says
whether it follows the one before. Missing pieces of 50 ms, or a multiple, do not show: both waves are at the same place
again after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spicehop.client.session import Session
from spicehop.codecs.sound import CHANNELS, RATE
from spicehop.migration import commands as c
from spicehop.wire import playback

TONES = (440, 660)
"""What the guest plays left and right, in Hz."""
_SAME_PHASE = 0.3
_PURE = 0.9


@dataclass(frozen=True, slots=True)
class SoundCount:
    """What was heard."""

    packets: int
    seconds: float
    gaps: int
    """Packets that do not follow the one before, or with a break inside."""
    is_tone: bool
    """Whether most of it is the guest's tone, and nothing else."""


class Hearing:
    """Keeps the raw samples that a session plays; the client announces no other coding."""

    def __init__(self, session: Session) -> None:
        self.packets: list[bytes] = []
        session.listeners.append(self._happened)

    def _happened(self, event: c.SessionEvent) -> None:
        if isinstance(event, c.MessageReceived) and isinstance(event.message, playback.PlaybackData):
            self.packets.append(bytes(event.message.data))

    def count(self) -> SoundCount:
        """What was heard so far."""
        return count_sound(self.packets)


def count_sound(packets: Sequence[bytes]) -> SoundCount:
    """Judges packets of interleaved samples, signed 16 bit, at `RATE`."""
    place = gaps = pure = 0
    before: list[float] = []
    for packet in packets:
        whole = len(packet) // (2 * CHANNELS) * CHANNELS
        samples = np.frombuffer(packet, "<i2", whole).reshape(-1, CHANNELS).astype(np.float64)
        waves = np.exp(-2j * np.pi * np.outer(np.arange(place, place + len(samples)) / RATE, TONES))
        parts = np.einsum("ts,ts->s", samples, waves)
        energy = np.square(samples).sum(axis=0)
        place += len(samples)
        if not energy.all() or np.any(2 * np.abs(parts) ** 2 < _PURE * len(samples) * energy):
            gaps, before = gaps + 1, []
            continue
        pure += 1
        phases = [float(phase) for phase in np.angle(parts)]
        gaps += any(_differ(*pair) for pair in zip(before, phases, strict=False))
        before = phases
    return SoundCount(len(packets), place / RATE, gaps, pure > len(packets) / 2)


def _differ(one: float, other: float) -> bool:
    return abs((one - other + np.pi) % (2 * np.pi) - np.pi) > _SAME_PHASE
