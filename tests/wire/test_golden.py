"""Every message of a capture of stock peers decodes, and encodes to the same bytes.

The committed part of the capture is always read; the whole one too where it is beside the repository.
"""

from __future__ import annotations

import pytest
from reference_capture import SUBSET, WHOLE, Connection, auth_word, connections

from spicehop.wire import agent, base, cursor, display, inputs, main, migration_data, registry, vmc
from spicehop.wire.agent_constants import AgentCap, AgentMessageType
from spicehop.wire.agent_stream import AgentReader, encode_agent_message
from spicehop.wire.constants import AuthMechanism, ChannelType, CommonCap, DisplayCap, MainCap
from spicehop.wire.framing import FrameReader, encode_frame
from spicehop.wire.layout import Message
from spicehop.wire.registry import Unknown

WAYS = {"s2c": 0, "c2s": 1}
FOLDERS = [SUBSET, *([WHOLE] if WHOLE.is_dir() else [])]
ALL = [connection for folder in FOLDERS for connection in connections(folder)]
CUT = {connection.number: connection for connection in ALL if connection.folder == SUBSET}
every_connection = pytest.mark.parametrize(
    "connection", ALL, ids=[f"{'part' if item.folder == SUBSET else 'whole'}-c{item.number:02}" for item in ALL]
)


def messages(connection: Connection, way: str) -> list[Message]:
    return [
        registry.decode(connection.channel_type, WAYS[way], frame.number, frame.body)
        for frame in connection.stream(way).frames
    ]


def test_the_capture_is_there() -> None:
    assert sorted(CUT) == list(range(1, 11))


@every_connection
@pytest.mark.parametrize("way", WAYS)
def test_messages_are_those_that_the_relay_saw(connection: Connection, way: str) -> None:
    found = [
        (registry.name_of(connection.channel_type, WAYS[way], frame.number), len(frame.body))
        for frame in connection.stream(way).frames
    ]
    assert found == [(listed.name, listed.size) for listed in connection.listed if listed.way == way]


@every_connection
@pytest.mark.parametrize("way", WAYS)
def test_messages_encode_to_the_same_bytes(connection: Connection, way: str) -> None:
    for frame, message in zip(connection.stream(way).frames, messages(connection, way), strict=True):
        assert not isinstance(message, Unknown)
        assert message.encode() == frame.body, message.NAME
        assert registry.number_of(message, connection.channel_type, WAYS[way]) == frame.number


@every_connection
@pytest.mark.parametrize("way", WAYS)
def test_streams_come_together_from_their_frames(connection: Connection, way: str) -> None:
    stream = connection.stream(way)
    again = b"".join(encode_frame(frame.number, frame.body, mini_header=True) for frame in stream.frames)
    assert stream.link + stream.before_messages + again == connection.raw(way)


@every_connection
@pytest.mark.parametrize("way", WAYS)
def test_streams_may_come_in_any_pieces(connection: Connection, way: str) -> None:
    stream = connection.stream(way)
    data = connection.raw(way)[len(stream.link) + len(stream.before_messages) :]
    for size in (1, 7, 1000) if len(data) < 20_000 else (1000,):
        reader = FrameReader(mini_header=True)
        pieces = [reader.feed(data[start : start + size]) for start in range(0, len(data), size)]
        assert [frame for piece in pieces for frame in piece] == stream.frames


@every_connection
def test_link_stage_encodes_to_the_same_bytes(connection: Connection) -> None:
    client, server = connection.stream("c2s"), connection.stream("s2c")
    message, reply = connection.link_message(), connection.link_reply()
    assert message.channel_type == connection.channel_type
    assert message.encode() == client.link
    assert reply.encode() == server.link
    assert auth_word(client) == AuthMechanism.SPICE
    assert server.before_messages == bytes(4)


def test_capabilities_of_stock_peers() -> None:
    main_message, main_reply = CUT[1].link_message(), CUT[1].link_reply()
    offered = {CommonCap.PROTOCOL_AUTH_SELECTION, CommonCap.AUTH_SPICE, CommonCap.MINI_HEADER}
    assert main_message.capabilities.common == {CommonCap.PROTOCOL_AUTH_SELECTION, 2, CommonCap.MINI_HEADER}
    assert main_reply.capabilities.common == offered
    assert main_reply.capabilities.channel == set(MainCap) - {MainCap.LINK_STATEMENT}
    assert CUT[2].link_reply().capabilities.channel == {
        DisplayCap.MONITORS_CONFIG,
        DisplayCap.PREF_COMPRESSION,
        DisplayCap.STREAM_REPORT,
        DisplayCap.PREF_VIDEO_CODEC_TYPE,
    }


