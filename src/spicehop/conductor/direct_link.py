"""Connects two spicehop servers by a direct link for the time of one migration, over their control sockets.

The migration does not depend on it: without the link the sessions' state goes through the clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Protocol

from spicehop.conductor.qmp import QmpRefusal
from spicehop.errors import ConnectionLost, UsageError

OFF = "off"
AUTO = "auto"
BESIDE = ".link"
LONGEST_PATH = 100
COMMANDS = frozenset({"direct-link-certificate", "direct-link-listen", "direct-link-connect", "direct-link-close"})
OPEN_SECONDS = 20.0
"""For all of it; the servers' own limits end it before."""
CLOSE_SECONDS = 5.0


class LinkPeer(Protocol):
    """What is needed of a monitor; `QmpPeer` has it."""

    name: str

    async def execute(self, command: str, arguments: dict[str, object]) -> object:
        """Run one command."""


def link_address(text: str, controls: tuple[str | None, ...] = ()) -> str:
    """Where the target is to listen: `unix:PATH`, or `tcp:HOST:PORT` with the port 0 when none is given; or empty.

    `auto` gives a path beside the target's control socket, where both servers have theirs on this host. `UsageError`
    for what is none of `auto`, `unix:PATH`, `tcp:HOST[:PORT]` and `off`.
    """
    if text == OFF:
        return ""
    if text == AUTO:
        local = all(control and len(control) < LONGEST_PATH - len(BESIDE) for control in controls)
        return f"unix:{controls[-1]}{BESIDE}" if controls and local else ""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    found = re.fullmatch(r"tcp:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", text)
    if found is None or int(found[2] or 0) > 65535:
        raise UsageError(f"--direct-link {text!r} is none of auto, unix:PATH, tcp:HOST[:PORT] and off")
    return f"tcp:{found[1]}:{int(found[2] or 0)}"


class LinkSetup:
    """The direct link between `source` and `target`; `address` is of `link_address`."""

    def __init__(self, source: LinkPeer, target: LinkPeer, address: str, *, asked_for: bool = True) -> None:
        self.place = ""
        """Where the target listens, once the link is there."""
        self._source = source
        self._target = target
        self._address = address
        self._asked_for = asked_for
        """Else servers that know nothing of direct links are no failure."""
        self._touched = False

    async def open(self) -> str:
        """Set it up; why there is none, or empty."""
        if not self._address:
            return ""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return await self._open()
        except TimeoutError:
            failure = f"the servers did not answer within {OPEN_SECONDS:g} s"
        except (QmpRefusal, ConnectionLost) as error:
            failure = str(error)
        await self.close()
        return failure

    async def close(self) -> None:
        """End it at both servers, as far as they are there."""
        if not self._touched:
            return
        self._touched, self.place = False, ""
        for peer in (self._source, self._target):
            with contextlib.suppress(QmpRefusal, ConnectionLost, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await peer.execute("direct-link-close", {})

    async def _open(self) -> str:
        for peer in (self._source, self._target):
            listed = await peer.execute("query-commands", {})
            names = {one.get("name") for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()
            if not names >= COMMANDS:
                return f"the {peer.name} knows nothing of it" if self._asked_for else ""
        self._touched = True
        for peer in (self._source, self._target):
            await peer.execute("direct-link-close", {})  # what an earlier migration may have left
        place = await self._ask(self._target, "direct-link-listen", "address", self._address, of=self._source)
        await self._ask(self._source, "direct-link-connect", "", place, of=self._target)
        self.place = place
        return ""

    async def _ask(self, peer: LinkPeer, command: str, wanted: str, address: str, *, of: LinkPeer) -> str:
        """Have one end set up for the other one's certificate; the text that is wanted of the answer."""
        arguments: dict[str, object] = {"address": address}
        if not address.startswith("unix:"):
            arguments["certificate"] = _text(await of.execute("direct-link-certificate", {}), "certificate")
        answer = await peer.execute(command, arguments)
        return _text(answer, wanted) if wanted else ""


def _text(answer: object, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str):
        raise QmpRefusal(f"the answer has no {name}")
    return value
