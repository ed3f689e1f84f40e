"""A stock client goes from a real QEMU to our server, and from our server to a real QEMU: libspice-server at one end.

The machines are two, for a guest of QEMU's cannot go on in our server: the source sends its own to a sink, and the
target has one that was there, or that a helper without clients has fed it. So it is the sessions that are compared:
what was under way to the guest and from it, and what the client is told. A relay before the target keeps the words.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from captured import CapturedConnection, CapturedMessage, read_captures
from migration_lab import FREEZE_CODE, GRAB_CODE, Lab, Machine, until
from relay import Relay
from scripted_agent import CAPABILITIES, ScriptedAgent

from spicehop.conductor.qmp import QmpAddress, QmpPeer
from spicehop.demo.gtk_client import GtkClient
from spicehop.demo.payload import clipboard_text, fnv1a, numbered_bytes
from spicehop.demo.qemu import QemuOptions
from spicehop.demo.serial import read_serial
from spicehop.demo.server_process import ServerProcess
from spicehop.wire import agent, cursor, display, envelope, inputs, main, playback, vmc
from spicehop.wire.agent_constants import CLIENT_TOKENS, AgentCap, AgentMessageType, AgentPort, ClipboardType
from spicehop.wire.agent_stream import (
    AGENT_HEADER_SIZE,
    CHUNK_HEADER_SIZE,
    AgentHeader,
    encode_agent_message,
    encode_chunk,
)
from spicehop.wire.base import MigrateData
from spicehop.wire.constants import AGENT_CHUNK_BYTES, ChannelType, MouseMode
from spicehop.wire.migration_data import INPUTS_LIMIT, LAYOUTS, MAIN_LIMIT, MainMigrationData

pytestmark = pytest.mark.peers
StartGtkClient = Callable[..., Awaitable[GtkClient]]
CODES = [0x1E, 0x30, 0x2E, 0x20]
PORT_INIT = "port_handle_init: assertion 'c->name == NULL' failed"
"""What libspice as the target provokes (dossier C6.4, 18)."""
NOTHING = {"uri": "exec:cat >/dev/null"}
RECORD_CODE = 0x44
"""F10, which has our guest record."""
INCOMING = 32_000
"""Bytes for the port that come while the guest stands still."""
WEBDAV = (
    *("-chardev", "spiceport,id=webdav,name=org.spice-space.webdav.0"),
    *("-device", "virtserialport,chardev=webdav,name=org.spice-space.webdav.0"),
)


class Wire:
    """What went through the relay before the target."""

    def __init__(self, relay: Relay, folder: Path) -> None:
        self._relay = relay
        self._folder = folder

    def channel(self, kind: int) -> CapturedConnection:
        found = read_captures(self._folder, "relay", self._relay.passages)
        return next(one for one in found if one.channel == kind)

    def said(self, kind: int) -> list[CapturedMessage]:
        """What the target has said on a channel."""
        return self.channel(kind).sent()

    def count(self, kind: int, message: type[Any]) -> int:
        return sum(isinstance(one.decoded(), message) for one in self.said(kind))

    def brought(self, kind: int) -> bytes:
        """The state that the client has brought there."""
        found = [one.decoded() for one in self.channel(kind).messages if not one.from_server]
        return next((bytes(one.data) for one in found if isinstance(one, MigrateData)), b"")


@asynccontextmanager
async def relayed(port: int | None, tmp_path: Path) -> AsyncIterator[tuple[Relay, Wire]]:
    assert port is not None
    async with Relay(port, capture=tmp_path / "wire") as relay:
        yield relay, Wire(relay, tmp_path / "wire")


@asynccontextmanager
async def monitor(server: ServerProcess) -> AsyncIterator[QmpPeer]:
    peer = QmpPeer("server", QmpAddress(path=server.control))
    await peer.connect()
    try:
        yield peer
    finally:
        await peer.close()


async def agent_can(client: GtkClient) -> None:
    """The client has heard what the guest's agent can do."""
    seen = len(client.events)

    def can() -> bool:
        client.send("agent")
        return any(AgentCap.CLIPBOARD_BY_DEMAND in one.get("capabilities", ()) for one in client.events[seen:])

    await until(can, "what the agent can do")


