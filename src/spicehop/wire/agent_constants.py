"""Numbers and names of the agent protocol (dossier D). Message fields hold plain ints."""

from __future__ import annotations

from enum import IntEnum, IntFlag

AGENT_PROTOCOL = 1
"""The only version of the agent's message header."""
SERVER_SELF_TOKENS = 1
CLIENT_TOKENS = 10
"""AGENT_DATA messages a client may send at first (dossier D.2)."""
UNLIMITED_TOKENS = 2**32 - 1
"""What spice-gtk gives the server in AGENT_START."""
MAX_AGENT_MONITORS = 256
"""Monitors in one MONITORS_CONFIG; the server refuses more."""
FILE_TRANSFER_BYTES = 65_536
"""Largest piece of a file in one FILE_XFER_DATA, as spice-gtk sends it."""


class AgentPort(IntEnum):
    """Who a chunk on the agent's virtio port belongs to."""

    CLIENT = 1
    SERVER = 2


class AgentMessageType(IntEnum):
    """Message types (dossier D.4)."""

    MOUSE_STATE = 1
    MONITORS_CONFIG = 2
    REPLY = 3
    CLIPBOARD = 4
    DISPLAY_CONFIG = 5
    ANNOUNCE_CAPABILITIES = 6
    CLIPBOARD_GRAB = 7
    CLIPBOARD_REQUEST = 8
    CLIPBOARD_RELEASE = 9
    FILE_XFER_START = 10
    FILE_XFER_STATUS = 11
    FILE_XFER_DATA = 12
    CLIENT_DISCONNECTED = 13
    MAX_CLIPBOARD = 14
    AUDIO_VOLUME_SYNC = 15
    GRAPHICS_DEVICE_INFO = 16


class AgentCap(IntEnum):
    """Capabilities of the agent and of the client towards it (dossier D.5)."""

    MOUSE_STATE = 0
    MONITORS_CONFIG = 1
    REPLY = 2
    CLIPBOARD = 3
    DISPLAY_CONFIG = 4
    CLIPBOARD_BY_DEMAND = 5
    CLIPBOARD_SELECTION = 6
    SPARSE_MONITORS_CONFIG = 7
    GUEST_LINEEND_LF = 8
    GUEST_LINEEND_CRLF = 9
    MAX_CLIPBOARD = 10
    AUDIO_VOLUME_SYNC = 11
    MONITORS_CONFIG_POSITION = 12
    FILE_XFER_DISABLED = 13
    FILE_XFER_DETAILED_ERRORS = 14
    GRAPHICS_DEVICE_INFO = 15
    CLIPBOARD_NO_RELEASE_ON_REGRAB = 16
    CLIPBOARD_GRAB_SERIAL = 17


class Selection(IntEnum):
    """Which clipboard is meant."""

    CLIPBOARD = 0
    PRIMARY = 1
    SECONDARY = 2


class ClipboardType(IntEnum):
    """What a clipboard holds."""

    NONE = 0
    UTF8_TEXT = 1
    IMAGE_PNG = 2
    IMAGE_BMP = 3
    IMAGE_TIFF = 4
    IMAGE_JPG = 5
    FILE_LIST = 6


class MonitorsFlag(IntFlag):
    """Which parts of MONITORS_CONFIG count."""

    USE_POSITION = 1
    PHYSICAL_SIZE = 2


class ReplyError(IntEnum):
    """Whether a request was carried out."""

    SUCCESS = 1
    ERROR = 2


class DisplayConfigFlag(IntFlag):
    """What the guest shall leave out."""

    DISABLE_WALLPAPER = 1
    DISABLE_FONT_SMOOTH = 2
    DISABLE_ANIMATION = 4
    SET_COLOR_DEPTH = 8


class FileTransferResult(IntEnum):
    """How a file transfer stands."""

    CAN_SEND_DATA = 0
    CANCELLED = 1
    ERROR = 2
    SUCCESS = 3
    NOT_ENOUGH_SPACE = 4
    SESSION_LOCKED = 5
    VDAGENT_NOT_CONNECTED = 6
    DISABLED = 7
