"""Judging sound: the guest's tone, gaps in it, and other sounds."""

from __future__ import annotations

import numpy as np
import pytest

from spicehop.codecs.sound import PACKET_SAMPLES, RATE
from spicehop.demo.hearing import TONES, count_sound
from spicehop.guests.demo import DemoGuest

SIZE = PACKET_SAMPLES * 4


def played(seconds: float) -> list[bytes]:
    """What the demo guest plays, in packets of 10 ms."""
    guest = DemoGuest(320, 240)
    guest.run(0.0)
    sound = b""
    for step in range(1, int(seconds * 50) + 1):
        guest.advance(step / 50)
        sound += guest.sound_out.read(1 << 20)
    return [sound[at : at + SIZE] for at in range(0, len(sound) - SIZE + 1, SIZE)]


def test_the_guests_tone_is_known() -> None:
    count = count_sound(played(2.0))
    assert (count.packets, count.gaps, count.is_tone) == (200, 0, True)
    assert count.seconds == pytest.approx(2.0)


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 6])
def test_missing_packets_are_a_gap(missing: int) -> None:
    packets = played(1.0)
    del packets[40 : 40 + missing]
    assert count_sound(packets).gaps == 1


def test_a_packet_that_came_twice_is_a_gap() -> None:
    packets = played(1.0)
    packets.insert(30, packets[30])
    assert count_sound(packets).gaps == 1


def test_a_break_inside_a_packet_is_a_gap_in_the_tone() -> None:
    sound = b"".join(played(1.0))
    sound = sound[: 20 * SIZE + SIZE // 2] + sound[25 * SIZE :]
    count = count_sound([sound[at : at + SIZE] for at in range(0, len(sound), SIZE)])
    assert count.is_tone
    assert count.gaps >= 1


def test_sides_exchanged_silence_and_noise_are_not_the_tone() -> None:
    times = np.arange(RATE) / RATE
    exchanged = np.stack([np.sin(2 * np.pi * tone * times) for tone in reversed(TONES)], axis=1)
    noise = np.random.default_rng(1).normal(size=(RATE, 2))
    for waves in (exchanged, noise, np.zeros((RATE, 2))):
        sound = (waves * 8000).astype("<i2").tobytes()
        assert not count_sound([sound[at : at + SIZE] for at in range(0, len(sound), SIZE)]).is_tone


def test_nothing_and_empty_packets_are_no_sound() -> None:
    assert count_sound([]).is_tone is False
    assert count_sound([b""]).is_tone is False
