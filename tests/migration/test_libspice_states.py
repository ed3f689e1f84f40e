"""libspice's layouts of our states: what goes in comes back, what real servers wrote, and bytes that are none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from damage import bit_flips, forged_counts, survives, truncations
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_capture import SUBSET, TOP, connections

from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState, Slice
from spicehop.channels.serving.agent_routing import AgentFilter, MessageHead
from spicehop.channels.serving.channel import ChannelState, QueuedMessage
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.pipe import PipeState
from spicehop.channels.serving.smartcard import DEVICE_HEADER, SmartcardState
from spicehop.errors import ProtocolError, StateError
from spicehop.migration.libspice_agent import NO_AGENT, NO_CLIENT, UNKNOWN_TYPE
from spicehop.migration.libspice_states import (
    DisplayLeft,
    display_from,
    display_left,
    inputs_from,
    layout_of_display,
    layout_of_inputs,
    layout_of_main,
    layout_of_pipe,
    layout_of_smartcard,
    main_from,
    main_state,
    pipe_from,
    smartcard_from,
    with_bytes,
    without_bytes,
)
from spicehop.painting import ClientView
from spicehop.painting.digests import Grid
from spicehop.painting.state import SurfaceState, ViewState, bits
from spicehop.wire import agent, base, display, inputs, main, registry, smartcard, vmc
from spicehop.wire import migration_data as md
from spicehop.wire.agent_constants import UNLIMITED_TOKENS, AgentCap, AgentPort, ClipboardType
from spicehop.wire.agent_stream import encode_agent_message, encode_chunk, slices
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.display import Init
from spicehop.wire.layout import Message

SELECTION = frozenset({AgentCap.CLIPBOARD_SELECTION})
CLIENT = 1
INIT = Init(1, 20 * 2**20, 1, 6 * 2**20)
HALVES = TOP / "tests" / "golden" / "reference-halves"


def clipboard(size: int, fill: bytes = b"x") -> bytes:
    return encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, fill * size), capabilities=SELECTION)


def queued(message: Message, kind: int) -> ChannelState:
    number = registry.number_of(message, kind, Direction.FROM_SERVER)
    return ChannelState(queued=(QueuedMessage(number, message.encode()),))


def started(tokens: int = UNLIMITED_TOKENS) -> AgentHub:
    hub = AgentHub()
    hub.opened()
    hub.client_started(CLIENT, tokens)
    return hub


def taken(hub: AgentHub) -> bytes:
    """What the device gets."""
    data = b""
    while chunk := hub.next_chunk(0.0):
        data += chunk
        hub.chunk_taken()
    return data


def given_to_client(hub: AgentHub) -> bytes:
    """The agent's bytes that the client gets."""
    data = b""
    while message := hub.next_message(CLIENT):
        if isinstance(message, main.AgentData):
            data += bytes(message.data)
    return data


def layout(hub: AgentHub) -> bytes:
    return layout_of_main(hub.client_state(CLIENT), hub.device_state())


def restored(body: bytes, rules: AgentFilter | None = None) -> AgentHub:
    hub = AgentHub(rules)
    hub.restore(CLIENT, *main_from(body))
    return hub


