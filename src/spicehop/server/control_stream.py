"""Where one JSON value ends and the next begins, as QEMU's monitor reads them.

QMP's messages need no separator, a newline may come anywhere, and text may be in single quotes. After something that is
no JSON the rest of its line is dropped, so that one line of garbage is one error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from spicehop.errors import ProtocolError

MAX_VALUE_BYTES = 1 << 20
"""Longest JSON value taken; QEMU takes 64 MiB, no command of ours needs that."""
MAX_DEPTH = 64

_STRUCTURE = re.compile(rb"[\"'{}\[\]]")
_TEXT_ENDS = {ord(quote): re.compile(rb"[\\\x00-\x1f\"" + quote + rb"]") for quote in (b'"', b"'")}
_OPENING, _CLOSING = b"{[", b"}]"


class JsonError(ProtocolError):
    """The other side sent what is no JSON; the sentence is QEMU's where QEMU has one."""


@dataclass(frozen=True, slots=True)
class JsonValue:
    """One value that has come."""

    value: object


@dataclass(frozen=True, slots=True)
class JsonFault:
    """Something has come that is no value."""

    reason: str


class JsonSplitter:
    """Bytes in, values out, one at a time; holds at most one value that is not complete, of `limit` bytes."""

    def __init__(self, limit: int = MAX_VALUE_BYTES) -> None:
        self._limit = limit
        self._data = b""
        self._at = 0
        self._value = bytearray()
        self._depth = 0
        self._quote = 0
        self._escaped = False
        self._dropping = False

    def feed(self, data: bytes) -> None:
        """Take bytes; then call `next_value` until there is none."""
        self._data = self._data[self._at :] + data
        self._at = 0

    @property
    def waiting(self) -> bool:
        """Whether there are bytes that nobody has looked at."""
        return self._at < len(self._data)

    def next_value(self) -> JsonValue | JsonFault | None:
        """What has come next; None when more bytes are needed."""
        while self.waiting:
            try:
                if self._advance():
                    value = parse(bytes(self._value))
                    self._reset()
                    return JsonValue(value)
            except JsonError as error:
                self._reset()
                self._dropping = True
                return JsonFault(str(error))
        return None

    def _reset(self) -> None:
        self._value.clear()
        self._depth = self._quote = 0
        self._escaped = False

    def _advance(self) -> bool:
        """One step; whether it has completed a value."""
        if self._dropping:
            end = self._data.find(b"\n", self._at)
            self._dropping = end < 0
            self._at = len(self._data) if end < 0 else end + 1
        elif self._depth == 0:
            self._begin()
        elif self._quote:
            self._text()
        else:
            return self._structure()
        return False

    def _structure(self) -> bool:
        """Up to the next bracket or quote."""
        found = _STRUCTURE.search(self._data, self._at)
        end = found.end() if found else len(self._data)
        self._keep(self._data[self._at : end])
        self._at = end
        if found is None:
            return False
        byte = self._data[end - 1]
        if byte in _OPENING:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise JsonError("JSON nesting depth limit exceeded")
        elif byte in _CLOSING:
            self._depth -= 1
        else:
            self._quote = byte
            self._value[-1] = ord('"')
        return self._depth == 0

    def _begin(self) -> None:
        """The first byte of a value, or space before one. Commands are objects; nothing else is read on."""
        byte = self._data[self._at : self._at + 1]
        if byte == b"{":
            self._depth = 1
            self._keep(byte)
        elif byte in b"[\"'-0123456789":
            raise JsonError("QMP input must be a JSON object")
        elif not byte.isspace():
            raise JsonError("JSON parse error, expecting value")
        self._at += 1

    def _text(self) -> None:
        """A part of a text; one in single quotes is kept as JSON has it."""
        if self._escaped:
            self._escaped = False
            byte = self._data[self._at : self._at + 1]
            if byte < b" ":
                raise JsonError("JSON parse error, a text is not closed on its line")
            self._keep(byte if byte == b"'" else b"\\" + byte)
            self._at += 1
            return
        found = _TEXT_ENDS[self._quote].search(self._data, self._at)
        end = found.start() if found else len(self._data)
        self._keep(self._data[self._at : end])
        self._at = end
        if found is None:
            return
        found_byte = self._data[end]
        if found_byte < ord(" "):
            raise JsonError("JSON parse error, a text is not closed on its line")
        if found_byte == ord("\\"):
            self._escaped = True
        elif found_byte == self._quote:
            self._quote = 0
            self._keep(b'"')
        else:
            self._keep(b'\\"')
        self._at += 1

    def _keep(self, data: bytes) -> None:
        if len(self._value) + len(data) > self._limit:
            raise JsonError("JSON token size limit exceeded")
        self._value += data


def parse(data: bytes) -> object:
    """Read one JSON text; `JsonError` for what is none, for keys given twice and for NaN."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        message = error.msg
        if "':'" in message:
            raise JsonError("JSON parse error, missing : in object pair") from None
        raise JsonError(f"JSON parse error, {message[:1].lower()}{message[1:]}") from None
    except UnicodeDecodeError:
        raise JsonError("JSON parse error, the text is not UTF-8") from None
    except (ValueError, RecursionError):  # a number of more digits than Python reads
        raise JsonError("JSON parse error, a number is too long") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise JsonError("JSON parse error, duplicate key")
    return found


def _constant(name: str) -> object:
    raise JsonError(f"JSON parse error, invalid keyword '{name}'")


def encode(message: object) -> bytes:
    """One message as QEMU writes it: ASCII, ended by a carriage return and a newline."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False).encode() + b"\r\n"
