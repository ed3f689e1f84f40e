"""The SPICE ticket: the password, encrypted for the key in the link reply (dossier A.4)."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from spicehop.errors import ProtocolError, UsageError
from spicehop.wire.constants import MAX_PASSWORD_LENGTH, TICKET_BYTES


def check_password(password: str | None) -> bytes:
    """The password as the ticket holds it; `UsageError` when no SPICE server could take it."""
    secret = (password or "").encode()
    if len(secret) > MAX_PASSWORD_LENGTH:
        raise UsageError(f"the password is longer than the {MAX_PASSWORD_LENGTH} bytes that SPICE allows")
    if b"\0" in secret:
        raise UsageError("the password contains a NUL, which SPICE does not allow")
    return secret


def encrypt_ticket(public_key: bytes, secret: bytes) -> bytes:
    """The 128 bytes of the ticket; `ProtocolError` when the server's key is not one."""
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        raise ProtocolError("the server's link reply holds no usable public key") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != TICKET_BYTES * 8:
        raise ProtocolError("the server's public key is not RSA with 1,024 bits")
    scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    return key.encrypt(secret + b"\0", scheme)
