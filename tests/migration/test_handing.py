"""What a target that may be libspice is given: always a layout, within libspice's limits."""

from __future__ import annotations

from dataclasses import replace

from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState
from spicehop.channels.serving.agent_routing import MessageHead
from spicehop.channels.serving.channel import FLUSH_MARK, Peer, ServerChannel
from spicehop.channels.serving.main import MainState, ServerMain
from spicehop.channels.serving.parked import LARGEST_MAIN_STATE
from spicehop.migration import libspice_states as libspice
from spicehop.migration.arriving import Here, StateCollector
from spicehop.migration.handing import ThroughClient
from spicehop.migration.state import MAIN, AgentStates
from spicehop.wire import agent, registry
from spicehop.wire.agent_constants import CLIENT_TOKENS, UNLIMITED_TOKENS, AgentPort, ClipboardType
from spicehop.wire.agent_stream import encode_agent_message, slices
from spicehop.wire.base import MigrateData
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.migration_data import MAIN_LIMIT, MainMigrationData

BETWEEN = AgentDeviceState(True, b"", 0, AgentPort.CLIENT, MessageHead(4, 500, 0), 100, False, clients=(7,))
"""The agent has said one chunk of a message, and nothing of the next."""


class Leaving:
    """A session of which only main and its agent leave."""

    def __init__(self, agents: AgentStates) -> None:
        self.main = ServerMain(Peer(local=True), 0.0, libspice.main_state(7))
        self._agents = agents

    def machines(self) -> dict[tuple[int, int], ServerChannel]:
        return {MAIN: self.main}

    def channel_state(self, key: tuple[int, int]) -> MainState:
        return self.main.state()

    def view_state(self, number: int) -> None:
        return None

    def window(self, number: int, since: int) -> tuple[bytes, int]:
        return b"", since

    def agent_states(self) -> AgentStates:
        return self._agents


def body_of(agents: AgentStates) -> bytes:
    """What the client gets to carry."""
    source = Leaving(agents)
    carrier, main = ThroughClient(source, {MAIN}), source.main
    carrier.begin_main()
    main.drain(0.0)
    main.feed(encode_frame(FLUSH_MARK, b"", mini_header=True), 0.0)
    carrier.progress()
    (frame,) = FrameReader(mini_header=True).feed(b"".join(main.drain(0.0, limit=1 << 20)))
    said = registry.decode(ChannelType.MAIN, Direction.FROM_SERVER, frame.number, bytes(frame.body))
    assert isinstance(said, MigrateData)
    return bytes(said.data)


def arrived(body: bytes) -> AgentStates | None:
    (restored,) = StateCollector().body_came(MAIN, body, {MAIN}, Here())
    return restored.agent


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
    body = body_of(agents)
    assert MainMigrationData.decode(body).agent.connected == 0
    client, device = libspice.main_from(body)
    assert not client.started
    assert not device.connected
    assert arrived(body) == agents


def test_all_the_agents_slices_fit_libspices_buffer() -> None:
    for device in (BETWEEN, AgentDeviceState(True, b"", 0, 0, None, 0, False, clients=(7,))):
        agents = AgentStates(client_with(CLIENT_TOKENS), device)
        body = body_of(agents)
        assert len(body) <= MAIN_LIMIT < LARGEST_MAIN_STATE
        assert arrived(body) == agents
