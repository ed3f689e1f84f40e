"""Keys at the target of a migration: when they go out, at which pace, and what is said again.

Found with real QEMUs: forty releases at once overflow the PS/2 keyboard's 16 bytes, and the user's next key is dropped.
"""

from __future__ import annotations

from itertools import pairwise

from spicehop.channels.inputs import (
    MESSAGES_AT_ONCE,
    MESSAGES_PER_SECOND_ON_ARRIVAL,
    RELEASE_MEMORY,
    RELEASES_PER_SECOND,
    TARGET_GATE,
    InputsChannel,
)
from spicehop.channels.link import Linked
from spicehop.wire import inputs
from spicehop.wire.base import MigrateData
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities

LINKED = Linked(Capabilities(), True, b"")


class Keyboard:
    """An inputs channel with what it wrote, each with its time."""

    def __init__(self) -> None:
        self.channel = InputsChannel()
        self.written: list[tuple[float, Message]] = []
        self.channel.observer = lambda message, now: self.written.append((now, message))
        self.channel.begin(LINKED, 0.0)

    def run(self, start: float, end: float) -> list[tuple[float, Message]]:
        """Write what may be written from `start` to `end`, waking up when the channel asks for it."""
        self.written.clear()
        now = start
        for _ in range(1000):
            while self.channel.drain(now):
                pass
            due = self.channel.next_deadline()
            if due is None or due > end:
                return list(self.written)
            assert due > now, "it wants to be asked again at once, and has nothing to write"
            now = due
        raise AssertionError("it never comes to rest")

    def type(self, codes: range, now: float) -> None:
        for number, code in enumerate(codes):
            self.channel.key_down(code)
            self.channel.key_up(code)
            self.run(now + number / 100, now + number / 100)


def ups(written: list[tuple[float, Message]]) -> list[int]:
    return [message.code & 0x7F for _, message in written if isinstance(message, inputs.KeyUp)]


def test_input_waits_until_the_machine_runs_at_the_target() -> None:
    keyboard = Keyboard()
    keyboard.type(range(2, 4), 1.0)
    keyboard.channel.swap(LINKED, b"", 2.0)
    keyboard.channel.key_down(30)
    assert [message for _, message in keyboard.run(2.0, 2.1)] == [MigrateData(b"")]
    keyboard.channel.guest_alive(2.1)
    assert keyboard.run(2.1, 2.1)[0] == (2.1, inputs.KeyDown(30))


def test_input_does_not_wait_for_ever() -> None:
    keyboard = Keyboard()
    keyboard.type(range(2, 4), 1.0)
    keyboard.channel.swap(LINKED, None, 2.5)
    keyboard.channel.key_down(30)
    assert keyboard.run(2.5, 9.0)[0] == (2.5 + TARGET_GATE, inputs.KeyDown(30))


def test_input_of_a_first_connection_does_not_wait() -> None:
    keyboard = Keyboard()
    keyboard.channel.key_down(30)
    assert keyboard.run(0.0, 0.0) == [(0.0, inputs.KeyDown(30))]


def test_what_waited_goes_out_at_a_pace_that_a_keyboard_can_follow() -> None:
    keyboard = Keyboard()
    keyboard.channel.key_down(2)
    keyboard.run(1.0, 1.0)
    keyboard.channel.swap(LINKED, None, 5.0)
    for code in range(16, 36):
        keyboard.channel.key_down(code)
    keyboard.channel.guest_alive(5.1)
    written = keyboard.run(5.1, 9.0)
    assert [message.code for _, message in written] == [2, *range(16, 36)]
    assert len([at for at, _ in written if at == 5.1]) <= MESSAGES_AT_ONCE
    for at, _ in written:
        near = [other for other, _ in written if at <= other < at + 0.02]
        assert len(near) <= MESSAGES_AT_ONCE + 0.02 * MESSAGES_PER_SECOND_ON_ARRIVAL + 1


def test_a_machine_that_shows_that_it_runs_gets_what_waited_sooner() -> None:
    keyboard = Keyboard()
    keyboard.channel.key_down(2)
    keyboard.run(1.0, 1.0)
    keyboard.channel.swap(LINKED, None, 5.0)
    for code in range(16, 36):
        keyboard.channel.key_down(code)
    written = []
    for step in range(6):
        keyboard.channel.guest_alive(5.1 + step / 100)
        written += keyboard.run(5.1 + step / 100, 5.1 + step / 100)
    assert [message.code for _, message in written] == [2, *range(16, 36)]
    assert max(len([at for at, _ in written if at == moment]) for moment, _ in written) <= MESSAGES_AT_ONCE