def went_well(client: GtkClient, *excepted: str) -> None:
    """Nothing that the client calls critical, and nothing closed."""
    assert client.criticals == list(excepted)
    assert client.returncode is None
    assert client.seen("disconnected") is None
    closed = [one for one in client.events if one["event"] == "channel-event" and one["what"] != "opened"]
    assert not closed


# -- from QEMU -------------------------------------------------------------------------------------------------------


async def stand_still(lab: Lab, source: Machine, client: GtkClient, relay: Relay) -> None:
    """The client has linked the target, and the source's machine has stopped for good."""
    await lab.inform(source, relay.port)
    await client.wait_event("migration-state", state="migrating")
    await lab.pause_before_switchover(source)
    await source.ask("migrate", NOTHING)
    await lab.paused(source)


async def go(lab: Lab, source: Machine, client: GtkClient) -> None:
    await asyncio.sleep(0.3)  # what the client has said is at the source
    await lab.go_on(source)
    await source.event("SPICE_MIGRATE_COMPLETED")
    await client.wait_event("migration-state", state="none")


@pytest.mark.parametrize("arguments", [(), ("--compression", "glz"), ("--size", "800x600")], ids=" ".join)
async def test_a_session_comes_from_qemu(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Bytes that its port held, movements, the client's caches and mode; then the client works in our guest."""
    source = await lab.boot(QemuOptions(audio=True))
    async with (
        ServerProcess(tmp_path, arguments=("--accept-unannounced-migration", *arguments)) as target,
        relayed(target.port, tmp_path) as (relay, wire),
    ):
        client = await start_gtk_client(source.qemu.spice_port)
        await client.wait_session()
        client.send("mode", mode=int(MouseMode.SERVER))
        await client.wait_for(lambda: client.events[-1] == {**client.events[-1], "event": "mouse-mode", "mode": 1}, "")
        await stand_still(lab, source, client, relay)
        client.send("write", text=numbered_bytes(0, INCOMING).decode())
        for _ in range(3):
            client.send("motion", dx=1, dy=0)
        await go(lab, source, client)

        await until(lambda: client.echo == numbered_bytes(0, INCOMING), "our guest's echo of what the port held")
        assert wire.brought(ChannelType.INPUTS) == LAYOUTS[ChannelType.INPUTS](3).encode()
        client.send("mode", mode=int(MouseMode.SERVER))
        client.send("motion", dx=1, dy=0)
        await until(lambda: wire.count(ChannelType.INPUTS, inputs.MouseMotionAck) == 1, "the fourth is acknowledged")
        client.send("keys", codes=CODES, hz=100)
        await client.wait_event("typed")
        await until(lambda: " key n=7 " in target.guest_log.read_text(), "four keys")
        await client.wait_event("playing")
        client.send("key", code=RECORD_CODE)
        await client.wait_event("recording")
        client.send("key", code=FREEZE_CODE)
        await until(lambda: "frozen" in target.guest_log.read_text(), "our guest stops drawing")
        await asyncio.sleep(1.0)
        async with monitor(target) as peer:
            await peer.execute("screendump", {"filename": str(tmp_path / "there.ppm")})
        client.send("save", file=str(tmp_path / "here.ppm"))
        await client.wait_event("saved")
        assert (tmp_path / "here.ppm").read_bytes() == (tmp_path / "there.ppm").read_bytes()
        went_well(client)

        words = [one.decoded() for one in wire.said(ChannelType.DISPLAY)]
        first = next(one for one in words if isinstance(one, display.SurfaceCreate))
        before = words[: words.index(first)]
        assert any(isinstance(one, display.InvalAllPixmaps) for one in before)
        assert any(isinstance(one, display.InvalAllPalettes) for one in before)
        assert wire.count(ChannelType.CURSOR, cursor.Init) == 0
        assert wire.count(ChannelType.CURSOR, cursor.Set) >= 1
        assert wire.count(ChannelType.PORT, vmc.PortInit) == 0
        assert wire.count(ChannelType.INPUTS, inputs.Init) == 0
        assert wire.count(ChannelType.MAIN, main.Init) == 0
        assert wire.count(ChannelType.MAIN, main.MultiMediaTime) == 1
        assert wire.count(ChannelType.MAIN, main.MouseMode) >= 1
        assert wire.count(ChannelType.PLAYBACK, playback.Start) == 1
        log = read_serial([target.guest_log])
        assert log.faults == ()
        assert [key.code for key in log.keys if key.value == 1][: len(CODES)] == CODES


async def test_a_session_that_comes_before_the_guest_waits_for_it(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """A QEMU sends its clients away when its guest has gone, not when that runs; a helper's guest comes later here."""
    place = tmp_path / "move"
    (tmp_path / "helper").mkdir()
    source = await lab.boot()
    letting_in = ("--accept-unannounced-migration", "--incoming", f"unix:{place}")
    async with (
        ServerProcess(tmp_path / "helper") as helper,
        ServerProcess(tmp_path, arguments=letting_in) as target,
        relayed(target.port, tmp_path) as (relay, wire),
    ):
        client = await start_gtk_client(source.qemu.spice_port)
        await client.wait_session()
        await agent_can(client)
        await stand_still(lab, source, client, relay)
        client.send("write", text=numbered_bytes(0, INCOMING).decode())
        await go(lab, source, client)
        client.send("keys", codes=CODES, hz=50)
        await client.wait_event("typed")
        client.send("offer", size=50_000)
        await asyncio.sleep(0.5)
        assert wire.said(ChannelType.DISPLAY) == wire.said(ChannelType.PORT) == []
        async with monitor(helper) as peer:
            await peer.execute("migrate", {"uri": f"unix:{place}"})

        logs = [helper.guest_log, target.guest_log]
        await until(lambda: client.echo == numbered_bytes(0, INCOMING), "our guest's echo of what the port held")
        await until(lambda: len(read_serial(logs).keys) == 2 * len(CODES), "four keys")
        await until(lambda: 50_000 in [one.size for one in read_serial(logs).clipboard_texts], "the client's text")
        assert [key.code for key in read_serial(logs).keys if key.value == 1] == CODES
        assert read_serial(logs).faults == ()
        assert [one.decoded() for one in wire.said(ChannelType.MAIN) if one.name.startswith("AGENT_CONN")] == []
        went_well(client)


@asynccontextmanager
async def with_agent(tmp_path: Path, *arguments: str) -> AsyncIterator[tuple[ServerProcess, ScriptedAgent]]:
    """Our server, with an agent that the test speaks for."""
    path = tmp_path / "agent"
    async with (
        ServerProcess(tmp_path, arguments=(*arguments, "--agent-socket", str(path))) as server,
        ScriptedAgent(path) as spoken,
    ):
        yield server, spoken


async def test_half_a_text_for_the_guest_comes_from_qemu(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """The rest of it comes to our agent, byte by byte; then a whole text, so that all tokens are right."""
    size = 2_000_000
    source = await lab.boot()
    async with (
        with_agent(tmp_path, "--accept-unannounced-migration") as (target, ours),
        relayed(target.port, tmp_path) as (relay, wire),
        Relay(source.qemu.spice_port, name="way") as way,
    ):
        client = await start_gtk_client(way.port)
        await client.wait_session()
        await agent_can(client)
        way.delay = 0.1  # so that 20 kB, which the tokens allow, take 0.2 s
        client.send("offer", size=size)
        await client.wait_event("clipboard-given")
        await stand_still(lab, source, client, relay)
        await go(lab, source, client)

        state = MainMigrationData.decode(wire.brought(ChannelType.MAIN))
        held = bytes(state.agent.write_data)
        assert 0 < state.c2a_remaining < size
        text = clipboard_text(size)
        # The device has the rest of a chunk, and then chunks.
        await until(lambda: len(ours.received) > len(held), "more than what QEMU held", 30)
        assert ours.received[: len(held)] == held
        await until(lambda: ours.received.endswith(text[-100:]), "the end of the text", 60)
        rest = ours.payload(len(held))
        assert len(rest) == state.c2a_remaining
        assert rest == text[-len(rest) :]
        tail = held[-min(len(held), 1000) :]
        assert text.find(tail, size - len(rest) - len(tail)) == size - len(rest) - len(tail)

        done = len(ours.received)
        ours.introduce()
        client.send("offer", size=100_000)
        await until(lambda: len(ours.payload(done)) >= AGENT_HEADER_SIZE + 8, "the next offer")
        done = len(ours.received)
        ours.say(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT))
        await until(lambda: len(ours.payload(done)) >= 100_000 + AGENT_HEADER_SIZE + 8, "a whole text")
        assert ours.payload(done)[AGENT_HEADER_SIZE + 8 :] == clipboard_text(100_000)
        went_well(client)


async def test_half_a_text_for_the_client_comes_from_qemu(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """Our agent says the rest of it, and the client has the whole."""
    size = 1_000_000
    # A libspice source ends its process when it has read all of a buffer and nothing of the next (dossier C6.4, 1):
    # what the guest writes at once never ends where a buffer does.
    source = await lab.boot(QemuOptions(guest_options={"clip": size, "pace": 96}))
    async with (
        with_agent(tmp_path, "--accept-unannounced-migration") as (target, ours),
        relayed(target.port, tmp_path) as (relay, wire),
    ):
        client = await start_gtk_client(source.qemu.spice_port)
        await client.wait_session()
        await agent_can(client)
        client.send("key", code=GRAB_CODE)
        await client.wait_event("clipboard-offered")
        await asyncio.sleep(0.5)
        await stand_still(lab, source, client, relay)
        await go(lab, source, client)

        state = MainMigrationData.decode(wire.brought(ChannelType.MAIN))
        assert 0 < state.a2c_remaining < size
        assert (state.message_header_done, state.chunk_header_bytes) == (1, 8)
        rest = clipboard_text(size)[-state.a2c_remaining :]
        first, others = rest[: state.chunk_remaining], rest[state.chunk_remaining :]
        ours.write(first)
        if others:
            ours.write(encode_chunk(AgentPort.CLIENT, others))
        given = await client.wait_event("clipboard")
        assert (given["size"], given["numbered"]) == (size, True)
        went_well(client)


# -- to QEMU ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def leaving(
    lab: Lab, tmp_path: Path, *arguments: str
) -> AsyncIterator[tuple[ServerProcess, Departure, Relay, Wire]]:
    """Our server, and the QEMU that its client is to go to, whose guest comes from a QEMU without clients."""
    helper = await lab.boot(QemuOptions(audio=True, arguments=WEBDAV))
    target = await lab.incoming()
    place = tmp_path / "move"
    (tmp_path / "sink").mkdir()
    async with (
        ServerProcess(tmp_path, arguments=("--seamless-migration", "on", *arguments)) as source,
        ServerProcess(tmp_path / "sink", arguments=("--incoming", f"unix:{place}")),
        relayed(target.qemu.spice_port, tmp_path) as (relay, wire),
        monitor(source) as peer,
    ):
        yield source, Departure(lab, helper, target, peer, place), relay, wire


class Departure:
    """How our server's client goes to that QEMU."""

    def __init__(self, lab: Lab, helper: Machine, target: Machine, peer: QmpPeer, sink: Path) -> None:
        self.target = target
        self._lab = lab
        self._helper = helper
        self._peer = peer
        self._sink = sink

    async def invite(self, client: GtkClient, relay: Relay) -> None:
        """The client links the target."""
        caps = [{"capability": name, "state": True} for name in ("events", "pause-before-switchover")]
        await self._peer.execute("migrate-set-capabilities", {"capabilities": caps})
        where = {"protocol": "spice", "hostname": "127.0.0.1", "port": relay.port}
        await self._peer.execute("client_migrate_info", where)
        await client.wait_event("migration-state", state="migrating")

    async def stand_still(self) -> None:
        """Our guest stands still for good."""
        await self._peer.execute("migrate", {"uri": f"unix:{self._sink}"})
        await self._heard("MIGRATION", status="pre-switchover")

    async def go(self, client: GtkClient) -> None:
        """The target has its guest, and the client goes there; every channel moves."""
        await asyncio.sleep(0.3)  # what the client has said is at the source
        await self._lab.launch(self._helper, self.target)
        await self._helper.event("MIGRATION", status="completed")
        await self._peer.execute("migrate-continue", {"state": "pre-switchover"})
        (outcome,) = (await self._heard("SPICE_MIGRATE_COMPLETED"))["clients"]
        assert (outcome["scheme"], outcome["outcome"]) == ("seamless", "moved")
        assert {one["outcome"] for one in outcome["channels"]} == {"moved"}
        await self.target.event("RESUME")
        self._lab.machines.append(self.target)
        await client.wait_event("migration-state", state="none")

    async def _heard(self, name: str, **wanted: object) -> dict[str, Any]:
        async with asyncio.timeout(20):
            async for event, data in self._peer.events():
                if event == name and wanted.items() <= data.items():
                    return dict(data)
        raise AssertionError(f"{name} did not come")


def libspice_can_take(wire: Wire) -> None:
    """Each channel's layout is there, and no message is larger than libspice's buffers."""
    for kind, layout in LAYOUTS.items():
        if kind in (ChannelType.SMARTCARD, ChannelType.USBREDIR):
            continue
        body = wire.brought(kind)
        assert body[:4] == layout.MAGIC
        assert envelope.find(body, limit=len(body)) is not None
    assert len(wire.brought(ChannelType.INPUTS)) <= INPUTS_LIMIT
    assert len(wire.brought(ChannelType.MAIN)) <= MAIN_LIMIT


async def works_in(lab: Lab, target: Machine, client: GtkClient) -> None:
    """Keys and clicks of the client reach the guest of a QEMU, whose channels are all there."""
    pressed = len(lab.serial().keys)
    client.send("keys", codes=CODES, hz=50)
    await until(lambda: len(lab.serial().keys) >= pressed + 2 * len(CODES), "four keys")
    assert [key.code for key in lab.serial().keys[pressed:] if key.value == 1] == CODES
    assert await target.status() == "running"
    assert target.qemu.returncode is None
    assert lab.serial().faults == ()


async def test_a_session_goes_to_qemu(lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path) -> None:
    """It takes every channel's state, gives its guest what our port and our agent's stream held, and goes on."""
    async with leaving(lab, tmp_path) as (source, departure, relay, wire):
        client = await start_gtk_client(source.port or 0, options=("--except", PORT_INIT))
        await client.wait_session()
        await agent_can(client)
        await departure.invite(client, relay)
        await departure.stand_still()
        client.send("write", text=numbered_bytes(0, INCOMING).decode())
        client.send("mode", mode=int(MouseMode.SERVER))
        await client.wait_for(lambda: client.events[-1] == {**client.events[-1], "event": "mouse-mode", "mode": 1}, "")
        for _ in range(3):
            client.send("motion", dx=1, dy=0)
        client.send("offer", size=100_000)  # the agent asks for the text when it has the offer
        await departure.go(client)

        libspice_can_take(wire)
        assert LAYOUTS[ChannelType.INPUTS].decode(wire.brought(ChannelType.INPUTS)).motion_count == 3
        await until(lambda: client.echo == numbered_bytes(0, INCOMING), "the echo of QEMU's guest")
        text = clipboard_text(100_000)
        seen = (len(text), fnv1a(text))
        await until(
            lambda: any((one.size, one.checksum) == seen for one in lab.serial().clipboard_texts), "the whole text"
        )
        client.send("mode", mode=int(MouseMode.SERVER))
        client.send("motion", dx=1, dy=0)
        await until(lambda: wire.count(ChannelType.INPUTS, inputs.MouseMotionAck) == 1, "the fourth is acknowledged")
        await until(lambda: wire.count(ChannelType.DISPLAY, display.DrawCopy) > 5, "pictures of QEMU's guest")
        await works_in(lab, departure.target, client)
        went_well(client, PORT_INIT, PORT_INIT)  # the port's, and webdav's


async def test_half_a_text_for_the_guest_goes_to_qemu(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """As many slices of it as the client has tokens for wait for a guest that stands still; QEMU's gets it whole."""
    size = 60_000
    agent_path = tmp_path / "agent"
    async with (
        leaving(lab, tmp_path, "--agent-socket", str(agent_path)) as (source, departure, relay, wire),
        ScriptedAgent(agent_path) as ours,
        Relay(source.port or 0) as way,
    ):
        ours.introduce()
        client = await start_gtk_client(way.port, options=("--except", PORT_INIT))
        await client.wait_session()
        await agent_can(client)
        client.send("offer", size=size)
        await until(lambda: AgentMessageType.CLIPBOARD_GRAB in types_in(ours.payload()), "the offer")
        await departure.invite(client, relay)
        way.delay = 1.0
        ours.say(agent.ClipboardRequest(0, ClipboardType.UTF8_TEXT))
        await client.wait_event("clipboard-given")  # it is on its way for a second
        await departure.stand_still()
        assert AgentMessageType.CLIPBOARD not in types_in(ours.payload())
        await asyncio.sleep(1.5)
        way.delay = 0.0
        await departure.go(client)

        libspice_can_take(wire)
        state = MainMigrationData.decode(wire.brought(ChannelType.MAIN))
        count, part = divmod(len(state.agent.write_data), CHUNK_HEADER_SIZE + AGENT_CHUNK_BYTES)
        assert (part, state.agent.client_tokens, state.agent.write_client_tokens) == (0, 0, CLIENT_TOKENS)
        assert count >= 5  # a token may be due for a message before
        assert state.c2a_remaining == AGENT_HEADER_SIZE + 8 + size - count * AGENT_CHUNK_BYTES
        text = clipboard_text(size)
        await until(
            lambda: (size, fnv1a(text)) in [(one.size, one.checksum) for one in lab.serial().clipboard_texts],
            "the text",
        )
        await works_in(lab, departure.target, client)
        went_well(client, PORT_INIT, PORT_INIT)


def types_in(payload: bytes) -> list[int]:
    """The types of the agent messages in it."""
    found = []
    while len(payload) >= AGENT_HEADER_SIZE:
        head = AgentHeader.decode(payload[:AGENT_HEADER_SIZE])
        found.append(head.type)
        payload = payload[AGENT_HEADER_SIZE + head.size :]
    return found


async def test_half_a_text_for_the_client_goes_to_qemu(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """The rest of its chunk is what QEMU's agent writes next, whatever that is: here a chunk with an offer."""
    rest = struct.pack("<II", AgentPort.CLIENT, 28)
    rest += struct.pack("<IIQI", 1, AgentMessageType.CLIPBOARD_GRAB, 0, 8) + struct.pack(
        "<II", 0, ClipboardType.UTF8_TEXT
    )
    text = clipboard_text(100_000)
    message = encode_agent_message(agent.Clipboard(0, ClipboardType.UTF8_TEXT, text + rest), capabilities=CAPABILITIES)
    agent_path = tmp_path / "agent"
    async with (
        leaving(lab, tmp_path, "--agent-socket", str(agent_path)) as (source, departure, relay, wire),
        ScriptedAgent(agent_path) as ours,
    ):
        ours.introduce()
        client = await start_gtk_client(source.port or 0, options=("--except", PORT_INIT))
        await client.wait_session()
        await agent_can(client)
        await departure.invite(client, relay)
        ours.write(encode_chunk(AgentPort.CLIENT, message)[: -len(rest)])
        await asyncio.sleep(0.5)
        await departure.stand_still()
        await departure.go(client)

        libspice_can_take(wire)
        state = MainMigrationData.decode(wire.brought(ChannelType.MAIN))
        assert (state.a2c_remaining, state.chunk_remaining) == (len(rest), len(rest))
        client.send("key", code=GRAB_CODE)
        given = await client.wait_event("clipboard")
        assert (given["size"], given["checksum"]) == (len(text + rest), fnv1a(text + rest))
        await works_in(lab, departure.target, client)
        went_well(client, PORT_INIT, PORT_INIT)


async def test_an_agent_between_two_chunks_of_a_message_does_qemu_no_harm(
    lab: Lab, start_gtk_client: StartGtkClient, tmp_path: Path
) -> None:
    """libspice as the source ends its process there. As the target it takes the next chunk for a message."""
    message = encode_agent_message(
        agent.Clipboard(0, ClipboardType.UTF8_TEXT, clipboard_text(10_000)), capabilities=CAPABILITIES
    )
    agent_path = tmp_path / "agent"
    async with (
        leaving(lab, tmp_path, "--agent-socket", str(agent_path)) as (source, departure, relay, wire),
        ScriptedAgent(agent_path) as ours,
    ):
        ours.introduce()
        client = await start_gtk_client(source.port or 0, options=("--except", PORT_INIT))
        await client.wait_session()
        await agent_can(client)
        await departure.invite(client, relay)
        ours.write(encode_chunk(AgentPort.CLIENT, message[:5_000]))
        await asyncio.sleep(0.5)
        await departure.stand_still()
        await departure.go(client)

        libspice_can_take(wire)
        state = MainMigrationData.decode(wire.brought(ChannelType.MAIN))
        assert (state.agent.connected, state.chunk_header_bytes, state.message_header_done) == (1, 0, 0)
        client.send("offer", size=50_000)
        await until(lambda: wire.count(ChannelType.MAIN, main.AgentData) >= 1, "QEMU's agent asks for the text")
        await works_in(lab, departure.target, client)
        went_well(client, PORT_INIT, PORT_INIT)
