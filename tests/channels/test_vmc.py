"""Byte pipes: few large messages, bytes once and in order, counters that add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_end import ServerEnd, received

from spicehop.channels.channel import Failed
from spicehop.channels.vmc import MAX_MESSAGE_BYTES, MESSAGES_AT_ONCE, VmcChannel
from spicehop.wire import base, vmc
from spicehop.wire.constants import ChannelType, PortEvent
from spicehop.wire.layout import Message

PORT = ChannelType.PORT
LIBSPICE_QUEUE = 128
"""Messages of a stopped VM's device that libspice queues before it stops reading (reference results, B3)."""
STANDSTILL = 12.0
LATEST_TALK = 1.4
"""How long after its stop something that the guest said before may still arrive."""


def linked(kind: int = PORT) -> tuple[VmcChannel, ServerEnd]:
    channel, server = VmcChannel(kind, 0), ServerEnd(kind)
    channel.begin(server.linked(), 0.0)
    return channel, server


def payload(messages: list[Message]) -> bytes:
    return b"".join(bytes(one.data) for one in messages if isinstance(one, vmc.VmcData))


def until(channel: VmcChannel, server: ServerEnd, now: float, end: float) -> list[Message]:
    """What is written from `now` to `end` when the channel is asked as often as it wants."""
    messages = server.read_all(channel, now)
    for _ in range(10_000):
        due = channel.next_deadline()
        if due is None or due > end:
            return messages
        assert due >= now, "its deadline is in the past, and it had nothing to write"
        now = due
        messages += server.read_all(channel, now)
    raise AssertionError("it never comes to rest")


# -- names and events -----------------------------------------------------------------------------------------------


def test_the_server_names_and_opens_a_port() -> None:
    channel, server = linked()
    assert (channel.port_name, channel.opened) == ("", False)
    channel.feed(server.say(vmc.PortInit(b"org.example.0", 1)), 0.0)
    assert (channel.port_name, channel.opened) == ("org.example.0", True)
    channel.feed(server.say(vmc.PortEventMessage(PortEvent.CLOSED)), 0.0)
    assert not channel.opened
    channel.feed(server.say(vmc.PortEventMessage(PortEvent.BREAK)), 0.0)
    assert not channel.opened
    channel.feed(server.say(vmc.PortEventMessage(PortEvent.OPENED)), 0.0)
    assert channel.opened


def test_usbredir_is_open_without_being_told() -> None:
    assert linked(ChannelType.USBREDIR)[0].opened


def test_a_name_that_is_no_text_is_still_a_name() -> None:
    channel, server = linked()
    channel.feed(server.say(vmc.PortInit(b"\xff\xfe", 0)), 0.0)
    assert channel.port_name == "\ufffd\ufffd"


def test_compressed_data_was_not_offered() -> None:
    channel, server = linked()
    (event,) = channel.feed(server.say(vmc.VmcCompressedData(1, 10, b"x")), 0.0)
    assert isinstance(event, Failed)


# -- bytes ----------------------------------------------------------------------------------------------------------


def test_bytes_from_the_guest_are_counted_and_passed_on() -> None:
    channel, server = linked()
    messages = received(channel.feed(server.say(vmc.VmcData(b"abc"), vmc.VmcData(b"")), 0.0))
    assert payload(messages) == b"abc"
    assert channel.bytes_delivered == 0
    for message in messages:
        channel.delivered(message)
    assert channel.bytes_delivered == 3


def test_what_waits_is_gathered() -> None:
    channel, server = linked()
    for number in range(1000):
        channel.write(bytes([number % 256]))
    assert channel.bytes_queued == 1000
    (message,) = server.read_all(channel)
    assert payload([message]) == bytes(number % 256 for number in range(1000))
    assert (channel.bytes_accepted, channel.bytes_written, channel.bytes_queued) == (1000, 1000, 0)


def test_large_writes_are_cut() -> None:
    channel, server = linked()
    data = bytes(range(256)) * 4096 + b"end"
    channel.write(data)
    messages = server.read_all(channel)
    assert payload(messages) == data
    assert max(len(one.data) for one in messages if isinstance(one, vmc.VmcData)) == MAX_MESSAGE_BYTES


def test_writing_nothing_sends_nothing() -> None:
    channel, server = linked()
    channel.write(b"")
    assert server.read_all(channel) == []


def test_one_huge_write_costs_no_copies_of_its_rest() -> None:
    channel, _ = linked()
    channel.write(bytes(64 * 1024 * 1024))
    channel.hurry()
    sent = 0
    while data := channel.drain(0.0):
        sent += len(data)
    assert sent > 64 * 1024 * 1024


def test_a_silent_guest_gets_few_messages_and_all_bytes() -> None:
    channel, server = linked()
    messages: list[Message] = []
    for number in range(500):
        channel.write(b"%03d" % number)
        messages += until(channel, server, number / 100, number / 100 + 0.009)
    messages += until(channel, server, 5.0, 9.0)
    assert payload(messages) == b"".join(b"%03d" % number for number in range(500))
    assert len(messages) <= MESSAGES_AT_ONCE + 10 * 5 + 1


