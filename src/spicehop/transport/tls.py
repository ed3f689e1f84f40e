"""How a client knows a server over TLS: by an authority's signature, and by the certificate's host or its subject.

    check = ServerCheck("ca.pem")
    stream = await open_stream(1, "host", 5901, owner, tls=check.of_host())
    stream = await open_stream(2, "host", 5901, owner, tls=check.of_subject("O=Example, CN=host"))

As in spice-gtk a subject takes the place of the host's name: who moves a session names the subject of its next server,
which may be reached under another name than its certificate has.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from spicehop.errors import OperationError, UsageError

Names = tuple[tuple[str, str], ...]
"""The entries of a subject, kind and value, in the certificate's order."""
_KINDS = {
    "C": "countryName",
    "CN": "commonName",
    "DC": "domainComponent",
    "GN": "givenName",
    "L": "localityName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "SN": "surname",
    "ST": "stateOrProvinceName",
    "STREET": "streetAddress",
    "UID": "userId",
}
"""The short names of entries, and the long ones that Python gives."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How one connection is secured: its context, and the server's subject, where that counts and not its host."""

    context: ssl.SSLContext
    subject: Names | None = None

    def refusal(self, secured: ssl.SSLObject) -> str:
        """Why the server at the other end is the wrong one; empty when it is not."""
        if self.subject is None:
            return ""
        parts = cast("tuple[Names, ...]", (secured.getpeercert() or {}).get("subject", ()))
        names = tuple(entry for part in parts for entry in part)
        return "" if _alike(names) == _alike(self.subject) else f"its certificate is of another subject: {_text(names)}"


class ServerCheck:
    """Whom a client takes for its servers: those that an authority in `ca_file` (PEM) has signed, else the system's
    authorities. TLS is 1.2 or newer. `OperationError` for a file that cannot be read, `UsageError` for another one.
    """

    def __init__(self, ca_file: str | Path | None = None) -> None:
        self._by_host: ssl.SSLContext | None = None
        self._by_subject: ssl.SSLContext | None = None
        if ca_file is None:
            return  # to read the system's takes a tenth of a second, so that waits until it is needed
        try:
            self._by_host, self._by_subject = _context(ca_file), _context(ca_file)
        except ssl.SSLError:  # which is an OSError
            raise UsageError(f"the CA file {ca_file} holds no certificate in PEM") from None
        except OSError as error:
            raise OperationError(f"the CA file {ca_file} cannot be read: {error.strerror}") from None

    def of_host(self) -> ServerTls:
        """The certificate must be the host's."""
        if self._by_host is None:
            self._by_host = _context()
        return ServerTls(self._by_host)

    def of_subject(self, subject: str) -> ServerTls:
        """The certificate must have this subject, whatever the host. `ValueError` as of `read_subject`."""
        names = read_subject(subject)
        if self._by_subject is None:
            self._by_subject = _context()
        self._by_subject.check_hostname = False
        return ServerTls(self._by_subject, names)


def _context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_subject(text: str) -> Names:
    r"""The entries of `O=Example, CN=host`; `ValueError` when it is not of that form.

    A comma or a backslash of a value is written with a backslash before it, as spice-gtk has it (ssl_verify.c:
    subject_to_x509_name).
    """
    entries: list[str] = [""]
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            escaped = next(letters, "")
            if escaped not in ("\\", ","):
                raise ValueError("a backslash in a subject stands before a comma or a backslash")
            entries[-1] += escaped
        elif letter == ",":
            entries.append("")
        else:
            entries[-1] += letter
    found = []
    for entry in entries:
        kind, separator, value = entry.strip(" ").partition("=")
        if not kind or not separator or not value:
            raise ValueError("a subject is written as in O=Example, CN=host")
        found.append((kind, value))
    return tuple(found)


def _alike(names: Names) -> Names:
    """As OpenSSL compares names: case and the number of spaces do not count."""
    return tuple((_KINDS.get(kind, kind), " ".join(value.lower().split())) for kind, value in names)


def _text(names: Names) -> str:
    short = {long: kind for kind, long in _KINDS.items()}
    return ", ".join(f"{short.get(kind, kind)}={value}" for kind, value in names)


def tls_reason(error: ssl.SSLError) -> str:
    """What went wrong, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        if not why[1:2].isupper():  # as in IP
            why = why[:1].lower() + why[1:]
        return f"its certificate is not accepted: {why}"
    reason = (error.reason or "").replace("_", " ").lower()
    return f"TLS failed: {reason or 'the peer ended it'}"
