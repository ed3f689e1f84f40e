"""What a trace never holds: passwords, tickets, keys, typed text, clipboard and stream contents.

Redaction goes by the name of a field, and is done before a record reaches any sink, so that no sink can leak.
Sizes and counts have names of their own (`size`, `count`) and stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

HIDDEN = "[redacted]"

SECRET_NAMES = frozenset(
    {"password", "passwd", "passphrase", "pin", "secret", "ticket", "credential", "credentials", "privatekey"}
    | {"authorization", "cookie", "scancode", "scancodes", "keycode", "keycodes"}
)
"""Fields whose value is hidden, whatever it is."""

SECRET_ENDINGS = ("password", "passwd", "passphrase", "secret", "ticket", "privatekey", "scancode", "keycode")
"""Longer names that end so are hidden as well: `new_password`, `spice-ticket`."""

CONTENT_NAMES = frozenset(
    {"key", "keys", "character", "characters", "text", "typed", "clipboard", "selection"}
    | {"data", "content", "contents", "body", "payload"}
)
"""Fields that carry what a user typed, copied or streamed. A mapping under such a name is walked, as QMP's `data`."""

_URL_USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)


def redacted(name: str, value: object) -> JSON:
    """`value` as JSON may hold it and a trace may show it, for a field called `name`.

    Bytes are never shown, only their number; what JSON cannot hold becomes its text.
    """
    if value is None or isinstance(value, bool):
        return value  # a flag such as `password=True` says that there is one, not which
    plain = name.lower().replace("_", "").replace("-", "")
    if plain in SECRET_NAMES or plain.endswith(SECRET_ENDINGS):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): redacted(str(key), item) for key, item in value.items()}
    if plain in CONTENT_NAMES:
        return HIDDEN
    return _as_json(name, value)


def _as_json(name: str, value: object) -> JSON:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"[{len(value)} bytes]"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _URL_USER.sub(rf"\1{HIDDEN}@", value) if "://" in value else value
    if isinstance(value, Sequence):
        return [redacted(name, item) for item in value]
    if isinstance(value, Set):
        return sorted((redacted(name, item) for item in value), key=str)
    return _URL_USER.sub(rf"\1{HIDDEN}@", str(value))
