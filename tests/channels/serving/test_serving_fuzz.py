"""Any bytes of a client, on any channel: events, or one failure; and a state that goes on as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.serving.channel import Failed, Peer, ServerChannel
from spicehop.channels.serving.cursor import Pointer, ServerCursor, Shape
from spicehop.channels.serving.display import ServerDisplay
from spicehop.channels.serving.inputs import ServerInputs
from spicehop.channels.serving.main import ServerMain
from spicehop.channels.serving.pipe import ServerPipe
from spicehop.channels.serving.playback import ServerPlayback
from spicehop.channels.serving.record import ServerRecord
from spicehop.channels.serving.smartcard import ServerSmartcard
from spicehop.wire import display, inputs
from spicehop.wire.constants import ChannelType
from spicehop.wire.framing import encode_frame

PEER = Peer()
MACHINES: dict[str, Callable[[Peer], ServerChannel]] = {
    "main": lambda peer: ServerMain(peer, 0.0),
    "display": lambda peer: ServerDisplay(0, peer, 0.0),
    "inputs": lambda peer: ServerInputs(0, peer, 0.0),
    "cursor": lambda peer: ServerCursor(0, peer, 0.0),
    "playback": lambda peer: ServerPlayback(0, peer, 0.0),
    "record": lambda peer: ServerRecord(0, peer, 0.0, opus=True),
    "smartcard": lambda peer: ServerSmartcard(0, peer, 0.0),
    "port": lambda peer: ServerPipe(ChannelType.PORT, 0, peer, 0.0),
    "usbredir": lambda peer: ServerPipe(ChannelType.USBREDIR, 0, peer, 0.0),
    "webdav": lambda peer: ServerPipe(ChannelType.WEBDAV, 0, peer, 0.0),
}
FRAMES = st.lists(st.tuples(st.integers(0, 125), st.binary(max_size=40)), max_size=12)


@pytest.mark.parametrize("name", MACHINES)
@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_noise(name: str, noise: bytes, mini_header: bool) -> None:
    events = MACHINES[name](Peer(mini_header=mini_header)).feed(noise, 1.0)
    assert not any(isinstance(event, Failed) for event in events[:-1])


@pytest.mark.parametrize("name", MACHINES)
@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_messages_with_any_body(name: str, frames: list[tuple[int, bytes]]) -> None:
    channel = MACHINES[name](PEER)
    if isinstance(channel, ServerDisplay):
        channel.feed(encode_frame(101, display.Init(1, 1, 1, 1).encode(), mini_header=True), 0.0)
    for number, body in frames:
        events = channel.feed(encode_frame(number, body, mini_header=True), 1.0)
        channel.drain(1.0)
        if events and isinstance(events[-1], Failed):
            break


def test_states_go_on_as_they_were() -> None:
    main = ServerMain(PEER, 0.0)
    main.change_mouse_mode(2, absolute_pointer=True)
    assert ServerMain(PEER, 1.0, main.state()).state() == main.state()
    screen = ServerDisplay(0, PEER, 0.0)
    screen.feed(encode_frame(101, display.Init(1, 9, 1, 9).encode(), mini_header=True), 0.0)
    screen.drain(0.0)
    assert ServerDisplay(0, PEER, 1.0, screen.state()).state() == screen.state()
    keys = ServerInputs(0, PEER, 0.0)
    keys.feed(encode_frame(101, inputs.KeyDown(0x1E).encode(), mini_header=True), 0.0)
    assert ServerInputs(0, PEER, 1.0, keys.state()).state() == keys.state()
    cursor = ServerCursor(0, PEER, 0.0)
    cursor.pointer = Pointer(4, 5, True, Shape(9, 1, 1, 0, 0, bytes(4)))
    cursor.drain(0.0)
    again = ServerCursor(0, PEER, 1.0, cursor.state())
    assert again.state() == cursor.state()
    again.pointer = cursor.pointer
    assert len(again.drain(1.0)) == 1  # SET_ACK; the pointer is known there
    player = ServerPlayback(0, PEER, 0.0)
    player.code(1, 0.0)
    player.playing(2, 48_000, 0.0)
    assert ServerPlayback(0, PEER, 1.0, player.state()).state() == player.state()
    recorder = ServerRecord(0, PEER, 0.0)
    recorder.recording((2, 48_000))
    assert ServerRecord(0, PEER, 1.0, state=recorder.state()).state() == recorder.state()
    port = ServerPipe(ChannelType.PORT, 0, PEER, 0.0)
    port.begin("name", opened=True)
    port.accept(b"waits")
    assert ServerPipe(ChannelType.PORT, 0, PEER, 1.0, port.state()).state() == port.state()
