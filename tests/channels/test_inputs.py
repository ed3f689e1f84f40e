"""Keys and mouse: what the server is told, what is merged, and what a later server hears again.

The pace of keys after a migration is in `test_inputs_after_migration`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_end import ServerEnd

from spicehop.channels.inputs import MAX_MOTIONS_UNACKNOWLEDGED, MOTIONS_PER_ACK, InputsChannel, key_code, release_code
from spicehop.errors import UsageError
from spicehop.wire import base, inputs
from spicehop.wire.constants import ChannelType, MouseButton, MouseMode
from spicehop.wire.layout import Message

A, B, SHIFT, RIGHT_CTRL = 0x1E, 0x30, 0x2A, 0xE01D
LEFT, WHEEL_UP = MouseButton.LEFT, MouseButton.UP


def linked() -> tuple[InputsChannel, ServerEnd]:
    channel, server = InputsChannel(), ServerEnd(ChannelType.INPUTS)
    channel.begin(server.linked(inputs.Init(0)), 0.0)
    return channel, server


def all_written(channel: InputsChannel, server: ServerEnd, now: float, until: float = 0.0) -> list[Message]:
    """What goes out from `now` on, with as many pauses as the channel wants."""
    messages = server.read_all(channel, now)
    while (due := channel.next_deadline()) is not None and due <= max(until, now):
        now = due
        messages += server.read_all(channel, now)
    return messages


def at_target(channel: InputsChannel, now: float, *, data: bytes | None = b"") -> list[Message]:
    """What a channel tells the target of a seamless migration within the first seconds."""
    target = ServerEnd(ChannelType.INPUTS)
    channel.swap(target.linked(), data, now)
    channel.guest_alive(now)
    return [
        message for message in all_written(channel, target, now, now + 9) if not isinstance(message, base.MigrateData)
    ]


@pytest.mark.parametrize(
    ("scancode", "down", "up"),
    [(0x01, 0x01, 0x81), (0x7F, 0x7F, 0xFF), (0xE01D, 0x1DE0, 0x9DE0), (0xE05B, 0x5BE0, 0xDBE0)],
)
def test_scan_codes_in_the_order_of_the_wire(scancode: int, down: int, up: int) -> None:
    assert key_code(scancode) == down
    assert release_code(down) == up


@pytest.mark.parametrize("scancode", [0, -1, 0x80, 0xFF, 0x11D, 0xE000, 0xE080, 0xE11D, 0x1E01D, 2**40])
def test_what_is_no_scan_code_is_refused(scancode: int) -> None:
    channel, server = linked()
    with pytest.raises(UsageError, match="not a scan code"):
        channel.key_down(scancode)
    with pytest.raises(UsageError):
        channel.key_up(scancode)
    assert server.read_all(channel) == []


def test_keys_go_out_in_order() -> None:
    channel, server = linked()
    channel.key_down(SHIFT)
    channel.key_down(A)
    channel.key_up(A)
    channel.key_up(SHIFT)
    expected = [inputs.KeyDown(SHIFT), inputs.KeyDown(A), inputs.KeyUp(A | 0x80), inputs.KeyUp(SHIFT | 0x80)]
    assert server.read_all(channel) == expected
    assert channel.keys_held == {}


def test_the_server_says_which_locks_are_on() -> None:
    channel, server = linked()
    channel.feed(server.say(inputs.KeyModifiers(6)), 0.0)
    assert channel.modifiers == 6
    channel.lock_keys(2)
    assert server.read_all(channel) == [inputs.KeyModifiers(2)]
    with pytest.raises(UsageError):
        channel.lock_keys(0x10000)


def test_release_all_lets_go_of_keys_and_buttons() -> None:
    channel, server = linked()
    channel.key_down(SHIFT)
    channel.key_down(RIGHT_CTRL)
    channel.button_down(LEFT)
    channel.button_down(MouseButton.RIGHT)
    server.read_all(channel)
    channel.release_all()
    assert server.read_all(channel) == [
        inputs.KeyUp(SHIFT | 0x80),
        inputs.KeyUp(0x9DE0),
        inputs.MouseRelease(LEFT, 0b100),
        inputs.MouseRelease(MouseButton.RIGHT, 0),
    ]
    assert (channel.keys_held, channel.holds(SHIFT)) == ({}, False)


# -- mouse ----------------------------------------------------------------------------------------------------------


def test_buttons_carry_the_mask_after_them() -> None:
    channel, server = linked()
    channel.button_down(LEFT)
    channel.button_down(MouseButton.EXTRA)
    channel.button_up(LEFT)
    assert server.read_all(channel) == [
        inputs.MousePress(LEFT, 0b1),
        inputs.MousePress(MouseButton.EXTRA, 0b1000001),
        inputs.MouseRelease(LEFT, 0b1000000),
    ]


@pytest.mark.parametrize("button", [0, -1, 17, 1000])
def test_what_is_no_button_is_refused(button: int) -> None:
    channel, server = linked()
    with pytest.raises(UsageError, match="not a mouse button"):
        channel.button_down(button)
    with pytest.raises(UsageError):
        channel.button_up(button)
    assert server.read_all(channel) == []


def test_positions_beyond_what_is_unacknowledged_are_merged_to_the_last() -> None:
    channel, server = linked()
    for x in range(20):
        channel.move(x, 2 * x, MouseMode.CLIENT)
    sent = all_written(channel, server, 0.0, 1.0)
    assert sent == [inputs.MousePosition(x, 2 * x, 0, 0) for x in range(MAX_MOTIONS_UNACKNOWLEDGED)]
    channel.feed(server.say(inputs.MouseMotionAck()), 1.0)
    assert server.read_all(channel, 1.0) == [inputs.MousePosition(19, 38, 0, 0)]
    channel.feed(server.say(inputs.MouseMotionAck()), 1.0)
    assert server.read_all(channel, 1.0) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), st.just("ack"), st.just("click"))))
def test_no_movement_is_lost_by_merging(steps: list[tuple[int, int] | str]) -> None:
    channel, server = linked()
    wanted, told = [0, 0], [0, 0]
    for number, step in enumerate([*steps, "ack", "ack", "ack"]):
        if step == "ack":
            channel.feed(server.say(inputs.MouseMotionAck()), float(number))
        elif step == "click":
            channel.button_down(LEFT)
            channel.button_up(LEFT)
        else:
            channel.move(*step, MouseMode.SERVER)
            wanted = [wanted[0] + step[0], wanted[1] + step[1]]
        for message in all_written(channel, server, float(number), number + 0.9):
            if isinstance(message, inputs.MouseMotion):
                told = [told[0] + message.dx, told[1] + message.dy]
    assert told == wanted


def test_a_click_happens_where_the_pointer_is() -> None:
    channel, server = linked()
    for x in range(MAX_MOTIONS_UNACKNOWLEDGED + 5):
        channel.move(x, 0, MouseMode.CLIENT)
    channel.button_down(LEFT)
    assert all_written(channel, server, 0.0, 1.0)[-2:] == [
        inputs.MousePosition(MAX_MOTIONS_UNACKNOWLEDGED + 4, 0, 0, 0),
        inputs.MousePress(LEFT, 1),
    ]


@pytest.mark.parametrize(("x", "y"), [(-5, -5), (2**40, 2**40), (3.6, 4.4)])
def test_positions_are_whole_and_fit_their_fields(x: float, y: float) -> None:
    channel, server = linked()
    channel.move(x, y, MouseMode.CLIENT)
    channel.move(x, y, MouseMode.SERVER)
    position, motion = server.read_all(channel)
    assert isinstance(position, inputs.MousePosition)
    assert isinstance(motion, inputs.MouseMotion)
    assert position.x >= 0
    assert abs(motion.dx) < 2**31


def test_acknowledgements_of_nothing_change_nothing() -> None:
    channel, server = linked()
    channel.feed(server.say(*[inputs.MouseMotionAck()] * 5), 0.0)
    for x in range(20):
        channel.move(x, 0, MouseMode.CLIENT)
    assert len(all_written(channel, server, 0.0, 1.0)) == MAX_MOTIONS_UNACKNOWLEDGED == 2 * MOTIONS_PER_ACK


# -- after a migration ----------------------------------------------------------------------------------------------


def test_a_key_that_is_held_is_pressed_again_and_one_just_released_released_again() -> None:
    channel, server = linked()
    channel.key_down(SHIFT)
    channel.key_down(A)
    channel.key_up(A)
    server.read_all(channel, 1.0)
    assert at_target(channel, 1.5) == [inputs.KeyDown(SHIFT), inputs.KeyUp(A | 0x80), inputs.KeyUp(A | 0x80)]


def test_a_release_of_long_ago_is_not_said_again() -> None:
    channel, server = linked()
    channel.key_down(A)
    channel.key_up(A)
    server.read_all(channel, 1.0)
    assert at_target(channel, 2.1) == []


def test_what_no_server_has_heard_is_said_once() -> None:
    channel, server = linked()
    channel.feed(server.say(base.Migrate(3)), 1.0)
    channel.key_down(A)
    channel.key_up(A)
    assert server.read_all(channel, 1.0) == [base.MigrateFlushMark()]
    assert at_target(channel, 1.1) == [inputs.KeyDown(A), inputs.KeyUp(A | 0x80)]


def test_a_key_released_while_the_channel_moved_is_released_at_the_target() -> None:
    channel, server = linked()
    channel.key_down(A)
    server.read_all(channel, 1.0)
    channel.feed(server.say(base.Migrate(3)), 1.1)
    channel.key_up(A)
    server.read_all(channel, 1.1)
    messages = at_target(channel, 1.2)
    assert messages[0] == inputs.KeyDown(A)
    assert messages[-1] == inputs.KeyUp(A | 0x80)
    assert channel.state(2.0).held_keys == ()


def test_buttons_are_told_again_but_no_step_of_the_wheel() -> None:
    channel, server = linked()
    channel.button_down(LEFT)
    channel.button_down(MouseButton.RIGHT)
    channel.button_up(MouseButton.RIGHT)
    channel.button_down(WHEEL_UP)
    server.read_all(channel, 1.0)
    messages = at_target(channel, 1.2)
    assert inputs.MousePress(LEFT, 0b1001) in messages
    assert inputs.MouseRelease(MouseButton.RIGHT, 0b1001) in messages
    assert not any(isinstance(one, inputs.MousePress) and one.button == WHEEL_UP for one in messages)


def test_a_new_beginning_tells_what_is_held_too_and_keeps_what_waits() -> None:
    channel, server = linked()
    channel.key_down(SHIFT)
    server.read_all(channel, 1.0)
    channel.disconnect()
    channel.key_down(A)
    again = ServerEnd(ChannelType.INPUTS)
    channel.begin(again.linked(inputs.Init(0)), 1.2)
    channel.guest_alive(1.2)
    assert all_written(channel, again, 1.2, 3.0) == [inputs.KeyDown(SHIFT), inputs.KeyDown(A)]


def test_motions_of_another_server_need_no_acknowledgement_at_a_new_beginning() -> None:
    channel, server = linked()
    for x in range(MAX_MOTIONS_UNACKNOWLEDGED + 3):
        channel.move(x, 0, MouseMode.CLIENT)
    server.read_all(channel)
    again = ServerEnd(ChannelType.INPUTS)
    channel.begin(again.linked(inputs.Init(0)), 1.0)
    channel.guest_alive(1.0)
    channel.move(99, 0, MouseMode.CLIENT)
    assert inputs.MousePosition(99, 0, 0, 0) in all_written(channel, again, 1.0, 3.0)


def test_what_went_to_a_machine_that_did_not_run_yet_is_said_again_when_it_lives() -> None:
    channel, server = linked()
    channel.key_down(A)
    server.read_all(channel, 1.0)
    target = ServerEnd(ChannelType.INPUTS)
    channel.swap(target.linked(), None, 2.0)
    channel.key_up(A)
    all_written(channel, target, 2.0, 4.9)
    channel.guest_alive(5.0)
    assert inputs.KeyUp(A | 0x80) in all_written(channel, target, 5.0, 6.0)
    channel.guest_alive(6.5)
    assert all_written(channel, target, 6.5, 9.0) == []


KEYS = st.sampled_from([A, B, SHIFT, RIGHT_CTRL])
STEPS = st.lists(st.tuples(st.booleans(), KEYS, st.booleans()), max_size=25)


def seen_by_guest(down: set[int], messages: list[Message]) -> None:
    for message in messages:
        if isinstance(message, inputs.KeyDown):
            down.add(message.code)
        elif isinstance(message, inputs.KeyUp):
            down.discard(message.code & ~(0x8000 if message.code > 0xFF else 0x80))


@settings(max_examples=120, deadline=None)
@given(STEPS, st.integers(0, 25))
def test_after_a_migration_the_guest_holds_what_the_user_holds(steps: list[tuple[bool, int, bool]], when: int) -> None:
    """Whichever of the last second's keys the source's machine swallowed, and wherever among them MIGRATE came."""
    channel, server = linked()
    in_guest: set[int] = set()
    now = 1.0
    for number, (down, scancode, swallowed) in enumerate(steps):
        now += 0.03
        if number == when:
            channel.feed(server.say(base.Migrate(3)), now)
        if down:
            channel.key_down(scancode)
        else:
            channel.key_up(scancode)
        written = all_written(channel, server, now, now + 0.02)
        seen_by_guest(in_guest, [] if swallowed else written)
    if when >= len(steps):
        channel.feed(server.say(base.Migrate(3)), now)
        server.read_all(channel, now)
    seen_by_guest(in_guest, at_target(channel, now + 0.05))
    assert in_guest == set(channel.keys_held)
