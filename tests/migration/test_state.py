"""A session's state goes through bytes unharmed, and bytes that are none raise one error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState, Slice
from spicehop.channels.serving.agent_routing import MessageHead
from spicehop.channels.serving.channel import ChannelState, Peer, QueuedMessage
from spicehop.channels.serving.cursor import CursorState, ServerCursor
from spicehop.channels.serving.delivery import DeliveryState
from spicehop.channels.serving.display import DisplayState, ServerDisplay
from spicehop.channels.serving.inputs import (
    ButtonsChanged,
    InputsState,
    KeyCame,
    PointerMoved,
    PointerPlaced,
    ServerInputs,
    key_bytes,
)
from spicehop.channels.serving.main import Introduction, MainState, ServerMain
from spicehop.channels.serving.pipe import PipeState, ServerPipe
from spicehop.channels.serving.playback import PlaybackState, ServerPlayback
from spicehop.channels.serving.record import RecordState, ServerRecord
from spicehop.channels.serving.smartcard import ServerSmartcard, SmartcardState
from spicehop.errors import ProtocolError, StateError
from spicehop.migration import state as session_state
from spicehop.migration.state import (
    MAIN,
    AgentStates,
    Kind,
    Refusal,
    SessionState,
    collect,
    decode,
    encode,
    part,
    sections,
)
from spicehop.migration.state_layouts import (
    MOST_QUEUED,
    MOST_WAITING,
    AgentClientPart,
    AgentDevicePart,
    ChannelPart,
    InputsPart,
)
from spicehop.painting import ClientView
from spicehop.painting.state import ImageState, SurfaceState, ViewState
from spicehop.wire import envelope
from spicehop.wire.agent import Monitor, MonitorsConfig
from spicehop.wire.constants import ChannelType
from spicehop.wire.display import Init
from spicehop.wire.envelope import Envelope, Section

Held = MainState | DisplayState | InputsState | CursorState | PlaybackState | RecordState | PipeState
U8, U16, U32 = st.integers(0, 2**8 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
COUNT = st.integers(0, 2**48)
FLAG = st.booleans()
TRIPS = st.none() | st.integers(0, 10**8).map(lambda micros: micros / 1_000_000)
RATES = st.none() | st.integers(0, 10**12).map(float)
QUEUED = st.lists(st.builds(QueuedMessage, U16, st.binary(max_size=30)), max_size=3).map(tuple)
CHANNEL = st.builds(ChannelState, COUNT, st.builds(DeliveryState, TRIPS, RATES), QUEUED)
TIME = st.integers(0, 2**51).map(lambda micros: micros / 1_000_000)
MAINS = st.builds(
    MainState, CHANNEL, st.integers(1, 2**32 - 1), st.sampled_from([1, 2]), st.integers(0, 3), FLAG, U32, TIME
)
INITS = st.builds(Init, U8, st.integers(0, 2**40), U8, st.integers(0, 2**31 - 1))
DISPLAYS = st.builds(DisplayState, CHANNEL, st.none() | INITS, U32, TIME)
KEYS = st.lists(st.integers(1, 0xE07F).map(key_bytes), max_size=10, unique=True).map(tuple)
PLACE = st.integers(-(2**31), 2**31 - 1)
ON_SCREEN = st.integers(0, 2**31 - 1)
EVENTS = st.one_of(
    st.builds(KeyCame, st.binary(min_size=1, max_size=4)),
    st.builds(PointerMoved, PLACE, PLACE, U16),
    st.builds(PointerPlaced, U8, ON_SCREEN, ON_SCREEN, U16),
    st.builds(ButtonsChanged, U16),
)
WAITING = st.lists(EVENTS, max_size=6).map(tuple)
INPUTS = st.builds(
    InputsState, CHANNEL, KEYS, U16, st.integers(0, 3), st.integers(0, 7), st.binary(max_size=3), WAITING
)
SHAPES = st.lists(st.integers(0, 2**64 - 1), max_size=10, unique=True).map(tuple)
CURSORS = st.builds(CursorState, CHANNEL, st.tuples(PLACE, PLACE, FLAG, st.integers(0, 2**64 - 1)), SHAPES)
FORMAT = st.none() | st.tuples(st.integers(1, 8), st.integers(8000, 192_000))
PLAYBACKS = st.builds(
    PlaybackState, CHANNEL, st.integers(0, 3), FORMAT, st.lists(U16, max_size=8).map(tuple), FLAG
)
RECORDS = st.builds(RecordState, CHANNEL, st.integers(1, 3), FORMAT)


@st.composite
def pipes(draw: st.DrawFn) -> PipeState:
    incoming, delivered = draw(st.binary(max_size=200)), draw(COUNT)
    return PipeState(draw(CHANNEL), draw(FLAG), incoming, delivered + len(incoming), delivered, draw(COUNT))


SMARTCARDS = st.builds(SmartcardState, pipes(), FLAG, st.binary(max_size=100))

MONITORS = st.builds(Monitor, U32, U32, U32, PLACE, PLACE)


@st.composite
def agents(draw: st.DrawFn) -> AgentStates:
    heads = st.none() | st.builds(MessageHead, U32, st.integers(0, 2**20), U32)

    def left(head: MessageHead | None) -> int:
        return 0 if head is None else draw(st.integers(0, head.size + 20))

    head, device_head = draw(heads), draw(heads)
    slices = draw(st.lists(st.builds(Slice, st.binary(max_size=50), FLAG, FLAG, FLAG), max_size=5))
    tokens = draw(st.integers(0, 10 - len(slices)))
    client = AgentClientState(
        draw(FLAG),
        draw(U32),
        tokens,
        draw(st.integers(0, 10 - len(slices) - tokens)),
        tuple(slices),
        head,
        left(head),
        head is not None and draw(FLAG),
        None if head is None else draw(st.none() | st.binary(max_size=50)),
        tuple(draw(st.lists(st.binary(max_size=50), max_size=4))),
        draw(st.none() | st.builds(MonitorsConfig, st.just(0), st.lists(MONITORS, max_size=2).map(tuple))),
    )
    names = st.lists(st.integers(1, 2**32 - 1), max_size=3).map(tuple)
    routes = st.lists(st.tuples(U32, st.integers(1, 2**32 - 1)), max_size=3).map(tuple)
    pieces = st.lists(st.binary(max_size=50), max_size=2).map(tuple)
    device = AgentDeviceState(
        draw(FLAG),
        draw(st.binary(max_size=50)),
        draw(U32),
        draw(U32),
        device_head,
        left(device_head),
        draw(FLAG),
        draw(FLAG),
        device_head is not None and draw(FLAG),
        None if device_head is None else draw(st.none() | st.binary(max_size=50)),
        draw(U32),
        draw(st.integers(0, 2**20)),
        draw(st.integers(0, 2**20)),
        draw(pieces),
        draw(pieces),
        draw(st.none() | names),
        draw(names),
        draw(routes),
        draw(routes),
        draw(routes),
    )
    return AgentStates(client, device)


@st.composite
def states(draw: st.DrawFn) -> SessionState:
    channels: dict[tuple[int, int], session_state.ServingState] = {MAIN: draw(MAINS)}
    kinds: dict[ChannelType, st.SearchStrategy[session_state.ServingState]] = {
        ChannelType.DISPLAY: DISPLAYS,
        ChannelType.INPUTS: INPUTS,
        ChannelType.CURSOR: CURSORS,
        ChannelType.PLAYBACK: PLAYBACKS,
        ChannelType.RECORD: RECORDS,
        ChannelType.SMARTCARD: SMARTCARDS,
        ChannelType.USBREDIR: pipes(),
        ChannelType.PORT: pipes(),
        ChannelType.WEBDAV: pipes(),
    }
    for kind in draw(st.lists(st.sampled_from(sorted(kinds)), max_size=5)):
        channels[kind, draw(st.integers(0, 3))] = draw(kinds[ChannelType(kind)])
    displays = [number for kind, number in channels if kind == ChannelType.DISPLAY]
    views = {number: view_state(number) for number in displays if draw(FLAG)}
    return SessionState(channels, views, draw(st.none() | agents()))


def view_state(number: int, *, images: int = 2) -> ViewState:
    """A view with a screen whose tiles are known, and images in the cache."""
    view = ClientView(display_id=number)
    empty = view.state()
    shown = SurfaceState(0, 64, 64, b"", b"", b"")
    cached = tuple(ImageState(image, 64, 64, bytes(8)) for image in range(1, images + 1))
    return replace(empty, cache_pixels=2**24, surfaces=(shown,), images=cached, palettes=(5, 7))


def same(found: SessionState | Refusal, wanted: SessionState) -> bool:
    assert isinstance(found, SessionState)
    views = [{number: view.encode() for number, view in one.views.items()} for one in (found, wanted)]
    return (found.channels, found.agent, views[0]) == (wanted.channels, wanted.agent, views[1])


@given(states())
@settings(max_examples=120, deadline=None)
def test_what_goes_in_comes_out(state: SessionState) -> None:
    assert same(decode(encode(state)), state)


@given(states(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_parts_may_come_in_several_envelopes_in_any_order(state: SessionState, random: object) -> None:
    parts = [Envelope((section,)) for section in sections(state)]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert same(collect(*parts), state)


@given(states(), st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_raise_one_error_or_are_a_state(state: SessionState, data: st.DataObject) -> None:
    encoded = bytearray(encode(state))
    for _ in range(data.draw(st.integers(1, 5))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(U8)
    try:
        found = decode(bytes(encoded))
    except ProtocolError:
        return
    if isinstance(found, SessionState):
        restore(found)
        assert same(decode(encode(found)), found)


@given(st.sampled_from(sorted(Kind)), st.integers(0, 12), st.binary(max_size=120))
@settings(max_examples=150, deadline=None)
def test_noise_in_a_section_raises_one_error(kind: Kind, channel: int, noise: bytes) -> None:
    main = sections(SessionState({MAIN: MainState(ChannelState(), 5, 1, 1, False)}))
    noisy = Section(kind, 1, 1, noise, channel, 0)
    try:
        collect(Envelope((*main, noisy)))
    except ProtocolError:
        pass


def resume(states: AgentStates) -> None:
    """A hub goes on with it, or says why not; the agent's nonsense is its trouble, the client's ends the client."""
    hub = AgentHub()
    hub.opened()
    hub.expect(1)
    hub.resume(states.device)
    try:
        hub.client_arrived(1, 101, states.client)
        hub.data_received(1, bytes(50))
    except ProtocolError:
        hub.gave_up(1, 101)
        hub.client_left(1)
    for now in (0.0, 20.0):
        for _ in range(100):
            if not hub.next_chunk(now):
                break
            hub.chunk_taken()
        hub.device_data(bytes(hub.wanted and 100))
        hub.flush_partial()
        hub.handle_timer(now)
        if hub.late(now, running=True):
            hub.give_up()
        hub.next_message(1)
    AgentDevicePart.decode(AgentDevicePart.of(hub.device_state()).encode()).state()
    AgentClientPart.decode(AgentClientPart.of(hub.client_state(1)).encode()).state()


def begun(state: Held) -> ChannelState:
    """The channel's own state while it stays: what was queued for the client is about to be written."""
    return replace(state.channel, queued=())


