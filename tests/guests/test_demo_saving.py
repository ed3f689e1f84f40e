"""The saved state: what is damaged is refused, what is accepted can be lived with."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spicehop.errors import ProtocolError
from spicehop.guests.demo import DemoGuest
from spicehop.guests.demo.saving import _HEAD, _MAGIC, _VERSION, _checksum


def _state() -> bytes:
    guest = DemoGuest(400, 300)
    guest.run(0)
    guest.key(b"\x1e\x9e\xe0")
    guest.pointer_placed(0, 30, 290, 1)
    guest.devices.ports[0].write(b"pending")
    assert guest.devices.agent is not None
    guest.devices.agent.write(b"\1\0\0\0\x30\0\0\0\1\0\0\0\4\0\0\0")
    guest.stop(0.5)
    return guest.save()


STATE = _state()


def _sealed(body: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, _VERSION, 0, len(body), _checksum(body)) + body


def test_it_is_small_and_goes_round() -> None:
    assert len(STATE) < 1500
    guest = DemoGuest()
    guest.load(STATE)
    assert guest.save() == STATE
    assert guest.displays[0].pixels.shape == (300, 400, 4)


def test_every_damaged_byte_and_every_cut_is_refused() -> None:
    guest = DemoGuest(400, 300)
    before = guest.save()
    for position in range(len(STATE)):
        damaged = bytearray(STATE)
        damaged[position] ^= 0x10
        with pytest.raises(ProtocolError):
            guest.load(bytes(damaged))
        with pytest.raises(ProtocolError):
            guest.load(STATE[:position])
    with pytest.raises(ProtocolError):
        guest.load(STATE + b"\0")
    with pytest.raises(ProtocolError):
        guest.load(_sealed(STATE[_HEAD.size :] + b"\0"))
    assert guest.save() == before


def test_another_version_is_refused_with_its_number() -> None:
    with pytest.raises(ProtocolError, match="version 1 of its state, not 2"):
        DemoGuest(400, 300).load(STATE[:4] + b"\2\0" + STATE[6:])


@pytest.mark.parametrize("seed", range(4))
def test_what_a_liar_has_sealed_is_refused_or_can_be_lived_with(seed: int) -> None:
    chooser = random.Random(seed)
    guest = DemoGuest(400, 300)
    accepted = refused = 0
    for _ in range(60):
        body = bytearray(STATE[_HEAD.size :])
        for _ in range(chooser.choice((1, 1, 2, 4))):
            body[chooser.randrange(len(body))] = chooser.choice((0, 255, chooser.randrange(256)))
        try:
            guest.load(_sealed(bytes(body)))
        except ProtocolError:
            refused += 1
            continue
        accepted += 1
        guest.run(0)
        guest.key(b"\x1e\x9e\x1c\x9c")
        guest.pointer_moved(3, -4, 1)
        guest.devices.ports[0].write(b"more")
        guest.advance(0.1)
        guest.stop(0.2)
        again = DemoGuest(400, 300)
        again.load(guest.save())
        assert np.array_equal(again.displays[0].pixels, guest.displays[0].pixels)
    assert accepted
    assert refused
