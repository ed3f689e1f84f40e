"""A SPICE server on a free port of the loopback interface, as good or as bad as a test wants it.

    async with FakeServer(password="secret") as server:
        async with connect(server.url, password="secret") as session:
            server.say("main:0", main.MouseMode(3, 2))
            assert await server.hear("inputs:0", inputs.KeyDown)

It runs on the test's own event loop. `fault` names where it goes wrong; `FAULTS` has them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from server_end import ServerEnd

from spicehop.errors import ProtocolError
from spicehop.wire import display, inputs, main, registry, vmc
from spicehop.wire.constants import ChannelType, Direction, LinkResult, MainCap, channel_name
from spicehop.wire.display_constants import SurfaceFormat
from spicehop.wire.layout import Message
from spicehop.wire.link import HEADER_SIZE, U32_WORD, Capabilities, LinkMessage, LinkReply, decode_header

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
SESSION_ID = 99
CHANNELS = ("display:0", "inputs:0", "port:1")
MAIN_BITS = (MainCap.SEAMLESS_MIGRATE, MainCap.SEMI_SEAMLESS_MIGRATE, MainCap.AGENT_CONNECTED_TOKENS)
FAULTS = (
    "silent at once",
    "silent after the message",
    "silent after the ticket",
    "silent after the link",
    "silent after init",
    "garbage at once",
    "garbage after the message",
    "garbage after the ticket",
    "garbage after the link",
    "half a reply",
    "a reply without a key",
    "closes at once",
    "closes after the message",
    "closes after the ticket",
    "closes after the link",
    "closes after init",
    "resets at once",
)
M = TypeVar("M", bound=Message)


class FakeChannel:
    """One linked channel."""

    def __init__(self, name: str, end: ServerEnd, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self.end = end
        self.writer = writer
        self.heard: list[Message] = []

    def say(self, *messages: Message) -> None:
        """Send messages."""
        self.writer.write(self.end.say(*messages))


class FakeServer:
    """One server. `fault` applies to the channels in `faulty`."""

    def __init__(
        self,
        *,
        password: str = "",
        channels: Sequence[str] = CHANNELS,
        fault: str = "",
        faulty: Sequence[str] = ("main:0",),
        mini_header: bool = True,
        agent: bool = False,
    ) -> None:
        self.agent = agent
        self.password = password
        self.offered = tuple(channels)
        self.fault = fault
        self.faulty = tuple(faulty)
        self.mini_header = mini_header
        self.channels: dict[str, FakeChannel] = {}
        """The last connection of each channel."""
        self.missing: set[str] = set()
        """Channels that it lists and refuses."""
        self.reads = True
        """Whether linked channels are read."""
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    @property
    def url(self) -> str:
        """Its address for `connect`."""
        return f"spice://127.0.0.1:{self.port}"

    # -- what tests do ----------------------------------------------------------------------------------------------

    def say(self, name: str, *messages: Message) -> None:
        """Say messages on a channel."""
        self.channels[name].say(*messages)

    def say_raw(self, name: str, data: bytes) -> None:
        """Send bytes on a channel."""
        self.channels[name].writer.write(data)

    def close(self, name: str) -> None:
        """Close a channel's connection."""
        self.channels[name].writer.close()

    async def until(self, condition: Callable[[], object], *, seconds: float = 5.0) -> None:
        """Wait until something is so that changes when a client is heard."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hear(self, name: str, kind: type[M], *, count: int = 1) -> list[M]:
        """The messages of a class on a channel, once there are `count` of them."""

        def found() -> list[M]:
            heard = self.channels[name].heard if name in self.channels else []
            return [message for message in heard if isinstance(message, kind)]

        await self.until(lambda: len(found()) >= count)
        return found()

    def port_bytes(self, name: str = "port:1") -> bytes:
        """What the client has sent to a port."""
        return b"".join(bytes(one.data) for one in self.channels[name].heard if isinstance(one, vmc.VmcData))

    # -- connections ------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._changed.set()
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, ProtocolError, asyncio.CancelledError):
            pass  # clients may leave at any time, and tests end with connections open
        finally:
            writer.transport.abort()
            self._tasks.discard(task)
            self._changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "main:0" in self.faulty and await self._goes_wrong("at once", reader, writer):
            return
        size = decode_header(await reader.readexactly(HEADER_SIZE)).size
        message = LinkMessage.decode(await reader.readexactly(size))
        name = channel_name(message.channel_type, message.channel_id)
        async for stage in self._link(message, name, reader, writer):
            if name in self.faulty and await self._goes_wrong(stage, reader, writer):
                return
        channel = self.channels[name]
        self._changed.set()
        self._greet(channel)
        await writer.drain()
        while True:
            while not self.reads:
                await asyncio.sleep(0.01)
            data = await reader.read(65536)
            if not data:
                return
            for heard in self._messages(channel, data):
                channel.heard.append(heard)
                if name in self.faulty and await self._goes_wrong("after init", reader, writer):
                    return
                self._answer(channel, heard)
            self._changed.set()

    def _messages(self, channel: FakeChannel, data: bytes) -> list[Message]:
        frames = channel.end.reader.feed(data)
        kind = channel.end.kind
        return [registry.decode(kind, Direction.FROM_CLIENT, one.number, bytes(one.body)) for one in frames]

    async def _link(
        self, message: LinkMessage, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[str]:
        yield "after the message"
        bits = MAIN_BITS if name == "main:0" else ()
        end = ServerEnd(message.channel_type, *bits, mini_header=self.mini_header)
        known = (name == "main:0" or name in self.offered) and name not in self.missing
        code = LinkResult.OK if known else LinkResult.CHANNEL_NOT_AVAILABLE
        key = b"" if self.fault == "a reply without a key" and name in self.faulty else PUBLIC
        reply = LinkReply(code, key, end.linked().capabilities if known else Capabilities()).encode()
        if self.fault == "half a reply" and name in self.faulty:
            writer.write(reply[: len(reply) // 2])
            await reader.read()
            raise EOFError
        writer.write(reply)
        if not known:
            raise EOFError
        await reader.readexactly(U32_WORD.size)
        ticket = await reader.readexactly(128)
        yield "after the ticket"
        scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
        right = KEY.decrypt(ticket, scheme) == self.password.encode() + b"\0"
        writer.write(U32_WORD.pack(LinkResult.OK if right else LinkResult.PERMISSION_DENIED))
        if not right:
            raise EOFError
        self.channels[name] = FakeChannel(name, end, writer)
        yield "after the link"

    async def _goes_wrong(self, stage: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        what, _, where = self.fault.partition(" ")
        if where != stage:
            return False
        if what == "silent":
            while await reader.read(65536):
                pass
        elif what == "garbage":
            writer.write(b"\xff garbage " * 50)
            await writer.drain()
            while await reader.read(65536):
                pass
        elif what == "resets":
            writer.transport.abort()
        return True

    def _greet(self, channel: FakeChannel) -> None:
        match channel.end.kind:
            case ChannelType.MAIN:
                channel.say(main.Init(SESSION_ID, 1, 3, 1, self.agent, 10, 0, 0), main.Name(b"fake guest"))
            case ChannelType.INPUTS:
                channel.say(inputs.Init(0))
            case ChannelType.PORT:
                channel.say(vmc.PortInit(b"org.example." + channel.name.encode(), 1))
            case _:
                pass

    def _answer(self, channel: FakeChannel, message: Message) -> None:
        match message:
            case main.MouseModeRequest():
                channel.say(main.MouseMode(3, message.mode))
            case main.AttachChannels():
                channel.say(main.ChannelsList(tuple(self._id(name) for name in self.offered)))
            case display.Init():
                channel.say(display.SurfaceCreate(0, 32, 16, SurfaceFormat.XRGB_32, 1), display.Mark())
            case _:
                pass

    @staticmethod
    def _id(name: str) -> main.ChannelId:
        kind, _, number = name.partition(":")
        return main.ChannelId(ChannelType[kind.upper()], int(number))
