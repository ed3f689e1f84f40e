"""A real QEMU takes up a session with migration data that we made: half an agent message, bytes for a port, movements.

A helper QEMU without clients feeds the target its guest; a scripted client brings the state, as if it had come from a
spicehop server.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest
from migration_lab import Lab, Machine, until

from spicehop.channels.link import ClientLink, Linked, TicketWanted
from spicehop.channels.serving.agent import AgentHub
from spicehop.channels.serving.agent_parts import AgentDeviceState
from spicehop.channels.serving.channel import ChannelState, QueuedMessage
from spicehop.channels.serving.display import DisplayState
from spicehop.channels.serving.inputs import InputsState
from spicehop.channels.serving.pipe import PipeState
from spicehop.client.ticket import encrypt_ticket
from spicehop.demo.payload import clipboard_text, fnv1a, numbered_bytes
from spicehop.migration import libspice_states as libspice
from spicehop.painting import ClientView
from spicehop.painting.state import SurfaceState
from spicehop.wire import agent, base, display, inputs, main, registry, vmc
from spicehop.wire.agent_constants import UNLIMITED_TOKENS, AgentCap, AgentMessageType, AgentPort, ClipboardType
from spicehop.wire.agent_stream import encode_agent_message, slices
from spicehop.wire.constants import ChannelType, CommonCap, Direction, MainCap
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.link import Capabilities

pytestmark = pytest.mark.peers
CONNECTION = 4711
"""Any number but 0 makes a client a migrating one (dossier C6.1)."""
GRAB_CODE = 0x3F
COMMON = frozenset({CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER})
MAIN_CAPS = frozenset({MainCap.SEMI_SEAMLESS_MIGRATE, MainCap.AGENT_CONNECTED_TOKENS, MainCap.SEAMLESS_MIGRATE})


class Scripted:
    """One channel of a client that says what the test says and keeps what it hears; it acknowledges and answers."""

    def __init__(self, kind: int, number: int = 0) -> None:
        self.kind = kind
        self.number = number
        self.heard: list[Message | registry.Unknown] = []
        self.closed = False
        self._reading: asyncio.Task[None] | None = None
        self._window = self._count = 0

    async def link(self, machine: Machine) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", machine.qemu.spice_port)
        caps = MAIN_CAPS if self.kind == ChannelType.MAIN else frozenset()
        link = ClientLink(CONNECTION, self.kind, self.number, Capabilities(COMMON, caps))
        self._writer.write(link.opening())
        async with asyncio.timeout(10):
            while not isinstance(step := link.feed(await reader.read(4096)), Linked):
                if isinstance(step, TicketWanted):
                    self._writer.write(link.ticket_encrypted(encrypt_ticket(step.public_key, b"\0")))
        self._reading = asyncio.get_running_loop().create_task(self._read(reader, step.rest))

    async def _read(self, reader: asyncio.StreamReader, data: bytes) -> None:
        frames = FrameReader(mini_header=True)
        while True:
            for frame in frames.feed(data):
                message = registry.decode(self.kind, Direction.FROM_SERVER, frame.number, bytes(frame.body))
                self.heard.append(message)
                self._answer(message)
            data = await reader.read(1 << 16)
            if not data:
                self.closed = True
                return

    def _answer(self, message: Message | registry.Unknown) -> None:
        self._count += 1
        match message:
            case base.SetAck():
                self._window, self._count = message.window, 0
                self.say(base.AckSync(message.generation))
            case base.Ping():
                self.say(base.Pong(message.id, message.timestamp))
            case _ if self._window and self._count >= self._window:
                self._count = 0
                self.say(base.Ack())

    def say(self, message: Message) -> None:
        number = registry.number_of(message, self.kind, Direction.FROM_CLIENT)
        self._writer.write(encode_frame(number, message.encode(), mini_header=True))

    def count(self, kind: type[Message]) -> int:
        return sum(isinstance(one, kind) for one in self.heard)

    def end(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._writer.close()


class Session:
    """The channels of one scripted client, linked to an incoming QEMU that has agreed to restore state."""

    def __init__(self) -> None:
        self.main = Scripted(ChannelType.MAIN)
        self.display = Scripted(ChannelType.DISPLAY)
        self.inputs = Scripted(ChannelType.INPUTS)
        self.port = Scripted(ChannelType.PORT)

    @property
    def channels(self) -> tuple[Scripted, ...]:
        return self.main, self.display, self.inputs, self.port

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self.channels:
            channel.end()

    async def link(self, target: Machine) -> None:
        await self.main.link(target)
        self.main.say(main.MigrateDstDoSeamless(1))
        await until(lambda: self.main.count(main.MigrateDstSeamlessAck) == 1, "the target restores state")
        for channel in self.channels[1:]:
            await channel.link(target)


def main_body(pieces: list[bytes], device: AgentDeviceState) -> bytes:
    """Of a client that has sent these slices, of which the agent has had none."""
    hub = AgentHub()
    hub.opened()
    hub.client_started(1, UNLIMITED_TOKENS)
    for piece in pieces:
        hub.data_received(1, piece)
    return libspice.layout_of_main(hub.client_state(1), device)


def display_body() -> bytes:
    state = DisplayState(ChannelState(serial=53), display.Init(1, 20 * 2**20, 1, 6 * 2**20))
    shown = SurfaceState(0, 1024, 768, b"", b"", b"")
    view = replace(ClientView().state(), glz_window=6 * 2**20, glz_next_id=38, surfaces=(shown,))
    return libspice.layout_of_display(state, view)


def inputs_body() -> bytes:
    """Three movements, and two acknowledgements that were not written."""
    number = registry.number_of(inputs.MouseMotionAck(), ChannelType.INPUTS, Direction.FROM_SERVER)
    acks = (QueuedMessage(number, b""),) * 2
    return libspice.layout_of_inputs(InputsState(ChannelState(queued=acks), (), 0, 3, 0))


async def test_qemu_goes_on_with_our_state(lab: Lab) -> None:
    helper = await lab.boot()
    target = await lab.incoming()
    session: Session = await lab.enter(Session())
    await session.link(target)
    await lab.launch(helper, target)
    await helper.event("MIGRATION", status="completed")

    text = clipboard_text(10_000)
    selection = frozenset({AgentCap.CLIPBOARD_SELECTION})
    message = agent.Clipboard(0, ClipboardType.UTF8_TEXT, text)
    pieces = [bytes(one) for one in slices(encode_agent_message(message, capabilities=selection))]
    assert len(pieces) == 5
    # The agent seems to be within a message's header. What it writes next is a chunk of 8 and 28 bytes, whose length is
    # then where that message's length is: so the client gets a message that holds the chunk's content.
    begun = struct.pack("<III", 1, AgentMessageType.CLIPBOARD_RELEASE, 0)
    device = AgentDeviceState(True, begun, len(begun) + 8 + 28, AgentPort.CLIENT, None, 0, False)
    incoming = numbered_bytes(0, 5_120)
    session.inputs.say(base.MigrateData(inputs_body()))
    session.display.say(base.MigrateData(display_body()))
    pipe = PipeState(ChannelState(), True, incoming, len(incoming), 0, 0)
    session.port.say(base.MigrateData(libspice.layout_of_pipe(pipe)))
    session.main.say(base.MigrateData(main_body(pieces[:3], device)))
    await target.event("RESUME")
    lab.machines.append(target)

    await until(lambda: echo(session.port) == incoming, "the guest's echo of the bytes that were queued")
    await until(lambda: session.inputs.count(inputs.MouseMotionAck) == 2, "the acknowledgements that were due")
    session.inputs.say(inputs.MouseMotion(1, 1, 0))
    await until(lambda: session.inputs.count(inputs.MouseMotionAck) == 3, "the acknowledgement of 3 and 1 movements")
    await until(lambda: session.display.count(display.InvalAllPixmaps) == 1, "the display begins")
    await until(lambda: session.display.count(display.DrawCopy) > 0, "the picture is drawn")
    assert session.display.count(display.SurfaceCreate) == 0

    for piece in pieces[3:]:
        session.main.say(main.AgentData(piece))
    seen = (len(text), fnv1a(text))
    await until(
        lambda: any((one.size, one.checksum) == seen for one in lab.serial().clipboard_texts),
        "the whole text in the guest",
    )
    await until(lambda: session.main.count(main.AgentToken) == 1, "the tokens of five slices")
    assert [one.tokens for one in session.main.heard if isinstance(one, main.AgentToken)] == [5]

    session.inputs.say(inputs.KeyDown(GRAB_CODE))
    session.inputs.say(inputs.KeyUp(GRAB_CODE | 0x80))
    await until(lambda: len(from_agent(session.main)) >= 48, "the agent's message")
    given = from_agent(session.main)
    assert given[:20] == begun + struct.pack("<II", AgentPort.CLIENT, 28)
    assert given[20:40] == struct.pack("<IIQI", 1, AgentMessageType.CLIPBOARD_GRAB, 0, 8)
    assert session.main.count(main.AgentDisconnected) == 0

    assert await target.status() == "running"
    assert [one.kind for one in session.channels if one.closed] == []


def from_agent(channel: Scripted) -> bytes:
    return b"".join(bytes(one.data) for one in channel.heard if isinstance(one, main.AgentData))


def echo(channel: Scripted) -> bytes:
    return b"".join(bytes(one.data) for one in channel.heard if isinstance(one, vmc.VmcData))