def restore(state: SessionState) -> None:
    """Give each part to the machine that goes on with it."""
    peer = Peer()
    for (kind, number), one in state.channels.items():
        match one:
            case MainState():
                assert ServerMain(peer, 0.0, one).state() == replace(one, channel=begun(one), media_time=0, saved_at=0)
            case DisplayState():
                assert ServerDisplay(number, peer, 0.0, one).state().init == one.init
            case InputsState():
                assert ServerInputs(number, peer, 0.0, one).state() == replace(one, channel=begun(one), waiting=())
            case CursorState():
                assert ServerCursor(number, peer, 0.0, one).state() == replace(one, channel=begun(one))
            case PlaybackState():
                assert ServerPlayback(number, peer, 0.0, one).state() == replace(one, channel=begun(one))
            case RecordState():
                assert ServerRecord(number, peer, 0.0, state=one).state() == replace(one, channel=begun(one))
            case PipeState():
                assert ServerPipe(kind, number, peer, 0.0, one).state() == replace(one, channel=begun(one))
            case SmartcardState():
                pipe = replace(one.pipe, channel=begun(one.pipe))
                assert ServerSmartcard(number, peer, 0.0, one).smartcard_state() == replace(one, pipe=pipe)
    if state.agent is not None:
        resume(state.agent)
    for view in state.views.values():
        try:
            ClientView.restored(view)
        except ProtocolError:
            pass  # it checks what needs the surfaces' grids


