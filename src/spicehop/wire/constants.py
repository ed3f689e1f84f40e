"""Numbers and names of the protocol (dossier A, B, D). Message fields hold plain ints: unknown values survive."""

from __future__ import annotations

from enum import IntEnum, IntFlag

MAGIC = b"REDQ"
MAJOR_VERSION = 2
MINOR_VERSION = 2
TICKET_PUBLIC_KEY_BYTES = 162
TICKET_BYTES = 128
MAX_PASSWORD_LENGTH = 60
MIGRATION_PROTOCOL_VERSION = 1
AGENT_CHUNK_BYTES = 2048


class ChannelType(IntEnum):
    """Channel types; 7 was the tunnel, which has no messages any more."""

    MAIN = 1
    DISPLAY = 2
    INPUTS = 3
    CURSOR = 4
    PLAYBACK = 5
    RECORD = 6
    TUNNEL = 7
    SMARTCARD = 8
    USBREDIR = 9
    PORT = 10
    WEBDAV = 11


def channel_name(kind: int, channel_id: int) -> str:
    """The name of a channel in traces and reports, for example `display:0`."""
    try:
        return f"{ChannelType(kind).name.lower()}:{channel_id}"
    except ValueError:
        return f"channel{kind}:{channel_id}"


class Direction(IntEnum):
    """Who sends."""

    FROM_SERVER = 0
    FROM_CLIENT = 1


class LinkResult(IntEnum):
    """Link errors (dossier A.2)."""

    OK = 0
    ERROR = 1
    INVALID_MAGIC = 2
    INVALID_DATA = 3
    VERSION_MISMATCH = 4
    NEED_SECURED = 5
    NEED_UNSECURED = 6
    PERMISSION_DENIED = 7
    BAD_CONNECTION_ID = 8
    CHANNEL_NOT_AVAILABLE = 9


class AuthMechanism(IntEnum):
    """The word after the link reply."""

    SPICE = 1
    SASL = 2


class CommonCap(IntEnum):
    """Capabilities of every channel."""

    PROTOCOL_AUTH_SELECTION = 0
    AUTH_SPICE = 1
    AUTH_SASL = 2
    MINI_HEADER = 3


class MainCap(IntEnum):
    """Capabilities of the main channel."""

    SEMI_SEAMLESS_MIGRATE = 0
    NAME_AND_UUID = 1
    AGENT_CONNECTED_TOKENS = 2
    SEAMLESS_MIGRATE = 3
    LINK_STATEMENT = 24
    """Not the protocol's but ours: the server reads what the client states of its link in QUALITY_INDICATOR."""


class DisplayCap(IntEnum):
    """Capabilities of a display channel."""

    SIZED_STREAM = 0
    MONITORS_CONFIG = 1
    COMPOSITE = 2
    A8_SURFACE = 3
    STREAM_REPORT = 4
    LZ4_COMPRESSION = 5
    PREF_COMPRESSION = 6
    GL_SCANOUT = 7
    MULTI_CODEC = 8
    CODEC_MJPEG = 9
    CODEC_VP8 = 10
    CODEC_H264 = 11
    PREF_VIDEO_CODEC_TYPE = 12
    CODEC_VP9 = 13
    CODEC_H265 = 14


class PlaybackCap(IntEnum):
    """Capabilities of the playback channel."""

    CELT_0_5_1 = 0
    VOLUME = 1
    LATENCY = 2
    OPUS = 3


class RecordCap(IntEnum):
    """Capabilities of the record channel."""

    CELT_0_5_1 = 0
    VOLUME = 1
    OPUS = 2


class InputsCap(IntEnum):
    """Capabilities of the inputs channel."""

    KEY_SCANCODE = 0


class VmcCap(IntEnum):
    """Capabilities of usbredir, port and webdav."""

    DATA_COMPRESS_LZ4 = 0


class MigrateFlag(IntFlag):
    """Flags of MIGRATE (dossier B.0)."""

    NEED_FLUSH = 1
    NEED_DATA_TRANSFER = 2


class NotifySeverity(IntEnum):
    """Severity of NOTIFY."""

    INFO = 0
    WARN = 1
    ERROR = 2


class MouseMode(IntFlag):
    """Mouse modes; the server moves a relative pointer, the client an absolute one."""

    SERVER = 1
    CLIENT = 2


class MouseButton(IntEnum):
    """Buttons; the bit in a buttons mask is `1 << (button - 1)`."""

    LEFT = 1
    MIDDLE = 2
    RIGHT = 3
    UP = 4
    DOWN = 5
    SIDE = 6
    EXTRA = 7


class KeyboardModifier(IntFlag):
    """Lock keys in KEY_MODIFIERS."""

    SCROLL_LOCK = 1
    NUM_LOCK = 2
    CAPS_LOCK = 4


class PortEvent(IntEnum):
    """Events of a port."""

    OPENED = 0
    CLOSED = 1
    BREAK = 2


class VmcCompression(IntEnum):
    """How COMPRESSED_DATA is compressed."""

    NONE = 0
    LZ4 = 1


class AudioMode(IntEnum):
    """How sound is coded; RAW is signed 16 bit little endian stereo."""

    RAW = 1
    CELT_0_5_1 = 2
    OPUS = 3


class AudioFormat(IntEnum):
    """Samples of sound."""

    S16 = 1


class SmartcardType(IntEnum):
    """What a smartcard message says."""

    INIT = 1
    ERROR = 2
    READER_ADD = 3
    READER_REMOVE = 4
    ATR = 5
    CARD_REMOVE = 6
    APDU = 7
    FLUSH = 8
    FLUSH_COMPLETE = 9