class Libspice:
    """What libspice makes of main's data as a target, by the dossier's account of its restore (C4, C6 4.1)."""

    def __init__(self, body: bytes) -> None:
        data = md.MainMigrationData.decode(body)
        self.tokens = data.agent.client_tokens
        self.price = data.agent.write_client_tokens
        self.free = 10 - self.tokens - self.price
        assert self.free >= 0
        self.writes = bytes(data.agent.write_data)
        self.buffer, self.receive_left, self.chunk_left = b"", 0, 0
        self.waiting_header = b""
        self.message_left = data.a2c_remaining
        if data.chunk_header_bytes < 8:
            assert not data.message_header_done
            assert not data.message_header
            words = struct.pack("<II", data.chunk_port, data.chunk_remaining)
            self.waiting_header = words[: data.chunk_header_bytes]
        else:
            self.chunk_left = data.chunk_remaining
            size, pointer = struct.unpack_from("<II", body, 47)
            if not data.message_header_done:
                # The pointer is taken from 6 bytes before the fields, which begin at 8.
                self.buffer = body[pointer + 2 : pointer + 2 + size]
                self.receive_left = min(self.chunk_left, 2048 - size)
                self.chunk_left -= self.receive_left

    def device_data(self, data: bytes) -> bytes:
        """What the client gets of the bytes that the agent writes now, as far as buffers are full."""
        given = b""
        while data:
            if self.receive_left:
                size = min(self.receive_left, len(data))
                self.buffer, data = self.buffer + data[:size], data[size:]
                self.receive_left -= size
                if not self.receive_left:
                    given += self._filtered(self.buffer)
                    self.buffer = b""
            elif self.chunk_left:
                self.receive_left = min(self.chunk_left, 2048)
                self.chunk_left -= self.receive_left
            else:
                size = 8 - len(self.waiting_header)
                self.waiting_header, data = self.waiting_header + data[:size], data[size:]
                if len(self.waiting_header) == 8:
                    port, self.chunk_left = struct.unpack("<II", self.waiting_header)
                    assert port == AgentPort.CLIENT
                    self.waiting_header = b""
        return given

    def _filtered(self, data: bytes) -> bytes:
        left = len(data)
        if not self.message_left:
            assert left >= 20, "a message without its header ends the agent"
            protocol, _, _, self.message_left = struct.unpack_from("<IIQI", data)
            assert protocol == 1
            left -= 20
        assert left <= self.message_left
        self.message_left -= left
        return data


# -- the agent's stream, towards the client --------------------------------------------------------------------------


def test_no_agent() -> None:
    body = layout_of_main(None, None)
    assert body == b"MNMD" + struct.pack("<II", 1, 1) + bytes(53)
    assert main_from(body) == (NO_CLIENT, NO_AGENT)


@given(st.integers(0, 27), st.sampled_from([0, 1, 20, 500, 2028, 2029, 5000]))
@settings(max_examples=150, deadline=None)
def test_a_message_of_the_agent_in_the_middle_of_its_headers(cut: int, size: int) -> None:
    """One chunk a message, as spice-vdagentd writes them; the header's 20th byte makes it the client's."""
    message = encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, b"y" * size), capabilities=SELECTION)
    stream = encode_chunk(AgentPort.CLIENT, message) + encode_chunk(AgentPort.CLIENT, clipboard(30))
    hub = started()
    hub.device_data(stream[:cut])
    body = layout(hub)
    assert Libspice(body).device_data(stream[cut:]) == message + clipboard(30)
    ours = restored(body)
    ours.device_data(stream[cut:])
    assert given_to_client(ours) == message + clipboard(30)
    assert not ours.trouble


@given(st.integers(0, 27), st.sampled_from([0, 1, 20, 500, 2027, 2028, 2029, 4096, 5000]))
@settings(max_examples=150, deadline=None)
def test_libspice_as_the_source_has_lost_the_chunks_length(cut: int, size: int) -> None:
    message = encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, b"y" * size), capabilities=SELECTION)
    chunks = [encode_chunk(AgentPort.CLIENT, message), encode_chunk(AgentPort.CLIENT, clipboard(30))]
    stream = b"".join(chunks)
    body = layout_of_main(started().client_state(CLIENT), AgentDeviceState(True, b"", 0, 0, None, 0, False))
    data = md.MainMigrationData.decode(body)
    fields = {name: getattr(data, name) for name in data.layout().names}
    if cut < 8:
        port, words = struct.unpack("<II", stream[:cut].ljust(8, b"\0"))
        fields |= {"chunk_header_bytes": cut, "chunk_port": port, "chunk_remaining": words}
    else:
        length = len(message)
        fields |= {
            "chunk_header_bytes": 8,
            "chunk_port": 1,
            "chunk_remaining": length - min(length, 2048) if cut > 8 else length,
            "message_header": stream[8:cut],
        }
    hub = restored(md.MainMigrationData(**fields).encode())
    for byte in stream[cut:]:
        hub.device_data(bytes([byte]))
    assert given_to_client(hub) == message + clipboard(30)
    assert not hub.trouble


