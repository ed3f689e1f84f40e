"""Whatever is done to the demo guest: its changes tell the truth, and a moved one goes on as one that was not."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.demo.serial import parse_serial
from spicehop.demo.stamp import read_stamp
from spicehop.guests.demo import DemoGuest
from spicehop.guests.demo.compositor import Compositor
from spicehop.guests.testing import Replica
from spicehop.wire import agent
from spicehop.wire.agent_constants import AgentCap, AgentPort
from spicehop.wire.agent_stream import encode_agent_message, encode_chunk

_KEYS = (*range(1, 69), 0x57, 0x58)
_FUNCTION_KEYS = (63, 64, 65, 66, 67, 68)
_SELECTION = frozenset({AgentCap.CLIPBOARD_SELECTION})


class Hands:
    """Does something to a guest that a number chooses; the same numbers do the same things."""

    def __init__(self, guest: DemoGuest, seed: int) -> None:
        self.guest = guest
        self.random = random.Random(seed)
        self.now = 1000.0
        self.bytes_read: list[bytes] = []

    def act(self) -> None:
        """One thing, and a little time."""
        actions: list[Callable[[], None]] = [self._wait, self._type, self._type, self._point, self._click, self._drag]
        actions += [self._scroll, self._function_key, self._port, self._agent, self._sound, self._menu]
        if self.random.random() < 0.03:
            actions = [self._resize]
        if self.random.random() < 0.03:
            actions = [self._square]
        self.random.choice(actions)()
        self.pass_time(self.random.choice((0.0, 0.0, 0.013, 0.04, 0.08, 0.7)))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.guest.advance(self.now)

    def _wait(self) -> None:
        for _ in range(self.random.randrange(12)):
            self.pass_time(0.04)

    def _type(self) -> None:
        for _ in range(self.random.randrange(1, 30)):
            code = self.random.choice(_KEYS)
            if code in _FUNCTION_KEYS:
                continue
            self.guest.key(bytes([code]))
            if self.random.random() < 0.9:
                self.guest.key(bytes([code | 0x80]))

    def _scroll(self) -> None:
        for _ in range(self.random.randrange(1, 25)):
            self.guest.key(b"\x1e\x9e")
            self.guest.key(b"\x1c\x9c")

    def _function_key(self) -> None:
        code = self.random.choice(_FUNCTION_KEYS)
        self.guest.key(bytes([code, code | 0x80]))

    def _place(self) -> tuple[int, int]:
        height, width = self.guest.displays[0].pixels.shape[:2]
        return self.random.randrange(width), self.random.randrange(height)

    def _point(self) -> None:
        self.guest.pointer_placed(0, *self._place(), self.random.choice((0, 0, 1)))
        self.guest.pointer_moved(self.random.randrange(-50, 50), self.random.randrange(-50, 50), 0)

    def _click(self) -> None:
        self.guest.pointer_placed(0, *self._place(), 0)
        self.guest.buttons_changed(self.random.choice((1, 2, 4, 8, 16)))
        self.guest.buttons_changed(0)

    def _menu(self) -> None:
        height = self.guest.displays[0].pixels.shape[0]
        self.guest.pointer_placed(0, 30, height - 10, 0)
        self.guest.buttons_changed(1)
        self.guest.buttons_changed(0)
        self.guest.pointer_placed(0, 30, height - self.random.randrange(200), 0)

    def _drag(self) -> None:
        places = self.guest._desktop.places
        place = self.random.choice(places)
        self.guest.pointer_placed(0, place.x + 20, place.y + 8, 0)
        self.guest.buttons_changed(1)
        for _ in range(self.random.randrange(4)):
            self.guest.pointer_placed(0, *self._place(), 1)
            self.pass_time(self.random.choice((0.0, 0.04)))
        if self.random.random() < 0.8:
            self.guest.buttons_changed(0)

    def _port(self) -> None:
        devices = self.guest.devices
        device = self.random.choice((*devices.ports, *devices.usbredir, devices.webdav))
        assert device is not None
        device.client_changed(present=self.random.random() < 0.7)
        device.write(self.random.randbytes(self.random.choice((1, 100, 70_000))))
        self.bytes_read.append(device.read(self.random.choice((1, 50, 100_000))))

    def _agent(self) -> None:
        device = self.guest.devices.agent
        assert device is not None
        messages = (
            agent.AnnounceCapabilities.of(_SELECTION, request=self.random.random() < 0.5),
            agent.ClipboardGrab(0, 0, (1,)),
            agent.Clipboard(0, 1, self.random.randbytes(self.random.choice((0, 10, 9000)))),
            agent.ClipboardRequest(0),
            agent.MouseState(5, 6, 2, 0),
            agent.ClientDisconnected(),
        )
        message = encode_agent_message(self.random.choice(messages), capabilities=_SELECTION)
        stream = b"".join(
            encode_chunk(AgentPort.CLIENT, message[start : start + 2048]) for start in range(0, len(message), 2048)
        )
        cut = self.random.randrange(len(stream))
        device.write(stream[:cut])
        self.bytes_read.append(device.read(self.random.choice((3, 500, 100_000))))
        if self.random.random() < 0.9:
            device.write(stream[cut:])

    def _sound(self) -> None:
        self.guest.key(self.random.choice((b"\xe0\x20\xe0\xa0", b"\xe0\x2e\xe0\xae", b"\xe0\x30\xe0\xb0")))
        assert self.guest.sound_out is not None
        assert self.guest.sound_in is not None
        self.bytes_read.append(self.guest.sound_out.read(self.random.choice((4, 4000))))
        self.guest.sound_in.write(self.random.randbytes(400))

    def _resize(self) -> None:
        self.guest.want_monitors([(0, 0, self.random.randrange(300, 700), self.random.randrange(230, 500))])

    def _square(self) -> None:
        self.guest.put_square(*self._place(), self.random.randrange(2**24))


def _redrawn(guest: DemoGuest) -> np.ndarray:
    return Compositor(guest.displays[0].scene, guest.seed).pixels


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_the_changes_replayed_give_the_picture(seed: int, between: int) -> None:
    guest = DemoGuest(640, 480, seed=seed % 3)
    hands, replica = Hands(guest, seed), Replica()
    guest.run(hands.now)
    for step in range(60):
        hands.act()
        if step % between:
            continue
        replica.follow(guest.displays[0])
        assert np.array_equal(replica.surfaces[0], guest.displays[0].pixels)
        assert replica.surfaces.keys() - {0} == guest.displays[0].surfaces.keys()
        for surface, pixels in guest.displays[0].surfaces.items():
            assert np.array_equal(replica.surfaces[surface], pixels)
        assert read_stamp(guest.displays[0].pixels) == guest.displays[0].scene.frame


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_drawn_bit_by_bit_is_what_is_drawn_at_once(seed: int) -> None:
    guest = DemoGuest(640, 480, seed=seed % 3)
    hands = Hands(guest, seed)
    guest.run(hands.now)
    for _ in range(8):
        for _ in range(8):
            hands.act()
        assert np.array_equal(guest.displays[0].pixels, _redrawn(guest))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.booleans())
def test_a_moved_guest_goes_on_as_one_that_was_not(seed: int, moved_after: int, taken: bool) -> None:
    stayed_log: list[str] = []
    moved_log: list[str] = []
    stayed = Hands(DemoGuest(640, 480, seed=5, log=stayed_log.append), seed)
    moved = Hands(DemoGuest(640, 480, seed=5, log=moved_log.append), seed)
    replica = Replica()
    for hands in (stayed, moved):
        hands.guest.run(hands.now)
        for _ in range(moved_after):
            hands.act()
        if taken:
            hands.guest.displays[0].take_changes()
        hands.guest.stop(hands.now)
        hands.guest.key(b"\x1e")
        hands.guest.pointer_placed(0, 1, 1, 0)
    if not taken:
        replica.surfaces = {0: np.zeros((480, 640, 4), np.uint8)}
    target = DemoGuest(800, 600, seed=1, log=moved_log.append)
    target.load(moved.guest.save())
    assert target.save() == moved.guest.save()
    moved.guest = target
    for hands in (stayed, moved):
        hands.now += 3 if hands is stayed else 17.5
        hands.guest.run(hands.now)
        for _ in range(20):
            hands.act()
            hands.bytes_read.append(hands.guest.displays[0].pixels.tobytes())
        hands.guest.stop(hands.now)
    assert moved.bytes_read == stayed.bytes_read
    assert moved_log == stayed_log
    assert moved.guest.save() == stayed.guest.save()
    assert moved.guest.pointer.shape is stayed.guest.pointer.shape
    log = parse_serial("".join(line + "\n" for line in moved_log))
    assert log.is_ready
    assert not [fault for fault in log.faults if "reported" not in fault]


@pytest.mark.parametrize("taken", [True, False])
def test_a_taker_that_knew_the_source_follows_the_target(taken: bool) -> None:
    source = DemoGuest(640, 480)
    replica = Replica()
    source.run(0)
    source.advance(0.5)
    replica.follow(source.displays[0])
    source.want_monitors([(0, 0, 500, 400)])
    source.key(b"\xe0\x5b")
    source.advance(0.6)
    source.stop(0.7)
    if taken:
        replica.follow(source.displays[0])
    target = DemoGuest(640, 480)
    target.displays[0].take_changes()
    target.load(source.save())
    changes = replica.follow(target.displays[0])
    assert np.array_equal(replica.surfaces[0], target.displays[0].pixels)
    assert np.array_equal(replica.surfaces[0], source.displays[0].pixels)
    assert bool(changes) is not taken
