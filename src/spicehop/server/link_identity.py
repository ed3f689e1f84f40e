"""Who is at the ends of a direct link over TLS: each server has a certificate of its own and trusts exactly one other.

The certificates are made when they are needed, live as long as the process, and are exchanged by management over the
control sockets. Names, dates and authorities mean nothing: the other end shows the very certificate that was given.
"""

from __future__ import annotations

import datetime
import secrets
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from spicehop.errors import UsageError

MAX_PEM = 16 * 1024
SUBJECT = "spicehop direct link"
# The clocks of two hosts may differ by any amount, and RFC 5280 has this end for what has none.
_BEGIN = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


class PeerCertificate:
    """The one certificate that the other end has to show; `UsageError` when `pem` is not exactly one."""

    def __init__(self, pem: str) -> None:
        try:
            if len(pem) > MAX_PEM:
                raise ValueError
            (found,) = x509.load_pem_x509_certificates(pem.encode())
            self._encoded = found.public_bytes(Encoding.DER)
            self.fingerprint = found.fingerprint(hashes.SHA256()).hex()
        except (ValueError, TypeError):
            raise UsageError("Parameter 'certificate' expects one certificate in PEM") from None

    def trust(self, context: ssl.SSLContext) -> None:
        """Make it all that the context trusts."""
        try:
            context.load_verify_locations(cadata=self._encoded)
        except ssl.SSLError:
            raise UsageError("Parameter 'certificate' expects a certificate that TLS can use") from None

    def matches(self, connection: ssl.SSLObject | None) -> bool:
        """Whether it is what the other end of this connection has shown."""
        return connection is not None and connection.getpeercert(binary_form=True) == self._encoded


class LinkIdentity:
    """This server's key and certificate."""

    def __init__(self) -> None:
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._certificate: x509.Certificate | None = None

    @property
    def pem(self) -> str:
        """The certificate, for the other end."""
        return self._made()[1].public_bytes(Encoding.PEM).decode()

    def accepting(self, peer: PeerCertificate) -> ssl.SSLContext:
        """For the end that listens."""
        return self._context(ssl.PROTOCOL_TLS_SERVER, peer)

    def connecting(self, peer: PeerCertificate) -> ssl.SSLContext:
        """For the end that connects."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT, peer)

    def _context(self, role: int, peer: PeerCertificate) -> ssl.SSLContext:
        context = ssl.SSLContext(role)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        peer.trust(context)
        key, certificate = self._made()
        # ssl reads keys from files only. What is on the disk for a moment is of no use without the password.
        password = secrets.token_bytes(32).hex()
        encryption = BestAvailableEncryption(password.encode())
        with TemporaryDirectory(prefix="spicehop-") as folder:
            path = Path(folder) / "pair.pem"
            path.write_bytes(
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
                + certificate.public_bytes(Encoding.PEM)
            )
            context.load_cert_chain(path, password=password)
        return context

    def _made(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        if self._key is None or self._certificate is None:
            self._key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SUBJECT)])
            self._certificate = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(name)
                .public_key(self._key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(_BEGIN)
                .not_valid_after(_END)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .sign(self._key, hashes.SHA256())
            )
        return self._key, self._certificate
