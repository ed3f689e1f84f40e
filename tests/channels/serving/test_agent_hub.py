"""The agent's stream between a device and several clients."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.channels.serving.agent import PATIENCE, STORE_BYTES, AgentHub
from spicehop.channels.serving.agent_parts import MonitorsWanted
from spicehop.channels.serving.agent_routing import AgentFilter
from spicehop.errors import ProtocolError
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import (
    UNLIMITED_TOKENS,
    AgentCap,
    AgentMessageType,
    AgentPort,
    ClipboardType,
    MonitorsFlag,
)
from spicehop.wire.agent_stream import AgentReader, ChunkReader, encode_agent_message, encode_chunk, slices

SELECTION = frozenset({AgentCap.CLIPBOARD_SELECTION})


def clipboard(size: int, fill: bytes = b"x") -> bytes:
    return encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, fill * size), capabilities=SELECTION)


def started(*clients: int, rules: AgentFilter | None = None) -> AgentHub:
    hub = AgentHub(rules)
    hub.opened()
    for client in clients:
        hub.client_started(client, UNLIMITED_TOKENS)
    return hub


def send(hub: AgentHub, client: int, message: bytes) -> None:
    """All slices, with the tokens that come back in between."""
    for piece in slices(message):
        hub.data_received(client, bytes(piece))


def taken(hub: AgentHub, now: float = 0.0, limit: int = 100_000) -> bytes:
    """What the device gets now, chunks and all."""
    data = b""
    for _ in range(limit):
        chunk = hub.next_chunk(now)
        if not chunk:
            break
        data += chunk
        hub.chunk_taken()
    return data


def payload(data: bytes, port: int = AgentPort.CLIENT) -> bytes:
    return b"".join(bytes(chunk.data) for chunk in ChunkReader().feed(data) if chunk.port == port)


def heard(hub: AgentHub, client: int) -> bytes:
    data = b""
    while (message := hub.next_message(client)) is not None:
        if isinstance(message, main.AgentData):
            data += bytes(message.data)
    return data


def test_slices_go_through_as_they_come() -> None:
    hub = started(1)
    message = clipboard(5000)
    first = next(iter(slices(message)))
    hub.data_received(1, bytes(first))
    assert taken(hub) == encode_chunk(AgentPort.CLIENT, bytes(first))


def test_tokens_come_back_as_the_device_takes() -> None:
    hub = started(1)
    message = clipboard(2048 * 10)
    parts = [bytes(piece) for piece in slices(message)]
    for part in parts[:10]:
        hub.data_received(1, part)
    assert hub.next_message(1) is None
    with pytest.raises(ProtocolError, match="token"):
        hub.data_received(1, parts[10])
    taken(hub)
    assert hub.next_message(1) == main.AgentToken(10)
    hub.data_received(1, parts[10])
    assert hub.next_message(1) is None


def test_messages_of_two_clients_reach_the_agent_whole() -> None:
    hub = started(1, 2)
    one, two = clipboard(5000, b"1"), clipboard(3000, b"2")
    ones, twos = list(slices(one)), list(slices(two))
    data = b""
    for index in range(max(len(ones), len(twos))):
        for client, parts in ((1, ones), (2, twos)):
            if index < len(parts):
                hub.data_received(client, bytes(parts[index]))
                data += taken(hub)
    assert payload(data) in (one + two, two + one)


def test_a_client_that_stops_in_the_middle_holds_nobody_up() -> None:
    hub = started(1, 2)
    hub.data_received(1, clipboard(5000)[:2048])
    small = clipboard(10)
    send(hub, 2, small)
    assert payload(taken(hub)) == small


def test_a_long_message_that_breaks_off_is_filled_up() -> None:
    hub = started(1, 2)
    long = clipboard(STORE_BYTES + 100_000)
    parts = [bytes(piece) for piece in slices(long)]
    sent = 0
    for part in parts[:-10]:
        hub.data_received(1, part)
        sent += len(part)
        hub.next_message(1)
        if sent > STORE_BYTES + 8192:
            break
    data = taken(hub, 1.0)
    assert payload(data) == long[:sent]
    small = clipboard(10)
    send(hub, 2, small)
    assert taken(hub, 1.0) == b""
    assert hub.next_deadline() == 1.0 + PATIENCE
    assert hub.handle_timer(PATIENCE) is None
    assert hub.handle_timer(1.0 + PATIENCE) == 1
    data = taken(hub, 12.0)
    assert payload(data) == bytes(len(long) - sent) + small
    hub.data_received(1, parts[sent // 2048])  # the rest goes nowhere
    assert taken(hub, 12.0) == b""


def test_a_client_that_leaves_in_the_middle_is_filled_up() -> None:
    hub = started(1)
    message = clipboard(5000)
    hub.data_received(1, message[:2048])
    first = taken(hub)
    hub.data_received(1, message[2048:4096])
    assert hub.client_left(1)
    rest = taken(hub)
    assert len(payload(first + rest)) == len(message)
    gone = AgentReader().feed(payload(rest, AgentPort.SERVER))
    assert [frame.type for frame in gone] == [AgentMessageType.CLIENT_DISCONNECTED]


@pytest.mark.parametrize("first", [b"", bytes(19), b"\2" + bytes(30)])
def test_a_broken_head_is_the_clients_fault(first: bytes) -> None:
    with pytest.raises(ProtocolError):
        started(1).data_received(1, first)


def test_bytes_of_two_messages_in_one_slice() -> None:
    with pytest.raises(ProtocolError):
        started(1).data_received(1, clipboard(10) + b"more")


def test_before_the_stream_is_opened_nothing_counts() -> None:
    hub = AgentHub()
    hub.data_received(1, b"junk")
    hub.opened()
    hub.data_received(1, b"junk")
    assert taken(hub) == b""
    assert hub.wanted == 0


@pytest.mark.parametrize("chunk", [2048, 1 << 20])
def test_the_agent_speaks_to_all(chunk: int) -> None:
    """spice-vdagentd sends each message in one chunk, others in chunks of 2,048 bytes."""
    hub = started(1, 2)
    message = encode_agent_message(agent.FileXferStatus(5, 0, bytes(6000)))
    stream = b"".join(encode_chunk(AgentPort.CLIENT, message[i : i + chunk]) for i in range(0, len(message), chunk))
    hub.device_data(stream)
    assert heard(hub, 1) == heard(hub, 2) == message


def test_answers_go_to_who_asked() -> None:
    hub = started(1, 2)
    send(hub, 2, encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION))
    hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(100)))
    assert heard(hub, 1) == b""
    assert heard(hub, 2) == clipboard(100)
    hub.client_left(2)
    hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(50)))
    assert heard(hub, 1) == clipboard(50)


def test_two_who_ask_at_once_get_an_answer_each() -> None:
    """The guest's grab reaches all clients, and a stock client asks when it hears of it."""
    hub = started(1, 2)
    ask = encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION)
    for client in (1, 2, 1):
        send(hub, client, ask)
    for size in (100, 101, 102):
        hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(size)))
    assert heard(hub, 1) == clipboard(100) + clipboard(102)
    assert heard(hub, 2) == clipboard(101)


