"""Where a migration sends a session, as this client reaches it (`--map-host`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from spicehop.errors import UsageError
from spicehop.migration.commands import Address
from spicehop.wire import main

MigrationAddress = main.MigrateBegin | main.MigrateBeginSeamless | main.MigrateSwitchHost
MAX_PORT = 65535
_PLACE = re.compile(
    r"(?:\[(?P<v6>[^][]+)\]|(?P<name>[^][:]+))(?::(?P<port>[0-9]{1,5}))?|(?P<bare>[^][]*:[^][]*:[^][]*)"
)


class HostMap:
    """Translates what a source says of its target, `HOST` or `HOST:PORT`, for clients behind a proxy or NAT.

    A host in IPv6 form that is followed by a port stands in brackets. A mapping without a port keeps the source's.
    """

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        """`UsageError` when something in the mapping is neither `HOST` nor `HOST:PORT`."""
        self._mapping = {split_host(given): split_host(wanted) for given, wanted in (mapping or {}).items()}

    def target(self, message: MigrationAddress, *, secure: bool = False) -> Address:
        """The address to connect to for a message; a port of 0 or 65535 is none (dossier C7). A session that is
        `secure` goes nowhere but to TLS ports.
        """
        host = bytes(message.host).split(b"\0")[0].decode("utf-8", "replace")
        port = 0 if message.port in main.NO_PORT else message.port
        tls_port = 0 if message.tls_port in main.NO_PORT else message.tls_port
        subject = bytes(message.cert_subject).rstrip(b"\0").decode("utf-8", "replace")
        if secure:
            port = 0
        wanted = self._mapping.get((host, port or tls_port)) or self._mapping.get((host, 0))
        if wanted is not None:
            host = wanted[0]
            port, tls_port = (wanted[1] or port, tls_port) if port else (0, wanted[1] or tls_port)
        return Address(host, port, tls_port, subject)


def split_host(text: str) -> tuple[str, int]:
    """The host and the port, 0 without one, in `HOST`, `HOST:PORT`, `[V6]:PORT` or `V6`."""
    found = _PLACE.fullmatch(text)
    port = int(found["port"] or 0) if found is not None else 0
    if found is None or port > MAX_PORT or (found["port"] and not port):
        raise UsageError(f"{text!r} is neither HOST nor HOST:PORT")
    return found["v6"] or found["bare"] or found["name"], port
