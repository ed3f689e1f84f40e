"""What a target that may be libspice is given: always a layout, within libspice's limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState
from spicehop.channels.serving.agent_routing import MessageHead
from spicehop.channels.serving.channel import FLUSH_MARK, ChannelState, Peer, QueuedMessage, ServerChannel
from spicehop.channels.serving.main import ServerMain
from spicehop.channels.serving.parked import LARGEST_MAIN_STATE
from spicehop.channels.serving.pipe import PipeState, ServerPipe
from spicehop.channels.serving.smartcard import DEVICE_HEADER, ServerSmartcard, SmartcardState
from spicehop.migration import libspice_states as libspice
from spicehop.migration.arriving import Here, RestoredChannel, StateCollector
from spicehop.migration.handing import ThroughClient
from spicehop.migration.state import AgentStates, ServingState
from spicehop.wire import agent, registry, vmc
from spicehop.wire.agent_constants import CLIENT_TOKENS, UNLIMITED_TOKENS, AgentPort, ClipboardType
from spicehop.wire.agent_stream import encode_agent_message, slices
from spicehop.wire.base import MigrateData
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.migration_data import MAIN_LIMIT, MainMigrationData

BETWEEN = AgentDeviceState(True, b"", 0, AgentPort.CLIENT, MessageHead(4, 500, 0), 100, False, clients=(7,))
"""The agent has said one chunk of a message, and nothing of the next."""


class Leaving:
    """A session of which one channel leaves."""

    def __init__(self, machine: ServerChannel, state: ServingState, agents: AgentStates | None = None) -> None:
        self._machine = machine
        self._state = state
        self._agents = agents or AgentStates(None, None)

    def machines(self) -> dict[tuple[int, int], ServerChannel]:
        return {(self._machine.kind, 0): self._machine}

    def channel_state(self, key: tuple[int, int]) -> ServingState:
        return self._state

    def view_state(self, number: int) -> None:
        return None

    def window(self, number: int, since: int) -> tuple[bytes, int]:
        return b"", since

    def agent_states(self) -> AgentStates:
        return self._agents


def body_of(machine: ServerChannel, state: ServingState, agents: AgentStates | None = None) -> bytes:
    """What the client gets to carry."""
    carrier = ThroughClient(Leaving(machine, state, agents), {(machine.kind, 0)})
    carrier.begin()
    if machine.kind == ChannelType.MAIN:
        carrier.begin_main()
    machine.drain(0.0)
    machine.feed(encode_frame(FLUSH_MARK, b"", mini_header=True), 0.0)
    carrier.progress()
    (frame,) = FrameReader(mini_header=True).feed(b"".join(machine.drain(0.0, limit=1 << 20)))
    said = registry.decode(machine.kind, Direction.FROM_SERVER, frame.number, bytes(frame.body))
    assert isinstance(said, MigrateData)
    return bytes(said.data)


def main_body(agents: AgentStates) -> bytes:
    state = libspice.main_state(7)
    return body_of(ServerMain(Peer(local=True), 0.0, state), state, agents)


def arrived(kind: int, body: bytes) -> RestoredChannel:
    (restored,) = StateCollector().body_came((kind, 0), body, {(kind, 0)}, Here())
    return restored


def client_with(sent: int) -> AgentClientState:
    """A client that has sent so many slices of a text, of which the device has taken none."""
    hub = AgentHub()
    hub.opened()
    hub.client_started(1, UNLIMITED_TOKENS)
    text = agent.Clipboard(0, ClipboardType.UTF8_TEXT, bytes(100_000))
    for piece, _ in zip(slices(encode_agent_message(text)), range(sent), strict=False):
        hub.data_received(1, bytes(piece))
    state = hub.client_state(1)
    assert state is not None
    return state


def test_where_libspice_has_no_words_its_target_begins_with_the_agent_anew() -> None:
    waiting = replace(client_with(3), tokens=0, outlet=(bytes(500),))
    agents = AgentStates(waiting, AgentDeviceState(True, b"", 0, 0, None, 0, False, clients=(7,)))
    body = main_body(agents)
    assert MainMigrationData.decode(body).agent.connected == 0
    client, device = libspice.main_from(body)
    assert not client.started
    assert not device.connected
    assert arrived(ChannelType.MAIN, body).agent == agents


def test_all_the_agents_slices_fit_libspices_buffer() -> None:
    for device in (BETWEEN, AgentDeviceState(True, b"", 0, 0, None, 0, False, clients=(7,))):
        agents = AgentStates(client_with(CLIENT_TOKENS), device)
        body = main_body(agents)
        assert len(body) <= MAIN_LIMIT < LARGEST_MAIN_STATE
        assert arrived(ChannelType.MAIN, body).agent == agents


def pipe_state(incoming: bytes, *queued: vmc.VmcData) -> PipeState:
    number = registry.number_of(vmc.VmcData(b""), ChannelType.PORT, Direction.FROM_SERVER)
    held = tuple(QueuedMessage(number, one.encode()) for one in queued)
    return PipeState(ChannelState(queued=held), True, incoming, len(incoming), 0, 0)


@pytest.mark.parametrize("queued", [(), (vmc.VmcData(b"for the client"),)])
def test_a_port_has_a_layout_and_arrives_whole(queued: tuple[vmc.VmcData, ...]) -> None:
    state = pipe_state(b"for the guest", *queued)
    body = body_of(ServerPipe(ChannelType.PORT, 0, Peer(local=True), 0.0), state)
    assert libspice.pipe_from(body).incoming == (b"" if queued else b"for the guest")
    assert arrived(ChannelType.PORT, body).state == state


@pytest.mark.parametrize("size", [100, 290])
def test_a_card_has_a_layout_and_arrives_whole(size: int) -> None:
    """libspice has no room for the longer one (`CARD_BUFFER`)."""
    partial = DEVICE_HEADER.pack(1, 0, 280) + bytes(size - DEVICE_HEADER.size)
    state = SmartcardState(pipe_state(b"for the guest"), True, partial)
    body = body_of(ServerSmartcard(0, Peer(local=True), 0.0), state)
    assert libspice.smartcard_from(body).partial == (partial if size == 100 else b"")
    assert arrived(ChannelType.SMARTCARD, body).state == state
