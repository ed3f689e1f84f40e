"""Every registered message: it comes back as it was, and damaged bytes never do more than raise `ProtocolError`."""

from __future__ import annotations

import tracemalloc

import pytest
from damage import bit_flips, forged_counts, survives, truncations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import structure

from spicehop.errors import ProtocolError, StateError
from spicehop.wire import base, display, inputs, main, registry, vmc
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.layout import MAX_ITEMS, Message
from spicehop.wire.registry import Unknown

MESSAGES = sorted({cls for _, _, _, cls in registry.registered()}, key=lambda cls: (cls.__module__, cls.__name__))
PLACES = list(registry.registered())
KNOWN_NUMBERS = {(channel, direction, number) for channel, direction, number, _ in PLACES}
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
thorough = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def label(cls: type[Message]) -> str:
    return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"


every_message = pytest.mark.parametrize("cls", MESSAGES, ids=label)


def test_all_channels_are_there() -> None:
    counted: dict[tuple[int, str], int] = {}
    for channel, direction, _, _ in PLACES:
        counted[channel, direction.name] = counted.get((channel, direction.name), 0) + 1
    assert counted == {
        (0, "FROM_SERVER"): 8,
        (0, "FROM_CLIENT"): 6,
        (1, "FROM_SERVER"): 18,
        (1, "FROM_CLIENT"): 12,
        (2, "FROM_SERVER"): 34,
        (2, "FROM_CLIENT"): 5,
        (3, "FROM_SERVER"): 3,
        (3, "FROM_CLIENT"): 8,
        (4, "FROM_SERVER"): 8,
        (5, "FROM_SERVER"): 7,
        (6, "FROM_SERVER"): 4,
        (6, "FROM_CLIENT"): 3,
        (8, "FROM_SERVER"): 1,
        (8, "FROM_CLIENT"): 1,
        (9, "FROM_SERVER"): 2,
        (9, "FROM_CLIENT"): 2,
        (10, "FROM_SERVER"): 4,
        (10, "FROM_CLIENT"): 3,
        (11, "FROM_SERVER"): 4,
        (11, "FROM_CLIENT"): 3,
    }


@every_message
def test_comes_back_as_it_was(cls: type[Message]) -> None:
    channel, direction, number = next((c, d, n) for c, d, n, found in PLACES if found is cls)

    @quick
    @given(structure(cls))
    def check(message: Message) -> None:
        body = message.encode()
        decoded = registry.decode(channel or ChannelType.MAIN, direction, number, body)
        assert decoded == message
        assert decoded.encode() == body
        assert registry.number_of(decoded, channel or ChannelType.MAIN, direction) == number

    check()


@every_message
def test_damage_gives_a_message_or_a_protocol_error(cls: type[Message]) -> None:
    @thorough
    @given(structure(cls))
    def check(message: Message) -> None:
        body = message.encode()
        for damaged in (*truncations(body), *bit_flips(body)):
            survives(cls.decode, damaged)

    check()


@every_message
def test_too_short_a_body_is_refused(cls: type[Message]) -> None:
    if cls.minimum_size():
        with pytest.raises(ProtocolError, match=r"ends|items are announced|is null"):
            cls.decode(bytes(cls.minimum_size() - 1))


@every_message
def test_forged_counts_allocate_nothing(cls: type[Message]) -> None:
    peaks: list[int] = []

    @thorough
    @given(structure(cls))
    def check(message: Message) -> None:
        body = message.encode()
        variants = [bytes([255]) * len(body), *forged_counts(body)]
        for variant in variants:
            survives(cls.decode, variant)
        tracemalloc.start()
        for variant in variants:
            survives(cls.decode, variant)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    check()
    assert max(peaks) < 100_000


