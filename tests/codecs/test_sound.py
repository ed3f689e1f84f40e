"""Sound: packets of 10 ms that stock clients have room for, raw and as Opus."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spicehop.codecs import sound
from spicehop.codecs.sound import PACKET_BYTES, PACKET_SAMPLES, RATE, SoundDecoder, SoundEncoder
from spicehop.errors import OperationError, ProtocolError
from spicehop.wire.constants import AudioMode


def tone(samples: int) -> np.ndarray:
    """440 Hz on the left, 660 Hz on the right."""
    time = np.arange(samples)[:, None] / RATE
    return (12_000 * np.sin(2 * np.pi * time * np.array([440, 660]))).astype("<i2")


def test_raw_sound_is_cut_into_packets():
    samples = tone(3 * PACKET_SAMPLES + 7).tobytes()
    encoder = SoundEncoder(AudioMode.RAW)
    packets = [packet for at in range(0, len(samples), 1000) for packet in encoder.encode(samples[at : at + 1000])]
    assert [len(packet) for packet in packets] == [PACKET_BYTES] * 3
    assert encoder.waiting == 28
    decoder = SoundDecoder(AudioMode.RAW)
    assert b"".join(map(decoder.decode, packets)) == samples[: 3 * PACKET_BYTES]
    with pytest.raises(ProtocolError, match="whole samples"):
        decoder.decode(bytes(7))


def test_opus_gives_the_tone_back():
    encoder, decoder = SoundEncoder(AudioMode.OPUS), SoundDecoder(AudioMode.OPUS)
    assert encoder.mode == AudioMode.OPUS
    samples = tone(50 * PACKET_SAMPLES)
    packets = encoder.encode(samples.tobytes())
    assert 49 <= len(packets) <= 50
    assert sum(map(len, packets)) < samples.nbytes / 5
    parts = [decoder.decode(packet) for packet in packets]
    assert {len(part) for part in parts} == {PACKET_BYTES}
    heard = np.frombuffer(b"".join(parts), "<i2").reshape(-1, 2)[4800:9600].astype(float)
    for channel, pitch in enumerate((440, 660)):
        spectrum = np.abs(np.fft.rfft(heard[:, channel]))
        assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(pitch, abs=10)
        assert np.abs(heard[:, channel]).max() == pytest.approx(12_000, rel=0.1)


def test_without_opus_there_is_raw_sound(monkeypatch):
    monkeypatch.setattr(sound, "codec_exists", lambda name, mode: False)
    assert SoundEncoder(AudioMode.OPUS).mode == AudioMode.RAW
    assert SoundEncoder(AudioMode.CELT_0_5_1).mode == AudioMode.RAW
    assert sound.can_decode(AudioMode.RAW)
    with pytest.raises(OperationError, match="no decoder"):
        SoundDecoder(AudioMode.OPUS)


def test_bad_bytes_give_samples_or_a_protocol_error():
    generator = random.Random(7)
    packets = SoundEncoder(AudioMode.OPUS).encode(tone(10 * PACKET_SAMPLES).tobytes())
    decoder = SoundDecoder(AudioMode.OPUS)
    for _ in range(200):
        data = bytearray(generator.choice(packets))
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            samples = decoder.decode(bytes(data[: generator.randint(1, len(data))]))
        except ProtocolError:
            continue
        assert len(samples) % 4 == 0
        assert len(samples) <= 12 * PACKET_BYTES
    for data in (b"", bytes(10_000)):
        with pytest.raises(ProtocolError, match="cannot have"):
            decoder.decode(data)