def test_a_guest_that_answers_gets_messages_without_delay() -> None:
    channel, server = linked()
    for number in range(300):
        channel.write(b"x")
        assert len(server.read_all(channel, number / 1000)) == 1
        channel.feed(server.say(vmc.VmcData(b"x")), number / 1000)


# -- a VM that stands still -----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(st.floats(0, 3), max_size=150),
    talk=st.lists(st.floats(-3, LATEST_TALK), max_size=150),
    pause=st.sampled_from([0.005, 0.02, 0.1, 0.7]),
)
def test_never_more_messages_wait_at_a_stopped_vm_than_libspice_reads(
    before: list[float], talk: list[float], pause: float
) -> None:
    """Whatever was written before, and whatever the guest said before it stopped, up to the time limit of libspice."""
    channel, server = linked()
    stop = 10.0
    channel.migrating = True
    events = sorted([(stop - at, "write") for at in before] + [(stop + at, "talk") for at in talk])
    events += [(stop + number * pause, "write") for number in range(int(STANDSTILL / pause))]
    waiting = 0
    for at, what in sorted(events):
        if what == "write":
            channel.write(b"x" * 10)
        else:
            channel.feed(server.say(vmc.VmcData(b"y")), at)
        written = len(server.read_all(channel, at))
        waiting += written if at >= stop else 0
    assert waiting < LIBSPICE_QUEUE


def test_the_bound_holds_for_a_channel_that_is_asked_all_the_time() -> None:
    channel, server = linked()
    channel.migrating = True
    waiting = 0
    for tick in range(int(STANDSTILL * 1000)):
        now = 10 + tick / 1000
        if now < 10 + LATEST_TALK:
            channel.feed(server.say(vmc.VmcData(b"y")), now)
        channel.write(b"x")
        waiting += len(server.read_all(channel, now))
    assert 60 < waiting < LIBSPICE_QUEUE


def test_the_deadline_says_when_more_may_go_out() -> None:
    channel, server = linked()
    channel.migrating = True
    for _ in range(200):
        channel.write(b"x")
        server.read_all(channel, 1.0)
    assert channel.bytes_queued > 0
    due = channel.next_deadline()
    assert due is not None
    assert due > 1.0
    assert server.read_all(channel, due - 0.001) == []
    assert len(server.read_all(channel, due)) == 1
    assert channel.next_deadline() is None


def test_a_channel_that_is_being_handed_over_waits_for_nothing() -> None:
    """A deadline in the past would be asked for again and again until the channel has moved."""
    channel, server = linked()
    for _ in range(100):
        channel.write(b"x")
        server.read_all(channel, 1.0)
    assert channel.next_deadline() is not None
    channel.feed(server.say(base.Migrate(3)), 1.0)
    assert channel.next_deadline() is None


def test_the_end_of_a_session_waits_for_nothing() -> None:
    channel, server = linked()
    for _ in range(MESSAGES_AT_ONCE + 20):
        channel.write(b"x")
        server.read_all(channel, 1.0)
    assert channel.bytes_queued > 0
    channel.hurry()
    server.read_all(channel, 1.0)
    assert channel.bytes_queued == 0


# -- hand-over ------------------------------------------------------------------------------------------------------

ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.binary(min_size=1, max_size=40)),
    st.tuples(st.sampled_from(["write out", "talk", "migrate", "cancel", "begin anew"]), st.just(b"")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_every_byte_goes_to_one_server_once_and_in_order(actions: list[tuple[str, bytes]]) -> None:
    channel, server = linked()
    sent = bytearray()
    written: list[Message] = []
    now = 0.0
    kept = None
    for what, data in actions:
        now += 0.3
        match what:
            case "write":
                channel.write(data)
                sent += data
            case "write out":
                written += server.read_all(channel, now)
            case "talk":
                channel.feed(server.say(vmc.VmcData(b"y")), now)
            case "migrate":
                channel.feed(server.say(base.Migrate(3), base.MigrateData(b"state")), now)
                written += server.read_all(channel, now)
                kept = (channel.detach(), server)
                server = ServerEnd(PORT)
                channel.swap(server.linked(), b"state", now)
                written += server.read_all(channel, now)
            case "cancel" if kept is not None and kept[0] is not None:
                written += server.read_all(channel, now)
                connection, server = kept
                kept = None
                channel.return_to(connection, b"", now)
            case "begin anew":
                server = ServerEnd(PORT)
                channel.begin(server.linked(), now)
                kept = None
        assert channel.bytes_accepted == len(sent)
        assert channel.bytes_written == len(payload(written))
        assert channel.bytes_queued == len(sent) - len(payload(written))
    written += until(channel, server, now, now + 60)
    assert payload(written) == bytes(sent)


@pytest.mark.parametrize("kind", [ChannelType.PORT, ChannelType.USBREDIR, ChannelType.WEBDAV])
def test_what_waits_goes_to_the_target_behind_the_state(kind: ChannelType) -> None:
    channel, server = linked(kind)
    channel.feed(server.say(base.Migrate(3)), 0.0)
    channel.write(b"later")
    assert server.read_all(channel) == [base.MigrateFlushMark()]
    channel.feed(server.say(base.MigrateData(b"state")), 0.0)
    target = ServerEnd(kind)
    channel.swap(target.linked(), b"state", 0.0)
    assert target.read_all(channel) == [base.MigrateData(b"state"), vmc.VmcData(b"later")]