def test_releases_of_the_last_second_are_said_again_the_newest_first_and_slowly() -> None:
    keyboard = Keyboard()
    keyboard.channel.key_down(2)
    keyboard.channel.key_up(2)
    keyboard.run(1.0, 1.0)
    keyboard.type(range(16, 26), 3.0)
    keyboard.channel.swap(LINKED, None, 3.2)
    keyboard.channel.guest_alive(3.2)
    written = keyboard.run(3.2, 9.0)
    assert ups(written) == [*reversed(range(16, 26))]
    gaps = [after - before for (before, _), (after, _) in pairwise(written)]
    assert min(gaps) >= 1 / RELEASES_PER_SECOND - 1e-9


def test_no_release_since_the_begin_of_the_migration_is_forgotten() -> None:
    """The machine may stand still much longer than a second before its channels move."""
    keyboard = Keyboard()
    keyboard.channel.key_down(29)
    keyboard.run(1.0, 1.0)
    keyboard.channel.migrating_since = 2.0
    keyboard.channel.key_up(29)
    keyboard.run(3.0, 3.0)
    keyboard.channel.swap(LINKED, None, 9.0 + RELEASE_MEMORY)
    written = keyboard.run(9.0 + RELEASE_MEMORY, 10.5)
    assert ups(written) == [29]


def test_a_machine_that_shows_nothing_is_told_again_what_is_held_and_released() -> None:
    """It may begin to run after the gate has opened, and then it has dropped what it was told.

    In a guest that draws nothing a key stayed down, on a busy machine with two QEMUs."""
    keyboard = Keyboard()
    keyboard.channel.key_down(29)
    keyboard.channel.key_down(56)
    keyboard.run(1.0, 1.0)
    keyboard.channel.migrating_since = 2.0
    keyboard.channel.key_up(29)
    keyboard.run(3.0, 3.0)
    keyboard.channel.swap(LINKED, None, 10.0)
    keyboard.channel.migrating_since = None
    written = keyboard.run(10.0, 60.0)
    assert [round(at - 10.0, 2) for at, message in written if message == inputs.KeyDown(56)] == [0.25, 0.75, 2.0, 5.0]
    assert [round(at - 10.0, 2) for at, message in written if message == inputs.KeyUp(29 | 0x80)] == [
        0.25,
        0.75,
        2.0,
        5.0,
    ]


def test_a_machine_that_has_shown_that_it_runs_is_told_nothing_again_but_a_few_releases_once() -> None:
    keyboard = Keyboard()
    keyboard.channel.key_down(29)
    keyboard.type(range(2, 3), 9.9)
    keyboard.channel.swap(LINKED, None, 10.0)
    keyboard.run(10.0, 10.5)
    keyboard.channel.guest_alive(10.6)
    assert [message for _, message in keyboard.run(10.6, 10.7)] == [inputs.KeyDown(29), inputs.KeyUp(2 | 0x80)]
    assert keyboard.run(10.7, 60.0) == [(10.75, inputs.KeyUp(2 | 0x80))]


def test_many_releases_are_not_said_once_more_where_the_machine_runs() -> None:
    keyboard = Keyboard()
    keyboard.type(range(2, 12), 9.9)
    keyboard.channel.swap(LINKED, None, 10.0)
    keyboard.channel.guest_alive(10.0)
    assert len(ups(keyboard.run(10.0, 60.0))) == 10


def test_a_key_is_released_again_before_it_is_pressed_again() -> None:
    keyboard = Keyboard()
    keyboard.type(range(16, 19), 3.0)
    keyboard.channel.swap(LINKED, None, 3.1)
    keyboard.channel.key_down(16)
    keyboard.channel.guest_alive(3.1)
    messages = [message for _, message in keyboard.run(3.1, 3.1)]
    assert messages == [inputs.KeyUp(16 | 0x80), inputs.KeyDown(16)]


def test_held_keys_come_before_those_pressed_meanwhile() -> None:
    keyboard = Keyboard()
    keyboard.channel.key_down(29)
    keyboard.run(3.0, 3.0)
    keyboard.channel.swap(LINKED, None, 3.1)
    keyboard.channel.key_down(46)
    keyboard.channel.key_up(29)
    messages = [message for _, message in keyboard.run(3.1, 9.0)]
    assert messages[:3] == [inputs.KeyDown(29), inputs.KeyDown(46), inputs.KeyUp(29 | 0x80)]


def test_the_end_of_the_session_waits_for_nothing() -> None:
    keyboard = Keyboard()
    for code in range(2, 32):
        keyboard.channel.key_down(code)
    keyboard.run(1.0, 3.0)
    keyboard.channel.swap(LINKED, None, 3.1)
    keyboard.channel.release_all()
    assert len(ups(keyboard.run(3.1, 3.1))) == 30
