"""A message of the agent is under way when its session goes from one `spicehop serve` to the other, cut anywhere.

libspice-server as the source ends its process there. The test speaks for the agent, at either server, byte by byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from moving_load import GtkWorker, OwnWorker, tap
from scripted_agent import CAPABILITIES, ScriptedAgent
from waiting import until

import spicehop
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.moving_servers import MovingServers, Place
from spicehop.demo.payload import clipboard_text
from spicehop.wire import agent, main
from spicehop.wire.agent_constants import AgentMessageType, AgentPort, ClipboardType
from spicehop.wire.agent_stream import (
    AGENT_HEADER_SIZE,
    CHUNK_HEADER_SIZE,
    AgentReader,
    encode_agent_message,
    encode_chunk,
)
from spicehop.wire.constants import AGENT_CHUNK_BYTES

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
CARRIERS = pytest.mark.parametrize("carrier", ["client", "direct"])
LAB_SERVER = (str(Path(__file__).with_name("peers") / "lab_server.py"),)
SIZE = 100_000
KEY = 0x1E
WHOLE = CHUNK_HEADER_SIZE + AGENT_CHUNK_BYTES
CUTS = {
    "in the header of a chunk": CHUNK_HEADER_SIZE // 2,
    "between a chunk's header and the message's": CHUNK_HEADER_SIZE,
    "in its header": CHUNK_HEADER_SIZE + AGENT_HEADER_SIZE // 2,
    "behind its header": CHUNK_HEADER_SIZE + AGENT_HEADER_SIZE,
    "in its body": 20 * WHOLE + CHUNK_HEADER_SIZE + 1_000,
    "in its body, between two chunks": 20 * WHOLE,
    "in its body, in the header of a chunk": 20 * WHOLE + CHUNK_HEADER_SIZE // 2,
}
"""How many bytes have gone to the source when the guest stops. A chunk that begins a message holds its header: an agent
that does otherwise is refused, as by libspice (dossier D.1).
"""


def text_message(size: int) -> bytes:
    text = agent.Clipboard(0, ClipboardType.UTF8_TEXT, clipboard_text(size))
    return encode_agent_message(text, capabilities=CAPABILITIES)


def in_chunks(message: bytes) -> bytes:
    parts = [message[start : start + AGENT_CHUNK_BYTES] for start in range(0, len(message), AGENT_CHUNK_BYTES)]
    return b"".join(encode_chunk(AgentPort.CLIENT, part) for part in parts)


def heard(spoken: ScriptedAgent) -> list[int]:
    """The types of the messages that an agent has got whole."""
    return [frame.type for frame in AgentReader().feed(spoken.payload())]


@asynccontextmanager
async def agent_of(place: Place) -> AsyncIterator[ScriptedAgent]:
    async with ScriptedAgent(Path(place.server.control).with_name("agent")) as spoken:
        yield spoken


@pytest.fixture
async def servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carrier: str
) -> AsyncIterator[tuple[MovingServers, AsyncExitStack]]:
    """Two servers between which the guest can go, and a stack for what ends before them."""
    monkeypatch.setenv("LAB_AGENT", "1")
    async with MovingServers(tmp_path, carrier=carrier, program=LAB_SERVER) as servers, AsyncExitStack() as stack:
        yield servers, stack


Servers = tuple[MovingServers, AsyncExitStack]


async def came(worker: GtkWorker, texts: Sequence[int]) -> None:
    wanted = [(size, True) for size in texts]
    await until(lambda: len(worker.came) >= len(wanted), "the texts", 30)
    assert worker.came == wanted


@CARRIERS
@pytest.mark.parametrize("cut", CUTS)
async def test_a_text_for_the_client(
    servers: Servers, start_gtk_client: StartGtkClient, tmp_path: Path, carrier: str, cut: str
) -> None:
    """The client has it whole; and then another one, of which the agent was asked at the target."""
    moving, _ = servers
    gone, stream = CUTS[cut], in_chunks(text_message(SIZE))
    grab = agent.ClipboardGrab(0, 0, (ClipboardType.UTF8_TEXT,))
    async with agent_of(moving.here) as ours:
        ours.introduce()
        client = await start_gtk_client(moving.here.port or 0)
        await client.wait_session()
        for kind in ("RecordChannel", "PlaybackChannel"):
            await client.wait_event("channel-event", kind=kind, what="opened")
        worker = GtkWorker(client, tmp_path)
        await moving.prepare()
        await moving.invite()
        async with agent_of(moving.next) as theirs:
            ours.say(grab)
            await until(lambda: AgentMessageType.CLIPBOARD_REQUEST in heard(ours), "the client asks")
            ours.write(stream[:gone])
            await asyncio.sleep(0.3)
            move = await moving.go()
            assert move.outcomes == [("seamless", carrier, "moved")], move.clients
            theirs.write(stream[gone:])
            await came(worker, [SIZE])
            theirs.say(grab)
            await until(lambda: AgentMessageType.CLIPBOARD_REQUEST in heard(theirs), "the client asks again")
            theirs.write(in_chunks(text_message(SIZE // 2)))
            await came(worker, [SIZE, SIZE // 2])
            assert not worker.troubles()


@CARRIERS
@pytest.mark.parametrize("gone", [AGENT_HEADER_SIZE, 3 * AGENT_CHUNK_BYTES + 1_000], ids=["header", "body"])
@pytest.mark.parametrize("still", [False, True], ids=["at the device", "held for the guest"])
async def test_a_text_for_the_guest(servers: Servers, carrier: str, gone: int, still: bool) -> None:
    """It is cut behind its header, or in its body. A client that cuts the header is refused, as by libspice."""
    moving, stack = servers
    message = text_message(5 * AGENT_CHUNK_BYTES)
    async with agent_of(moving.here) as ours:
        ours.introduce()
        session = await stack.enter_async_context(spicehop.connect(f"spice://127.0.0.1:{moving.here.port}"))
        await until(lambda: session.clipboard.available, "it knows what the agent can do")
        worker = OwnWorker(session)
        await moving.prepare()
        await moving.invite()
        async with agent_of(moving.next) as theirs:
            done = len(ours.payload())

            async def send(part: bytes) -> None:
                for start in range(0, len(part), AGENT_CHUNK_BYTES):
                    session.core.main.send(main.AgentData(part[start : start + AGENT_CHUNK_BYTES]))
                tap(worker, KEY)  # has it sent
                await asyncio.sleep(0.3)

            if still:
                move = await moving.go(hold=0.5, while_still=lambda: send(message[:gone]))
                assert len(ours.payload()) == done
            else:
                await send(message[:gone])
                await until(lambda: len(ours.payload()) == done + gone, "the device has what was sent")
                move = await moving.go()
            assert move.outcomes == [("seamless", carrier, "moved")], move.clients
            await send(message[gone:])
            await until(lambda: len(ours.payload()) - done + len(theirs.payload()) >= len(message), "the rest")
            assert ours.payload()[done:] + theirs.payload() == message
            assert not worker.troubles()
