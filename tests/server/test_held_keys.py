"""What clients hold down in a guest that moves is let go of when they do not come after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from moving_pair import moving_pair, pressed
from waiting import until

import spicehop
from spicehop.channels.serving.inputs import ButtonsChanged, InputEvent, KeyCame
from spicehop.demo.serial import parse_serial
from spicehop.guests.demo import DemoGuest
from spicehop.migration import arriving
from spicehop.server import held_keys
from spicehop.server.devices import DeviceDesk
from spicehop.server.held_keys import HeldKeys
from spicehop.server.input_gate import InputGate
from spicehop.server.left_behind import take_leftovers, with_leftovers

SHIFT = 0x2A
ONE: tuple[InputEvent, ...] = (KeyCame(b"\xaa"), ButtonsChanged(0))
TWO: tuple[InputEvent, ...] = (KeyCame(b"\xe0\x9d"),)


class Given(list[tuple[InputEvent, ...]]):
    """What was let go of."""

    def __call__(self, events: tuple[InputEvent, ...]) -> None:
        if events:
            self.append(events)


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def keys(given: Given) -> HeldKeys:
    """What came with a guest: two clients hold something."""
    gate = InputGate(DemoGuest(320, 240), closed=True)
    keys, desk = HeldKeys(given), DeviceDesk({})
    state = with_leftovers(b"guest", desk, gate, {0xFFFF_FFFF: ONE, 7: TWO})
    assert take_leftovers(state, desk, gate, keys) == b"guest"
    return keys


def test_a_client_that_is_lost_lets_go_at_once(keys: HeldKeys, given: Given) -> None:
    keys.guest_came(100.0)
    keys.client_lost(7)
    assert given == [TWO]


def test_a_client_that_is_lost_before_the_guest_comes_lets_go_then(keys: HeldKeys, given: Given) -> None:
    keys.client_lost(7)
    keys.client_lost(0xFFFF_FFFF)
    keys.client_linked(0xFFFF_FFFF)  # again
    assert given == []
    keys.guest_came(100.0)
    assert given == [TWO]


def test_who_does_not_come_lets_go_when_time_is_over(keys: HeldKeys, given: Given) -> None:
    keys.guest_came(100.0)
    keys.client_came(7)
    due = keys.next_deadline()
    assert due == pytest.approx(111.0)
    keys.turn(110.0)
    assert given == []
    keys.turn(due)
    assert given == [ONE]
    assert keys.next_deadline() is None


def test_another_guest_has_other_keys(keys: HeldKeys, given: Given) -> None:
    keys.expect({})
    keys.guest_came(100.0)
    keys.turn(200.0)
    assert given == []


@pytest.mark.parametrize("direct", [False, True], ids=["through the client", "host to host"])
async def test_a_client_is_lost_on_its_way(tmp_path: Path, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is linked at the target, and is heard of no more."""
    monkeypatch.setattr(held_keys, "LEAVE_SECONDS", 0.5)
    monkeypatch.setattr(arriving, "FOLLOW_SECONDS", 1.5)  # host to host its session is there already
    async with (
        moving_pair(tmp_path, direct=direct) as pair,
        spicehop.connect(f"spice://127.0.0.1:{pair.source.server.port}") as client,
    ):
        client.keyboard.down(SHIFT)
        await until(lambda: pressed(pair.source) == [SHIFT], "a key is held")
        await pair.name_target()
        (here,) = pair.source.server.sessions
        (there,) = pair.target.server.sessions
        for session in (here, there):
            for served in (*session.channels.values(), *session.parked.values()):
                served.stream.abort()  # without telling anybody
        pair.move()

        def let_go() -> bool:
            log = parse_serial("\n".join([*pair.source.lines, *pair.target.lines]))
            return [(one.code, one.value) for one in log.keys if one.value != 2] == [(SHIFT, 1), (SHIFT, 0)]

        await until(let_go, "the key is up")
        await asyncio.sleep(0.8)
        assert let_go(), "and only once"
