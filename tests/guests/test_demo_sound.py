"""The tone and the recorder."""

from __future__ import annotations

import numpy as np

from spicehop.guests.demo import DemoGuest
from spicehop.guests.interface import SoundFormat

F9, F10 = b"\x43\xc3", b"\x44\xc4"


def _samples(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").reshape(-1, 2)


def test_the_tone_has_its_pitch_and_its_pace() -> None:
    guest = DemoGuest(320, 240)
    guest.run(0)
    data = b""
    for step in range(1, 101):
        guest.advance(step / 100)
        data += guest.sound_out.read(4 * 480)
    samples = _samples(data)
    assert len(samples) == 48_000
    spectrum = np.abs(np.fft.rfft(samples, axis=0))
    assert spectrum.argmax(axis=0).tolist() == [440, 660]


def test_a_late_reader_misses_the_oldest_and_the_pieces_fit() -> None:
    guest = DemoGuest(320, 240)
    guest.run(0)
    guest.advance(5)
    late = guest.sound_out.read(10**6)
    assert len(late) == 4 * 9600
    assert guest.sound_out.read(100) == b""
    whole = DemoGuest(320, 240)
    whole.run(0)
    whole.advance(5)
    assert b"".join(whole.sound_out.read(1001) for _ in range(40)) == late


def test_it_is_switched_and_turned_down() -> None:
    guest = DemoGuest(320, 240, tone=False)
    guest.run(0)
    assert guest.sound_out.format is None
    guest.key(F9)
    guest.advance(1)
    assert guest.sound_out.format == SoundFormat()
    assert guest.sound_out.read(10**6)
    loud = guest.sound_out.volume
    guest.key(b"\xe0\x2e\xe0\xae\xe0\x20\xe0\xa0")
    assert guest.sound_out.volume < loud
    assert guest.sound_out.muted


def test_what_it_hears_is_counted_and_shown() -> None:
    lines: list[str] = []
    guest = DemoGuest(320, 240, log=lines.append)
    guest.run(0)
    guest.sound_in.write(bytes(100))
    assert guest.sound_in.format is None
    guest.key(F10)
    assert guest.sound_in.format == SoundFormat()
    guest.sound_in.write(np.full(960, -20_000, "<i2").tobytes())
    guest.advance(0.001)
    assert guest.displays[0].scene.level > 5
    for step in range(60):
        guest.advance(step * 0.04)
    assert guest.displays[0].scene.level == 0
    guest.key(F10)
    assert "recorded bytes=1920 fnv=" in lines[-2]
    assert "peak=20000" in lines[-2]
