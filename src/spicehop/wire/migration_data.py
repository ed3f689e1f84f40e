"""What MIGRATE_DATA holds: each channel's state in libspice-server's layouts (dossier C4).

The bytes come from the source through the client, so they are untrusted: every offset, size and number is checked
when they are decoded, and `ProtocolError` is all that bad bytes raise. Bytes behind the layout are allowed; two
spicehop servers put more there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Self

from spicehop.errors import ProtocolError, StateError
from spicehop.wire.constants import ChannelType
from spicehop.wire.display_constants import MAX_SURFACES
from spicehop.wire.layout import (
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Data,
    FixedArray,
    PointedBytes,
    Pointer,
    Reader,
    Structure,
    Writer,
)

VERSION = 1
"""The only version of any of the layouts."""
MAIN_LIMIT = 26_624
"""Largest MIGRATE_DATA that libspice-server takes on the main channel: 4,096 + 11 times 2,048 bytes."""
INPUTS_LIMIT = 2_048
"""Largest MIGRATE_DATA that libspice-server takes on the inputs channel."""
AGENT_HEADER_BYTES = 20
CHUNK_HEADER_BYTES = 8
PIXMAP_CACHE_CLIENTS = 4
_PREFIX = struct.Struct("<4sI")
_U32 = struct.Struct("<I")


class FilterResult(IntEnum):
    """What the server's filter decided about the agent message that it is in the middle of."""

    OK = 0
    DISCARD = 1
    PROTO_ERROR = 2
    MONITORS_CONFIG = 3


class MigrationData(Structure):
    """Base of the layouts: magic, version, then the channel's fields."""

    __slots__ = ()
    MAGIC: ClassVar[bytes] = b""
    LIMIT: ClassVar[int | None] = None
    """Largest encoding that libspice-server takes, in bytes; None when it has no limit of its own."""

    @classmethod
    def decode(cls, body: Data) -> Self:
        """Decode the body of MIGRATE_DATA."""
        reader = Reader(body)
        magic, version = reader.unpack(_PREFIX)
        if magic != cls.MAGIC:
            raise ProtocolError(f"migration data begins with {bytes(magic)!r}, {cls.MAGIC!r} was expected")
        if version != VERSION:
            raise ProtocolError(f"migration data of version {version} is not known")
        data = cls.read(reader)
        data.check()
        return data

    def encode(self) -> bytes:
        """The body of MIGRATE_DATA. `StateError` when a server would refuse it, for its size or its values."""
        try:
            self.check()
        except ProtocolError as error:
            raise StateError(str(error)) from None
        writer = Writer()
        writer.buffer += _PREFIX.pack(self.MAGIC, VERSION)
        self.write(writer)
        encoded = writer.finish()
        if self.LIMIT is not None and len(encoded) > self.LIMIT:
            raise StateError(f"migration data of {len(encoded)} bytes is larger than {self.LIMIT}")
        return encoded

    def check(self) -> None:
        """`ProtocolError` when a value is out of its range."""


@dataclass(frozen=True, slots=True)
class DeviceState(Structure):
    """A char device with its tokens and what was not yet written to it (C4, char device base).

    `write_data` are bytes for the device, the oldest first; `write_client_tokens` is what they cost the client.
    """

    version: U32
    connected: U8
    client_tokens: U32
    send_tokens: U32
    write_client_tokens: U32
    write_data: Annotated[Data, PointedBytes("I", before="write_client_tokens")]

    def check(self) -> None:
        """`ProtocolError` when the version is not known."""
        if self.version > VERSION:
            raise ProtocolError(f"a device state of version {self.version} is not known")


NO_DEVICE = DeviceState(VERSION, 0, 0, 0, 0, b"")
"""What is written when no device is connected."""


@dataclass(frozen=True, slots=True)
class MainMigrationData(MigrationData):
    """The agent's device, and how far the server is in the agent streams of both directions.

    `chunk_header_bytes` of the chunk's header have been read; when all of it, `chunk_remaining` bytes of the chunk have
    not. `message_header` is the part read of a message header that is not complete. The `..._filter` are
    `FilterResult`. a2c is the way from the agent to the client, c2a the other.
    """

    agent: DeviceState
    client_agent_started: U8
    chunk_header_bytes: U32
    chunk_port: U32
    chunk_remaining: U32
    message_header_done: U8
    message_header: Annotated[Data, PointedBytes("I")]
    a2c_remaining: U32
    a2c_filter: U8
    c2a_remaining: U32
    c2a_filter: U8

    MAGIC = b"MNMD"
    LIMIT = MAIN_LIMIT

    def check(self) -> None:
        self.agent.check()
        if self.chunk_header_bytes > CHUNK_HEADER_BYTES:
            raise ProtocolError(f"{self.chunk_header_bytes} bytes of a chunk header are more than it has")
        if len(self.message_header) >= AGENT_HEADER_BYTES:
            raise ProtocolError(f"{len(self.message_header)} bytes of a message header are not a part of it")
        if max(self.a2c_filter, self.c2a_filter) > max(FilterResult):
            raise ProtocolError(f"an agent filter in state {max(self.a2c_filter, self.c2a_filter)} is not known")