def test_many_small_items_are_refused_before_they_are_made() -> None:
    count = MAX_ITEMS + 1
    path = count.to_bytes(4, "little") + bytes(5 * count)
    line = display.DrawStroke(
        display.DisplayBase(0, display.Rect(0, 0, 0, 0), display.Clip()),
        display.Path(()),
        display.LineAttr(),
        display.Brush(),
        0,
        0,
    ).encode()
    body = line[:-4] + path
    tracemalloc.start()
    with pytest.raises(ProtocolError, match="holds more than 131072 items"):
        display.DrawStroke.decode(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_items_behind_pointers_count_together() -> None:
    half = MAX_ITEMS // 2
    rects = (display.Rect(0, 0, 0, 0),) * half
    base_ = display.DisplayBase(0, display.Rect(0, 0, 0, 0), display.Clip(1, rects))

    def line(segments: int) -> bytes:
        path = display.Path((display.PathSegment(0, ()),) * segments)
        return display.DrawStroke(base_, path, display.LineAttr(), display.Brush(), 0, 0).encode()

    assert display.DrawStroke.decode(line(half)).path is not None
    with pytest.raises(ProtocolError, match="holds more than 131072 items"):
        display.DrawStroke.decode(line(half + 1))


def test_large_payloads_are_views_into_the_body() -> None:
    body = vmc.VmcData(bytes(1_000_000)).encode()
    decoded = registry.decode(ChannelType.PORT, Direction.FROM_SERVER, 101, body)
    assert isinstance(decoded, vmc.VmcData)
    assert isinstance(decoded.data, memoryview)
    assert decoded.data.obj is body


@quick
@given(
    st.sampled_from(list(ChannelType)),
    st.sampled_from(list(Direction)),
    st.integers(0, 2**16 - 1),
    st.binary(max_size=20),
)
def test_unknown_numbers_survive(channel: ChannelType, direction: Direction, number: int, body: bytes) -> None:
    if {(channel, direction, number), (0, direction, number)} & KNOWN_NUMBERS:
        return
    message = registry.decode(channel, direction, number, body)
    assert message == Unknown(body, number)
    assert message.encode() == body
    assert registry.number_of(message, channel, direction) == number
    assert registry.name_of(channel, direction, number) == str(number)


@pytest.mark.parametrize(
    ("message", "channel", "direction"),
    [
        (base.Migrate(0xFFFF_FFF0), ChannelType.MAIN, Direction.FROM_SERVER),
        (base.Notify(1, 99, 98, 97, b"text"), ChannelType.MAIN, Direction.FROM_SERVER),
        (display.SurfaceCreate(0, 1, 1, 12345, 0xFFFF), ChannelType.DISPLAY, Direction.FROM_SERVER),
        (display.PreferredCompression(200), ChannelType.DISPLAY, Direction.FROM_CLIENT),
        (inputs.MousePress(99, 0x8000), ChannelType.INPUTS, Direction.FROM_CLIENT),
    ],
    ids=lambda value: value.NAME if isinstance(value, Message) else value.name,
)
def test_unknown_values_survive(message: Message, channel: ChannelType, direction: Direction) -> None:
    number = registry.number_of(message, channel, direction)
    assert registry.decode(channel, direction, number, message.encode()) == message


def test_an_unknown_image_type_survives_as_data() -> None:
    unknown = display.Image(display.ImageDescriptor(1, 250, 0, 3, 4), display.UnknownPayload(b"later invention"))
    base_ = display.DisplayBase(0, display.Rect(0, 0, 4, 3), display.Clip())
    message = display.DrawCopy(base_, unknown, display.Rect(0, 0, 4, 3), 8, 0, display.QMask())
    assert display.DrawCopy.decode(message.encode()) == message


def test_a_message_of_another_channel_has_no_number() -> None:
    with pytest.raises(StateError, match="KEY_DOWN is not a message of channel 1 FROM_CLIENT"):
        registry.number_of(inputs.KeyDown(1), ChannelType.MAIN, Direction.FROM_CLIENT)


def test_a_number_can_be_claimed_once() -> None:
    with pytest.raises(StateError, match="claim the same number"):
        registry.from_server(ChannelType.MAIN, 103)(main.Init)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (inputs.KeyDown(2**32), "does not fit its field"),
        (main.Uuid(b"short"), "16 bytes are needed, 5 given"),
        (main.MigrateBegin(65_536, 0, b"host"), "does not fit its field"),
        (display.Image(display.ImageDescriptor(0, 103, 0, 1, 1), display.Compressed(b"")), "asks for FromCache"),
        (display.Bitmap(8, 4, 1, 2, 4, None, None, b"1234"), "8 bytes are needed, 4 given"),
        (display.StreamClip(1, display.Rect(0, 0, 0, 0)), "a Clip is needed, Rect given"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_not_encoded(message: Message, sentence: str) -> None:
    with pytest.raises(StateError, match=sentence):
        message.encode()


def test_a_pointer_that_must_lead_somewhere() -> None:
    text = display.DrawText(
        display.DisplayBase(0, display.Rect(0, 0, 0, 0), display.Clip()),
        None,
        display.Rect(0, 0, 0, 0),
        display.Brush(),
        display.Brush(),
        0,
        0,
    )
    with pytest.raises(StateError, match="a String is needed"):
        text.encode()
    with pytest.raises(ProtocolError, match="a pointer to String is null"):
        display.DrawText.decode(bytes(60))


def test_names_are_the_protocols() -> None:
    assert registry.name_of(ChannelType.MAIN, Direction.FROM_SERVER, 116) == "MIGRATE_BEGIN_SEAMLESS"
    assert registry.name_of(ChannelType.DISPLAY, Direction.FROM_SERVER, 309) == "DRAW_ROP3"
    assert registry.name_of(ChannelType.PORT, Direction.FROM_CLIENT, 201) == "EVENT"
    assert registry.name_of(ChannelType.CURSOR, Direction.FROM_SERVER, 8) == "LIST"
    assert registry.name_of(ChannelType.MAIN, Direction.FROM_CLIENT, 107) == "AGENT_DATA"
