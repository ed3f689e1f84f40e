"""The agent's device, and clients that stay, leave, go to another server and come from one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from small_guest import SmallGuest

from spicehop.channels.serving.agent import ARRIVAL_SECONDS, PATIENCE, STORE_BYTES
from spicehop.channels.serving.agent_routing import AgentFilter
from spicehop.channels.serving.channel import Peer
from spicehop.channels.serving.main import ServerMain
from spicehop.migration.state import AgentStates
from spicehop.server.agent_desk import CUT_SHORT, AgentDesk
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import UNLIMITED_TOKENS, AgentPort, ClipboardType
from spicehop.wire.agent_stream import encode_agent_message, encode_chunk, slices
from spicehop.wire.constants import NotifySeverity
from spicehop.wire.layout import Message

NAMES = {1: 101, 2: 102}
STATUS = encode_agent_message(agent.FileXferStatus(9, 0, bytes(5000)))
MONITORS = agent.MonitorsConfig(0, (agent.Monitor(600, 800, 32, 0, 0),))


class ToldMain(ServerMain):
    """A main channel that notes what it is to say."""

    def __init__(self) -> None:
        super().__init__(Peer(), 0.0)
        self.told: list[str] = []
        self.data = b""

    def send(self, message: Message) -> None:
        if isinstance(message, main.AgentData):
            self.data += bytes(message.data)

    def notify(self, text: str, now: float, severity: NotifySeverity = NotifySeverity.INFO) -> None:
        self.told.append(text)

    def agent_connected(self, tokens: int) -> None:
        self.told.append("connected")

    def agent_disconnected(self, error: int = 0) -> None:
        self.told.append("disconnected")


class Place:
    """A server's agent desk with its guest, and its clients' main channels."""

    def __init__(self, *, opened: bool = True, running: bool = True) -> None:
        self.guest = SmallGuest()
        self.guest.agent.is_open, self.guest.is_running = opened, running
        self.desk = AgentDesk(self.guest, AgentFilter())
        self.mains: dict[int, ToldMain] = {}

    def come(self, client: int) -> ToldMain:
        """A client that begins here."""
        self.mains[client] = ToldMain()
        self.pump()
        self.desk.client_started(client, UNLIMITED_TOKENS)
        return self.mains[client]

    def pump(self, now: float = 0.0) -> None:
        mains: Mapping[int, ServerMain] = self.mains
        self.desk.pump(now, mains)

    def send(self, client: int, message: bytes) -> None:
        for piece in slices(message):
            self.desk.hub.data_received(client, bytes(piece))

    def leave(self, client: int) -> AgentStates:
        """A client goes to another server."""
        self.desk.hand_out(client, self.mains[client])
        states = self.desk.states(client, {one: NAMES[one] for one in self.mains})
        del self.mains[client]
        self.desk.client_departed(client)
        return states

    def arrive(self, client: int, states: AgentStates) -> ToldMain:
        self.desk.client_arrived(client, NAMES[client], states)
        self.mains[client] = ToldMain()
        self.pump()
        return self.mains[client]


def place_with(*clients: int) -> Place:
    place = Place()
    for client in clients:
        place.come(client)
    return place


def expecting(*clients: int, opened: bool = True) -> Place:
    place = Place(opened=opened)
    for client in clients:
        place.desk.expect(client, NAMES[client])
    place.pump()
    return place


def test_clients_hear_of_an_agent_that_comes_and_goes() -> None:
    place = Place(opened=False)
    first = place.come(1)
    place.guest.agent.is_open = True
    place.pump()
    second = place.come(2)
    place.guest.agent.is_open = False
    place.pump()
    assert first.told == ["connected", "disconnected"]
    assert second.told == ["disconnected"]


def test_an_agent_that_speaks_nonsense_is_gone_once() -> None:
    place = place_with(1)
    place.guest.agent.to_give += encode_chunk(AgentPort.CLIENT, b"\7" * 100)
    place.pump()
    place.guest.agent.is_open = False
    place.pump()
    assert place.mains[1].told == ["connected", "disconnected"]


def test_clients_that_have_known_the_agent_are_told_nothing() -> None:
    source = place_with(1, 2)
    stream = encode_chunk(AgentPort.CLIENT, STATUS)
    source.guest.agent.to_give += stream[:3000]
    source.pump()
    source.guest.is_running = False
    before = dict(source.mains)
    states = {client: source.leave(client) for client in (1, 2)}
    target = expecting(1, 2)
    target.guest.agent.to_give += stream[3000:]
    target.pump()
    assert target.guest.agent.to_give
    later = [target.arrive(client, states[client]) for client in (2, 1)]
    target.pump()
    assert [main.told for main in later] == [[], []]
    assert [before[2].data + later[0].data, before[1].data + later[1].data] == [STATUS, STATUS]
    assert (source.guest.agent.clients, target.guest.agent.clients) == ([True], [])


@pytest.mark.parametrize(
    ("had", "has", "told"),
    [(True, False, ["disconnected"]), (False, True, ["connected"]), (False, False, [])],
    ids=["gone meanwhile", "come meanwhile", "never there"],
)
def test_clients_hear_what_has_changed_meanwhile(had: bool, has: bool, told: list[str]) -> None:
    source = Place(opened=had)
    source.come(1)
    target = expecting(1, opened=has)
    assert target.arrive(1, source.leave(1)).told == told
    assert not target.desk.hub.started(1)


def test_another_agent_than_the_one_that_was_known() -> None:
    source = place_with(1, 2)
    states = {client: source.leave(client) for client in (1, 2)}
    target = expecting(1, 2)
    first = target.arrive(1, states[1])
    for opened in (False, True):
        target.guest.agent.is_open = opened
        target.pump()
    second = target.arrive(2, states[2])
    assert first.told == second.told == ["disconnected", "connected"]
    assert not target.desk.hub.started(2)
    target.desk.client_started(2, UNLIMITED_TOKENS)
    assert target.desk.hub.wanted


def test_a_client_that_comes_too_late_begins_anew_with_the_agent() -> None:
    source = place_with(1, 2)
    states = {client: source.leave(client) for client in (1, 2)}
    target = expecting(1, 2)
    assert target.arrive(1, states[1]).told == []
    assert target.desk.next_deadline() == ARRIVAL_SECONDS
    target.pump(ARRIVAL_SECONDS)
    assert target.desk.next_deadline() is None
    assert target.arrive(2, states[2]).told == ["disconnected", "connected"]


def test_a_client_hears_that_the_rest_of_its_message_was_dropped() -> None:
    place = Place()
    first, second = place.come(1), place.come(2)
    place.pump()
    for one in (first, second):
        one.told.clear()
    long = encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, bytes(STORE_BYTES + 100_000)))
    for piece in list(slices(long))[:-10]:
        place.desk.hub.data_received(1, bytes(piece))
        place.pump(1.0)
    place.send(2, STATUS)
    place.pump(2.0)
    place.pump(2.0 + PATIENCE)
    assert (first.told, second.told) == ([CUT_SHORT], [])


def test_a_guest_that_has_not_come_is_waited_for() -> None:
    target = Place(running=False)
    target.desk.expect(1, 101)
    target.pump(0.0)
    target.pump(1000.0)
    assert target.desk.next_deadline() is None
    assert target.desk.hub.waits


def test_a_client_that_leaves_on_its_way_is_gone() -> None:
    source = place_with(1, 2)
    states = source.leave(1)
    target = expecting(1, 2)
    target.arrive(1, states)
    target.desk.client_left(1)
    assert target.guest.agent.clients == []
    target.desk.client_left(2)
    assert target.guest.agent.clients == [False]
    target.pump()
    assert bytes(target.guest.agent.got) == encode_chunk(
        AgentPort.SERVER, encode_agent_message(agent.ClientDisconnected())
    )


def test_there_and_back() -> None:
    """What a source still holds of clients that have left is no more when the guest is back."""
    here = place_with(1)
    here.guest.agent.takes = False
    here.send(1, encode_agent_message(agent.FileXferStatus(9, 0, bytes(30))))
    here.pump()
    here.guest.is_running = False
    states = here.leave(1)
    there = expecting(1)
    there.arrive(1, states)
    assert there.guest.agent.got
    back = there.leave(1)
    here.desk.expect(1, 101)
    here.guest.is_running = here.guest.agent.takes = True
    here.pump()
    assert here.desk.hub.waits
    assert here.arrive(1, back).told == []
    assert not here.guest.agent.got


def test_a_guest_that_comes_back_without_clients() -> None:
    here = place_with(1, 2)
    here.guest.is_running = False
    here.leave(1)
    here.pump()
    here.mains[2].told.clear()
    here.pump()
    assert here.mains[2].told == []
    here.guest.is_running = True
    here.pump()
    assert here.mains[2].told == ["disconnected", "connected"]


def test_monitors_wait_for_a_guest_that_stands_still() -> None:
    source = place_with(1)
    source.guest.is_running = False
    source.send(1, encode_agent_message(MONITORS))
    source.pump()
    assert source.guest.monitors == []
    target = expecting(1)
    target.arrive(1, source.leave(1))
    assert target.guest.monitors == [(0, 0, 800, 600)]
