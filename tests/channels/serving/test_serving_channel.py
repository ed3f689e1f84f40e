"""What all channels of a server do: headers, windows, pings, bounds."""

from __future__ import annotations

import pytest

from spicehop.channels.serving.channel import (
    OUTGOING_LIMIT,
    CameLate,
    ChannelState,
    Failed,
    Flushed,
    Peer,
    Received,
    ServerChannel,
    ServerEvent,
)
from spicehop.channels.serving.cursor import Pointer, ServerCursor, Shape
from spicehop.channels.serving.delivery import Delivery, DeliveryState, Extreme
from spicehop.channels.serving.display import DisplayBegun, DisplayState, ServerDisplay
from spicehop.channels.serving.inputs import (
    ButtonsChanged,
    KeyCame,
    PointerMoved,
    PointerPlaced,
    ServerInputs,
)
from spicehop.channels.serving.main import NET_TEST_BYTES, Introduction, NetMeasured, ServerMain
from spicehop.channels.serving.pipe import INCOMING_LIMIT, ServerPipe
from spicehop.channels.serving.smartcard import DEVICE_HEADER, ServerSmartcard
from spicehop.wire import base, cursor, display, inputs, main, registry, smartcard, vmc
from spicehop.wire.constants import ChannelType, Direction, MainCap, MigrateFlag, MouseMode, SmartcardType
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities

INIT = display.Init(1, 1000, 1, 1000)
PEER = Peer()


def say(channel: ServerChannel, *messages: Message, now: float = 0.0) -> list[ServerEvent]:
    """What the channel makes of these messages of a client."""
    stream = b"".join(
        encode_frame(
            registry.number_of(message, channel.kind, Direction.FROM_CLIENT),
            message.encode(),
            mini_header=channel.peer.mini_header,
        )
        for message in messages
    )
    return channel.feed(stream, now)


def hear(channel: ServerChannel, now: float = 0.0, limit: int = 1 << 20) -> list[Message]:
    """What a client gets now."""
    reader = FrameReader(mini_header=channel.peer.mini_header)
    frames = [frame for data in channel.drain(now, limit) for frame in reader.feed(data)]
    return [registry.decode(channel.kind, Direction.FROM_SERVER, frame.number, frame.body) for frame in frames]


def test_full_headers_carry_serials_from_one() -> None:
    channel = ServerInputs(0, Peer(mini_header=False), 0.0)
    channel.begin(2)
    channel.locks_changed(4)
    reader = FrameReader(mini_header=False)
    assert [frame.serial for data in channel.drain(0.0) for frame in reader.feed(data)] == [1, 2]
    assert channel.channel_state().serial == 2


@pytest.mark.parametrize(
    "stream",
    [
        encode_frame(99, b"", mini_header=True),
        encode_frame(101, b"", mini_header=True),
        b"\x65\0\xff\xff\xff\xff",
        encode_frame(4, b"", mini_header=True),
        encode_frame(5, b"x" * 100, mini_header=True),
    ],
    ids=["unknown number", "too short", "huge", "flush mark", "migrate data"],
)
def test_nonsense_fails_the_channel(stream: bytes) -> None:
    events = ServerInputs(0, PEER, 0.0).feed(stream, 0.0)
    assert isinstance(events[-1], Failed)


def test_the_window_holds_messages_back() -> None:
    channel = ServerDisplay(0, PEER, 0.0)
    for _ in range(100):
        channel.send(display.Mark())
    first = hear(channel)
    assert isinstance(first[0], base.SetAck)
    assert len(first) == 1 + 2 * channel.ACK_WINDOW + 1
    assert channel.blocked
    assert hear(channel) == []
    say(channel, base.AckSync(1), base.Ack())
    assert len(hear(channel)) == channel.ACK_WINDOW


def test_an_ack_before_the_window_is_taken_up_is_about_another_server() -> None:
    """spice-gtk, which begins anew here in a semi-seamless migration, may still be counting."""
    channel = ServerDisplay(0, PEER, 0.0)
    for _ in range(100):
        channel.send(display.Mark())
    hear(channel)
    assert say(channel, base.Ack()) == []
    assert channel.blocked
    say(channel, base.AckSync(1), base.Ack())
    assert len(hear(channel)) == channel.ACK_WINDOW


