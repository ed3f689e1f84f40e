"""Tells a target which clients will come, so that it lets in nobody else: our servers' `announce-clients`.

QEMU's target does not know the command, and lets in whoever names a connection id and has the ticket (dossier C5).
"""

from __future__ import annotations

from spicehop.conductor.direct_link import LinkPeer
from spicehop.conductor.qmp import QmpRefusal
from spicehop.errors import ConnectionLost
from spicehop.wire.constants import ChannelType

COMMAND = "announce-clients"
MOST = 1024


class Announcer:
    """Announces the clients of `source` to `target`, those that come later too."""

    def __init__(self, source: LinkPeer, target: LinkPeer) -> None:
        self._source = source
        self._target = target
        self._ids: set[int] = set()
        self._understood = False

    async def begin(self) -> str:
        """Announce who is there; why that cannot be done although the target knows how, or empty."""
        try:
            listed = await self._target.execute("query-commands", {})
            self._understood = isinstance(listed, list) and any(
                isinstance(one, dict) and one.get("name") == COMMAND for one in listed
            )
            if self._understood:
                self._ids = connection_ids(await self._source.execute("query-spice", {}))
                await self._announce()
        except (QmpRefusal, ConnectionLost) as error:
            return str(error)
        return ""

    async def initialized(self, data: object) -> None:
        """The source has told SPICE_INITIALIZED: a client that comes while the migration runs is announced too."""
        client = data.get("client") if isinstance(data, dict) else None
        found = connection_ids({"channels": [client]}) - self._ids
        if not self._understood or not found:
            return
        self._ids |= found
        try:
            await self._announce()
        except (QmpRefusal, ConnectionLost):
            return  # what has become of the peer, the conducting machine hears too

    async def _announce(self) -> None:
        await self._target.execute(COMMAND, {"connection-ids": sorted(self._ids)[:MOST]})


def connection_ids(spice: object) -> set[int]:
    """Those of the main channels in an answer to query-spice."""
    channels = spice.get("channels") if isinstance(spice, dict) else None
    found = set()
    for one in channels if isinstance(channels, list) else ():
        if isinstance(one, dict) and one.get("channel-type") == ChannelType.MAIN:
            number = one.get("connection-id")
            if isinstance(number, int) and number & 0xFFFFFFFF:
                found.add(number & 0xFFFFFFFF)
    return found
