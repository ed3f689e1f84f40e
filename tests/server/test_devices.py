"""The guest's devices, its agent and its sound, as clients have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from raw_link import TIMEOUT, RawLink, opened
from small_guest import SmallGuest
from waiting import until

from spicehop.channels.serving.smartcard import DEVICE_HEADER
from spicehop.guests.interface import SoundFormat
from spicehop.server import SpiceServer
from spicehop.wire import agent, main, playback, record, smartcard, vmc
from spicehop.wire.agent_stream import encode_agent_message, encode_chunk
from spicehop.wire.constants import AudioMode, ChannelType, LinkResult

SAMPLES = bytes(range(240)) * 64


@pytest.fixture
def guest() -> SmallGuest:
    return SmallGuest()


@pytest.fixture
async def server(guest: SmallGuest) -> AsyncIterator[SpiceServer]:
    async with SpiceServer(guest) as server:
        yield server


async def linked(server: SpiceServer, kind: int, session_id: int) -> RawLink:
    result, link = await RawLink.open(server.port, kind, session_id)
    assert result == LinkResult.OK
    return link


async def channels_of(link: RawLink) -> set[tuple[int, int]]:
    listed = await link.first(main.ChannelsList)
    assert isinstance(listed, main.ChannelsList)
    return {(channel.type, channel.id) for channel in listed.channels}


@pytest.mark.parametrize("kind", [ChannelType.USBREDIR, ChannelType.WEBDAV])
async def test_a_pipe_both_ways(guest: SmallGuest, server: SpiceServer, kind: int) -> None:
    device = guest.usb if kind == ChannelType.USBREDIR else guest.webdav
    main_link, session_id = await opened(server.port)
    pipe = await linked(server, kind, session_id)
    pipe.send(vmc.VmcData(b"to the guest"))
    await until(lambda: bytes(device.got) == b"to the guest")
    device.to_give += b"to the client"
    server.wake()
    given = await pipe.first(vmc.VmcData)
    assert isinstance(given, vmc.VmcData)
    assert bytes(given.data) == b"to the client"
    main_link.writer.close()
    await pipe.closed()
    await until(lambda: device.clients == [True, False])


async def test_a_smartcard(guest: SmallGuest, server: SpiceServer) -> None:
    main_link, session_id = await opened(server.port)
    card = await linked(server, ChannelType.SMARTCARD, session_id)
    card.send(smartcard.SmartcardData(3, 0xFFFFFFFF, b"reader\0"))
    card.send(smartcard.SmartcardData(7, 0, b"apdu"))
    wanted = DEVICE_HEADER.pack(3, 0, 0) + DEVICE_HEADER.pack(7, 0, 4) + b"apdu"
    await until(lambda: bytes(guest.card.got) == wanted)
    guest.card.to_give += DEVICE_HEADER.pack(2, 0, 4) + bytes(4)
    server.wake()
    assert await card.first(smartcard.SmartcardData) == smartcard.SmartcardData(2, 0, bytes(4))
    card.writer.close()
    await until(lambda: bytes(guest.card.got) == wanted + DEVICE_HEADER.pack(4, 0, 0))
    main_link.writer.close()


async def test_a_device_is_one_clients_until_it_leaves(server: SpiceServer) -> None:
    first, first_id = await opened(server.port)
    second, second_id = await opened(server.port)
    port = await linked(server, ChannelType.PORT, first_id)
    second.send(main.AttachChannels())
    listed = await channels_of(second)
    assert (ChannelType.PORT, 0) not in listed
    assert (ChannelType.USBREDIR, 0) in listed
    assert (ChannelType.RECORD, 0) in listed
    result, refused = await RawLink.open(server.port, ChannelType.PORT, second_id)
    assert result == LinkResult.CHANNEL_NOT_AVAILABLE
    port.writer.close()
    assert await channels_of(second) == {(ChannelType.PORT, 0)}
    await linked(server, ChannelType.PORT, second_id)
    for link in (first, second, refused):
        link.writer.close()


async def test_a_port_that_the_guest_closes(guest: SmallGuest, server: SpiceServer) -> None:
    main_link, session_id = await opened(server.port)
    port = await linked(server, ChannelType.PORT, session_id)
    named = await port.first(vmc.PortInit)
    assert isinstance(named, vmc.PortInit)
    assert (bytes(named.name), named.opened) == (b"org.example.echo.0", 1)
    guest.ports[0].is_open = False
    server.wake()
    assert await port.first(vmc.PortEventMessage) == vmc.PortEventMessage(1)
    main_link.writer.close()


async def test_the_agent_comes_speaks_and_goes(guest: SmallGuest, server: SpiceServer) -> None:
    link, _ = await opened(server.port)
    guest.agent.is_open = True
    server.wake()
    await link.first(main.AgentConnected)
    link.send(main.AgentStart(2**32 - 1))
    asked = encode_agent_message(agent.AnnounceCapabilities.of(frozenset({1, 2}), request=True))
    link.send(main.AgentData(asked))
    await until(lambda: bytes(guest.agent.got) == encode_chunk(1, asked))
    answer = encode_agent_message(agent.AnnounceCapabilities.of(frozenset({1}), request=False))
    guest.agent.to_give += encode_chunk(1, answer)
    server.wake()
    given = await link.first(main.AgentData)
    assert isinstance(given, main.AgentData)
    assert bytes(given.data) == answer
    wanted = agent.MonitorsConfig(1, (agent.Monitor(600, 800, 32, 10, 20), agent.Monitor(0, 0, 0, 0, 0)))
    link.send(main.AgentData(encode_agent_message(wanted)))
    await until(lambda: guest.monitors == [(10, 20, 800, 600)])
    guest.agent.is_open = False
    server.wake()
    await link.first(main.AgentDisconnected)
    link.writer.close()


async def test_sound_for_a_client_without_opus(guest: SmallGuest, server: SpiceServer) -> None:
    main_link, session_id = await opened(server.port)
    player = await linked(server, ChannelType.PLAYBACK, session_id)
    guest.out.playing = SoundFormat()
    guest.out.samples += SAMPLES
    server.wake()
    mode = await player.first(playback.Mode)
    assert isinstance(mode, playback.Mode)
    assert mode.mode == AudioMode.RAW
    heard = b""
    while len(heard) < len(SAMPLES):
        packet = await player.first(playback.PlaybackData)
        assert isinstance(packet, playback.PlaybackData)
        heard += packet.data
    assert heard == SAMPLES
    guest.out.playing = None
    server.wake()
    await player.first(playback.Stop)
    main_link.writer.close()


async def test_a_microphone(guest: SmallGuest, server: SpiceServer) -> None:
    main_link, session_id = await opened(server.port)
    microphone = await linked(server, ChannelType.RECORD, session_id)
    guest.microphone.recording = SoundFormat()
    server.wake()
    assert await microphone.first(record.Start) == record.Start(2, 1, 48_000)
    microphone.send(record.Mode(0, AudioMode.RAW))
    microphone.send(record.StartMark(0))
    microphone.send(record.RecordData(0, SAMPLES))
    await until(lambda: bytes(guest.microphone.samples) == SAMPLES)
    guest.microphone.recording = None
    server.wake()
    await microphone.first(record.Stop)
    main_link.writer.close()


async def test_a_guest_that_stands_still_takes_what_came_once_it_runs(guest: SmallGuest, server: SpiceServer) -> None:
    guest.ports[0].echo = False
    main_link, session_id = await opened(server.port)
    port = await linked(server, ChannelType.PORT, session_id)
    guest.ports[0].takes = False
    server.stop_guest()
    piece = bytes(range(256)) * 1024
    async with asyncio.timeout(TIMEOUT):
        for _ in range(32):
            port.send(vmc.VmcData(piece))
            await port.writer.drain()
    guest.ports[0].takes = True
    server.run_guest()
    await until(lambda: len(guest.ports[0].got) == 32 * len(piece))
    main_link.writer.close()