@given(states())
@settings(max_examples=40, deadline=None)
def test_the_machines_of_another_server_go_on_with_it(state: SessionState) -> None:
    found = decode(encode(state))
    assert isinstance(found, SessionState)
    restore(found)


def test_a_live_session() -> None:
    """The states that machines give after they have worked."""
    peer = Peer()
    main = ServerMain(peer, 0.0)
    main.introduce(Introduction(77, 1, True, 10, "guest", bytes(16)), 1.0)
    port = ServerPipe(ChannelType.PORT, 2, peer, 0.0)
    port.begin("org.example.echo.0", opened=True)
    port.accept(b"abc")
    port.deliver(b"xyz")
    state = SessionState({MAIN: main.state(), (ChannelType.PORT, 2): port.state()})
    found = decode(encode(state))
    assert same(found, state)
    assert isinstance(found, SessionState)
    assert found.main.connection_id == 77


# -- limits and contradictions --------------------------------------------------------------------------------------

SMALL = SessionState(
    {MAIN: MainState(ChannelState(), 5, 1, 1, False), (ChannelType.DISPLAY, 0): DisplayState(ChannelState(), None)}
)


def test_views_give_up_digests_to_fit() -> None:
    rich = replace(SMALL, views={0: view_state(0, images=400)})
    size = len(encode(rich))
    lean = decode(encode(rich, limit=size - 2000))
    assert isinstance(lean, SessionState)
    assert [image.image_id for image in lean.views[0].images] == list(range(1, 401))
    assert all(not image.digests for image in lean.views[0].images)
    with pytest.raises(StateError, match="larger than 500"):
        encode(rich, limit=500)


