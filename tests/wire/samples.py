"""One of each message, with values that differ from each other, for judges other than ourselves."""

from __future__ import annotations

from spicehop.wire import base, cursor, display, inputs, main, playback, record, smartcard, vmc
from spicehop.wire.agent import (
    AgentMessage,
    AnnounceCapabilities,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    DisplayConfig,
    FileXferData,
    FileXferStart,
    FileXferStatus,
    Monitor,
    MonitorsConfig,
    MouseState,
    Reply,
)
from spicehop.wire.constants import ChannelType, Direction
from spicehop.wire.layout import Message

SERVER, CLIENT = Direction.FROM_SERVER, Direction.FROM_CLIENT
Sample = tuple[Direction, Message]


def from_server(*messages: Message) -> list[Sample]:
    return [(SERVER, message) for message in messages]


def from_client(*messages: Message) -> list[Sample]:
    return [(CLIENT, message) for message in messages]


COMMON: list[Sample] = [
    *from_server(
        base.Migrate(3),
        base.MigrateData(b"state of the source"),
        base.SetAck(generation=31, window=32),
        base.Ping(id=33, timestamp=34, padding=b"padding"),
        base.WaitForChannels((base.WaitFor(2, 1, 35), base.WaitFor(4, 0, 36))),
        base.Disconnecting(37, 1),
        base.Notify(time=38, severity=1, visibility=2, what=39, text=b"a note for the user"),
        base.MessageList((base.SubMessage(3, base.SetAck(40, 45).encode()),)),
    ),
    *from_client(
        base.AckSync(41),
        base.Ack(),
        base.Pong(42, 43),
        base.MigrateFlushMark(),
        base.MigrateData(b"state of the source"),
        base.Disconnecting(44, 0),
    ),
]
"""What every channel has."""

MAIN: list[Sample] = [
    *from_server(
        main.MigrateBegin(port=5901, tls_port=5902, host=b"target.example", cert_subject=b"CN=target"),
        main.MigrateCancel(),
        main.Init(
            session_id=51,
            display_channels_hint=1,
            supported_mouse_modes=3,
            current_mouse_mode=2,
            agent_connected=1,
            agent_tokens=10,
            multi_media_time=52,
            ram_hint=53,
        ),
        main.ChannelsList((main.ChannelId(2, 0), main.ChannelId(3, 0))),
        main.MouseMode(supported=3, current=2),
        main.MultiMediaTime(54),
        main.AgentConnected(),
        main.AgentDisconnected(1),
        main.AgentToken(55),
        main.MigrateSwitchHost(5903, 5904, b"target.example", b"CN=target"),
        main.MigrateEnd(),
        main.Name(b"the machine"),
        main.Uuid(bytes(range(16))),
        main.AgentConnectedTokens(56),
        main.MigrateBeginSeamless(5905, 5906, b"target.example", b"CN=target", 1),
        main.MigrateDstSeamlessAck(),
        main.MigrateDstSeamlessNack(),
    ),
    *from_client(
        main.ClientInfo(61),
        main.MigrateConnected(),
        main.MigrateConnectError(),
        main.AttachChannels(),
        main.MouseModeRequest(2),
        main.AgentStart(62),
        main.AgentToken(63),
        main.MigrateEnd(),
        main.MigrateDstDoSeamless(1),
        main.MigrateConnectedSeamless(),
        main.QualityIndicator(b"quality"),
    ),
]

AREA = display.Rect(top=12, left=11, bottom=112, right=211)
PLAIN = display.DisplayBase(7, AREA, display.Clip())
RECTS = (display.Rect(14, 13, 114, 113), display.Rect(16, 15, 116, 115))
CLIPPED = display.DisplayBase(7, AREA, display.Clip(1, RECTS))
SOURCE = display.Rect(top=22, left=21, bottom=122, right=221)
NO_MASK = display.QMask()
SOLID = display.Brush(1, 0x00112233)
CACHED = display.Image(display.ImageDescriptor(id=71, type=103, flags=0, width=200, height=100), display.FromCache())


def image(kind: int, payload: display.Payload, image_id: int = 72) -> display.Image:
    return display.Image(display.ImageDescriptor(id=image_id, type=kind, flags=1, width=200, height=100), payload)