def test_a_short_slice_precedes_the_body() -> None:
    """Chunks of 2,048 bytes as the Windows agent writes them; the client has had a part of the first."""
    message = clipboard(5000)
    device = AgentDeviceState(True, b"", 1948, 1, MessageHead(4, len(message) - 20, 0), len(message) - 100, False)
    rest = message[100:2048] + b"".join(encode_chunk(AgentPort.CLIENT, bytes(one)) for one in slices(message[2048:]))
    body = layout_of_main(started().client_state(CLIENT), device)
    data = md.MainMigrationData.decode(body)
    assert (data.message_header_done, data.a2c_remaining, data.chunk_remaining) == (1, len(message) - 100, 1948)
    assert Libspice(body).device_data(rest) == message[100:]
    hub = restored(body)
    assert hub.device_state().head == MessageHead(UNKNOWN_TYPE, len(message) - 100, 0)
    hub.device_data(rest + encode_chunk(AgentPort.CLIENT, clipboard(3)))
    assert given_to_client(hub) == message[100:] + clipboard(3)


def test_a_message_that_the_filter_drops_stays_dropped() -> None:
    message = clipboard(5000)
    hub = AgentHub(AgentFilter(copy_paste=False))
    hub.opened()
    hub.client_started(CLIENT, UNLIMITED_TOKENS)
    hub.device_data(struct.pack("<II", 1, len(message)) + message[:2048])
    body = layout(hub)
    assert md.MainMigrationData.decode(body).a2c_filter == md.FilterResult.DISCARD
    moved = restored(body)
    assert moved.device_state().dropped
    moved.device_data(message[2048:] + encode_chunk(AgentPort.CLIENT, clipboard(3)))
    assert given_to_client(moved) == clipboard(3)


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        (AgentDeviceState(True, bytes(20), 500, 1, None, 0, False), "20 bytes of the agent's message are the client's"),
        (AgentDeviceState(True, b"x", 500, 1, MessageHead(4, 900, 0), 900, False), "1 bytes of the agent's message"),
        (AgentDeviceState(True, b"", 500, 1, MessageHead(4, 900, 0), 910, False), "the header of the agent's message"),
        (AgentDeviceState(True, bytes(8), 0, 0, None, 0, False), "have not been looked at"),
        (AgentDeviceState(True, b"x", 2048, 1, None, 0, False, chunk_open=True), "the length of the agent's chunk"),
        (
            AgentDeviceState(True, b"", 500, 1, MessageHead(6, 900, 0), 800, False, collected=bytes(120)),
            "120 bytes of the agent's capabilities",
        ),
    ],
)
def test_what_has_to_be_given_first(device: AgentDeviceState, sentence: str) -> None:
    with pytest.raises(StateError, match=sentence):
        layout_of_main(started().client_state(CLIENT), device)


# -- the agent's stream, from the client -----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6000), max_size=6), st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_every_byte_and_every_token_of_the_client(sizes: list[int], sent: int, written: int, read: int) -> None:
    pieces = [bytes(one) for size in sizes for one in slices(clipboard(size))]
    hub = started()
    for piece in pieces[:sent]:
        hub.data_received(CLIENT, piece)
    before = b""
    for _ in range(written):
        if chunk := hub.next_chunk(0.0):
            before += chunk
            hub.chunk_taken()
    for _ in range(read):
        hub.next_message(CLIENT)
    try:
        body = layout(hub)
    except StateError:
        state = hub.client_state(CLIENT)
        assert (state.inlet_tokens, state.slices) == (0, ())
        return
    wire = b"".join(encode_chunk(AgentPort.CLIENT, piece) for piece in pieces)
    far = sum(len(piece) + 8 for piece in pieces[:sent])
    libspice = Libspice(body)
    assert before + libspice.writes == wire[:far]
    # What the client lacks comes when the write is done, or with the next one.
    assert libspice.tokens + libspice.price + libspice.free == 10
    assert libspice.free == 0 or not libspice.writes
    moved = restored(body)
    state = moved.client_state(CLIENT)
    assert state.inlet_tokens + state.owed + sum(not one.credited for one in state.slices) == 10
    for piece in pieces[sent : sent + state.inlet_tokens]:
        moved.data_received(CLIENT, piece)
        far += len(piece) + 8
    assert before + taken(moved) == wire[:far]
    state = moved.client_state(CLIENT)
    assert state.inlet_tokens + state.owed == 10