def test_who_has_its_answer_does_not_get_the_next_ones() -> None:
    hub = started(1, 2)
    ask = encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION)
    for client, size in ((1, 100), (2, 101), (1, 102)):
        send(hub, client, ask)
        hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(size)))
        assert heard(hub, client) == clipboard(size)
        assert heard(hub, 3 - client) == b""


def test_a_question_without_an_answer_is_forgotten_with_the_next_offer() -> None:
    hub = started(1, 2)
    ask = encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION)
    send(hub, 1, ask)
    grab = encode_agent_message(agent.ClipboardGrab(0, 0, (ClipboardType.UTF8_TEXT,)), capabilities=SELECTION)
    hub.device_data(encode_chunk(AgentPort.CLIENT, grab))
    assert heard(hub, 1) == heard(hub, 2) == grab
    send(hub, 2, ask)
    hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(100)))
    assert (heard(hub, 1), heard(hub, 2)) == (b"", clipboard(100))


def test_an_answer_to_a_question_that_an_offer_has_overtaken_goes_to_who_asked() -> None:
    """The guest may take its clipboard again before it reads the question, and answer it all the same."""
    hub = started(1, 2)
    ask = encode_agent_message(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT), capabilities=SELECTION)
    grab = encode_agent_message(agent.ClipboardGrab(0, 0, (ClipboardType.UTF8_TEXT,)), capabilities=SELECTION)
    send(hub, 1, ask)
    hub.device_data(encode_chunk(AgentPort.CLIENT, grab))
    assert heard(hub, 1) == heard(hub, 2) == grab
    hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(100)))
    assert (heard(hub, 1), heard(hub, 2)) == (clipboard(100), b"")