BITMAP = image(
    0,
    display.Bitmap(
        format=8, flags=4, width=3, height=2, stride=12, palette_id=None, palette=None, data=bytes(range(24))
    ),
)
INDEXED = image(0, display.Bitmap(5, 4, 4, 2, 5, None, display.Palette(73, (0x010203, 0x040506)), bytes(10)))
LZ_HEADER = b"  ZL\x00\x01\x00\x01" + b"".join(n.to_bytes(4, "big") for n in (8, 200, 100, 800, 1))
GLZ_HEADER = b"  ZL\x00\x01\x00\x01\x18" + b"".join(n.to_bytes(4, "big") for n in (200, 100, 800, 0, 74, 5))
QUIC_HEADER = b"QUIC" + b"".join(n.to_bytes(4, "little") for n in (0, 4, 200, 100))


HEAD = display.Head(monitor_id=0, surface_id=7, width=801, height=602, x=94, y=95, flags=96)
GLYPH = display.Glyph(display.GlyphBox(display.Point(1, 2), display.Point(3, 4), 2, 2), b"abcd")


def copy(source: display.Image | None) -> display.DrawCopy:
    return display.DrawCopy(PLAIN, source, SOURCE, 8, 1, NO_MASK)


DISPLAY: list[Sample] = [
    *from_server(
        display.Mode(width=1024, height=768, bits=32),
        display.Mark(),
        display.Reset(),
        display.CopyBits(CLIPPED, display.Point(81, 82)),
        display.InvalList((display.Resource(1, 83), display.Resource(1, 84))),
        display.InvalAllPixmaps((base.WaitFor(2, 1, 85),)),
        display.InvalPalette(86),
        display.InvalAllPalettes(),
        display.StreamCreate(
            surface_id=7,
            id=87,
            flags=1,
            codec=1,
            stamp=88,
            stream_width=640,
            stream_height=480,
            source_width=641,
            source_height=481,
            destination=AREA,
            clip=display.Clip(),
        ),
        display.StreamData(87, 89, b"a frame"),
        display.StreamClip(87, display.Clip(1, (AREA,))),
        display.StreamDestroy(87),
        display.StreamDestroyAll(),
        display.DrawFill(CLIPPED, SOLID, 8, NO_MASK),
        display.DrawFill(PLAIN, display.Brush(), 256, NO_MASK),
        display.DrawOpaque(PLAIN, CACHED, SOURCE, SOLID, 8, 1, NO_MASK),
        copy(BITMAP),
        copy(INDEXED),
        copy(CACHED),
        copy(image(101, display.Compressed(LZ_HEADER + b"pixels"))),
        copy(image(102, display.Compressed(GLZ_HEADER + b"pixels"))),
        copy(image(1, display.Compressed(QUIC_HEADER + b"pixels"))),
        copy(image(106, display.FromCache())),
        copy(image(104, display.SurfaceImage(9))),
        display.DrawBlend(PLAIN, CACHED, SOURCE, 64, 0, NO_MASK),
        display.DrawBlackness(PLAIN, NO_MASK),
        display.DrawWhiteness(PLAIN, NO_MASK),
        display.DrawInvers(PLAIN, NO_MASK),
        display.DrawRop3(PLAIN, CACHED, SOURCE, SOLID, 0xCC, 1, NO_MASK),
        display.DrawStroke(
            PLAIN,
            display.Path((display.PathSegment(3, (display.Point(16, 32), display.Point(48, 64))),)),
            display.LineAttr(),
            SOLID,
            8,
            16,
        ),
        display.DrawText(
            PLAIN,
            display.String(1, 4, (GLYPH,)),
            SOURCE,
            SOLID,
            display.Brush(1, 0x00445566),
            8,
            16,
        ),
        display.DrawTransparent(PLAIN, CACHED, SOURCE, source_color=91, true_color=92),
        display.DrawAlphaBlend(PLAIN, 1, 200, CACHED, SOURCE),
        display.SurfaceCreate(surface_id=7, width=801, height=602, format=32, flags=1),
        display.SurfaceDestroy(7),
        display.StreamDataSized(id=87, multi_media_time=93, width=321, height=241, destination=AREA, data=b"a frame"),
        display.MonitorsConfig(max_allowed=4, heads=(HEAD,)),
        display.DrawComposite(PLAIN, 3, CACHED, None, None, None, display.Point16(97, 98), display.Point16(99, 100)),
        display.StreamActivateReport(stream_id=87, unique_id=101, max_window=5, timeout=1000),
        display.GlScanoutUnix(801, 602, 3204, 0x34325258, 1),
        display.GlDraw(102, 103, 104, 105),
        display.QualityIndicator(b"quality"),
    ),
    *from_client(
        display.Init(pixmap_cache_id=1, pixmap_cache_size=20_971_520, glz_dictionary_id=2, glz_window_size=6_290_432),
        display.StreamReport(87, 101, 106, 107, 108, 109, -5, 110),
        display.PreferredCompression(6),
        display.GlDrawDone(),
        display.PreferredVideoCodecType((1, 2)),
    ),
]