def test_a_message_that_is_read_here_goes_as_far_as_it_came() -> None:
    message = encode_agent_message(agent.AnnounceCapabilities.of(frozenset({1, 5}), request=True))
    hub = started()
    hub.data_received(CLIENT, message[:22])
    body = layout(hub)
    data = md.MainMigrationData.decode(body)
    assert (bytes(data.agent.write_data), data.c2a_remaining) == (encode_chunk(1, message[:22]), len(message) - 22)
    moved = restored(body)
    moved.data_received(CLIENT, message[22:])
    assert taken(moved) == encode_chunk(1, message[:22]) + encode_chunk(1, message[22:])


@given(st.lists(st.integers(0, 3000), max_size=4), st.integers(0, 10), st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_layout_has_the_bytes_that_the_envelope_leaves_out(sizes: list[int], sent: int, reads: bool) -> None:
    hub = restored(MAIN.encode())  # with bytes whose chunks are not known
    hub.data_received(CLIENT, bytes(30))
    pieces = [bytes(one) for size in sizes for one in slices(clipboard(size))]
    for piece in pieces[: min(sent, 3)]:
        hub.data_received(CLIENT, piece)
    if reads and hub.client_state(CLIENT).head is None:
        hub.data_received(
            CLIENT, encode_agent_message(agent.AnnounceCapabilities.of(frozenset({1}), request=True))[:22]
        )
    state = hub.client_state(CLIENT)
    body = layout_of_main(state, replace(hub.device_state(), head=None, chunk_left=0))
    assert with_bytes(without_bytes(state), body) == state
    with pytest.raises(ProtocolError):
        with_bytes(replace(without_bytes(state), slices=()), body)


def test_the_main_channel_itself() -> None:
    assert main_state(5).connection_id == 5


def test_tokens_that_are_not_written_are_not_the_clients() -> None:
    hub = started()
    for piece in slices(clipboard(15_000)):
        hub.data_received(CLIENT, bytes(piece))
    taken(hub)
    token = hub.next_message(CLIENT)
    assert token == main.AgentToken(8)
    states = hub.client_state(CLIENT), hub.device_state()
    held = queued(token, ChannelType.MAIN).queued
    assert md.MainMigrationData.decode(layout_of_main(*states)).agent.client_tokens == 10
    assert md.MainMigrationData.decode(layout_of_main(*states, queued=held)).agent.client_tokens == 2
    with pytest.raises(StateError, match="a slice of the agent is queued"):
        layout_of_main(*states, queued=queued(main.AgentData(b"x"), ChannelType.MAIN).queued)


def test_a_client_without_tokens_would_wait_for_ever() -> None:
    hub = started()
    for piece in slices(clipboard(20_000)):
        hub.data_received(CLIENT, bytes(piece))
    assert Libspice(layout(hub)).price == 10
    taken(hub)
    with pytest.raises(StateError, match="the client needs its tokens"):
        layout(hub)


def test_what_waits_for_the_clients_tokens_would_be_lost() -> None:
    hub = started(tokens=0)
    hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(10)))
    with pytest.raises(StateError, match="bytes of the agent wait for the client's tokens"):
        layout(hub)


def test_a_half_written_chunk_of_libspice_goes_on_at_its_byte() -> None:
    """`write_data` may begin anywhere in a chunk."""
    rest = encode_chunk(1, clipboard(3000)[:2048])[700:] + encode_chunk(1, clipboard(3000)[2048:])
    device = md.DeviceState(1, 1, 7, UNLIMITED_TOKENS, 2, rest)
    hub = restored(md.MainMigrationData(device, 1, 0, 0, 0, 0, b"", 0, 0, 0, 0).encode())
    assert hub.client_state(CLIENT).owed == 1
    hub.data_received(CLIENT, clipboard(1))
    assert taken(hub) == rest + encode_chunk(1, clipboard(1))
    assert hub.client_state(CLIENT).owed == 4


def test_a_client_that_leaves_leaves_its_half_chunk() -> None:
    rest = encode_chunk(1, clipboard(100))[50:]
    device = md.DeviceState(1, 1, 9, UNLIMITED_TOKENS, 1, rest)
    hub = restored(md.MainMigrationData(device, 1, 0, 0, 0, 0, b"", 0, 0, 12, 0).encode())
    hub.client_left(CLIENT)
    padding = encode_chunk(AgentPort.CLIENT, bytes(12))
    gone = encode_chunk(AgentPort.SERVER, encode_agent_message(agent.ClientDisconnected()))
    assert taken(hub) == rest + padding + gone


