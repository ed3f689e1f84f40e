"""Where a server is, as people write it."""

from __future__ import annotations

from urllib.parse import urlsplit

from spicehop.errors import UsageError
from spicehop.migration.commands import Address

DEFAULT_PORT = 5900


def parse_url(url: str) -> Address:
    """The address in `spice://HOST[:PORT]`; `UsageError` says what is wrong with another text."""
    if "://" not in url:
        raise UsageError(f"{url!r} is not a SPICE address: write spice://HOST:PORT")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"{url!r} has no valid port: write spice://HOST:PORT with a port from 1 to 65535") from None
    if parts.scheme != "spice":
        raise UsageError(f"{url!r} is not a SPICE address: it must begin with spice://")
    if not parts.hostname or any(letter.isspace() or not letter.isprintable() for letter in parts.hostname):
        raise UsageError(f"{url!r} names no host: write spice://HOST:PORT")
    if parts.password or parts.username:
        raise UsageError("a password does not belong into the address; give it as the password")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"{url!r} goes on behind the port: write spice://HOST:PORT")
    if port == 0:
        raise UsageError(f"{url!r} has no valid port: write spice://HOST:PORT with a port from 1 to 65535")
    return Address(parts.hostname, port or DEFAULT_PORT)