def test_a_full_window_does_not_keep_a_channel_that_leaves() -> None:
    """What was queued before goes out, and MIGRATE behind it; called back, the channel waits as before."""
    channel = ServerDisplay(0, PEER, 0.0, DisplayState(ChannelState(serial=5), INIT))
    for _ in range(100):
        channel.send(display.Mark())
    heard = len(hear(channel))
    channel.hold_back(MigrateFlag.NEED_FLUSH | MigrateFlag.NEED_DATA_TRANSFER)
    channel.migrate()
    rest = hear(channel)
    assert heard + len(rest) == 1 + 100 + 1
    assert isinstance(rest[-1], base.Migrate)
    channel.call_back()
    assert channel.blocked


def test_a_full_window_does_not_keep_a_channel_whose_state_has_gone_ahead() -> None:
    """The client's acknowledgements are about this connection: none of them is passed on, and MIGRATE needs none."""
    channel = ServerDisplay(0, PEER, 0.0, DisplayState(ChannelState(serial=5), INIT))
    for _ in range(100):
        channel.send(display.Mark())
    hear(channel)
    assert channel.blocked
    channel.hold_back(MigrateFlag.NEED_FLUSH, at_once=True)
    assert hear(channel) == []
    channel.migrate()
    assert hear(channel) == [base.Migrate(MigrateFlag.NEED_FLUSH)]
    report = display.StreamReport(1, 1, 0, 0, 0, 0, 0, 0)
    events = say(channel, base.AckSync(1), base.Ack(), base.Pong(9, 0), report, base.MigrateFlushMark())
    assert events == [CameLate(encode_frame(102, report.encode(), mini_header=True)), Flushed()]


def test_a_channel_that_comes_back_has_heard_its_acknowledgements() -> None:
    channel = ServerDisplay(0, PEER, 0.0)
    for _ in range(100):
        channel.send(display.Mark())
    hear(channel)
    channel.hold_back(MigrateFlag.NEED_FLUSH, at_once=True)
    say(channel, base.AckSync(1), base.Ack(), base.Ack())
    channel.call_back()
    assert len(hear(channel)) == 2 * channel.ACK_WINDOW


def test_a_flush_mark_that_was_due_when_the_channel_was_called_back_is_expected() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    for _ in range(2):
        channel.hold_back(MigrateFlag.NEED_FLUSH)
        channel.migrate()
        hear(channel)
        channel.call_back()
    assert say(channel, base.MigrateFlushMark()) == []
    channel.hold_back(MigrateFlag.NEED_FLUSH)
    channel.migrate()
    hear(channel)
    assert say(channel, base.MigrateFlushMark()) == []
    assert say(channel, base.MigrateFlushMark()) == [Flushed()]
    assert isinstance(say(channel, base.MigrateFlushMark())[-1], Failed)


def test_an_acknowledgement_too_many() -> None:
    channel = ServerDisplay(0, PEER, 0.0)
    hear(channel)
    assert isinstance(say(channel, base.AckSync(1), base.Ack())[-1], Failed)


def test_pings_measure_the_round_trip() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    assert channel.next_deadline() == pytest.approx(0.1)
    (ping,) = hear(channel, 0.2)
    assert isinstance(ping, base.Ping)
    say(channel, base.Pong(ping.id, ping.timestamp), now=0.25)
    assert channel.delivery.round_trip == pytest.approx(0.05)
    assert hear(channel, 0.3) == []
    assert ServerInputs(0, Peer(local=True), 0.0).next_deadline() is None


def test_a_foreign_pong_means_nothing() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    hear(channel, 0.2)
    say(channel, base.Pong(77, 0), now=0.25)
    assert channel.delivery.round_trip is None


# -- display ----------------------------------------------------------------------------------------------------------


def test_a_display_begins_with_the_clients_caches() -> None:
    channel = ServerDisplay(0, PEER, 0.0)
    assert not channel.ready
    assert say(channel, INIT) == [DisplayBegun(INIT)]
    hear(channel)
    assert channel.ready
    assert isinstance(say(channel, INIT)[-1], Failed)


def test_a_display_whose_client_says_nothing() -> None:
    channel = ServerDisplay(0, Peer(local=True), 5.0)
    assert channel.next_deadline() == 35.0
    channel.handle_timer(34.9)
    with pytest.raises(Exception, match="30 s"):
        channel.handle_timer(35.0)


def test_what_comes_before_the_caches() -> None:
    assert isinstance(say(ServerDisplay(0, PEER, 0.0), display.PreferredCompression(1))[-1], Failed)