def test_bytes_for_the_agent_of_a_client_that_has_not_begun() -> None:
    rest = encode_chunk(2, b"mouse")
    device = md.DeviceState(1, 1, 10, 0, 0, rest)
    assert taken(restored(md.MainMigrationData(device, 0, 0, 0, 0, 0, b"", 0, 0, 0, 0).encode())) == rest


def test_the_rest_of_a_message_that_libspice_dropped() -> None:
    device = md.DeviceState(1, 1, 9, UNLIMITED_TOKENS, 0, b"")
    discard = md.FilterResult.MONITORS_CONFIG
    hub = restored(md.MainMigrationData(device, 1, 0, 0, 0, 0, b"", 0, 0, 30, discard).encode())
    hub.data_received(CLIENT, bytes(30))
    hub.data_received(CLIENT, clipboard(1))
    assert taken(hub) == encode_chunk(1, clipboard(1))


MAIN = md.MainMigrationData(md.DeviceState(1, 1, 5, 5, 5, b"12345"), 1, 8, 1, 400, 1, b"", 900, 0, 30, 0)


def changed(data: md.MainMigrationData, **fields: object) -> bytes:
    return replace(data, **fields).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (changed(MAIN, agent=md.DeviceState(1, 1, 5, 5, 6, b"12345")), "5 and 6 tokens are more than"),
        (changed(MAIN, agent=md.DeviceState(1, 0, 5, 5, 5, b"12345")), "an agent that was not connected"),
        (changed(MAIN, client_agent_started=2), "a flag of the agent's client is 2"),
        (changed(MAIN, message_header=b"x"), "both complete and not"),
        (changed(MAIN, chunk_header_bytes=7), "begins before its chunk does"),
        (changed(MAIN, chunk_port=3), "goes to port 3"),
        (changed(MAIN, chunk_remaining=2**31), "has 2147483648 bytes more"),
        (changed(MAIN, chunk_remaining=901), "goes on behind the end of its message"),
        (changed(MAIN, c2a_filter=2), "the filter says 2"),
        (changed(MAIN, c2a_remaining=2**31), "2147483648 bytes of an agent message"),
        (changed(MAIN, message_header_done=0, chunk_remaining=19), "shorter than a header"),
        (changed(MAIN, agent=md.DeviceState(1, 1, 5, 5, 5, b"")) + bytes(30_000), ""),
    ],
)
def test_main_data_that_contradicts_itself(body: bytes, sentence: str) -> None:
    if not sentence:  # bytes behind the layout are another server's affair
        main_from(body)
        return
    with pytest.raises(ProtocolError, match=sentence):
        main_from(body)


# -- display ---------------------------------------------------------------------------------------------------------


def a_view() -> ViewState:
    grid = Grid(200, 100)
    lossy = np.zeros((grid.rows, grid.columns), np.bool_)
    lossy[1, 1:3] = True
    surfaces = (
        SurfaceState(0, 200, 100, bytes(8 * 8), bits(~lossy), bits(lossy)),
        SurfaceState(7, 10, 10, b"", b"", b""),
    )
    return replace(
        ClientView().state(), cache_pixels=20 * 2**20, glz_window=6 * 2**20, glz_next_id=38, surfaces=surfaces
    )


def test_a_display_there_and_back() -> None:
    state = DisplayState(ChannelState(serial=53), INIT)
    left = display_left(layout_of_display(state, a_view()))
    assert (left.state.init, left.state.channel.serial) == (INIT, 53)
    assert left.surfaces == (0, 7)
    assert display_from(layout_of_display(state, a_view())) == (left.state, left.view)
    assert (left.view.cache_pixels, left.view.glz_window, left.view.glz_next_id) == (20 * 2**20, 6 * 2**20, 38)
    assert left.first_messages() == (display.InvalAllPixmaps(()), display.InvalAllPalettes())
    view, unknown = left.view_with({0: (200, 100), 5: (1, 1)})
    assert unknown == (7,)
    assert [(one.surface_id, one.width, one.height, one.digests) for one in view.surfaces] == [(0, 200, 100, b"")]
    restored_view = ClientView.restored(view)
    assert restored_view.glz is not None
    assert restored_view.glz.next_id == 38
    assert not restored_view.surfaces[0].tiles.any()


