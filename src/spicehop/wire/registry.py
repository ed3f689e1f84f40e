"""From (channel, direction, number) to a message class, and back.

Logs, traces and documents take the names of messages from here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

from spicehop.errors import StateError
from spicehop.wire.constants import Direction
from spicehop.wire.layout import Data, Message, RestBytes

ANY_CHANNEL = 0
"""Messages registered for this channel exist on every channel."""

_M = TypeVar("_M", bound=type[Message])
_classes: dict[tuple[int, int, int], type[Message]] = {}
_decoders: dict[tuple[int, int, int], Callable[[Data], Message]] = {}
_numbers: dict[tuple[type[Message], int, int], int] = {}


@dataclass(frozen=True, slots=True)
class Unknown(Message):
    """A message whose number this version does not know, kept as data."""

    data: Annotated[Data, RestBytes()]
    number: int = 0

    def encode(self) -> bytes:
        return bytes(self.data)


def from_server(channel: int, number: int) -> Callable[[_M], _M]:
    """Register the decorated class as a message that the server sends."""
    return lambda cls: _register(cls, channel, Direction.FROM_SERVER, number)


def from_client(channel: int, number: int) -> Callable[[_M], _M]:
    """Register the decorated class as a message that the client sends."""
    return lambda cls: _register(cls, channel, Direction.FROM_CLIENT, number)


def _register(cls: _M, channel: int, direction: Direction, number: int) -> _M:
    key = (channel, int(direction), number)
    if key in _classes:
        raise StateError(f"{cls.__name__} and {_classes[key].__name__} claim the same number {key}")
    _classes[key] = cls
    _numbers[(cls, channel, int(direction))] = number
    if not cls.NAME:
        cls.NAME = _protocol_name(cls.__name__)
    return cls


def _protocol_name(class_name: str) -> str:
    parts = [class_name[0]]
    for previous, letter in itertools.pairwise(class_name):
        if letter.isupper() and not previous.isupper():
            parts.append("_")
        parts.append(letter)
    return "".join(parts).upper()


def find(channel: int, direction: int, number: int) -> type[Message] | None:
    """The class of a message number, or None when it is not registered."""
    _load()
    return _classes.get((channel, direction, number)) or _classes.get((ANY_CHANNEL, direction, number))


def _load() -> None:
    """Import every module that registers messages, so that no caller has to."""
    import spicehop.wire.catalogue  # noqa: F401


def decode(channel: int, direction: int, number: int, body: Data) -> Message:
    """The message with this number; `Unknown` when the number is not registered.

    Raises `ProtocolError` when the body does not fit the message's layout.
    """
    key = (channel, direction, number)
    decoder = _decoders.get(key)
    if decoder is None:
        cls = find(channel, direction, number)
        if cls is None:
            return Unknown(body, number)
        decoder = _decoders[key] = cls.layout().reader.decode
    return decoder(body)


def number_of(message: Message, channel: int, direction: int) -> int:
    """The number of `message` on a channel in a direction; `StateError` when it has none there."""
    if isinstance(message, Unknown):
        return message.number
    cls = type(message)
    number = _numbers.get((cls, channel, direction)) or _numbers.get((cls, ANY_CHANNEL, direction))
    if number is None:
        side = Direction(direction).name
        raise StateError(f"{cls.NAME or cls.__name__} is not a message of channel {channel} {side}")
    return number


def name_of(channel: int, direction: int, number: int) -> str:
    """The protocol's name of a message number, for example `MIGRATE_DATA`; the number itself when unknown."""
    cls = find(channel, direction, number)
    return cls.NAME if cls is not None else str(number)


def registered() -> Iterator[tuple[int, Direction, int, type[Message]]]:
    """Every registered message as (channel, direction, number, class); channel 0 stands for all."""
    _load()
    for (channel, direction, number), cls in sorted(_classes.items(), key=lambda item: item[0]):
        yield channel, Direction(direction), number, cls
