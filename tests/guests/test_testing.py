"""The still guest."""

from __future__ import annotations

import numpy as np
import pytest

from spicehop.errors import ProtocolError
from spicehop.guests.interface import Drawn, Guest
from spicehop.guests.testing import Replica, StillGuest
from spicehop.raster.region import Box


def test_it_shows_what_the_test_draws() -> None:
    still = StillGuest()
    guest: Guest = still
    replica = Replica()
    guest.run(0)
    still.display.draw(Box(10, 20, 30, 40), (1, 2, 3))
    assert replica.follow(guest.displays[0])[-1] == Drawn(0, (Box(10, 20, 30, 40),))
    assert np.array_equal(replica.surfaces[0], guest.displays[0].pixels)
    guest.key(b"\x1e")
    guest.stop(0)
    guest.key(b"\x9e")
    assert still.keys == [b"\x1e"]
    other = StillGuest(np.ones((5, 6, 4), np.uint8))
    other.load(guest.save())
    assert np.array_equal(other.display.pixels, still.display.pixels)
    with pytest.raises(ProtocolError):
        other.load(b"12345678")