def test_a_slow_client_gets_no_frame_until_it_has_handled_the_last() -> None:
    channel = ServerDisplay(0, PEER, 0.0)
    say(channel, INIT)
    hear(channel)
    picture = display.StreamData(1, 0, bytes(400_000))
    channel.send(picture)
    channel.frame_sent(0.0)
    sent = hear(channel)
    assert not channel.ready
    (ping,) = [message for message in sent if isinstance(message, base.Ping)]
    say(channel, base.Pong(ping.id, ping.timestamp), now=0.5)
    assert channel.ready
    assert channel.delivery.rate == pytest.approx(800_000, rel=0.01)


# -- delivery ---------------------------------------------------------------------------------------------------------


def test_the_rate_is_what_went_through_not_what_was_written() -> None:
    delivery = Delivery()
    for number in range(10):
        delivery.sent(100_000, 0.0)
        delivery.handled(number + 1, 0.1 * (number + 1))
    assert delivery.rate == pytest.approx(1_000_000, rel=0.01)
    assert delivery.in_flight == 0


def test_the_best_of_late() -> None:
    largest, smallest = Extreme(10.0), Extreme(10.0, sign=-1)
    assert largest.value is None
    for now, value in enumerate([3.0, 9.0, 4.0, 5.0]):
        largest.add(value, now)
        smallest.add(value, now)
    assert (largest.value, smallest.value) == (9.0, 3.0)
    largest.add(1.0, 11.5)
    smallest.add(8.0, 11.5)
    assert (largest.value, smallest.value) == (5.0, 4.0)


def test_what_another_server_knew_counts_until_there_is_more() -> None:
    delivery = Delivery(DeliveryState(0.05, 5000.0))
    assert (delivery.round_trip, delivery.rate) == (0.05, 5000.0)
    delivery.round_trip_measured(0.01, 1.0)
    assert delivery.state() == DeliveryState(0.01, 5000.0)


# -- main -------------------------------------------------------------------------------------------------------------


def test_the_introduction_and_the_bandwidth_test() -> None:
    channel = ServerMain(Peer(Capabilities(channel=frozenset({MainCap.NAME_AND_UUID}))), 10.0)
    channel.introduce(Introduction(5, 1, True, 10, "box", bytes(16)), 10.0)
    channel.begin_net_test(10.0)
    init, name, uuid, ping = hear(channel, 10.0)
    assert isinstance(init, main.Init)
    assert (init.session_id, init.supported_mouse_modes, init.current_mouse_mode) == (5, 3, 1)
    assert init.multi_media_time == 9900
    assert isinstance(name, main.Name)
    assert isinstance(uuid, main.Uuid)
    for now in (10.1, 10.2):
        assert isinstance(ping, base.Ping)
        say(channel, base.Pong(ping.id, ping.timestamp), now=now)
        (ping,) = hear(channel, now)
    assert isinstance(ping, base.Ping)
    assert len(ping.padding) == NET_TEST_BYTES
    say(channel, base.Pong(ping.id, ping.timestamp), now=10.2 + 0.1 + 0.256)
    measured = channel.take_measurement()
    assert measured is not None
    assert measured.round_trip == pytest.approx(0.1)
    assert measured.rate == pytest.approx(1_000_000)
    assert channel.take_measurement() is None


def test_a_client_that_knows_its_link() -> None:
    channel = ServerMain(Peer(Capabilities(channel=frozenset({MainCap.LINK_STATEMENT}))), 0.0)
    assert say(channel, main.QualityIndicator(main.LinkStatement(250_000, 125_000).encode())) == []
    assert channel.take_measurement() == NetMeasured(0.25, 125_000.0)
    say(channel, main.QualityIndicator(main.LinkStatement(2**32 - 1, 2**64 - 1).encode()))
    assert channel.take_measurement() == NetMeasured(10.0, 1e10)
    say(channel, main.QualityIndicator(main.LinkStatement(0, 5).encode()))
    assert channel.take_measurement() is None
    assert isinstance(say(channel, main.QualityIndicator(b"short"))[-1], Failed)
    assert say(ServerMain(PEER, 0.0), main.QualityIndicator(b"short")) == [Received(main.QualityIndicator(b"short"))]


def test_mouse_modes_follow_the_guest() -> None:
    channel = ServerMain(PEER, 0.0)
    channel.change_mouse_mode(MouseMode.CLIENT, absolute_pointer=False)
    assert hear(channel) == []
    channel.change_mouse_mode(MouseMode.CLIENT, absolute_pointer=True)
    channel.change_mouse_mode(MouseMode.CLIENT, absolute_pointer=True)
    channel.change_mouse_mode(MouseMode.CLIENT, absolute_pointer=False)
    assert hear(channel) == [main.MouseMode(3, 2), main.MouseMode(1, 1)]