def test_a_client_that_takes_nothing_stops_the_reading() -> None:
    hub = started(1)
    hub.client_left(1)
    hub.client_started(1, 3)
    for _ in range(10_000):
        if not hub.wanted:
            break
        hub.device_data(encode_chunk(AgentPort.CLIENT, clipboard(5 * 2048 - 28)))
    assert hub.full_clients() == (1,)
    assert len(heard(hub, 1)) == 3 * 2048
    hub.tokens_received(1, 2)
    assert len(heard(hub, 1)) == 2 * 2048


def test_a_broken_agent_is_not_the_clients_trouble() -> None:
    hub = started(1)
    hub.device_data(encode_chunk(AgentPort.CLIENT, b"\7" * 100))
    assert hub.trouble
    assert hub.wanted == 0


def test_monitors_are_reported_and_passed_on() -> None:
    hub = started(1)
    message = agent.MonitorsConfig(1, (agent.Monitor(600, 800, 32, 0, 0),))
    encoded = encode_agent_message(message)
    send(hub, 1, encoded)
    assert payload(taken(hub)) == encoded
    assert hub.next_event() == MonitorsWanted(1, message)


def test_monitors_go_on_without_their_sizes_in_millimetres() -> None:
    hub = started(1)
    monitors = (agent.Monitor(600, 800, 32, 0, 0), agent.Monitor(768, 1024, 32, 800, 0))
    sizes = (agent.PhysicalSize(200, 300), agent.PhysicalSize(210, 310))
    told = agent.MonitorsConfig(MonitorsFlag.USE_POSITION | MonitorsFlag.PHYSICAL_SIZE, monitors, sizes)
    send(hub, 1, encode_agent_message(told))
    assert payload(taken(hub)) == encode_agent_message(agent.MonitorsConfig(MonitorsFlag.USE_POSITION, monitors))
    assert hub.next_event() == MonitorsWanted(1, told)


def test_without_copy_and_paste() -> None:
    hub = started(1, rules=AgentFilter(copy_paste=False, file_transfer=False, several_clients=True))
    send(hub, 1, clipboard(5000))
    assert taken(hub) == b""
    bits = frozenset({AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_GRAB_SERIAL, AgentCap.REPLY})
    announced = encode_agent_message(agent.AnnounceCapabilities.of(bits, request=True))
    hub.device_data(encode_chunk(AgentPort.CLIENT, announced))
    (frame,) = AgentReader().feed(heard(hub, 1))
    told = agent.AnnounceCapabilities.decode(frame.body)
    assert (told.bits, told.request) == (frozenset({AgentCap.REPLY, AgentCap.FILE_XFER_DISABLED}), 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_goes_on_elsewhere_at_any_byte(data: st.DataObject) -> None:
    """What both sides get does not depend on where the stream moves."""
    outgoing, incoming = clipboard(6000, b"o"), clipboard(7000, b"i")
    device_stream = b"".join(encode_chunk(AgentPort.CLIENT, bytes(piece)) for piece in slices(incoming))
    parts = [bytes(piece) for piece in slices(outgoing)]
    cut = data.draw(st.integers(0, len(device_stream)))
    given_parts = data.draw(st.integers(0, len(parts)))
    taken_parts = data.draw(st.integers(0, given_parts))
    heard_parts = data.draw(st.integers(0, 4))
    hub = started(1)
    for part in parts[:given_parts]:
        hub.data_received(1, part)
    device = taken(hub, limit=taken_parts)
    hub.device_data(device_stream[:cut])
    client = b""
    for _ in range(heard_parts):
        message = hub.next_message(1)
        client += bytes(message.data) if isinstance(message, main.AgentData) else b""
    again = AgentHub()
    again.restore(1, hub.client_state(1), hub.device_state())
    for part in parts[given_parts:]:
        again.data_received(1, part)
    device += taken(again)
    again.device_data(device_stream[cut:])
    client += heard(again, 1)
    assert payload(device) == outgoing
    assert client == incoming
