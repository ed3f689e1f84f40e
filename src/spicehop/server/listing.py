"""Which client is told of which channel, and when.

A device serves one client. Of two that were told of it at once the second would be refused, and a stock client counts a
refused channel among those that it has to move: spice-gtk 0.42 then never comes to the end of a migration. So devices
are listed to one client after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spicehop.channels.serving.main import ServerMain
from spicehop.server.served import ChannelKey

CLAIM_SECONDS = 1.0
"""How long the next client waits for its list while another may still link the devices in its own."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A client that can be told of channels."""

    main: ServerMain
    has: Callable[[], set[ChannelKey]]
    """Channels that it has linked."""
    is_here: Callable[[], bool]


class ChannelLists:
    """Tells clients of their channels. `available` are those that can be had now, `common` those of every client."""

    def __init__(
        self, available: Callable[[], Sequence[ChannelKey]], common: Callable[[], Sequence[ChannelKey]]
    ) -> None:
        self._available = available
        self._common = common
        self._asking: deque[Listener] = deque()
        self._freed: dict[ChannelKey, deque[Listener]] = {}
        """Devices that were another's, and those that have not been told of them yet."""
        self._claiming: tuple[Listener, set[ChannelKey], float] | None = None
        """Who may be about to link which devices, and until when the others wait for that."""

    def ask(self, listener: Listener) -> None:
        """A client wants its list."""
        self._asking.append(listener)

    def freed(self, key: ChannelKey, listeners: Sequence[Listener]) -> None:
        """A device can be had again; these had their list before."""
        self._freed[key] = deque(listeners)

    def claimed(self, key: ChannelKey) -> None:
        """A device has a client."""
        self._freed.pop(key, None)

    def turn(self, now: float, *, quiet: bool) -> None:
        """Tell whose turn it is. While it is `quiet` devices that are free again are not told of."""
        while not self._is_claiming(now):
            if self._asking:
                listener = self._asking.popleft()
                if listener.is_here():
                    self._list(listener, list(self._available()), now)
            elif quiet or not self._tell_freed(now):
                return

    def next_deadline(self) -> float | None:
        """When the next one need wait no more."""
        waits = bool(self._asking or self._freed)
        return self._claiming[2] if self._claiming is not None and waits else None

    def _is_claiming(self, now: float) -> bool:
        if self._claiming is not None:
            listener, keys, until = self._claiming
            if now >= until or not listener.is_here() or keys <= listener.has():
                self._claiming = None
        return self._claiming is not None

    def _tell_freed(self, now: float) -> bool:
        for key, listeners in tuple(self._freed.items()):
            if not listeners or key not in self._available():
                del self._freed[key]
                continue
            listener = listeners.popleft()
            if listener.is_here():
                self._list(listener, [key], now)
            return True
        return False

    def _list(self, listener: Listener, keys: list[ChannelKey], now: float) -> None:
        listener.main.list_channels(keys)
        devices = set(keys).difference(self._common())
        if devices:
            self._claiming = listener, devices, now + CLAIM_SECONDS
