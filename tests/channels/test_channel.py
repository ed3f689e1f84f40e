"""What all channels do: serials, acknowledgements, pings, lists, waits, and the hand-over of a seamless migration."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_end import ServerEnd, received

from spicehop.channels.channel import (
    MAX_REPLIES,
    WAIT_DEADLINE,
    ClientChannel,
    Failed,
    HandOver,
    MigrateReceived,
    MustWait,
    SwapReady,
)
from spicehop.errors import ProtocolError
from spicehop.wire import base, cursor
from spicehop.wire.constants import ChannelType, MigrateFlag
from spicehop.wire.framing import MINI_HEADER, encode_frame
from spicehop.wire.layout import Message

CURSOR = ChannelType.CURSOR
FLUSH, DATA = MigrateFlag.NEED_FLUSH, MigrateFlag.NEED_DATA_TRANSFER
HIDE, RESET = cursor.Hide(), cursor.Reset()
WAIT = base.WaitFor(ChannelType.DISPLAY, 0, 7)


def linked(*, mini_header: bool = True) -> tuple[ClientChannel, ServerEnd]:
    channel, server = ClientChannel(CURSOR, 0), ServerEnd(CURSOR, mini_header=mini_header)
    channel.begin(server.linked(), 0.0)
    return channel, server


def failure(events: list[object]) -> str:
    assert isinstance(events[-1], Failed)
    return str(events[-1].error)


def note(text: bytes) -> base.Disconnecting:
    """A message that a client may queue on any channel, told apart by its number."""
    return base.Disconnecting(int.from_bytes(text, "little"), 0)


# -- receiving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mini_header", [True, False])
def test_serials_count_every_message(mini_header: bool) -> None:
    channel, server = linked(mini_header=mini_header)
    channel.feed(server.say(HIDE, base.Ping(1, 2), RESET), 0.0)
    assert channel.serial == 3
    channel.feed(server.say(HIDE), 0.0)
    assert channel.serial == 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=60), st.booleans())
def test_every_chunking_gives_the_same_messages(sizes: list[int], mini_header: bool) -> None:
    channel, server = linked(mini_header=mini_header)
    stream = server.say(HIDE, RESET, base.Ping(3, 4, b"\0" * 20), cursor.InvalOne(5), HIDE)
    messages: list[Message] = []
    for size in [*sizes, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        messages += received(channel.feed(piece, 0.0))
    assert messages == [HIDE, RESET, cursor.InvalOne(5), HIDE]
    assert server.read_all(channel) == [base.Pong(3, 4)]


def test_a_ping_is_answered_without_its_padding() -> None:
    channel, server = linked()
    channel.feed(server.say(base.Ping(7, 2**63, b"\0" * 1000)), 0.0)
    assert server.read_all(channel) == [base.Pong(7, 2**63)]


def test_an_ack_goes_out_behind_each_window() -> None:
    channel, server = linked()
    channel.feed(server.say(base.SetAck(5, 3)), 0.0)
    assert server.read_all(channel) == [base.AckSync(5)]
    channel.feed(server.say(HIDE), 0.0)  # SET_ACK itself counts as well
    assert server.read_all(channel) == []
    channel.feed(server.say(HIDE), 0.0)
    assert server.read_all(channel) == [base.Ack()]
    channel.feed(server.say(*[HIDE] * 6), 0.0)
    assert server.read_all(channel) == [base.Ack(), base.Ack()]


def test_without_a_window_there_are_no_acks() -> None:
    channel, server = linked()
    channel.feed(server.say(base.SetAck(1, 0), *[HIDE] * 100), 0.0)
    assert server.read_all(channel) == [base.AckSync(1)]


def test_a_message_that_held_the_channel_up_counts_for_the_window() -> None:
    channel, server = linked()
    channel.feed(server.say(base.SetAck(1, 2)), 0.0)
    channel.feed(server.say(base.WaitForChannels((WAIT,))), 0.0)
    assert server.read_all(channel) == [base.AckSync(1), base.Ack()]


def test_sub_messages_of_a_full_header_come_first() -> None:
    channel, server = linked(mini_header=False)
    own = cursor.InvalOne(9).encode()
    parts = (base.SubMessage(105, b""), base.SubMessage(4, base.Ping(1, 1).encode()))
    body = own + base.encode_sub_messages(parts, at=len(own))
    frame = encode_frame(107, body, mini_header=False, serial=1, sub_list=len(own))
    assert received(channel.feed(frame, 0.0)) == [HIDE, cursor.InvalOne(9)]
    assert channel.serial == 1
    assert server.read_all(channel) == [base.Pong(1, 1)]


def test_a_list_is_handled_part_by_part_and_counts_once() -> None:
    channel, server = linked()
    channel.feed(server.say(base.SetAck(1, 2)), 0.0)
    parts = (base.SubMessage(105, b""), base.SubMessage(102, b""), base.SubMessage(105, b""))
    assert received(channel.feed(server.say(base.MessageList(parts)), 0.0)) == [HIDE, RESET, HIDE]
    assert channel.serial == 2
    assert server.read_all(channel) == [base.AckSync(1), base.Ack()]


def test_an_empty_list_is_a_message_like_any_other() -> None:
    channel, server = linked()
    assert received(channel.feed(server.say(base.MessageList(()), HIDE), 0.0)) == [HIDE]
    assert channel.serial == 2


def test_an_unknown_message_is_passed_on() -> None:
    channel, _ = linked()
    (message,) = received(channel.feed(encode_frame(999, b"abc", mini_header=True), 0.0))
    assert message.encode() == b"abc"


def test_what_came_before_a_broken_message_is_handled() -> None:
    channel, server = linked()
    events = channel.feed(server.say(HIDE) + encode_frame(101, b"", mini_header=True), 0.0)
    assert received(events) == [HIDE]
    assert isinstance(events[-1], Failed)


def test_a_message_beyond_the_limit_is_refused_by_its_header() -> None:
    channel, _ = linked()
    assert "larger than the limit" in failure(channel.feed(MINI_HEADER.pack(104, 2**31), 0.0))


def test_a_server_that_reads_no_answers_is_given_up() -> None:
    channel, server = linked()
    events = channel.feed(server.say(*[base.Ping(n, 0) for n in range(MAX_REPLIES + 1)]), 0.0)
    assert "reads none" in failure(events)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6), st.booleans())
def test_arbitrary_bytes_raise_nothing(pieces: list[bytes], mini_header: bool) -> None:
    channel, _ = linked(mini_header=mini_header)
    for piece in pieces:
        if any(isinstance(event, Failed) for event in channel.feed(piece, 0.0)):
            return
        channel.drain(0.0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=40)), max_size=12))
def test_arbitrary_base_messages_raise_nothing(frames: list[tuple[int, bytes]]) -> None:
    channel, _ = linked()
    for number, body in frames:
        if any(isinstance(event, Failed) for event in channel.feed(encode_frame(number, body, mini_header=True), 0.0)):
            return
        channel.drain(0.0)


# -- waits ----------------------------------------------------------------------------------------------------------


def test_a_wait_holds_up_what_follows_until_it_is_over() -> None:
    channel, server = linked()
    events = channel.feed(server.say(HIDE, base.WaitForChannels((WAIT,)), RESET), 1.0)
    assert events[-1] == MustWait((WAIT,))
    assert received(events) == [HIDE]
    assert (channel.serial, channel.next_deadline()) == (2, 1.0 + WAIT_DEADLINE)
    assert channel.feed(server.say(HIDE), 2.0) == []
    assert received(channel.proceed(3.0)) == [RESET, HIDE]
    assert (channel.serial, channel.next_deadline()) == (4, None)


def test_a_wait_for_nothing_is_no_wait() -> None:
    channel, server = linked()
    assert received(channel.feed(server.say(base.WaitForChannels(()), HIDE), 0.0)) == [HIDE]
    assert channel.next_deadline() is None


def test_a_wait_within_a_list_holds_up_the_rest_of_the_list() -> None:
    channel, server = linked()
    parts = (base.SubMessage(5, base.WaitForChannels((WAIT,)).encode()), base.SubMessage(105, b""))
    assert channel.feed(server.say(base.MessageList(parts)), 0.0) == [MustWait((WAIT,))]
    assert channel.serial == 0
    assert received(channel.proceed(0.0)) == [HIDE]
    assert channel.serial == 1


def test_a_wait_has_a_deadline() -> None:
    channel, server = linked()
    channel.feed(server.say(base.WaitForChannels((WAIT,))), 5.0)
    channel.handle_timer(5.0 + WAIT_DEADLINE - 0.01)
    with pytest.raises(ProtocolError, match="did not come up"):
        channel.handle_timer(5.0 + WAIT_DEADLINE)


def test_pings_are_answered_before_a_wait_only() -> None:
    channel, server = linked()
    channel.feed(server.say(base.Ping(1, 0), base.WaitForChannels((WAIT,)), base.Ping(2, 0)), 0.0)
    assert server.read_all(channel) == [base.Pong(1, 0)]
    channel.proceed(0.0)
    assert server.read_all(channel) == [base.Pong(2, 0)]


def test_a_new_connection_waits_for_nothing() -> None:
    channel, server = linked()
    channel.feed(server.say(base.WaitForChannels((WAIT,)), HIDE), 0.0)
    channel.disconnect()
    assert channel.next_deadline() is None
    again = ServerEnd(CURSOR)
    assert received(channel.begin(again.linked(RESET), 1.0)) == [RESET]


# -- the hand-over --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mini_header", [True, False])
def test_the_chart_of_a_hand_over_with_data(mini_header: bool) -> None:
    channel, source = linked(mini_header=mini_header)
    channel.send(note(b"1"))
    assert source.read_all(channel) == [note(b"1")]
    channel.send(note(b"2"))
    assert channel.feed(source.say(base.Migrate(FLUSH | DATA)), 0.0) == [MigrateReceived(3, with_data=True)]
    assert source.read_all(channel) == [base.MigrateFlushMark()]
    assert received(channel.feed(source.say(HIDE), 0.0)) == [HIDE]  # what was queued there already goes first
    assert channel.feed(source.say(base.MigrateData(b"state")), 0.0) == [SwapReady(b"state")]
    assert channel.hand_over is HandOver.READY
    channel.send(note(b"3"))
    assert source.read_all(channel) == []
    target = ServerEnd(CURSOR, mini_header=mini_header)
    target.serial = source.serial
    channel.swap(target.linked(), b"state", 0.0)
    assert target.read_all(channel) == [base.MigrateData(b"state"), note(b"2"), note(b"3")]
    assert channel.serial == 3
    channel.feed(target.say(HIDE), 0.0)
    assert channel.serial == 4


def test_flag_1_asks_for_a_flush_mark_and_no_data() -> None:
    channel, source = linked()
    channel.send(note(b"1"))
    assert channel.feed(source.say(base.Migrate(FLUSH)), 0.0) == [MigrateReceived(1, with_data=False), SwapReady(None)]
    assert source.read_all(channel) == [base.MigrateFlushMark()]
    target = ServerEnd(CURSOR)
    channel.swap(target.linked(), None, 0.0)
    assert target.read_all(channel) == [note(b"1")]


def test_flags_0_ask_for_nothing() -> None:
    channel, source = linked()
    channel.send(note(b"1"))
    assert channel.feed(source.say(base.Migrate(0)), 0.0) == [MigrateReceived(0, with_data=False), SwapReady(None)]
    assert source.read_all(channel) == []
    target = ServerEnd(CURSOR)
    channel.swap(target.linked(), None, 0.0)
    assert target.read_all(channel) == [note(b"1")]


def test_data_without_a_flush_mark() -> None:
    channel, source = linked()
    channel.feed(source.say(base.Migrate(DATA)), 0.0)
    assert source.read_all(channel) == []
    assert channel.feed(source.say(base.MigrateData(b"")), 0.0) == [SwapReady(b"")]


def test_nothing_but_the_flush_mark_goes_to_the_source_after_migrate() -> None:
    channel, source = linked()
    channel.feed(source.say(base.SetAck(1, 1), base.Ping(1, 0)), 0.0)
    channel.feed(source.say(base.Migrate(FLUSH | DATA), base.Ping(2, 0), HIDE), 0.0)
    assert source.read_all(channel) == [base.MigrateFlushMark()]


def test_data_is_the_first_message_at_a_target_that_has_already_asked() -> None:
    """The target may send PING and SET_ACK before it has the data (dossier C1.3)."""
    channel, source = linked()
    channel.send(note(b"1"))
    channel.feed(source.say(base.Migrate(FLUSH | DATA), base.MigrateData(b"state")), 0.0)
    source.read_all(channel)
    target = ServerEnd(CURSOR)
    channel.swap(target.linked(base.Ping(1, 0), base.SetAck(4, 20)), b"state", 0.0)
    assert target.read_all(channel) == [base.MigrateData(b"state"), base.Pong(1, 0), base.AckSync(4), note(b"1")]


@pytest.mark.parametrize("source_mini", [True, False])
@pytest.mark.parametrize("target_mini", [True, False])
def test_what_waits_is_framed_for_the_server_that_gets_it(source_mini: bool, target_mini: bool) -> None:
    channel, source = linked(mini_header=source_mini)
    channel.send(note(b"1"))
    channel.feed(source.say(base.Migrate(FLUSH | DATA), base.MigrateData(b"state")), 0.0)
    source.read_all(channel)
    target = ServerEnd(CURSOR, mini_header=target_mini)
    target.serial = 2
    channel.swap(target.linked(HIDE), b"state", 0.0)
    assert target.read_all(channel) == [base.MigrateData(b"state"), note(b"1")]
    assert channel.serial == 3


def test_the_window_of_the_source_is_not_taken_along() -> None:
    channel, source = linked()
    channel.feed(source.say(base.SetAck(1, 2), base.Migrate(0)), 0.0)
    target = ServerEnd(CURSOR)
    channel.swap(target.linked(*[HIDE] * 5), None, 0.0)
    assert target.read_all(channel) == []
    channel.feed(target.say(base.SetAck(2, 2), HIDE), 0.0)
    assert target.read_all(channel) == [base.AckSync(2), base.Ack()]


def test_migrate_data_without_migrate_is_refused() -> None:
    channel, source = linked()
    assert "MIGRATE_DATA came without MIGRATE" in failure(channel.feed(source.say(base.MigrateData(b"x")), 0.0))


def test_a_second_migrate_is_refused() -> None:
    channel, source = linked()
    channel.feed(source.say(base.Migrate(FLUSH | DATA)), 0.0)
    assert "MIGRATE came twice" in failure(channel.feed(source.say(base.Migrate(FLUSH | DATA)), 0.0))


def test_a_target_that_migrates_before_it_has_the_state_is_refused() -> None:
    channel, source = linked()
    channel.feed(source.say(base.Migrate(DATA), base.MigrateData(b"state")), 0.0)
    target = ServerEnd(CURSOR)
    channel.swap(target.linked(), b"state", 0.0)
    assert "has not been given" in failure(channel.feed(target.say(base.Migrate(0)), 0.0))


def test_waits_of_the_source_end_with_the_hand_over() -> None:
    channel, source = linked()
    channel.feed(source.say(base.WaitForChannels((WAIT,)), base.Migrate(0)), 0.0)
    assert channel.proceed(0.0)[-1] == SwapReady(None)
    assert channel.next_deadline() is None


# -- going back -----------------------------------------------------------------------------------------------------


def moved() -> tuple[ClientChannel, ServerEnd, ServerEnd, object]:
    """A channel that has gone to a target, with two messages of the source behind MIGRATE_DATA."""
    channel, source = linked()
    channel.feed(source.say(base.SetAck(1, 3), HIDE), 0.0)
    source.read_all(channel)
    channel.feed(source.say(base.Migrate(FLUSH | DATA), base.MigrateData(b"state"), RESET, base.Ping(9, 9)), 0.0)
    source.read_all(channel)
    kept = channel.detach()
    assert kept is not None
    target = ServerEnd(CURSOR)
    channel.swap(target.linked(HIDE, HIDE, HIDE), b"state", 0.0)
    return channel, source, target, kept


def test_a_channel_that_comes_back_goes_on_where_the_source_stands() -> None:
    channel, source, target, kept = moved()
    channel.send(note(b"1"))
    assert target.read_all(channel) == [base.MigrateData(b"state"), note(b"1")]
    channel.send(note(b"2"))
    events = channel.return_to(kept, source.say(HIDE), 1.0)
    assert received(events) == [RESET, HIDE]
    assert channel.serial == source.serial == 7
    assert [message for message in source.read_all(channel) if isinstance(message, base.Disconnecting)] == [note(b"2")]


def test_a_channel_that_comes_back_still_acknowledges() -> None:
    """The source does not repeat SET_ACK: without ACKs it would stop sending after two windows."""
    channel, source, _, kept = moved()
    channel.return_to(kept, b"", 1.0)
    channel.feed(source.say(*[HIDE] * 6), 1.0)
    acks = [message for message in source.read_all(channel) if isinstance(message, base.Ack)]
    assert len(acks) == 4  # 2 before MIGRATE, 2 with it, 2 behind it, 6 now: 12 in windows of 3


def test_data_that_the_target_never_got_does_not_go_to_the_source() -> None:
    channel, source, _, kept = moved()
    channel.return_to(kept, b"", 1.0)
    assert not any(isinstance(message, base.MigrateData) for message in source.read_all(channel))


def test_a_channel_that_waits_for_its_data_stays_when_the_source_keeps_it() -> None:
    channel, source = linked()
    channel.feed(source.say(base.Migrate(FLUSH | DATA), base.Ping(1, 0)), 0.0)
    channel.send(note(b"1"))
    assert source.read_all(channel) == [base.MigrateFlushMark()]
    channel.resume(1.0)
    assert source.read_all(channel) == [base.Pong(1, 0), note(b"1")]
    assert received(channel.feed(source.say(base.MigrateData(b"late"), HIDE), 1.0)) == [HIDE]
    assert "without MIGRATE" in failure(channel.feed(source.say(base.MigrateData(b"again")), 1.0))


def test_a_channel_can_migrate_again_after_it_stayed() -> None:
    channel, source = linked()
    channel.feed(source.say(base.Migrate(FLUSH | DATA)), 0.0)
    channel.resume(1.0)
    source.read_all(channel)
    channel.feed(source.say(base.Migrate(FLUSH | DATA)), 2.0)
    assert source.read_all(channel) == [base.MigrateFlushMark()]
    assert channel.feed(source.say(base.MigrateData(b"new")), 2.0) == [SwapReady(b"new")]


def test_resume_without_a_hand_over_does_nothing() -> None:
    channel, _ = linked()
    assert channel.resume(0.0) == []


# -- connections ----------------------------------------------------------------------------------------------------


def test_without_a_connection_nothing_is_read_or_written() -> None:
    channel = ClientChannel(CURSOR, 0)
    channel.send(note(b"1"))
    assert (channel.feed(b"x" * 100, 0.0), channel.drain(0.0), channel.connected) == ([], b"", False)


def test_what_is_queued_outlives_a_connection_but_not_a_new_beginning() -> None:
    channel, _ = linked()
    channel.send(note(b"1"))
    channel.disconnect()
    assert channel.drain(0.0) == b""
    again = ServerEnd(CURSOR)
    channel.begin(again.linked(), 1.0)
    assert again.read_all(channel) == []


def test_drain_stops_behind_the_limit() -> None:
    channel, server = linked()
    for number in range(100):
        channel.send(base.Disconnecting(number, 0))
    first = channel.drain(0.0, limit=100)
    assert 100 <= len(first) < 100 + 18
    assert len(server.read(first)) + len(server.read_all(channel)) == 100


def test_the_observer_hears_what_is_written_when_it_is() -> None:
    channel, server = linked()
    heard: list[tuple[Message, float]] = []
    channel.observer = lambda message, now: heard.append((message, now))
    channel.send(note(b"1"))
    assert heard == []
    server.read_all(channel, now=3.5)
    assert heard == [(note(b"1"), 3.5)]


def test_full_headers_of_the_client_carry_its_count() -> None:
    channel, _ = linked(mini_header=False)
    channel.send(note(b"1"))
    channel.send(note(b"2"))
    data = channel.drain(0.0)
    first = struct.unpack_from("<Q", data)[0]
    second = struct.unpack_from("<Q", data, len(data) // 2)[0]
    assert (first, second) == (1, 2)
