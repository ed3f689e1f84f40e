"""Clients that send nonsense, or nothing: each costs itself its connection, and the server works on."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from raw_link import COMMON, TIMEOUT, RawLink, opened
from small_guest import SmallGuest
from waiting import until

import spicehop
from spicehop.server import AcceptLimits, Security, ServerOptions, SpiceServer
from spicehop.wire import inputs, registry, vmc
from spicehop.wire.constants import AuthMechanism, ChannelType, Direction, LinkResult
from spicehop.wire.framing import encode_frame
from spicehop.wire.link import Capabilities, LinkMessage, LinkReply

QUICK = AcceptLimits(deadline=1.0, bytes_before=20_000)
WRONG_TICKETS = int(os.environ.get("SPICEHOP_WRONG_TICKETS", "100"))


@asynccontextmanager
async def serving(**options: object) -> AsyncIterator[SpiceServer]:
    async with SpiceServer(SmallGuest(), ServerOptions(**options)) as server:  # type: ignore[arg-type]
        yield server
        await works(server, options.get("password"))


async def works(server: SpiceServer, password: object = None) -> None:
    """A client that behaves is served all the same."""
    word = password if isinstance(password, str) else None
    async with spicehop.connect(f"spice://127.0.0.1:{server.port}", password=word) as session:
        assert session.screenshot().pixels.shape == (240, 320, 4)


async def ends_with(server: SpiceServer, stream: bytes) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(stream)
    try:
        async with asyncio.timeout(TIMEOUT):
            return await reader.read(-1)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


# -- before authentication --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", LinkResult.INVALID_MAGIC),
        (bytes(64), LinkResult.INVALID_MAGIC),
        (b"REDQ" + struct.pack("<III", 1, 0, 18), LinkResult.VERSION_MISMATCH),
        (b"REDQ" + struct.pack("<III", 2, 2, 2**31), LinkResult.INVALID_DATA),
    ],
)
async def test_nonsense_gets_an_error(stream: bytes, code: int) -> None:
    async with serving() as server:
        assert LinkReply.decode((await ends_with(server, stream))[16:]).error == code


@pytest.mark.parametrize("stream", [b"", b"RED", LinkMessage(0, 1, 0, Capabilities(COMMON)).encode()[:20]])
async def test_silence_ends_at_the_deadline(stream: bytes) -> None:
    async with serving(limits=QUICK) as server:
        assert await ends_with(server, stream) == b""
        assert len(server.gate) == 0


async def test_a_link_that_is_never_authenticated() -> None:
    async with serving(limits=QUICK) as server:
        answer = await ends_with(server, LinkMessage(0, 1, 0, Capabilities(COMMON)).encode())
        assert LinkReply.decode(answer[16:]).error == LinkResult.OK
        assert len(server.gate) == 0


async def test_too_many_bytes_before_authentication() -> None:
    limits = AcceptLimits(deadline=30.0, bytes_before=20_000)
    async with serving(limits=limits) as server:
        hello = LinkMessage(0, 1, 0, Capabilities(COMMON)).encode()
        await ends_with(server, hello + struct.pack("<I", 1) + bytes(100) + bytes(50_000))
        assert server.gate.turned_away == 1


async def test_more_connections_than_may_wait() -> None:
    limits = AcceptLimits(deadline=30.0, waiting_from_one_host=4)
    async with serving(limits=limits) as server:
        links = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        await until(lambda: server.gate.turned_away >= 16)
        assert len(server.gate) == 4
        for _, writer in links:
            writer.close()


async def test_a_wrong_ticket_many_times() -> None:
    async with serving(password="right", limits=AcceptLimits(waiting_from_one_host=64)) as server:
        for _ in range(WRONG_TICKETS // 4):
            tries = [RawLink.open(server.port, ChannelType.MAIN, password=b"wrong") for _ in range(4)]
            for result, link in await asyncio.gather(*tries):
                assert result == LinkResult.PERMISSION_DENIED
                await link.closed()
        assert len(server.sessions) == 0


async def test_a_ticket_of_noise() -> None:
    async with serving(password="right") as server:
        hello = LinkMessage(0, 1, 0, Capabilities(COMMON)).encode()
        answer = await ends_with(server, hello + struct.pack("<I", AuthMechanism.SPICE) + bytes(range(128)))
        assert answer[-4:] == struct.pack("<I", LinkResult.PERMISSION_DENIED)


async def test_an_empty_password_opens_nothing() -> None:
    async with serving(password="") as server:
        result, link = await RawLink.open(server.port, ChannelType.MAIN, password=b"")
        assert result == LinkResult.PERMISSION_DENIED
        await link.closed()
        server.ticket.change(None)


async def test_channels_that_cannot_be_had() -> None:
    security = {ChannelType.INPUTS: Security.TLS}
    async with serving(security=security) as server:
        link, session_id = await opened(server.port)
        for kind, connection_id, code in (
            (ChannelType.INPUTS, session_id, LinkResult.NEED_SECURED),
            (ChannelType.DISPLAY, session_id ^ 1, LinkResult.BAD_CONNECTION_ID),
            (ChannelType.DISPLAY, 0, LinkResult.BAD_CONNECTION_ID),
            (ChannelType.MAIN, 77, LinkResult.BAD_CONNECTION_ID),
            (ChannelType.TUNNEL, session_id, LinkResult.CHANNEL_NOT_AVAILABLE),
            (200, session_id, LinkResult.CHANNEL_NOT_AVAILABLE),
        ):
            result, other = await RawLink.open(server.port, kind, connection_id)
            assert result == code
            await other.closed()
        result, display = await RawLink.open(server.port, ChannelType.DISPLAY, session_id)
        assert result == LinkResult.OK
        result, again = await RawLink.open(server.port, ChannelType.DISPLAY, session_id)
        assert result == LinkResult.CHANNEL_NOT_AVAILABLE
        for one in (again, display, link):
            one.writer.close()
        server.options.security.clear()  # type: ignore[attr-defined]


# -- after it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        encode_frame(9999, b"", mini_header=True),
        struct.pack("<HI", 107, 2**32 - 1),
        encode_frame(4, b"", mini_header=True),
        encode_frame(5, bytes(100), mini_header=True),
        encode_frame(105, b"", mini_header=True),
        encode_frame(107, bytes(4000), mini_header=True),
    ],
    ids=["unknown", "huge", "flush mark", "migrate data", "short", "long slice"],
)
async def test_nonsense_on_the_main_channel_ends_the_session(stream: bytes) -> None:
    async with serving() as server:
        link, _ = await opened(server.port)
        link.writer.write(stream)
        await link.closed()
        await until(lambda: len(server.sessions) == 0)


async def test_nonsense_on_one_channel_costs_that_channel() -> None:
    async with serving() as server:
        link, session_id = await opened(server.port)
        _, keys = await RawLink.open(server.port, ChannelType.INPUTS, session_id)
        keys.writer.write(encode_frame(9999, b"", mini_header=True))
        await keys.closed()
        assert len(server.sessions) == 1
        result, keys = await RawLink.open(server.port, ChannelType.INPUTS, session_id)
        assert result == LinkResult.OK
        keys.send(inputs.KeyDown(0x1E))
        await until(lambda: server.guest.keys == [b"\x1e"])  # type: ignore[attr-defined]
        link.writer.close()
        await keys.closed()
        assert server.guest.keys == [b"\x1e", b"\x9e"]  # type: ignore[attr-defined]


async def test_a_client_that_asks_and_does_not_read_is_not_read_either() -> None:
    async with serving() as server:
        link, session_id = await opened(server.port)
        _, keys = await RawLink.open(server.port, ChannelType.INPUTS, session_id)
        motion = encode_frame(111, inputs.MouseMotion(1, 1, 0).encode(), mini_header=True)
        link.writer.transport.set_write_buffer_limits(high=1 << 20)
        blocked = False
        for _ in range(400):
            keys.writer.write(motion * 4096)
            try:
                async with asyncio.timeout(0.2):
                    await keys.writer.drain()
            except TimeoutError:
                blocked = True
                break
        machine = next(iter(server.sessions)).channels[(ChannelType.INPUTS, 0)].machine
        assert blocked or machine.messages_queued < 20_000
        await works(server)
        keys.writer.transport.abort()
        link.writer.transport.abort()


async def test_a_port_whose_client_does_not_read() -> None:
    """The device is read no further than the buffers go, and what was read is not lost."""
    async with serving() as server:
        guest = server.guest
        assert isinstance(guest, SmallGuest)
        device = guest.ports[0]
        link, session_id = await opened(server.port)
        _, port = await RawLink.open(server.port, ChannelType.PORT, session_id)
        total = 24 * 1024 * 1024
        device.to_give += bytes(range(256)) * (total // 256)
        server.wake()
        left = -1
        while left != len(device.to_give):
            left = len(device.to_give)
            await asyncio.sleep(0.2)
        assert left > 8 * 1024 * 1024
        received = bytearray()
        async with asyncio.timeout(TIMEOUT):
            while len(received) < total:
                for frame in port.frames.feed(await port.reader.read(1 << 18)):
                    message = registry.decode(port.kind, Direction.FROM_SERVER, frame.number, frame.body)
                    if isinstance(message, vmc.VmcData):
                        received += message.data
        assert bytes(received) == bytes(range(256)) * (total // 256)
        link.writer.close()
        port.writer.close()


async def test_a_device_that_takes_nothing_stops_the_client_and_loses_nothing() -> None:
    async with serving() as server:
        guest = server.guest
        assert isinstance(guest, SmallGuest)
        device = guest.ports[0]
        device.takes, device.echo = False, False
        link, session_id = await opened(server.port)
        _, port = await RawLink.open(server.port, ChannelType.PORT, session_id)
        piece = bytes(range(256)) * 256
        sent = 0
        for _ in range(400):
            port.send(vmc.VmcData(piece))
            sent += len(piece)
            try:
                async with asyncio.timeout(0.2):
                    await port.writer.drain()
            except TimeoutError:
                break
        else:
            raise AssertionError("the client was never held up")
        device.takes = True
        server.wake()
        await until(lambda: len(device.got) == sent)
        assert bytes(device.got) == piece * (sent // len(piece))
        link.writer.close()
        port.writer.close()


async def test_bytes_of_a_client_that_left_still_arrive() -> None:
    async with serving() as server:
        guest = server.guest
        assert isinstance(guest, SmallGuest)
        device = guest.ports[0]
        device.takes, device.echo = False, False
        link, session_id = await opened(server.port)
        _, port = await RawLink.open(server.port, ChannelType.PORT, session_id)
        port.send(vmc.VmcData(b"last words"))
        await until(lambda: bool(server.devices.slots[(ChannelType.PORT, 0)].pipe.bytes_held))  # type: ignore[union-attr]
        port.writer.close()
        await until(lambda: server.devices.slots[(ChannelType.PORT, 0)].owner is None)
        device.takes = True
        server.wake()
        await until(lambda: bytes(device.got) == b"last words")
        await until(lambda: device.clients == [True, False])
        link.writer.close()


async def test_single_client_mode_ends_the_session_before() -> None:
    async with serving(several_clients=False) as server:
        first, _ = await opened(server.port)
        second, _ = await opened(server.port)
        await first.closed()
        assert len(server.sessions) == 1
        second.writer.close()
        await until(lambda: len(server.sessions) == 0)


async def test_more_sessions_than_there_may_be() -> None:
    async with serving(limits=AcceptLimits(sessions=2)) as server:
        links = [(await opened(server.port))[0] for _ in range(2)]
        result, third = await RawLink.open(server.port, ChannelType.MAIN)
        assert result == LinkResult.ERROR
        await third.closed()
        for link in links:
            link.writer.close()
        await until(lambda: len(server.sessions) == 0)