def test_the_story_of_the_main_channel() -> None:
    source = messages(CUT[1], "s2c")
    init = next(message for message in source if isinstance(message, main.Init))
    assert init.session_id == CUT[6].link_message().connection_id
    begin = next(message for message in source if isinstance(message, main.MigrateBeginSeamless))
    assert begin.host == b"127.0.0.1"
    assert begin.tls_port in main.NO_PORT
    assert begin.source_version == 1
    channels = next(message for message in source if isinstance(message, main.ChannelsList))
    assert {channel.type for channel in channels.channels} == {
        ChannelType.DISPLAY,
        ChannelType.CURSOR,
        ChannelType.INPUTS,
        ChannelType.PORT,
    }
    name = next(message for message in source if isinstance(message, main.Name))
    assert name.name == b"lab-src"


def test_draws_hold_images_of_the_client() -> None:
    draws = [message for message in messages(CUT[2], "s2c") if isinstance(message, display.DrawCopy)]
    assert len(draws) == 8
    for draw in draws:
        assert draw.source is not None
        assert draw.source.descriptor.width == draw.source_area.width == draw.base.box.width
        assert draw.source.descriptor.height == draw.source_area.height == draw.base.box.height
        assert draw.mask.image is None
    create = next(message for message in messages(CUT[2], "s2c") if isinstance(message, display.SurfaceCreate))
    heads = next(message for message in messages(CUT[2], "s2c") if isinstance(message, display.MonitorsConfig))
    assert [(head.width, head.height) for head in heads.heads] == [(create.width, create.height)]


def test_cursor_port_and_keys() -> None:
    cursor_init = next(message for message in messages(CUT[3], "s2c") if isinstance(message, cursor.Init))
    assert cursor_init.cursor.header is None
    port = next(message for message in messages(CUT[4], "s2c") if isinstance(message, vmc.PortInit))
    assert bytes(port.name).isascii()
    assert len(port.name)
    keys = messages(CUT[5], "c2s")
    down = [message.code for message in keys if isinstance(message, inputs.KeyDown)]
    up = [message.code for message in keys if isinstance(message, inputs.KeyUp)]
    assert (len(down), len(up)) == (48, 47)
    assert [code | 0x80 for code in down[:47]] == up


@pytest.mark.parametrize("way", WAYS)
def test_agent_messages(way: str) -> None:
    reader = AgentReader()
    slices = [message.data for message in messages(CUT[1], way) if isinstance(message, main.AgentData)]
    (frame,) = [frame for data in slices for frame in reader.feed(data)]
    assert frame.type == AgentMessageType.ANNOUNCE_CAPABILITIES
    announced = agent.decode(frame.type, frame.body, capabilities=frozenset())
    assert isinstance(announced, agent.AnnounceCapabilities)
    assert announced.request == (way == "c2s")
    assert AgentCap.CLIPBOARD_SELECTION in announced.bits
    assert encode_agent_message(announced) == bytes(slices[0])


@every_connection
def test_migration_data_encodes_to_the_same_bytes(connection: Connection) -> None:
    for way in WAYS:
        for message in messages(connection, way):
            if isinstance(message, base.MigrateData):
                data = migration_data.LAYOUTS[connection.channel_type].decode(message.data)
                assert data.encode() == message.data


@pytest.mark.parametrize(("source", "target"), [(1, 6), (2, 10), (4, 8), (5, 7)])
def test_the_client_passes_migration_data_on_unchanged(source: int, target: int) -> None:
    (sent,) = [message for message in messages(CUT[source], "s2c") if isinstance(message, base.MigrateData)]
    (passed,) = [message for message in messages(CUT[target], "c2s") if isinstance(message, base.MigrateData)]
    assert sent == passed


def test_what_the_migration_data_says() -> None:
    def of(number: int) -> migration_data.MigrationData:
        (message,) = [item for item in messages(CUT[number], "s2c") if isinstance(item, base.MigrateData)]
        return migration_data.LAYOUTS[CUT[number].channel_type].decode(message.data)

    main_data, port_data, display_data = of(1), of(4), of(2)
    assert isinstance(main_data, migration_data.MainMigrationData)
    assert main_data.agent.connected == main_data.client_agent_started == 1
    assert main_data.agent.client_tokens == 9
    assert isinstance(port_data, migration_data.VmcMigrationData)
    assert len(port_data.device.write_data) == 160
    assert isinstance(display_data, migration_data.DisplayMigrationData)
    assert display_data.surfaces.ids == (0,)
    assert display_data.pixmap_cache_freezer == 1
    (init,) = [message for message in messages(CUT[2], "c2s") if isinstance(message, display.Init)]
    assert display_data.pixmap_cache_size == init.pixmap_cache_size
    assert display_data.glz_window_size == init.glz_window_size


def test_the_cut_part_agrees_with_the_whole() -> None:
    """Where both are there: what was kept of the display is what the whole begins with."""
    if not WHOLE.is_dir():
        assert FOLDERS == [SUBSET]
        return
    whole = {connection.number: connection for connection in connections(WHOLE)}
    kept = CUT[2].stream("s2c").frames[:7]
    assert [frame.body for frame in kept] == [frame.body for frame in whole[2].stream("s2c").frames[:7]]
