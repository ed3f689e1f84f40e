"""How a server is to serve: addresses, who may come in, limits."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from spicehop.channels.serving.main import NET_TEST_BYTES
from spicehop.wire.constants import ChannelType


class Security(Enum):
    """Which connections a channel takes."""

    ANY = "any"
    TLS = "tls"
    PLAIN = "plain"


class SaslDialogue(Protocol):
    """One client's way through a SASL mechanism; `OperationError` when the client is not who it says."""

    def step(self, answer: bytes | None) -> tuple[bytes | None, bool]:
        """The client's first or next answer; gives the next challenge, and whether that was the last step."""


class SaslProvider(Protocol):
    """The mechanisms of a server."""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Their names, the best first."""

    def begin(self, mechanism: str) -> SaslDialogue:
        """Begin one of them."""


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """What somebody who is not authenticated may cost. Seconds, bytes, connections."""

    deadline: float = 10.0
    """From the accepted connection to the link result, TLS handshake included."""
    bytes_before: int = 128 * 1024
    waiting: int = 256
    """Connections that are not authenticated; beyond that the oldest is closed."""
    waiting_from_one_host: int = 64
    sessions: int = 32
    channels_in_session: int = 64


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Everything a `SpiceServer` can be told. A port is 0 for any free one and None for none."""

    host: str = "127.0.0.1"
    port: int | None = 0
    tls_port: int | None = None
    tls: ssl.SSLContext | None = None
    """For `tls_port`; `tls_context` makes one."""
    unix_path: Path | None = None
    password: str | None = None
    """None lets everybody in."""
    password_seconds: float | None = None
    """How long the password is good from the start on; None for always."""
    sasl: SaslProvider | None = None
    """Takes the place of tickets, over TLS only."""
    security: Mapping[ChannelType, Security] = field(default_factory=dict)
    """Channels that are not in it take any connection."""
    run_guest: bool = True
    """Let the guest run when the doors open."""
    several_clients: bool = True
    """Else each new client ends the session of the one before it, as QEMU does."""
    copy_paste: bool = True
    file_transfer: bool = True
    compression: str = "auto"
    frames_per_second: float = 60.0
    """Most frames painted for one client."""
    silent_seconds: float = 120.0
    """A client that has not answered a ping for so long is gone."""
    net_test_bytes: int = NET_TEST_BYTES
    """Size of the ping that measures a new client's link."""
    accept_unannounced: bool = False
    """Let in clients that say they migrate here, though nobody has announced them."""
    seamless_migration: bool = False
    """Management waits for SPICE_MIGRATE_COMPLETED before it ends a server whose guest has left, so that clients can
    take their state along; else they begin anew at the target.
    """
    limits: AcceptLimits = AcceptLimits()


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for `ServerOptions.tls` from PEM files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key, password="")  # else OpenSSL asks on the terminal for a passphrase
    return context