INPUTS: list[Sample] = [
    *from_server(inputs.Init(2), inputs.KeyModifiers(6), inputs.MouseMotionAck()),
    *from_client(
        inputs.KeyDown(0x1E),
        inputs.KeyUp(0x9E),
        inputs.KeyModifiers(5),
        inputs.KeyScancode(b"\x1e\x9e"),
        inputs.MouseMotion(dx=-3, dy=4, buttons=1),
        inputs.MousePosition(x=301, y=302, buttons=2, display_id=1),
        inputs.MousePress(1, 1),
        inputs.MouseRelease(1, 0),
    ),
]

SHAPE = cursor.Cursor(2, cursor.CursorHeader(unique=111, type=0, width=2, height=3, hot_x=1, hot_y=2), bytes(24))
CURSOR: list[Sample] = from_server(
    cursor.Init(position=display.Point16(112, 113), trail_length=114, trail_frequency=115, visible=1, cursor=SHAPE),
    cursor.Reset(),
    cursor.Set(display.Point16(116, 117), 1, SHAPE),
    cursor.Set(display.Point16(118, 119), 1, cursor.Cursor(4, SHAPE.header)),
    cursor.Set(display.Point16(118, 119), 0, cursor.Cursor()),
    cursor.Move(display.Point16(-5, 120)),
    cursor.Hide(),
    cursor.Trail(length=121, frequency=122),
    cursor.InvalOne(123),
    cursor.InvalAll(),
)

PLAYBACK: list[Sample] = from_server(
    playback.PlaybackData(131, b"sound"),
    playback.Mode(132, 1, b"codec"),
    playback.Start(channels=2, format=1, frequency=48_000, time=133),
    playback.Stop(),
    playback.Volume((134, 135)),
    playback.Mute(1),
    playback.Latency(136),
)

RECORD: list[Sample] = [
    *from_server(record.Start(2, 1, 44_100), record.Stop(), record.Volume((141, 142)), record.Mute(1)),
    *from_client(record.RecordData(143, b"sound"), record.Mode(144, 1, b"codec"), record.StartMark(145)),
]

SMARTCARD: list[Sample] = [
    *from_server(smartcard.SmartcardData(7, 1, b"apdu")),
    *from_client(smartcard.SmartcardData(3, 2, b"reader\0")),
]

VMC: list[Sample] = [
    *from_server(vmc.VmcData(b"device bytes"), vmc.VmcCompressedData(1, 12, b"compressed")),
    *from_client(vmc.VmcData(b"device bytes"), vmc.VmcCompressedData(1, 12, b"compressed")),
]

SAMPLES: dict[ChannelType, list[Sample]] = {
    ChannelType.MAIN: MAIN,
    ChannelType.DISPLAY: DISPLAY,
    ChannelType.INPUTS: INPUTS,
    ChannelType.CURSOR: CURSOR,
    ChannelType.PLAYBACK: PLAYBACK,
    ChannelType.RECORD: RECORD,
    ChannelType.SMARTCARD: SMARTCARD,
    ChannelType.USBREDIR: VMC,
}
"""The messages of each channel, besides the common ones; port and webdav are like usbredir."""

AGENT: list[tuple[Direction, AgentMessage]] = [
    (CLIENT, MonitorsConfig(1, (Monitor(height=1080, width=1920, depth=32, x=151, y=-152),))),
    (CLIENT, DisplayConfig(3, 24)),
    (CLIENT, AnnounceCapabilities.of({1, 5, 6}, request=True)),
    (CLIENT, ClipboardGrab(0, 0, (1,))),
    (CLIENT, ClipboardRequest(0, 1)),
    (CLIENT, Clipboard(0, 1, b"text")),
    (CLIENT, ClipboardRelease(0)),
    (CLIENT, FileXferStart(153, b"[vdagent-file-xfer]\nname=a\nsize=4\n")),
    (CLIENT, FileXferData(153, b"file")),
    (SERVER, Reply(2, 1)),
    (SERVER, FileXferStatus(153, 3)),
    (SERVER, AnnounceCapabilities.of({1, 5, 6}, request=False)),
    (SERVER, MouseState(x=154, y=155, buttons=2, display_id=1)),
]
"""Agent messages, with CLIPBOARD_SELECTION."""
