"""Every error that spicehop raises on purpose.

    SpicehopError
     ├─ ProtocolError        a peer sent what the protocol does not allow; the connection ends, nothing else
     ├─ StateError           the caller asked for something that is not possible in this state
     ├─ UsageError           a command line or an argument cannot be used; commands exit with 2
     └─ OperationError       something was tried and failed; commands exit with 1
         ├─ ConnectError     nobody answers at the address, or what answers is not a SPICE server
         ├─ LinkError        the server refused the link, with the protocol's own code
         ├─ ConnectionLost   an established connection ended
         └─ MigrationError   a migration failed; says where the session is now
"""

from __future__ import annotations


class SpicehopError(Exception):
    """Base of all errors of this package. `str(error)` is one sentence that a user can act on."""

    exit_code = 1


class ProtocolError(SpicehopError):
    """A peer sent bytes that the protocol does not allow.

    Decoders raise nothing else, whatever the bytes. Whoever catches it ends that one connection.
    """


class StateError(SpicehopError):
    """The caller asked for something that this object cannot do in its present state."""


class UsageError(SpicehopError):
    """An argument cannot be used as it is; the sentence says what to give instead."""

    exit_code = 2


class OperationError(SpicehopError):
    """Something was tried and did not succeed."""


class ConnectError(OperationError):
    """Nobody answered at the address, or what answered is not a SPICE server."""


class LinkError(OperationError):
    """The server refused the link.

    `code` is the protocol's link error (dossier A.2), for example 7 for PERMISSION_DENIED.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ConnectionLost(OperationError):
    """An established connection ended before the operation did."""


class MigrationError(OperationError):
    """A migration did not succeed; the sentence says where the session and the VM are now."""