def test_there_is_no_state_without_a_main_channel() -> None:
    with pytest.raises(StateError):
        encode(SessionState({}))


def _main(**changes: int) -> Section:
    return replace(sections(SMALL)[0], **changes)  # type: ignore[arg-type]


VIEW = Section(Kind.VIEW, 1, 1, view_state(0).encode(), ChannelType.DISPLAY, 0, obligatory=True)
AGENT = Section(Kind.AGENT_CLIENT, 1, 1, b"", *MAIN)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [_main(channel_id=1)],
        [_main(channel=ChannelType.INPUTS)],
        [_main(), _main(channel_id=1)],
        [_main(), _main()],
        [_main(), VIEW],
        [*sections(SMALL), replace(VIEW, channel_id=1)],
        [*sections(SMALL), AGENT],
        [_main(), replace(_main(), kind=Kind.PIPE, channel=ChannelType.CURSOR)],
    ],
    ids=[
        "nothing",
        "a second main channel only",
        "main as inputs",
        "two main channels",
        "a part twice",
        "a view without its display",
        "a view of another display",
        "a broken agent",
        "a pipe as a cursor",
    ],
)
def test_what_contradicts_itself(parts: list[Section]) -> None:
    with pytest.raises(ProtocolError):
        collect(*(Envelope((one,)) for one in parts))


def test_a_part_needs_no_main_channel() -> None:
    whole = replace(SMALL, views={0: view_state(0)})
    main, display, view = sections(whole)
    found = part(Envelope((display, view)))
    assert same(found, SessionState({(ChannelType.DISPLAY, 0): whole.channels[ChannelType.DISPLAY, 0]}, whole.views))
    assert same(part(Envelope(())), SessionState({}))
    assert isinstance(part(Envelope((replace(main, version=2, oldest_reader=2),))), Refusal)
    with pytest.raises(ProtocolError, match="not there"):
        part(Envelope((main, view)))


def test_half_of_an_agent() -> None:
    client = AgentClientState(False, 0, 10, 0, (), None, 0, False, None, ())
    device = AgentDeviceState(False, b"", 0, 0, None, 0, False)
    parts = sections(replace(SMALL, agent=AgentStates(client, device)))
    assert isinstance(collect(Envelope(tuple(parts))), SessionState)
    with pytest.raises(ProtocolError, match="half"):
        collect(Envelope(tuple(parts[:-1])))


def test_more_than_is_taken_is_not_given_either() -> None:
    key = KeyCame(b"\x1e")
    inputs = InputsState(ChannelState(), (), 0, 0, 0, b"", (key,) * MOST_WAITING)
    state = replace(SMALL, channels={**SMALL.channels, (ChannelType.INPUTS, 0): inputs})
    assert same(decode(encode(state, limit=2**20), limit=2**20), state)
    with pytest.raises(StateError, match="input"):
        InputsPart.of(replace(inputs, waiting=(key,) * (MOST_WAITING + 1)))
    with pytest.raises(StateError, match="wait for the client"):
        ChannelPart.of(ChannelState(queued=(QueuedMessage(1, b""),) * (MOST_QUEUED + 1)))


# -- other versions -------------------------------------------------------------------------------------------------


def test_a_newer_part_that_is_needed_is_refused_with_a_reason() -> None:
    newer = _main(version=2, oldest_reader=2)
    assert collect(Envelope((newer,))) == Refusal("state of kind 1 has version 2, and this server reads up to 1")


def test_a_newer_part_that_only_has_more_is_read() -> None:
    newer = replace(_main(version=2), data=_main().data + b"more")
    assert same(collect(Envelope((newer, *sections(SMALL)[1:]))), SMALL)


def test_parts_that_are_not_known_and_not_needed_are_kept_with_a_reason() -> None:
    unknown = Section(99, 1, 1, b"of a later server")
    cursor = Section(Kind.CURSOR, 5, 5, b"?", ChannelType.CURSOR, 0)
    found = collect(Envelope((*sections(SMALL), unknown, cursor)))
    assert isinstance(found, SessionState)
    assert [section for section, _ in found.kept] == [unknown, cursor]
    assert found.channels.keys() == SMALL.channels.keys()
    assert sections(found) == sections(SMALL)


def test_a_newer_envelope_is_refused_with_a_reason() -> None:
    assert collect(Envelope((), "the envelope has format 3, and this server reads up to 1")) == Refusal(
        "the envelope has format 3, and this server reads up to 1"
    )
    assert envelope.FORMAT == 1