def test_the_form_of_a_server_with_jpeg() -> None:
    state = DisplayState(ChannelState(serial=53), INIT)
    body = layout_of_display(state, a_view(), jpeg=True, low_bandwidth=True)
    data = md.LossyDisplayMigrationData.decode(body)
    assert data.surfaces.surfaces == (md.LossySurface(0, 64, 64, 192, 100), md.LossySurface(7, 0, 0, 0, 0))
    left = display_left(body)
    assert (left.surfaces, left.low_bandwidth) == ((0, 7), True)


def test_several_displays_share_a_cache() -> None:
    state = DisplayState(ChannelState(serial=53), INIT)
    body = layout_of_display(state, None, freezer=False, cache_serials={1: 53, 0: 70}, glz_next_id=99)
    data = md.DisplayMigrationData.decode(body)
    assert (data.pixmap_cache_freezer, data.pixmap_cache_clients, data.glz_last_image_id) == (0, (70, 53, 0, 0), 99)
    left = display_left(body, display_id=1, displays=2)
    assert left.first_messages() == (display.InvalAllPalettes(),)
    assert (left.view.display_id, left.view.glz_window) == (1, 0)
    waits = replace(left, freezer=True).first_messages()
    assert waits[0] == display.InvalAllPixmaps((base.WaitFor(ChannelType.DISPLAY, 0, 70),))


@pytest.mark.parametrize("partial", [b"", b"x"])
def test_between_two_chunks_of_a_message_libspice_expects_a_message(partial: bytes) -> None:
    device = AgentDeviceState(True, partial, 0, 1, MessageHead(4, 900, 0), 500, False)
    data = md.MainMigrationData.decode(layout_of_main(None, device))
    assert (data.chunk_header_bytes, data.message_header_done, data.a2c_remaining) == (len(partial), 0, 0)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (DisplayState(ChannelState(), None), "what caches it has"),
        (DisplayState(queued(display.Mark(), ChannelType.DISPLAY), INIT), "a message of a display is queued"),
    ],
)
def test_a_display_that_libspice_cannot_take(state: DisplayState, sentence: str) -> None:
    with pytest.raises(StateError, match=sentence):
        layout_of_display(state, None)


def test_a_larger_glz_window_than_libspice_takes_is_used_in_part() -> None:
    body = layout_of_display(DisplayState(ChannelState(), replace(INIT, glz_window_size=2**26)), None)
    assert display_left(body).view.glz_window == 2**25


DCMD: dict[str, Any] = {
    "message_serial": 53,
    "low_bandwidth": 0,
    "pixmap_cache_id": 1,
    "pixmap_cache_size": 100,
    "pixmap_cache_freezer": 1,
    "pixmap_cache_clients": (0, 0, 0, 0),
    "glz_dictionary_id": 1,
    "glz_window_size": 100,
    "glz_max_encoders": 4,
    "glz_last_image_id": 38,
}


@pytest.mark.parametrize(
    ("fields", "ids", "sentence"),
    [
        ({}, (0, 0), "a surface twice"),
        ({"pixmap_cache_size": -1}, (0,), "impossible cache sizes"),
        ({"glz_window_size": 2**25 + 1}, (0,), "impossible cache sizes"),
        ({"message_serial": 2**62}, (0,), "an impossible serial"),
        ({"glz_last_image_id": 2**63}, (0,), "an impossible serial"),
    ],
)
def test_display_data_that_contradicts_itself(fields: dict[str, int], ids: tuple[int, ...], sentence: str) -> None:
    data = md.DisplayMigrationData(**{**DCMD, **fields}, surfaces=md.SurfaceList(ids))
    with pytest.raises(ProtocolError, match=sentence):
        display_from(data.encode())


# -- inputs, pipes, cards --------------------------------------------------------------------------------------------


