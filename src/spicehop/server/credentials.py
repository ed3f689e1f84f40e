"""The credentials file of SASL: a line for each user.

    # name:verifier
    anna:SCRAM-SHA-256$15000:SALT$STOREDKEY:SERVERKEY

`spicehop sasl-user NAME` makes such a line. Empty lines and those that begin with # are left out. Whoever can read the
file can try passwords at leisure, so it should be the server's alone.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from spicehop.channels.serving.sasl import SALT_BYTES, SaslUsers, Verifier
from spicehop.errors import OperationError, UsageError

SECRET_BYTES = 32


def read_users(path: Path) -> SaslUsers:
    """The users of a file; `UsageError` for one that is malformed, `OperationError` when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OperationError(f"the SASL file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the SASL file {path} is not text") from None
    verifiers: dict[str, Verifier] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, verifier = line.partition(":")
        if not name:
            raise UsageError(f"the SASL file {path}, line {number}: there is no name; a line is NAME:VERIFIER")
        if name in verifiers:
            raise UsageError(f"the SASL file {path}, line {number}: {name!r} is there twice")
        try:
            verifiers[name] = Verifier.parse(verifier.strip())
        except UsageError as error:
            raise UsageError(f"the SASL file {path}, line {number}: {error}") from None
    if not verifiers:
        raise UsageError(f"the SASL file {path} names nobody; make a line with spicehop sasl-user")
    return SaslUsers(verifiers, nonce=secrets.token_hex, secret=secrets.token_bytes(SECRET_BYTES))


def user_line(name: str, password: str) -> str:
    """A line for the file; `UsageError` for a name or password that cannot be used."""
    if not name or ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
        raise UsageError(f"{name!r} can be no user's name: it has no colon, is printable and does not begin with #")
    return f"{name}:{Verifier.of(password, secrets.token_bytes(SALT_BYTES))}"
