"""Command line values that several commands share: addresses, host maps, passwords."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from spicehop.errors import OperationError, UsageError

if TYPE_CHECKING:
    from spicehop.migration.commands import Address

PASSWORD_VARIABLE = "SPICEHOP_PASSWORD"
"""Environment variable that may hold the password; a command line would show it to every user of the machine."""


def server_address(text: str) -> Address:
    """The server that `text` names: `spice://HOST[:PORT]`, `spice://HOST?tls-port=PORT`, or `HOST:PORT` alone.

    Raises UsageError with a sentence that says what is wrong.
    """
    from spicehop.client.address import parse_url

    return parse_url(text if "://" in text else f"spice://{text}")


def host_map(pairs: Iterable[str]) -> dict[str, str]:
    """`FROM=TO` pairs as a dict. A side is a host or `host:port`. Raises UsageError for anything else."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        source, separator, target = pair.partition("=")
        if not separator or not source.strip() or not target.strip():
            raise UsageError(f"--map-host {pair!r} is not of the form FROM=TO, such as 10.0.0.2=gateway.example")
        mapping[source.strip()] = target.strip()
    return mapping


def password(path: Path | None) -> str | None:
    """The password from the first line of the file at `path` (`-` is standard input), else from the environment.

    None when there is neither. Raises OperationError when the file cannot be read.
    """
    if path is None:
        return os.environ.get(PASSWORD_VARIABLE)
    if str(path) == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except OSError as error:
        raise OperationError(f"the password file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the password file {path} is not text") from None


def writable(path: Path | None, what: str) -> None:
    """Raise UsageError now, before any work is done, when `path` lies in no existing folder or is one itself."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a file name for {what}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path.parent} is no folder, so {what} cannot be written there")
