"""Agent messages under every capability set that changes their layout, and the streams that carry them."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from damage import bit_flips, forged_counts, survives, truncations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import agent_message

from spicehop.errors import ProtocolError, StateError
from spicehop.wire import agent
from spicehop.wire.agent_constants import AgentCap, AgentMessageType, AgentPort, ClipboardType, Selection
from spicehop.wire.agent_stream import (
    AGENT_HEADER_SIZE,
    AgentReader,
    ChunkReader,
    encode_agent_message,
    encode_chunk,
    slices,
)

MESSAGES = dict(agent.registered())
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
every_message = pytest.mark.parametrize("cls", MESSAGES.values(), ids=lambda cls: cls.NAME)
NONE: frozenset[int] = frozenset()
SELECTION = frozenset({AgentCap.CLIPBOARD_SELECTION})
SERIAL = SELECTION | {AgentCap.CLIPBOARD_GRAB_SERIAL}


def test_all_types_are_there() -> None:
    assert {kind: cls.NAME for kind, cls in MESSAGES.items()} == {kind.value: kind.name for kind in AgentMessageType}


@every_message
def test_comes_back_as_it_was(cls: type[agent.AgentMessage]) -> None:
    @quick
    @given(agent_message(cls))
    def check(drawn: tuple[agent.AgentMessage, frozenset[int]]) -> None:
        message, capabilities = drawn
        body = message.encode(capabilities=capabilities)
        decoded = agent.decode(cls.TYPE, body, capabilities=capabilities)
        assert decoded == message
        assert decoded.encode(capabilities=capabilities) == body
        assert agent.type_of(decoded) == cls.TYPE

    check()


@every_message
def test_damage_gives_a_message_or_a_protocol_error(cls: type[agent.AgentMessage]) -> None:
    peaks = [0]

    @settings(quick, max_examples=10)
    @given(agent_message(cls))
    def check(drawn: tuple[agent.AgentMessage, frozenset[int]]) -> None:
        message, capabilities = drawn
        body = message.encode(capabilities=capabilities)
        for damaged in (*truncations(body), *bit_flips(body)):
            survives(lambda data: cls.decode(data, capabilities=capabilities), damaged)
        variants = list(forged_counts(body))
        tracemalloc.start()
        for damaged in variants:
            survives(lambda data: cls.decode(data, capabilities=capabilities), damaged)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    check()
    assert max(peaks) < 100_000


@pytest.mark.parametrize(
    ("message", "capabilities", "body"),
    [
        (agent.ClipboardGrab(1, 7, (1, 2)), NONE, struct.pack("<II", 1, 2)),
        (agent.ClipboardGrab(1, 7, (1, 2)), SELECTION, struct.pack("<B3xII", 1, 1, 2)),
        (agent.ClipboardGrab(1, 7, (1, 2)), SERIAL, struct.pack("<B3xIII", 1, 7, 1, 2)),
        (agent.ClipboardRequest(2, 1), NONE, struct.pack("<I", 1)),
        (agent.ClipboardRequest(2, 1), SELECTION, struct.pack("<B3xI", 2, 1)),
        (agent.ClipboardRelease(2), NONE, b""),
        (agent.ClipboardRelease(2), SELECTION, struct.pack("<B3x", 2)),
        (agent.Clipboard(0, ClipboardType.UTF8_TEXT, b"hi"), SELECTION, struct.pack("<B3xI2s", 0, 1, b"hi")),
        (
            agent.MonitorsConfig(2, (agent.Monitor(600, 800, 32, -1, 2),), (agent.PhysicalSize(300, 400),)),
            NONE,
            struct.pack("<II3I2i2H", 1, 2, 600, 800, 32, -1, 2, 300, 400),
        ),
        (agent.FileXferData(3, b"piece"), NONE, struct.pack("<IQ5s", 3, 5, b"piece")),
        (agent.FileXferStart(3, b"text"), NONE, struct.pack("<I5s", 3, b"text")),
        (agent.AudioVolumeSync(1, 0, (5, 6)), NONE, struct.pack("<BBBHH", 1, 0, 2, 5, 6)),
        (
            agent.GraphicsDeviceInfo((agent.GraphicsDevice(1, 2, 3, b"pci/0"),)),
            NONE,
            struct.pack("<IIIII6s", 1, 1, 2, 3, 6, b"pci/0"),
        ),
    ],
    ids=lambda value: value.NAME if isinstance(value, agent.AgentMessage) else None,
)
def test_layouts(message: agent.AgentMessage, capabilities: frozenset[int], body: bytes) -> None:
    """Dossier D.4, written out by hand."""
    assert message.encode(capabilities=capabilities) == body


def test_without_selections_the_clipboard_is_meant() -> None:
    request = agent.decode(AgentMessageType.CLIPBOARD_REQUEST, struct.pack("<I", 1), capabilities=NONE)
    assert request == agent.ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT)


def test_capabilities_as_bits() -> None:
    announced = agent.AnnounceCapabilities.of({0, 17, 40}, request=True)
    assert announced.words == (1 | 1 << 17, 1 << 8)
    assert announced.bits == {0, 17, 40}


def test_unknown_types_survive() -> None:
    message = agent.decode(99, b"later invention", capabilities=NONE)
    assert message == agent.UnknownAgentMessage(b"later invention", 99)
    (frame,) = AgentReader().feed(encode_agent_message(message))
    assert (frame.type, frame.body) == (99, b"later invention")


@pytest.mark.parametrize(
    ("kind", "body", "sentence"),
    [
        (AgentMessageType.MONITORS_CONFIG, struct.pack("<II", 257, 0) + bytes(257 * 20), "257 monitors are more than"),
        (AgentMessageType.MONITORS_CONFIG, struct.pack("<II", 2**32 - 1, 0), "items are announced"),
        (AgentMessageType.ANNOUNCE_CAPABILITIES, bytes(4 + 65 * 4), "65 capability words are more than"),
        (AgentMessageType.FILE_XFER_DATA, struct.pack("<IQ", 1, 2**64 - 1), "bytes too early"),
        (AgentMessageType.CLIPBOARD_GRAB, bytes(4 * 131_073), "more than 131072 items"),
    ],
)
def test_messages_that_lie(kind: int, body: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        agent.decode(kind, body, capabilities=NONE)


STREAMS = st.lists(st.tuples(st.integers(1, 20), st.binary(max_size=3000)), max_size=4)


@quick
@given(STREAMS, st.integers(AGENT_HEADER_SIZE, 2048))
def test_messages_come_together_from_slices(sent: list[tuple[int, bytes]], size: int) -> None:
    reader = AgentReader()
    frames = []
    for kind, body in sent:
        encoded = encode_agent_message(agent.UnknownAgentMessage(body, kind))
        for piece in slices(encoded, size):
            assert 0 < len(piece) <= size
            frames += reader.feed(piece)
        assert reader.pending == 0
    assert [(frame.type, frame.body) for frame in frames] == sent


@quick
@given(st.lists(st.tuples(st.sampled_from(AgentPort), st.binary(max_size=200)), max_size=4), st.integers(1, 300))
def test_chunks_come_together_from_any_pieces(sent: list[tuple[int, bytes]], size: int) -> None:
    stream = b"".join(encode_chunk(port, data) for port, data in sent)
    reader = ChunkReader()
    chunks = [chunk for start in range(0, len(stream), size) for chunk in reader.feed(stream[start : start + size])]
    assert [(chunk.port, chunk.data) for chunk in chunks] == sent
    assert reader.pending == 0


def test_an_incomplete_message_can_be_forgotten() -> None:
    reader = AgentReader()
    message = encode_agent_message(agent.Reply(2, 1))
    assert reader.feed(message[:-1]) == []
    reader.reset()
    assert len(reader.feed(message)) == 1


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (struct.pack("<IIQI", 2, 1, 0, 0), "agent protocol 2 is not known"),
        (struct.pack("<IIQI", 1, 1, 0, 101), "an agent message of 101 bytes is larger than 100"),
    ],
)
def test_streams_that_lie(header: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        AgentReader(limit=100).feed(header)
    with pytest.raises(ProtocolError, match="a chunk of 2049 bytes is larger than 2048"):
        ChunkReader().feed(struct.pack("<II", 1, 2049))


def test_a_slice_holds_the_whole_header() -> None:
    with pytest.raises(StateError, match="needs the 20 bytes of the header in the first slice"):
        list(slices(b"message", 19))