@dataclass(frozen=True, slots=True)
class InputsMigrationData(MigrationData):
    """Motions that have not been acknowledged."""

    motion_count: U16

    MAGIC = b"ICMD"
    LIMIT = INPUTS_LIMIT


@dataclass(frozen=True, slots=True)
class SurfaceList(Structure):
    """Surfaces that the client has, from a server that does not compress lossily."""

    ids: Annotated[tuple[int, ...], Array("I", count="I")]


@dataclass(frozen=True, slots=True)
class LossySurface(Structure):
    """A surface that the client has, and the bounds of what is lossy on it; not in the order of `Rect`."""

    id: U32
    left: I32
    top: I32
    right: I32
    bottom: I32


@dataclass(frozen=True, slots=True)
class LossySurfaceList(Structure):
    """Surfaces that the client has, from a server that may compress lossily."""

    surfaces: Annotated[tuple[LossySurface, ...], Array(LossySurface, count="I")]

    @property
    def ids(self) -> tuple[int, ...]:
        """The surfaces' ids."""
        return tuple(surface.id for surface in self.surfaces)


@dataclass(frozen=True, slots=True)
class _DisplayFields(MigrationData):
    message_serial: U64
    low_bandwidth: U8
    pixmap_cache_id: U8
    pixmap_cache_size: I64
    pixmap_cache_freezer: U8
    pixmap_cache_clients: Annotated[tuple[int, ...], FixedArray("Q", PIXMAP_CACHE_CLIENTS)]
    glz_dictionary_id: U8
    glz_window_size: U32
    glz_max_encoders: U32
    glz_last_image_id: U64

    MAGIC = b"DCMD"


@dataclass(frozen=True, slots=True)
class DisplayMigrationData(_DisplayFields):
    """A display client's caches and surfaces, from a server that does not compress lossily.

    `message_serial` is the serial of the MIGRATE_DATA message itself; sizes are in pixels; `pixmap_cache_clients` are
    the last serials of the display channels that used the cache. Nothing in the bytes says whether they are this form
    or `LossyDisplayMigrationData`: see `display_forms`.
    """

    surfaces: Annotated[SurfaceList, Pointer(lambda: SurfaceList, required=True)]

    def check(self) -> None:
        _check_surfaces(self.surfaces.ids)


@dataclass(frozen=True, slots=True)
class LossyDisplayMigrationData(_DisplayFields):
    """As `DisplayMigrationData`, from a server that may compress lossily."""

    surfaces: Annotated[LossySurfaceList, Pointer(lambda: LossySurfaceList, required=True)]

    def check(self) -> None:
        _check_surfaces(self.surfaces.ids)


def _check_surfaces(ids: tuple[int, ...]) -> None:
    if len(ids) > MAX_SURFACES:
        raise ProtocolError(f"{len(ids)} surfaces are more than {MAX_SURFACES}")
    if ids and max(ids) >= MAX_SURFACES:
        raise ProtocolError(f"surface {max(ids)} is beyond the last possible, {MAX_SURFACES - 1}")


def display_forms(body: Data) -> tuple[type[DisplayMigrationData] | type[LossyDisplayMigrationData], ...]:
    """The forms of display data whose surface list ends where `body` ends: none, one, or both for an empty list.

    `ProtocolError` when there is no surface list in the body.
    """
    fields = Reader(body, _PREFIX.size)
    fields.take(_DisplayFields.minimum_size())
    surfaces = fields.at(fields.unpack(_U32)[0])
    (count,) = surfaces.unpack(_U32)
    left = surfaces.size - surfaces.position
    forms: list[type[DisplayMigrationData] | type[LossyDisplayMigrationData]] = []
    if left == 4 * count:
        forms.append(DisplayMigrationData)
    if left == LossySurface.minimum_size() * count:
        forms.append(LossyDisplayMigrationData)
    return tuple(forms)


@dataclass(frozen=True, slots=True)
class VmcMigrationData(MigrationData):
    """The device behind a usbredir, port or webdav channel."""

    device: DeviceState

    MAGIC = b"SVMD"

    def check(self) -> None:
        self.device.check()


@dataclass(frozen=True, slots=True)
class SmartcardMigrationData(MigrationData):
    """The smartcard device; `read_data` was read from it and is not a whole message (network byte order)."""

    device: DeviceState
    reader_added: U8
    read_data: Annotated[Data, PointedBytes("I")]

    MAGIC = b"SCMD"

    def check(self) -> None:
        self.device.check()


LAYOUTS: dict[int, type[MigrationData]] = {
    ChannelType.MAIN: MainMigrationData,
    ChannelType.DISPLAY: DisplayMigrationData,
    ChannelType.INPUTS: InputsMigrationData,
    ChannelType.SMARTCARD: SmartcardMigrationData,
    ChannelType.USBREDIR: VmcMigrationData,
    ChannelType.PORT: VmcMigrationData,
    ChannelType.WEBDAV: VmcMigrationData,
}
"""The layout of each channel type; other channels send no data. Display has the lossy form besides."""
