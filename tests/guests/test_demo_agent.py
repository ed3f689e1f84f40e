"""The guest's agent, spoken to as a server does."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from spicehop.demo.payload import clipboard_text, fnv1a
from spicehop.demo.serial import parse_serial
from spicehop.guests.demo import DemoGuest
from spicehop.wire import agent
from spicehop.wire.agent_constants import AgentCap, AgentPort, ClipboardType, ReplyError
from spicehop.wire.agent_stream import AgentReader, ChunkReader, encode_agent_message, encode_chunk, slices

CLIENT = frozenset({AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION, AgentCap.REPLY})
PLAIN = frozenset({AgentCap.CLIPBOARD_BY_DEMAND})


class Talk:
    """A server with one client on the agent's port of a running guest."""

    def __init__(self, capabilities: frozenset[AgentCap] = CLIENT, **options: int) -> None:
        self.lines: list[str] = []
        self.guest = DemoGuest(320, 240, log=self.lines.append, **options)
        self.guest.run(0)
        device = self.guest.devices.agent
        assert device is not None
        self.device = device
        self.capabilities: frozenset[int] = capabilities
        self.largest_chunk = 0
        self._chunks = ChunkReader(limit=2**30)
        self._reader = AgentReader()
        self.read()
        self.send(agent.AnnounceCapabilities.of(capabilities, request=True))
        self.read()

    def stream(self, message: agent.AgentMessage, port: int = AgentPort.CLIENT) -> bytes:
        encoded = encode_agent_message(message, capabilities=self.capabilities)
        return b"".join(encode_chunk(port, part) for part in slices(encoded))

    def send(self, message: agent.AgentMessage, *, piece: int = 10**9) -> None:
        stream = self.stream(message)
        for start in range(0, len(stream), piece):
            part = stream[start : start + piece]
            assert self.device.write(part) == len(part)

    def read(self, limit: int = 5000) -> list[agent.AgentMessage]:
        """Everything that the agent has to say."""
        messages = []
        while data := self.device.read(limit):
            for chunk in self._chunks.feed(data):
                assert chunk.port == AgentPort.CLIENT
                self.largest_chunk = max(self.largest_chunk, len(chunk.data))
                for frame in self._reader.feed(chunk.data):
                    messages.append(agent.decode(frame.type, frame.body, capabilities=self.capabilities))
        return messages

    def said(self, what: str) -> Iterable[str]:
        return [line for line in self.lines if line.startswith("AGENT") and line.split()[2] == what]


def test_it_announces_at_boot_and_when_asked() -> None:
    talk = Talk()
    assert len(list(talk.said("capabilities"))) == 1
    talk.send(agent.AnnounceCapabilities.of(CLIENT, request=True))
    (answer,) = talk.read()
    assert isinstance(answer, agent.AnnounceCapabilities)
    assert not answer.request
    assert {AgentCap.CLIPBOARD_SELECTION, AgentCap.MONITORS_CONFIG, AgentCap.MOUSE_STATE} <= answer.bits


@pytest.mark.parametrize("capabilities", [CLIENT, PLAIN])
@pytest.mark.parametrize("piece", [1, 7, 1500, 10**9])
def test_it_fetches_the_clients_clipboard(capabilities: frozenset[AgentCap], piece: int) -> None:
    talk = Talk(capabilities)
    text = b"from the client " * (20 if piece == 1 else 700)
    talk.send(agent.ClipboardGrab(0, 0, (ClipboardType.IMAGE_PNG, ClipboardType.UTF8_TEXT)), piece=piece)
    assert talk.read() == [agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT)]
    talk.send(agent.Clipboard(0, ClipboardType.UTF8_TEXT, text), piece=piece)
    (received,) = parse_serial("\n".join(talk.lines) + "\n").clipboard_texts
    assert (received.received, received.size, received.checksum) == (True, len(text), fnv1a(text))


def test_what_was_fetched_can_be_pasted() -> None:
    talk = Talk()
    talk.send(agent.Clipboard(0, ClipboardType.UTF8_TEXT, "caf\u00e9\n2".encode()))
    talk.guest.key(b"\x1d\x2f\xaf\x9d")
    talk.guest.advance(0.01)
    assert talk.guest.displays[0].scene.text == b"caf??\n2"


