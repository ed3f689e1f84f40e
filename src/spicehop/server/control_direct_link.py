"""The commands of the control socket that set up the direct link between two servers. QEMU has none of these.

Management takes each server's certificate to the other one, lets the target listen and then the source connect:

    source, target: direct-link-certificate
    target:         direct-link-listen
    source:         direct-link-connect
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from spicehop.server.control_arguments import Argument, Arguments


class DirectLinkControl(Protocol):
    """What these commands act on. `OperationError` and `UsageError` become QMP errors."""

    @property
    def certificate(self) -> str:
        """This server's, in PEM."""

    async def listen(self, address: str, certificate: str | None) -> str:
        """Let the source with that certificate in; the address with the port that was chosen."""

    async def connect(self, address: str, certificate: str | None) -> None:
        """Connect to the target with that certificate."""

    async def hang_up(self) -> None:
        """End the link, where no session is on its way over it."""

    def describe(self) -> Mapping[str, object]:
        """What query-direct-link answers."""


def _place(arguments: Arguments) -> tuple[str, str | None]:
    certificate = arguments.get("certificate")
    return str(arguments["address"]), None if certificate is None else str(certificate)


async def _certificate(link: DirectLinkControl, arguments: Arguments) -> object:
    return {"certificate": link.certificate}


async def _listen(link: DirectLinkControl, arguments: Arguments) -> object:
    return {"address": await link.listen(*_place(arguments))}


async def _connect(link: DirectLinkControl, arguments: Arguments) -> object:
    await link.connect(*_place(arguments))
    return {}


async def _close(link: DirectLinkControl, arguments: Arguments) -> object:
    await link.hang_up()
    return {}


async def _describe(link: DirectLinkControl, arguments: Arguments) -> object:
    return link.describe()


_PLACE = (Argument("address"), Argument("certificate", optional=True))
Function = Callable[[DirectLinkControl, Arguments], Awaitable[object]]
DIRECT_LINK_COMMANDS: dict[str, tuple[Function, tuple[Argument, ...]]] = {
    "direct-link-certificate": (_certificate, ()),
    "direct-link-listen": (_listen, _PLACE),
    "direct-link-connect": (_connect, _PLACE),
    "direct-link-close": (_close, ()),
    "query-direct-link": (_describe, ()),
}
"""Name to function and arguments."""
