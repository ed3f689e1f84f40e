"""The message of the smartcard channel (dossier B.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spicehop.wire.constants import ChannelType
from spicehop.wire.layout import U32, Data, Message, SizedBytes, Structure
from spicehop.wire.registry import from_client, from_server

SMARTCARD = ChannelType.SMARTCARD


@from_server(SMARTCARD, 101)
@from_client(SMARTCARD, 101)
@dataclass(frozen=True, slots=True)
class SmartcardData(Message):
    """A virtual smartcard message, DATA in the protocol; `type` is a `SmartcardType`."""

    type: U32
    reader_id: U32
    data: Annotated[Data, SizedBytes("I")] = b""

    NAME = "DATA"


@dataclass(frozen=True, slots=True)
class SmartcardError(Structure):
    """The data of an ERROR."""

    code: U32