def test_a_slice_for_the_agent_that_is_too_long() -> None:
    assert isinstance(say(ServerMain(PEER, 0.0), main.AgentData(bytes(2049)))[-1], Failed)


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_keys_and_what_is_still_held() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    events = say(channel, inputs.KeyDown(0x1E), inputs.KeyUp(0x9E), inputs.KeyDown(0x48E0), inputs.KeyDown(0x2A))
    assert events == [KeyCame(b"\x1e"), KeyCame(b"\x9e"), KeyCame(b"\xe0\x48"), KeyCame(b"\x2a")]
    assert channel.state().held_keys == (b"\xe0\x48", b"\x2a")
    again = ServerInputs(0, PEER, 0.0, channel.state())
    assert again.release_all() == [KeyCame(b"\xe0\xc8"), KeyCame(b"\xaa")]
    assert again.release_all() == []


def test_scan_codes_in_one_message_and_a_key_in_two() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    events = say(channel, inputs.KeyScancode(b"\x1e\x9e\xe0"), inputs.KeyScancode(b"\x48\xe0\xc8"))
    assert events == [KeyCame(b"\x1e"), KeyCame(b"\x9e"), KeyCame(b"\xe0\x48"), KeyCame(b"\xe0\xc8")]


def test_lock_keys_that_differ_are_pressed() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    channel.begin(2)
    assert say(channel, inputs.KeyModifiers(2)) == []
    assert say(channel, inputs.KeyModifiers(6)) == [KeyCame(b"\x3a"), KeyCame(b"\xba")]
    assert say(channel, inputs.KeyModifiers(6)) == []


def test_motions_are_acknowledged_and_obey_the_mode() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    assert say(channel, inputs.MouseMotion(1, -2, 1)) == [PointerMoved(1, -2, 1)]
    assert say(channel, inputs.MousePosition(5, 6, 0, 0)) == []
    channel.mouse_mode = MouseMode.CLIENT
    assert say(channel, inputs.MousePosition(5, 6, 0, 0)) == [PointerPlaced(0, 5, 6, 0)]
    assert hear(channel) == []
    assert say(channel, inputs.MouseMotion(1, 1, 0)) == []
    assert hear(channel) == [inputs.MouseMotionAck()]


def test_buttons_and_the_wheel() -> None:
    channel = ServerInputs(0, PEER, 0.0)
    events = say(channel, inputs.MousePress(1, 1), inputs.MousePress(4, 1), inputs.MouseRelease(4, 1))
    assert events == [ButtonsChanged(1), ButtonsChanged(9), ButtonsChanged(1)]
    assert channel.release_all() == [ButtonsChanged(0)]
    assert isinstance(say(channel, inputs.MousePress(17, 0))[-1], Failed)


# -- cursor -----------------------------------------------------------------------------------------------------------

ARROW, HAND = Shape(1, 2, 2, 0, 0, bytes(16)), Shape(2, 2, 2, 1, 1, bytes(range(16)))


def test_the_pointer_is_always_the_latest() -> None:
    channel = ServerCursor(0, PEER, 0.0)
    channel.pointer = Pointer(1, 2, True, ARROW)
    _, first = hear(channel)
    assert isinstance(first, cursor.Init)
    assert first.cursor.flags == 2
    for place in range(10):
        channel.pointer = Pointer(place, place, True, ARROW)
    assert hear(channel) == [cursor.Move(cursor.Point16(9, 9))]
    channel.pointer = Pointer(9, 9, True, HAND)
    hear(channel)
    channel.pointer = Pointer(9, 9, True, ARROW)
    (again,) = hear(channel)
    assert isinstance(again, cursor.Set)
    assert (again.cursor.flags, bytes(again.cursor.data)) == (4, b"")
    channel.pointer = Pointer(3, 3, False, ARROW)
    assert hear(channel) == [cursor.Hide()]
    assert hear(channel) == []


def test_a_client_that_moves_its_own_pointer_is_not_told_where_it_is() -> None:
    channel = ServerCursor(0, PEER, 0.0)
    channel.mouse_mode = MouseMode.CLIENT
    hear(channel)
    channel.pointer = Pointer(5, 5, True, None)
    assert hear(channel) == []
    channel.mouse_mode = MouseMode.SERVER
    assert hear(channel) == [cursor.Move(cursor.Point16(5, 5))]


