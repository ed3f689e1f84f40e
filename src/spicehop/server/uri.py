"""Addresses as QEMU's migration commands have them: `tcp:HOST:PORT` and `unix:PATH`."""

from __future__ import annotations

import re
from pathlib import Path

from spicehop.errors import OperationError

Address = tuple[str, int] | Path
"""Host and port, or the path of a Unix socket."""


def parse_uri(uri: str, refusal: str) -> Address:
    """Where it is; `OperationError`, with `refusal` for a kind that is not known."""
    kind, colon, rest = uri.partition(":")
    if kind == "unix" and rest and "\0" not in rest:
        return Path(rest)
    if kind != "tcp" or not colon:
        raise OperationError(refusal[:200])
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):([0-9]{1,5})", rest)
    if found is None or int(found[2]) > 65535:
        raise OperationError(f"error parsing address '{rest[:200]}'")
    return found[1].strip("[]"), int(found[2])


def format_uri(address: Address) -> str:
    """The text of an address."""
    if isinstance(address, Path):
        return f"unix:{address}"
    host, port = address
    return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
