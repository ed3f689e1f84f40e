"""Tickets: passwords that clients encrypt for a key of their own link (dossier A.4).

A key is used once, so that a ticket that was overheard opens nothing. Keys are made ahead, outside the loop's thread.
Without a password one key serves all: clients encrypt something all the same, and nobody reads it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import deque

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spicehop.errors import UsageError
from spicehop.wire.constants import MAX_PASSWORD_LENGTH, TICKET_BYTES

EXPONENT = 65537
KEYS_AHEAD = 16


class TicketKey:
    """One RSA key of 1,024 bits."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(EXPONENT, TICKET_BYTES * 8)
        self.public_key = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        """As the link reply carries it."""

    def decrypt(self, ciphertext: bytes) -> bytes | None:
        """The password in a ticket; None when it was not made for this key."""
        scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
        try:
            plain = self._key.decrypt(ciphertext, scheme)
        except ValueError:
            return None
        return plain.partition(b"\0")[0]


class KeyPool:
    """Keys that are there before they are asked for."""

    def __init__(self, ahead: int = KEYS_AHEAD) -> None:
        self._ahead = ahead
        self._keys: deque[TicketKey] = deque()
        self._shared: TicketKey | None = None
        self._filling: asyncio.Task[None] | None = None

    async def shared(self) -> TicketKey:
        """The key for links without a password."""
        if self._shared is None:
            self._shared = await asyncio.to_thread(TicketKey)
        return self._shared

    async def take(self) -> TicketKey:
        """A key that nobody has used."""
        key = self._keys.popleft() if self._keys else await asyncio.to_thread(TicketKey)
        self.fill()
        return key

    def fill(self) -> None:
        """Make keys until there are enough, in the background."""
        if len(self._keys) < self._ahead and (self._filling is None or self._filling.done()):
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        while len(self._keys) < self._ahead:
            self._keys.append(await asyncio.to_thread(TicketKey))

    async def close(self) -> None:
        """Make no more."""
        if self._filling is not None:
            self._filling.cancel()
            try:
                await self._filling
            except asyncio.CancelledError:
                pass


class Ticket:
    """The password of now, and until when it is good."""

    def __init__(self, password: str | None, expires: float | None = None) -> None:
        self.change(password, expires)

    def change(self, password: str | None, expires: float | None = None) -> None:
        """Another password from now on, None for none; sessions that are open stay open.

        `UsageError` for one that no client could send.
        """
        secret = None if password is None else password.encode()
        if secret is not None and (len(secret) > MAX_PASSWORD_LENGTH or b"\0" in secret):
            raise UsageError(f"a password has at most {MAX_PASSWORD_LENGTH} bytes, and no NUL")
        self._secret = secret
        self.expires = expires

    def expire(self, expires: float | None) -> None:
        """When the password ends, on the server's clock; None for never."""
        self.expires = expires

    @property
    def wanted(self) -> bool:
        """Whether clients need a password."""
        return self._secret is not None

    def opens(self, password: bytes | None, now: float) -> bool:
        """Whether this password lets a client in now. An empty one never does where one is wanted (dossier A.4)."""
        if self._secret is None:
            return True
        if password is None or not self._secret or (self.expires is not None and now >= self.expires):
            return False
        return hmac.compare_digest(password, self._secret)