def test_the_oldest_shape_leaves_a_full_cache() -> None:
    channel = ServerCursor(0, PEER, 0.0)
    heard: list[Message] = []
    for unique in range(1, 258):
        channel.pointer = Pointer(0, 0, True, Shape(unique, 1, 1, 0, 0, bytes(4)))
        heard += hear(channel)
        say(channel, base.AckSync(1))
        if len(heard) % channel.ACK_WINDOW == 0:
            say(channel, base.Ack())
    assert [message for message in heard if isinstance(message, cursor.InvalOne)] == [cursor.InvalOne(1)]


# -- pipes ------------------------------------------------------------------------------------------------------------


def test_a_port_is_named_and_opened() -> None:
    channel = ServerPipe(ChannelType.PORT, 3, PEER, 0.0)
    channel.begin("org.example.echo.0", opened=False)
    channel.opened(opened=True)
    channel.opened(opened=True)
    init, event = hear(channel)
    assert isinstance(init, vmc.PortInit)
    assert (bytes(init.name), init.opened) == (b"org.example.echo.0", 0)
    assert event == vmc.PortEventMessage(0)


def test_what_the_device_does_not_take_waits_and_moves() -> None:
    channel = ServerPipe(ChannelType.USBREDIR, 0, PEER, 0.0)
    say(channel, vmc.VmcData(bytes(40_000)), vmc.VmcData(b"end"))
    first = channel.next_piece()
    assert len(first) == 16_384
    channel.piece_taken()
    assert channel.bytes_held == 40_003 - 16_384
    again = ServerPipe(ChannelType.USBREDIR, 0, PEER, 0.0, channel.state())
    rest = b""
    while piece := again.next_piece():
        rest += piece
        again.piece_taken()
    assert rest == bytes(40_000 - 16_384) + b"end"
    assert again.bytes_held == 0
    assert INCOMING_LIMIT > 40_000


def test_a_device_is_read_no_further_than_there_is_room() -> None:
    channel = ServerPipe(ChannelType.PORT, 0, PEER, 0.0)
    given = 0
    while channel.wanted:
        channel.deliver(bytes(channel.wanted))
        given += 1
        assert given < 1000
    assert OUTGOING_LIMIT <= channel.bytes_sent < OUTGOING_LIMIT + 65_536
    hear(channel)
    assert channel.wanted


# -- smartcard --------------------------------------------------------------------------------------------------------


def pieces(channel: ServerPipe) -> bytes:
    taken = b""
    while piece := channel.next_piece():
        taken += piece
        channel.piece_taken()
    return taken


def test_a_reader_comes_and_goes() -> None:
    channel = ServerSmartcard(0, PEER, 0.0)
    say(channel, smartcard.SmartcardData(SmartcardType.READER_ADD, 0xFFFFFFFF, b"reader\0"))
    say(channel, smartcard.SmartcardData(SmartcardType.ATR, 0, b"\x3b"))
    channel.reader_removed()
    assert pieces(channel) == (
        DEVICE_HEADER.pack(3, 0, 0) + DEVICE_HEADER.pack(5, 0, 1) + b"\x3b" + DEVICE_HEADER.pack(4, 0, 0)
    )


def test_the_devices_messages_become_whole() -> None:
    channel = ServerSmartcard(0, PEER, 0.0)
    stream = DEVICE_HEADER.pack(2, 0, 4) + b"\0\0\0\5" + DEVICE_HEADER.pack(7, 0, 3) + b"abc"
    channel.deliver(stream[:20])
    again = ServerSmartcard(0, PEER, 0.0, channel.smartcard_state())
    again.deliver(stream[20:])
    assert [*hear(channel), *hear(again)] == [
        smartcard.SmartcardData(2, 0, b"\5\0\0\0"),
        smartcard.SmartcardData(7, 0, b"abc"),
    ]


@pytest.mark.parametrize("kind", [SmartcardType.ATR, SmartcardType.READER_REMOVE, 99])
def test_a_reader_that_is_not_there(kind: int) -> None:
    assert isinstance(say(ServerSmartcard(0, PEER, 0.0), smartcard.SmartcardData(kind, 0))[-1], Failed)


def test_unknown_but_registered_messages_are_passed_on() -> None:
    notice = vmc.PortEventMessage(2)
    assert say(ServerPipe(ChannelType.PORT, 0, PEER, 0.0), notice) == [Received(notice)]
