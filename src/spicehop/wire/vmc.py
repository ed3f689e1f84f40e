"""Messages of the char device channels: usbredir, port and webdav (dossier B.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.constants import ChannelType, VmcCompression
from spicehop.wire.layout import U8, Data, Integer, Message, PointedBytes, Rest, When, differs
from spicehop.wire.registry import from_client, from_server

USBREDIR, PORT, WEBDAV = ChannelType.USBREDIR, ChannelType.PORT, ChannelType.WEBDAV


@from_server(USBREDIR, 101)
@from_client(USBREDIR, 101)
@from_server(PORT, 101)
@from_client(PORT, 101)
@from_server(WEBDAV, 101)
@from_client(WEBDAV, 101)
@dataclass(frozen=True, slots=True)
class VmcData(Message):
    """Bytes from or for the device, DATA in the protocol."""

    data: Rest

    NAME = "DATA"


@from_server(USBREDIR, 102)
@from_client(USBREDIR, 102)
@from_server(PORT, 102)
@from_client(PORT, 102)
@from_server(WEBDAV, 102)
@from_client(WEBDAV, 102)
@dataclass(frozen=True, slots=True)
class VmcCompressedData(Message):
    """As DATA, compressed; `compression` is `VmcCompression`, `uncompressed_size` is there when it is not NONE."""

    compression: U8
    uncompressed_size: Annotated[int, When(differs("compression", VmcCompression.NONE), Integer("I"), 0)]
    data: Rest

    NAME = "COMPRESSED_DATA"


@from_server(PORT, 201)
@from_server(WEBDAV, 201)
@dataclass(frozen=True, slots=True)
class PortInit(Message):
    """The port's name, without NUL, and whether the guest has opened it."""

    name: Annotated[Data, PointedBytes(terminated=True)]
    opened: U8

    NAME = "INIT"


@from_server(PORT, 202)
@from_server(WEBDAV, 202)
@from_client(PORT, 201)
@from_client(WEBDAV, 201)
@dataclass(frozen=True, slots=True)
class PortEventMessage(Message):
    """A `PortEvent`, EVENT in the protocol."""

    event: U8

    NAME = "EVENT"
