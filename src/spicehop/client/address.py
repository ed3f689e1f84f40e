"""Where a server is, as people write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from spicehop.errors import UsageError
from spicehop.migration.commands import Address
from spicehop.transport.tls import read_subject

DEFAULT_PORT = 5900
MAX_PORT = 65535
_FORM = "write spice://HOST:PORT"
_PORTS = f"{_FORM} with a port from 1 to 65535"


def parse_url(url: str) -> Address:
    """The address in `spice://HOST[:PORT]`; `UsageError` says what is wrong with another text.

    With a TLS port, `spice://HOST?tls-port=PORT` as virt-viewer and spice-gtk have it or `spice+tls://HOST:PORT`, that
    is the only one: all channels go there, whatever else the address names.
    """
    if "://" not in url:
        raise UsageError(f"{url!r} is not a SPICE address: {_FORM}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"{url!r} has no valid port: {_PORTS}") from None
    if parts.scheme not in ("spice", "spice+tls"):
        raise UsageError(f"{url!r} is not a SPICE address: it must begin with spice://")
    asked = parse_qsl(parts.query, keep_blank_values=True)
    if parts.password or parts.username or any(name == "password" for name, _ in asked):
        raise UsageError("a password does not belong into the address; give it as the password")
    if not parts.hostname or any(letter.isspace() or not letter.isprintable() for letter in parts.hostname):
        raise UsageError(f"{url!r} names no host: {_FORM}")
    if parts.path.strip("/") or parts.fragment or any(name not in ("port", "tls-port") for name, _ in asked):
        raise UsageError(f"{url!r} goes on behind the port: {_FORM}, or spice://HOST?tls-port=PORT for TLS")
    plain = [*([port] if port is not None else []), *_numbers(asked, "port")]
    tls = _numbers(asked, "tls-port")
    if parts.scheme == "spice+tls":
        plain, tls = [], plain + tls
    if len(plain) > 1 or len(tls) > 1 or not all(0 < one <= MAX_PORT for one in plain + tls):
        raise UsageError(f"{url!r} has no valid port: {_PORTS}")
    if parts.scheme == "spice+tls" and not tls:
        raise UsageError(f"{url!r} names no port: there is none that TLS usually has")
    return Address(parts.hostname, 0, tls[0]) if tls else Address(parts.hostname, plain[0] if plain else DEFAULT_PORT)


def _numbers(asked: Sequence[tuple[str, str]], name: str) -> list[int]:
    """The values of that name; 0 stands for one that is no number."""
    return [int(value) if value.isascii() and value.isdigit() else 0 for other, value in asked if other == name]


def with_subject(address: Address, subject: str) -> Address:
    """The address of a server whose certificate must have this subject; `UsageError` when there can be none."""
    if address.port:
        raise UsageError("a host's subject is of its certificate, and the address names no TLS port")
    try:
        read_subject(subject)
    except ValueError as error:
        raise UsageError(f"{subject!r} is no subject of a certificate: {error}") from None
    return replace(address, cert_subject=subject)