def test_acknowledgements_that_are_not_written_are_movements() -> None:
    ack = queued(inputs.MouseMotionAck(), ChannelType.INPUTS).queued
    state = InputsState(ChannelState(queued=ack * 2), (b"\x1e",), 1, 3, 0)
    body = layout_of_inputs(state)
    assert md.InputsMigrationData.decode(body).motion_count == 11
    back = inputs_from(body, locks=2)
    first = queued(inputs.KeyModifiers(2), ChannelType.INPUTS).queued
    assert (back.motions, back.locks, back.channel.queued) == (3, 2, first + ack * 2)
    with pytest.raises(ProtocolError, match="1025 movements"):
        inputs_from(md.InputsMigrationData(1025).encode())


@given(st.binary(max_size=5000))
@settings(max_examples=50, deadline=None)
def test_bytes_for_a_device(incoming: bytes) -> None:
    body = layout_of_pipe(PipeState(ChannelState(), True, incoming, 9 + len(incoming), 9, 3))
    assert pipe_from(body) == PipeState(ChannelState(), False, incoming, len(incoming), 0, 0)


def test_bytes_of_a_device_that_are_not_written() -> None:
    held = queued(vmc.VmcData(b"x"), ChannelType.PORT)
    with pytest.raises(StateError, match="bytes of a device are queued"):
        layout_of_pipe(PipeState(held, True, b"", 0, 0, 0))
    held = queued(smartcard.SmartcardData(7, 0, b"x"), ChannelType.SMARTCARD)
    with pytest.raises(StateError, match="a message of the card's device is queued"):
        layout_of_smartcard(SmartcardState(PipeState(held, True, b"", 0, 0, 0), True, b""))
    with pytest.raises(ProtocolError, match="bytes for a device that was not connected"):
        pipe_from(md.VmcMigrationData(md.DeviceState(1, 0, 0, 0, 0, b"x")).encode())


