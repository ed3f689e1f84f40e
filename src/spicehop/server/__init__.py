"""The server's shell on asyncio: who may come in, sessions, and when the guest is looked after."""

from spicehop.server.options import AcceptLimits, Security, ServerOptions, tls_context
from spicehop.server.server import SpiceServer

__all__ = ["AcceptLimits", "Security", "ServerOptions", "SpiceServer", "tls_context"]
