"""SASL as a server speaks it: PLAIN and SCRAM-SHA-256, each step a function of what the client sent (dossier A.5).

Only for connections over TLS: PLAIN shows the password to whoever reads along. The server keeps no passwords but what
SCRAM keeps of them (RFC 5802), for both mechanisms. Randomness is passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from scramp import ScramException, ScramMechanism

from spicehop.errors import OperationError, UsageError

SCRAM = "SCRAM-SHA-256"
PLAIN = "PLAIN"
MECHANISMS = (SCRAM, PLAIN)
ITERATIONS = 15_000
"""Of new verifiers; a PLAIN login costs the server so many rounds."""
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 1_000_000
SALT_BYTES = 16
KEY_BYTES = 32
MAX_PLAIN_PART = 255
"""Bytes of a name or password of PLAIN, as RFC 4616 has it."""

_SCRAM = ScramMechanism(SCRAM)


class SaslRefused(OperationError):
    """The client is not who it says, or did not say it well. Clients are told nothing but that."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is kept of a password: enough to check it, not enough to log in elsewhere."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def of(cls, password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
        """Of a password and a random salt of 16 bytes; `UsageError` for what can be no password."""
        if not password:
            raise UsageError("an empty text can be no password")
        try:
            _, stored_key, server_key, _ = _SCRAM.make_auth_info(password, iteration_count=iterations, salt=salt)
        except ScramException:
            raise UsageError("this can be no password: it has characters that SASL forbids") from None
        return cls(iterations, salt, stored_key, server_key)

    def accepts(self, password: str) -> bool:
        """Whether it is the password."""
        try:
            given = Verifier.of(password, self.salt, self.iterations)
        except UsageError:
            return False
        return hmac.compare_digest(given.stored_key, self.stored_key)

    def __str__(self) -> str:
        """As in a credentials file: `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, as PostgreSQL writes it."""
        parts = (self.salt, self.stored_key, self.server_key)
        salt, stored, served = (base64.b64encode(part).decode() for part in parts)
        return f"{SCRAM}${self.iterations}:{salt}${stored}:{served}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read what `str` gives; `UsageError` for anything else."""
        try:
            kind, first, second = text.split("$")
            count, salt = first.split(":")
            stored, served = second.split(":")
            found = cls(int(count), *(base64.b64decode(part, validate=True) for part in (salt, stored, served)))
        except (ValueError, binascii.Error):
            raise UsageError(f"a verifier has the form {SCRAM}$ITERATIONS:SALT$STOREDKEY:SERVERKEY") from None
        sized = len(found.salt) >= SALT_BYTES and {len(found.stored_key), len(found.server_key)} == {KEY_BYTES}
        if kind != SCRAM or not sized or not MIN_ITERATIONS <= found.iterations <= MAX_ITERATIONS:
            raise UsageError(f"a verifier is of {SCRAM} with {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations")
        return found


class Dialogue(Protocol):
    """One client's way through a mechanism."""

    def step(self, answer: bytes | None) -> tuple[bytes | None, bool]:
        """The client's next answer, None when it sent none; gives the challenge and whether the client is in.

        `SaslRefused` when the client is not.
        """


class SaslUsers:
    """Who may come in, and by which mechanisms."""

    def __init__(
        self,
        verifiers: Mapping[str, Verifier],
        *,
        nonce: Callable[[], str],
        secret: bytes,
        mechanisms: tuple[str, ...] = MECHANISMS,
    ) -> None:
        """`nonce` gives a fresh one each time; `secret`, random, makes verifiers for names that there are not."""
        self.mechanisms = mechanisms
        self._verifiers = dict(verifiers)
        self._nonce = nonce
        self._secret = secret

    def begin(self, mechanism: str) -> Dialogue:
        """Begin one of `mechanisms`."""
        return ScramDialogue(self, self._nonce()) if mechanism == SCRAM else PlainDialogue(self)

    def find(self, name: str) -> Verifier:
        """The verifier of a name. One that there is not has one too, which accepts nothing: names cannot be probed."""
        return self._verifiers.get(name) or Verifier(
            ITERATIONS,
            self._disguise("salt", name)[:SALT_BYTES],
            self._disguise("stored", name),
            self._disguise("server", name),
        )

    def _disguise(self, what: str, name: str) -> bytes:
        return hmac.digest(self._secret, f"{what}\0{name}".encode("utf-8", "surrogatepass"), hashlib.sha256)


class PlainDialogue:
    """PLAIN (RFC 4616): name and password in one answer."""

    def __init__(self, users: SaslUsers) -> None:
        self._users = users

    def step(self, answer: bytes | None) -> tuple[bytes | None, bool]:
        """See `Dialogue`."""
        if answer is None:
            return b"", False
        parts = answer.split(b"\0")
        if len(parts) != 3 or not parts[1] or max(map(len, parts)) > MAX_PLAIN_PART:
            raise SaslRefused("the client's PLAIN message is malformed")
        try:
            wanted, name, password = (part.decode() for part in parts)
        except UnicodeDecodeError:
            raise SaslRefused("the client's PLAIN message is not UTF-8") from None
        right = self._users.find(name).accepts(password)
        if not right or wanted not in ("", name):
            raise SaslRefused("wrong name or password")
        return None, True


@dataclass(frozen=True, slots=True)
class _Header:
    """The first two fields of a SCRAM client's first message, which its last message repeats in base64."""

    text: str

    def make_cbind_input(self, channel_binding: None) -> bytes:
        """What the repetition must be; named as scramp's own header names it."""
        return self.text.encode()


class ScramDialogue:
    """SCRAM-SHA-256 (RFC 7677), without channel binding."""

    def __init__(self, users: SaslUsers, nonce: str) -> None:
        self._server = _SCRAM.make_server(self._verifier, s_nonce=nonce)
        self._users = users
        self._wanted = ""
        self._begun = False

    def _verifier(self, name: str) -> tuple[bytes, bytes, bytes, int] | None:
        if self._wanted not in ("", name):
            return None
        found = self._users.find(name)
        return found.salt, found.stored_key, found.server_key, found.iterations

    def step(self, answer: bytes | None) -> tuple[bytes | None, bool]:
        """See `Dialogue`."""
        if answer is None:
            if self._begun:
                raise SaslRefused("the client did not prove that it knows the password")
            return b"", False
        try:
            if not self._begun:
                self._begun = True
                return self._first(answer.decode()), False
            self._server.set_client_final(answer.decode())
            return self._server.get_server_final().encode(), True
        except ScramException:
            raise SaslRefused("wrong name or password") from None
        except ValueError:
            raise SaslRefused("the client's SCRAM message is malformed") from None

    def _first(self, message: str) -> bytes:
        """Libsasl, and so spice-gtk, says whom it acts for (`a=`) even when that is itself; scramp takes nobody."""
        flag, wanted, bare = message.split(",", 2)
        if wanted.startswith("a="):
            self._wanted = wanted[2:].replace("=2C", ",").replace("=3D", "=")
            message = f"{flag},,{bare}"
        self._server.set_client_first(message)
        if self._wanted:
            self._server.gs2_header = _Header(f"{flag},{wanted},")
        return bytes(self._server.get_server_first().encode())