@given(st.binary(max_size=100), st.booleans(), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_a_card(incoming: bytes, has_reader: bool, cut: int) -> None:
    partial = (DEVICE_HEADER.pack(7, 0, 100) + bytes(100))[:cut]
    pipe = PipeState(ChannelState(), False, incoming, len(incoming), 0, 0)
    state = SmartcardState(pipe, has_reader, partial)
    assert smartcard_from(layout_of_smartcard(state)) == state


def test_a_card_that_libspice_would_write_beyond_its_buffer_for() -> None:
    pipe = PipeState(ChannelState(), False, b"", 0, 0, 0)
    with pytest.raises(StateError, match="libspice has no room"):
        layout_of_smartcard(SmartcardState(pipe, True, DEVICE_HEADER.pack(7, 0, 280) + bytes(275)))
    device = md.DeviceState(1, 1, 0, 0, 0, b"")
    for body, sentence in [
        (md.SmartcardMigrationData(device, 1, DEVICE_HEADER.pack(7, 0, 3) + bytes(3)), "no part of a card's message"),
        (md.SmartcardMigrationData(device, 1, DEVICE_HEADER.pack(7, 0, 2**17)), "no part of a card's message"),
        (md.SmartcardMigrationData(device, 2, b""), "a flag of the card's reader"),
        (md.SmartcardMigrationData(md.NO_DEVICE, 1, b""), "no card device"),
    ]:
        with pytest.raises(ProtocolError, match=sentence):
            smartcard_from(body.encode())


# -- what real servers wrote, and what nobody wrote ------------------------------------------------------------------


def reference() -> dict[int, bytes]:
    """The bodies of MIGRATE_DATA of QEMU with libspice-server, by channel."""
    number = registry.number_of(base.MigrateData(b""), ChannelType.MAIN, Direction.FROM_SERVER)
    return {
        one.channel_type: bytes(frame.body)
        for one in connections(SUBSET)
        if one.server == "src"
        for frame in one.stream("s2c").frames
        if frame.number == number
    }


def test_the_reference_main_data() -> None:
    body = reference()[ChannelType.MAIN]
    client, device = main_from(body)
    assert (client.started, client.tokens, client.inlet_tokens, client.owed) == (True, UNLIMITED_TOKENS - 1, 9, 1)
    assert (client.slices, client.head) == ((), None)
    assert device == AgentDeviceState(True, b"", 0, 0, None, 0, False)
    again = bytearray(layout_of_main(client, device))
    again[38:46] = body[38:46]  # libspice leaves the last chunk's header there
    assert bytes(again) == body


def test_the_reference_display_data() -> None:
    body = reference()[ChannelType.DISPLAY]
    left = display_left(body)
    assert isinstance(left, DisplayLeft)
    assert (left.state.channel.serial, left.surfaces, left.view.glz_next_id) == (53, (0,), 38)
    assert left.state.init == Init(1, 20_971_520, 1, 6_290_432)
    view, _ = left.view_with({0: (1024, 768)})
    assert layout_of_display(left.state, view) == body


def test_the_reference_data_of_devices() -> None:
    bodies = reference()
    assert layout_of_pipe(pipe_from(bodies[ChannelType.PORT])) == bodies[ChannelType.PORT]
    assert len(pipe_from(bodies[ChannelType.PORT]).incoming) == 160
    assert layout_of_inputs(inputs_from(bodies[ChannelType.INPUTS])) == bodies[ChannelType.INPUTS]


def test_the_reference_in_the_middle_of_a_text_for_the_guest() -> None:
    body = (HALVES / "text-for-guest.mnmd").read_bytes()
    client, device = main_from(body)
    assert (client.inlet_tokens, client.owed, client.left) == (0, 3, 2_597_404)
    assert sum(not piece.credited for piece in client.slices) == 7
    assert device == AgentDeviceState(True, b"", 0, 0, None, 0, True)
    assert taken(restored(body)) == bytes(md.MainMigrationData.decode(body).agent.write_data)
    again = bytearray(layout_of_main(client, device))
    assert again[25] == 10  # tokens that are due go with what is written, for libspice gives none else
    again[25], again[38:46] = body[25], body[38:46]
    assert bytes(again) == body


def test_the_reference_in_the_middle_of_a_text_for_the_client() -> None:
    body = (HALVES / "text-for-client.mnmd").read_bytes()
    client, device = main_from(body)
    assert (client.slices, client.head) == ((), None)
    assert (device.chunk_left, device.left, device.partial) == (936_292, 936_292, b"")
    assert layout_of_main(client, device) == body
    hub = restored(body)
    hub.device_data(bytes(936_292) + encode_chunk(AgentPort.CLIENT, clipboard(5)))
    assert given_to_client(hub) == bytes(936_292) + clipboard(5)


READERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "main": (
        main_from,
        [MAIN.encode(), changed(MAIN, message_header_done=0, message_header=b"header", a2c_remaining=0)],
    ),
    "display": (
        display_from,
        [layout_of_display(DisplayState(ChannelState(53), INIT), a_view(), jpeg=jpeg) for jpeg in (False, True)],
    ),
    "inputs": (inputs_from, [md.InputsMigrationData(5).encode()]),
    "pipe": (pipe_from, [md.VmcMigrationData(md.DeviceState(1, 1, 0, 0, 0, b"data")).encode()]),
    "card": (smartcard_from, [md.SmartcardMigrationData(md.DeviceState(1, 1, 0, 0, 0, b"d"), 1, b"part").encode()]),
}


@pytest.mark.parametrize("name", READERS)
def test_damage_gives_a_state_or_a_protocol_error(name: str) -> None:
    reader, bodies = READERS[name]
    for body in bodies:
        for damaged in (*truncations(body), *bit_flips(body), *forged_counts(body)):
            survives(reader, damaged)


@given(st.binary(max_size=200), st.sampled_from(sorted(READERS)))
@settings(max_examples=200, deadline=None)
def test_noise_gives_a_protocol_error(noise: bytes, name: str) -> None:
    reader, bodies = READERS[name]
    survives(reader, noise)
    survives(reader, bodies[0][:8] + noise)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_main_data_never_breaks_the_hub(data: st.DataObject) -> None:
    body = bytearray(READERS["main"][1][data.draw(st.integers(0, 1))])
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(8, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        states: tuple[AgentClientState, AgentDeviceState] = main_from(bytes(body))
    except ProtocolError:
        return
    hub = AgentHub()
    hub.restore(CLIENT, *states)
    hub.device_data(data.draw(st.binary(max_size=100)))
    taken(hub)
    given_to_client(hub)
    assert all(isinstance(piece, Slice) for piece in hub.client_state(CLIENT).slices)