@pytest.mark.parametrize("chunk", [0, 20, 2048])
@pytest.mark.parametrize("limit", [1, 333, 100_000])
@pytest.mark.parametrize("capabilities", [CLIENT, PLAIN])
def test_it_gives_its_clipboard(chunk: int, limit: int, capabilities: frozenset[AgentCap]) -> None:
    size = 1000 if limit == 1 else 50_000
    talk = Talk(capabilities, agent_chunk=chunk, clipboard_bytes=size)
    talk.guest.key(b"\x3f\xbf")
    assert talk.read(limit) == [agent.ClipboardGrab(0, 0, (ClipboardType.UTF8_TEXT,))]
    talk.send(agent.ClipboardRequest(0))
    (clipboard,) = talk.read(limit)
    assert isinstance(clipboard, agent.Clipboard)
    assert bytes(clipboard.data) == clipboard_text(size)
    message = size + 20 + (8 if capabilities == CLIENT else 4)
    assert talk.largest_chunk == min(chunk or message, message)
    (sent,) = parse_serial("\n".join(talk.lines) + "\n").clipboard_texts
    assert (sent.received, sent.size, sent.checksum) == (False, size, fnv1a(clipboard_text(size)))
    assert list(talk.said("clipboard-sent"))


def test_what_was_typed_can_be_copied() -> None:
    talk = Talk()
    talk.guest.key(b"\x1e\x9e\x30\xb0\x1d\x2e\xae\x9d")
    talk.read()
    talk.send(agent.ClipboardRequest(0))
    assert talk.read() == [agent.Clipboard(0, ClipboardType.UTF8_TEXT, b"ab")]


def test_a_monitors_config_resizes_and_is_answered() -> None:
    talk = Talk()
    talk.send(agent.MonitorsConfig(0, (agent.Monitor(500, 700, 32, 0, 0),)))
    assert talk.guest.displays[0].pixels.shape == (500, 700, 4)
    assert talk.read() == [agent.Reply(agent.MonitorsConfig.TYPE, ReplyError.SUCCESS)]


def test_the_servers_mouse_state_comes_between_the_clients_slices() -> None:
    talk = Talk()
    stream = talk.stream(agent.Clipboard(0, ClipboardType.UTF8_TEXT, bytes(5000)))
    cut = 2056
    talk.device.write(stream[:cut] + talk.stream(agent.MouseState(30, 40, 2, 0), AgentPort.SERVER) + stream[cut:])
    assert (talk.guest.pointer.x, talk.guest.pointer.y) == (30, 40)
    assert list(talk.said("clipboard-received"))
    assert any("button n=0 code=272 value=1" in line for line in talk.lines)


def test_after_a_client_has_left_the_next_begins_anew() -> None:
    talk = Talk()
    stream = talk.stream(agent.Clipboard(0, ClipboardType.UTF8_TEXT, bytes(5000)))
    talk.device.write(stream[:2056])
    talk.device.write(talk.stream(agent.ClientDisconnected(), AgentPort.SERVER))
    talk.send(agent.AnnounceCapabilities.of(PLAIN, request=False))
    assert not list(talk.said("clipboard-received"))
    assert not list(talk.said("fault"))
    assert len(list(talk.said("capabilities"))) == 2


@pytest.mark.parametrize(
    "stream",
    [
        encode_chunk(7, b"x" * 30),
        encode_chunk(1, b"\x09" * 30),
        encode_chunk(1, b"\1\0\0\0\7\0\0\0" + bytes(8) + b"\2\0\0\0" + b"ab"),
    ],
)
def test_nonsense_is_a_fault_in_the_log_and_nothing_else(stream: bytes) -> None:
    talk = Talk()
    assert talk.device.write(stream) == len(stream)
    assert list(talk.said("fault"))
    assert talk.device.write(bytes(3000)) == 3000


def test_an_agent_that_nobody_reads_takes_no_more() -> None:
    talk = Talk()
    request = talk.stream(agent.ClipboardRequest(0))
    taken = sum(bool(talk.device.write(request)) for _ in range(500))
    assert taken == 64
    assert len(talk.read()) == 64
    assert talk.device.write(request)
