"""Who is connected to a SPICE server, by its QMP answers and events (dossier C7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spicehop.wire.constants import channel_name


@dataclass(frozen=True, slots=True, order=True)
class ChannelKey:
    """One channel of a session."""

    kind: int
    """The protocol's channel type."""
    number: int
    """The channel's id among those of its type."""

    @property
    def name(self) -> str:
        """For reports: `display:0`."""
        return channel_name(self.kind, self.number)


Sessions = dict[int, frozenset[ChannelKey]]
"""Connection id (unsigned) to the session's channels."""


def mapping(value: object) -> Mapping[str, object]:
    """`value` when it is a JSON object, else an empty one: QMP is typed, but it is still somebody else's program."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Mapping[str, object]]:
    """The JSON objects in the list `value`."""
    return [mapping(item) for item in value] if isinstance(value, list) else []


def whole(value: object, otherwise: int = 0) -> int:
    """`value` when it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def text(value: object) -> str:
    """`value` when it is a text, else empty."""
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class _Link:
    connection_id: int
    channel: ChannelKey


def _link(client: Mapping[str, object]) -> _Link | None:
    connection_id = client.get("connection-id")
    if not isinstance(connection_id, int):
        return None
    # QMP shows the protocol's unsigned 32 bits as a signed number (measured, golden capture).
    key = ChannelKey(whole(client.get("channel-type")), whole(client.get("channel-id")))
    return _Link(connection_id & 0xFFFFFFFF, key)


def sessions_of(channels: object) -> Sessions:
    """The sessions in the `channels` of a query-spice answer."""
    found: dict[int, set[ChannelKey]] = {}
    for entry in items(channels):
        link = _link(entry)
        if link is not None:
            found.setdefault(link.connection_id, set()).add(link.channel)
    return {connection_id: frozenset(keys) for connection_id, keys in found.items()}


class Census:
    """The channels that one server has, kept up to date from its events and query-spice answers.

    `longest_link` is the longest time in seconds from SPICE_CONNECTED to SPICE_INITIALIZED seen so far, and
    `refused_links` counts the connections that ended before they were initialized.
    """

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], _Link] = {}
        self._accepted: dict[tuple[str, str], float] = {}
        self.longest_link = 0.0
        self.refused_links = 0

    def answer_received(self, answer: object) -> None:
        """Take a query-spice answer: it is complete, so it replaces what was known."""
        self._links = {}
        for entry in items(mapping(answer).get("channels")):
            link = _link(entry)
            if link is not None:
                self._links[self._key(entry, link)] = link

    def event_received(self, name: str, data: Mapping[str, object], now: float) -> None:
        """Take one of the SPICE_... events; others are ignored."""
        client = mapping(data.get("client"))
        address = (text(client.get("host")), text(client.get("port")))
        if name == "SPICE_CONNECTED":
            self._accepted[address] = now
        elif name == "SPICE_INITIALIZED":
            link = _link(client)
            if link is not None:
                self._links[self._key(client, link)] = link
                self.longest_link = max(self.longest_link, now - self._accepted.pop(address, now))
        elif name == "SPICE_DISCONNECTED":
            if self._accepted.pop(address, None) is not None:
                self.refused_links += 1
            self._links.pop(address, None)

    @staticmethod
    def _key(entry: Mapping[str, object], link: _Link) -> tuple[str, str]:
        port = text(entry.get("port"))
        if port:
            return text(entry.get("host")), port
        return str(link.connection_id), link.channel.name  # clients of a Unix socket have no address of their own

    @property
    def sessions(self) -> Sessions:
        """Connection id to the channels that are connected now."""
        found: dict[int, set[ChannelKey]] = {}
        for link in self._links.values():
            found.setdefault(link.connection_id, set()).add(link.channel)
        return {connection_id: frozenset(keys) for connection_id, keys in found.items()}
