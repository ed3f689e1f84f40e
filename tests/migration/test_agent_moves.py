"""The agent's stream moves with one to three clients, at any moment and in any order, and no byte of it is lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.serving.agent import ARRIVAL_SECONDS, AgentHub
from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState, MonitorsWanted
from spicehop.errors import ProtocolError, StateError
from spicehop.migration.state_layouts import AgentClientPart, AgentDevicePart
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import UNLIMITED_TOKENS, AgentCap, AgentMessageType, AgentPort, ClipboardType
from spicehop.wire.agent_stream import (
    AGENT_HEADER_SIZE,
    CHUNK_HEADER_SIZE,
    AgentReader,
    ChunkReader,
    encode_agent_message,
    encode_chunk,
    slices,
)

SELECTION = frozenset({AgentCap.CLIPBOARD_SELECTION})
NAMES = {1: 101, 2: 102, 3: 2**32 - 1}


def clipboard(size: int, fill: int) -> bytes:
    text = bytes([fill]) * size
    return encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, text), capabilities=SELECTION)


def status(size: int, transfer: int = 99) -> bytes:
    return encode_agent_message(agent.FileXferStatus(transfer, 0, bytes(size)))


@dataclass
class Party:
    """A client: what it will send, slice by slice, and what it has heard."""

    messages: list[bytes]
    unsent: list[bytes] = field(default_factory=list)
    tokens: int = 10
    heard: bytes = b""

    def __post_init__(self) -> None:
        self.unsent = [bytes(piece) for message in self.messages for piece in slices(message)]


@dataclass
class World:
    """Clients by their numbers at the hub, and the device."""

    hub: AgentHub
    parties: dict[int, Party]
    agent_says: bytes
    device_got: bytes = b""

    def send(self, number: int) -> bool:
        party = self.parties[number]
        if not party.unsent or not party.tokens:
            return False
        party.tokens -= 1
        self.hub.data_received(number, party.unsent.pop(0))
        return True

    def hear(self, number: int) -> bool:
        message = self.hub.next_message(number)
        if isinstance(message, main.AgentToken):
            self.parties[number].tokens += message.tokens
        elif isinstance(message, main.AgentData):
            self.parties[number].heard += bytes(message.data)
        return message is not None

    def take(self) -> bool:
        chunk = self.hub.next_chunk(0.0)
        self.device_got += chunk
        if chunk:
            self.hub.chunk_taken()
        return bool(chunk)

    def say(self, size: int) -> bool:
        size = min(size, self.hub.wanted)
        said, self.agent_says = self.agent_says[:size], self.agent_says[size:]
        self.hub.device_data(said)
        return bool(said)

    def step(self, random: Random, *, guest: bool = True) -> None:
        number = random.choice(list(self.parties))
        match random.randrange(4):
            case 0:
                self.send(number)
            case 1:
                self.hear(number)
            case 2 if guest:
                self.take()
            case 3 if guest:
                self.say(random.choice([1, 7, 21, 500, 3000]))
            case _:
                pass

    def finish(self) -> None:
        """Until nothing moves any more."""
        busy = True
        while busy:
            busy = self.take() or self.say(4096)
            for number in self.parties:
                busy = self.send(number) or self.hear(number) or busy


def carried(client: AgentClientState, device: AgentDeviceState) -> tuple[AgentClientState, AgentDeviceState]:
    """Through bytes."""
    client_bytes, device_bytes = AgentClientPart.of(client).encode(), AgentDevicePart.of(device).encode()
    found = AgentClientPart.decode(client_bytes).state(), AgentDevicePart.decode(device_bytes).state()
    assert found == (client, device)
    return found


def move(world: World, names: dict[int, int], random: Random) -> dict[int, int]:
    """All clients go to another hub; returns their names there."""
    source, states = world.hub, {}
    if random.random() < 0.5:
        source.flush_partial()
    waiting = dict(world.parties)
    order = random.sample(list(waiting), len(waiting))
    for number in order:
        for _ in range(random.randrange(4)):
            world.step(random, guest=False)  # the guest is gone
        states[names[number]] = carried(source.client_state(number), source.device_state(names))
        source.departed(number)
        del world.parties[number]
        if not world.parties:
            break
    world.hub = AgentHub()
    world.hub.opened()
    there = {number + 10: names[number] for number in random.sample(order, len(order))}
    arriving = list(there)
    for number in arriving[: random.randint(1, len(arriving))]:
        world.hub.expect(number)
    for number in arriving:
        world.take()
        world.say(100)
        if not world.hub.can_arrive(number, there[number]):
            world.hub.expect(number)
        client, device = states[there[number]]
        if not world.hub.resumed:
            world.hub.resume(device)
        world.hub.client_arrived(number, there[number], client)
        world.parties[number] = waiting[number - 10]
        for _ in range(random.randrange(12)):
            world.step(random)
    return there


def payload(data: bytes, port: int = AgentPort.CLIENT) -> bytes:
    return b"".join(bytes(chunk.data) for chunk in ChunkReader().feed(data) if chunk.port == port)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0, 1, 30, 2020, 2048, 6000]), max_size=4), min_size=1, max_size=3),
    st.lists(st.sampled_from([0, 1, 30, 2020, 2048, 6000]), max_size=4),
    st.sampled_from([30, 2048, 10_000]),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_no_byte_is_lost(sizes: list[list[int]], said: list[int], chunk: int, moves: int, random: Random) -> None:
    parties = {number: Party([clipboard(size, number) for size in one]) for number, one in enumerate(sizes, start=1)}
    messages = [status(size) for size in said]
    agent_says = b"".join(
        encode_chunk(AgentPort.CLIENT, message[start : start + chunk])
        for message in messages
        for start in range(0, len(message), chunk)
    )
    world = World(AgentHub(), dict(parties), agent_says)
    world.hub.opened()
    for number in parties:
        world.hub.client_started(number, UNLIMITED_TOKENS)
    names = {number: NAMES[number] for number in parties}
    for _ in range(moves):
        for _ in range(random.randrange(40)):
            world.step(random)
        names = move(world, names, random)
    world.finish()
    assert not world.hub.trouble
    assert all(not party.unsent for party in parties.values())
    got = [bytes(frame.body) for frame in AgentReader().feed(payload(world.device_got))]
    for number, party in parties.items():
        own = [message[AGENT_HEADER_SIZE:] for message in party.messages]
        assert [body for body in got if len(body) > 8 and body[8] == number] == [one for one in own if len(one) > 8]
        assert party.heard == b"".join(messages)
    assert len(got) == sum(len(one) for one in sizes)
    assert payload(world.device_got, AgentPort.SERVER) == b""


# -- single cases ---------------------------------------------------------------------------------------------------


def started(*clients: int) -> World:
    world = World(AgentHub(), {client: Party([]) for client in clients}, b"")
    world.hub.opened()
    for client in clients:
        world.hub.client_started(client, UNLIMITED_TOKENS)
    return world


def sent(world: World, client: int, message: bytes, count: int = 1000) -> None:
    for piece in list(slices(message))[:count]:
        world.hub.data_received(client, bytes(piece))


def arrived(world: World, *clients: int, expected: tuple[int, ...] = ()) -> World:
    """Some of the clients at another hub, with the numbers that they had."""
    there = World(AgentHub(), {client: world.parties[client] for client in clients}, b"")
    there.hub.opened()
    for client in expected or clients:
        there.hub.expect(client)
    for client in clients:
        if not there.hub.resumed:
            there.hub.resume(world.hub.device_state(NAMES))
        there.hub.client_arrived(client, NAMES[client], world.hub.client_state(client))
    return there


def frames(world: World) -> list[int]:
    world.finish()
    return [frame.type for frame in AgentReader().feed(payload(world.device_got, AgentPort.SERVER))]


def test_nothing_is_read_or_written_before_the_first_is_here() -> None:
    hub = AgentHub()
    hub.opened()
    hub.expect(1)
    hub.client_started(7, UNLIMITED_TOKENS)
    hub.data_received(7, clipboard(10, 7))
    assert (hub.waits, hub.wanted, hub.next_chunk(0.0)) == (True, 0, b"")
    hub.resume(AgentDeviceState(True, b"", 0, 0, None, 0, False, targets=(), clients=(101,)))
    assert not hub.waits
    assert hub.next_chunk(0.0) == encode_chunk(AgentPort.CLIENT, clipboard(10, 7))


def test_a_half_written_message_waits_for_its_client() -> None:
    world = started(1)
    message = clipboard(5000, 1)
    sent(world, 1, message, count=2)
    world.take()
    world.hub.client_started(2, UNLIMITED_TOKENS)
    world.parties[2] = Party([])
    there = arrived(world, 2, expected=(1, 2))
    sent(there, 2, clipboard(30, 2))
    assert there.hub.next_chunk(0.0) == b""
    assert there.hub.wanted
    there.hub.client_arrived(1, NAMES[1], world.hub.client_state(1))
    there.hub.data_received(1, message[4096:])
    there.finish()
    assert payload(world.device_got + there.device_got) == message + clipboard(30, 2)


@pytest.mark.parametrize("how", ["by name", "in time", "never was named"])
def test_a_client_that_does_not_come_is_as_if_it_had_left(how: str) -> None:
    world = started(1)
    message = clipboard(5000, 1)
    sent(world, 1, message, count=2)
    world.take()
    world.hub.client_started(2, UNLIMITED_TOKENS)
    world.parties[2] = Party([])
    there = AgentHub()
    there.opened()
    there.expect(2)
    names = {2: NAMES[2]} if how == "never was named" else NAMES
    there.resume(world.hub.device_state(names))
    there.client_arrived(2, NAMES[2], world.hub.client_state(2))
    moved = World(there, {2: world.parties[2]}, b"")
    sent(moved, 2, clipboard(30, 2))
    if how == "by name":
        assert not there.gave_up(1, NAMES[1])
    elif how == "in time":
        assert not there.late(5.0, running=True)
        assert there.next_deadline() == 5.0 + ARRIVAL_SECONDS
        assert moved.hub.next_chunk(0.0) == b""
        assert there.late(5.0 + ARRIVAL_SECONDS, running=True)
        assert not there.give_up()
        there.expect(1)
        assert not there.can_arrive(1, NAMES[1])
    moved.finish()
    assert payload(moved.device_got) == bytes(len(message) - 2048) + clipboard(30, 2)
    assert payload(moved.device_got, AgentPort.SERVER) == b""


def test_the_last_that_does_not_come_is_told_to_the_agent() -> None:
    world = started(1, 2)
    there = arrived(world, 1, expected=(1, 2))
    assert not there.hub.client_left(1)
    assert there.hub.gave_up(2, NAMES[2])
    assert frames(there) == [AgentMessageType.CLIENT_DISCONNECTED]


def test_when_nobody_comes_the_agent_is_told() -> None:
    world = started()
    world.hub.expect(1)
    world.hub.expect(2)
    assert not world.hub.gave_up(1)
    assert world.hub.gave_up(2)
    assert frames(world) == [AgentMessageType.CLIENT_DISCONNECTED]


def test_one_that_has_gone_elsewhere_is_no_client_that_has_left() -> None:
    world = started(1, 2)
    sent(world, 1, clipboard(5000, 1), count=2)
    world.hub.departed(1)
    assert not world.hub.client_left(2)
    assert frames(world) == []
    assert world.hub.device_state(NAMES).clients == (NAMES[1],)


def test_what_the_server_says_and_what_has_been_filled_up_goes_along() -> None:
    world = started(1)
    sent(world, 1, clipboard(5000, 1), count=1)
    world.take()
    world.hub.client_left(1)
    world.hub.client_started(2, UNLIMITED_TOKENS)
    world.parties[2] = Party([])
    there = arrived(world, 2)
    assert frames(there) == [AgentMessageType.CLIENT_DISCONNECTED]
    assert payload(there.device_got) == bytes(len(clipboard(5000, 1)) - 2048)


def test_answers_find_who_asked_before_the_move() -> None:
    world = started(1, 2)
    ask = agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT)
    sent(world, 2, encode_agent_message(ask, capabilities=SELECTION))
    start = agent.FileXferStart(7, b"[vdagent-file-xfer]\n\0")
    sent(world, 1, encode_agent_message(start))
    there = arrived(world, 1, expected=(1, 2))
    answer = clipboard(100, 5)
    there.hub.device_data(encode_chunk(AgentPort.CLIENT, answer) + encode_chunk(AgentPort.CLIENT, status(3, 7)))
    there.hub.client_arrived(2, NAMES[2], world.hub.client_state(2))
    there.parties[2] = world.parties[2]
    there.finish()
    assert (there.parties[1].heard, there.parties[2].heard) == (status(3, 7), answer)


def test_two_who_asked_before_the_move_get_an_answer_each() -> None:
    world = started(1, 2)
    ask = encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION)
    sent(world, 2, ask)
    sent(world, 1, ask)
    there = arrived(world, 1, 2)
    answers = clipboard(100, 5), clipboard(90, 6)
    for answer in answers:
        there.hub.device_data(encode_chunk(AgentPort.CLIENT, answer))
    there.finish()
    assert (there.parties[2].heard, there.parties[1].heard) == answers


def test_who_asks_while_the_others_are_leaving_gets_its_answer_alone() -> None:
    """Each client brings what is under way at the device, as it was when that client left."""
    world = started(1, 2)
    there = arrived(world, 1, expected=(1, 2))
    ask = encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION)
    sent(world, 2, ask)
    there.hub.asked_later(NAMES[2], world.hub.device_state(NAMES))
    there.hub.client_arrived(2, NAMES[2], world.hub.client_state(2))
    there.parties[2] = world.parties[2]
    answer = clipboard(100, 5)
    there.hub.device_data(encode_chunk(AgentPort.CLIENT, answer))
    there.finish()
    assert (there.parties[1].heard, there.parties[2].heard) == (b"", answer)


def test_monitors_that_the_guest_has_not_heard_of_go_along() -> None:
    world = started(1, 2)
    wanted = [agent.MonitorsConfig(0, (agent.Monitor(size, size, 32, 0, 0),)) for size in (600, 700)]
    for one in wanted:
        sent(world, 1, encode_agent_message(one))
    there = arrived(world, 2, 1)
    assert there.hub.next_event() == MonitorsWanted(1, wanted[1])
    assert there.hub.next_event() is None
    world.hub.departed(1)
    assert world.hub.next_event() is None


@pytest.mark.parametrize("size", range(0, 90, 3))
def test_what_stays_of_the_device_is_the_part_of_a_header(size: int) -> None:
    message = status(30)
    stream = encode_chunk(AgentPort.CLIENT, message) * 2
    world = started(1)
    world.hub.device_data(stream[:size])
    world.hub.flush_partial()
    state = world.hub.device_state()
    assert len(state.partial) < (AGENT_HEADER_SIZE if state.chunk_left else CHUNK_HEADER_SIZE)
    while world.hear(1):
        pass
    whole, rest = divmod(size, CHUNK_HEADER_SIZE + len(message))
    begun = max(0, rest - CHUNK_HEADER_SIZE)
    assert len(world.parties[1].heard) == whole * len(message) + (begun if begun >= AGENT_HEADER_SIZE else 0)
    world.hub.device_data(stream[size:])
    world.finish()
    assert world.parties[1].heard == message * 2


def test_an_agent_that_goes_while_clients_come() -> None:
    world = started(1, 2)
    there = arrived(world, 1, expected=(1, 2))
    there.hub.closed()
    there.hub.opened()
    assert not there.hub.can_arrive(2, NAMES[2])
    assert not there.hub.waits


@pytest.mark.parametrize(
    "change",
    [
        lambda state: replace(state, slices=state.slices[1:]),
        lambda state: replace(state, slices=()),
        lambda state: replace(state, slices=(replace(state.slices[0], last=True), *state.slices[1:])),
        lambda state: replace(state, slices=(*state.slices, *state.slices)),
        lambda state: replace(state, left=state.left - 1),
        lambda state: replace(state, head=None),
    ],
    ids=["without its beginning", "without slices", "ends early", "begins twice", "another length", "no message"],
)
def test_a_client_that_would_break_the_stream_of_others(change: object) -> None:
    world = started(1, 2)
    sent(world, 1, clipboard(5000, 1), count=2)
    state = change(world.hub.client_state(1))  # type: ignore[operator]
    there = arrived(world, 2, expected=(1, 2))
    with pytest.raises(ProtocolError):
        there.hub.client_arrived(1, NAMES[1], state)
    there.hub.gave_up(1, NAMES[1])
    sent(there, 2, clipboard(30, 2))
    there.finish()
    assert payload(there.device_got) == clipboard(30, 2)


def test_nobody_arrives_who_is_not_expected() -> None:
    world = started(1)
    with pytest.raises(StateError):
        world.hub.client_arrived(2, NAMES[2], world.hub.client_state(1))
