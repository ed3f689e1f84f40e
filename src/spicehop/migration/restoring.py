"""Which lost channels are linked again, when, and how often.

A libspice target that still waits for some channel's MIGRATE_DATA treats every new link as one more channel that waits
for it, and a fresh display's INIT then aborts the process with the machine in it (dossier C2, display rule). So after a
seamless migration no channel is linked again before the target has shown that it has everything, and none at all when
it will never get everything.
"""

from __future__ import annotations

from spicehop.errors import LinkError, SpicehopError
from spicehop.migration.commands import ChannelKey, name_of
from spicehop.migration.links import Link
from spicehop.wire import inputs, main, vmc
from spicehop.wire.constants import ChannelType, LinkResult
from spicehop.wire.layout import Message

RESTORE_ATTEMPTS = 3
"""How often a lost channel is linked again before it is given up."""
RESTORE_PAUSE = 1.0
"""Seconds before a lost channel is linked again."""
STABLE = 60.0
"""Seconds after which a channel counts as restored, so that it has all its attempts again."""
DELIVERED = 60.0
"""Seconds after a migration from which on its data counts as delivered wherever the connection lives."""
PROOFS: dict[int, tuple[type[Message], ...]] = {
    ChannelType.MAIN: (main.MultiMediaTime, main.AgentData, main.AgentToken, main.AgentConnectedTokens),
    ChannelType.DISPLAY: (Message,),
    ChannelType.INPUTS: (inputs.KeyModifiers, inputs.MouseMotionAck),
    ChannelType.SMARTCARD: (Message,),
    ChannelType.USBREDIR: (vmc.VmcData,),
    ChannelType.PORT: (vmc.VmcData,),
    ChannelType.WEBDAV: (vmc.VmcData,),
}
"""What libspice sends on a channel only after it has restored the channel's state (dossier A.8, C2, C4)."""


class Restorer:
    """Keeps account of lost channels; the session links those that `due` names."""

    def __init__(self) -> None:
        self._attempts: dict[ChannelKey, int] = {}
        self._due: dict[ChannelKey, float] = {}
        self._unproven: set[ChannelKey] = set()
        self._delivered_at = 0.0
        self._never = ""

    def lost(self, link: Link, error: SpicehopError, now: float) -> str:
        """A channel's connection is gone: why the channel is given up, empty when it will be linked again."""
        key = link.key
        if key in self._unproven and now < self._delivered_at:
            self._never = f"the target may wait for the state of {name_of(key)}"
        if link.linked is not None and now - link.linked_at >= STABLE:
            self._attempts.pop(key, None)
        if isinstance(error, LinkError) and error.code == LinkResult.CHANNEL_NOT_AVAILABLE:
            return "the server does not have it"
        if self._never:
            return self._never
        attempts = self._attempts.get(key, 0)
        if attempts == RESTORE_ATTEMPTS:
            return f"it was linked again {RESTORE_ATTEMPTS} times"
        self._attempts[key] = attempts + 1
        self._due[key] = now + RESTORE_PAUSE
        return ""

    def later(self, key: ChannelKey, now: float) -> None:
        """Link a channel that has no connection as soon as the server can take it."""
        self._due[key] = now

    def forget(self, key: ChannelKey) -> None:
        """The channel has a connection, or is given up."""
        self._due.pop(key, None)

    def clear(self) -> None:
        """Link nothing again."""
        self._due.clear()

    def waits(self, key: ChannelKey) -> bool:
        """Whether a channel without a connection will be linked again."""
        return key in self._due

    def due(self, now: float) -> list[ChannelKey]:
        """Channels to be linked now."""
        if self._unproven and now < self._delivered_at:
            return []
        return sorted(key for key, at in self._due.items() if now >= at)

    def next_deadline(self) -> float | None:
        """When `due` will name a channel, as far as that is known."""
        if not self._due:
            return None
        at = min(self._due.values())
        return max(at, self._delivered_at) if self._unproven else at

    # -- what a target has been given -------------------------------------------------------------------------------

    def at_new_server(self) -> None:
        """The session has begun anew at a server: nothing waits there for anything."""
        self._unproven.clear()
        self._never = ""

    def handed_over(self, keys: set[ChannelKey], missing: set[ChannelKey], now: float) -> None:
        """A target has been given the state of `keys`, and waits for that of `missing`, which will never come."""
        self._unproven = {key for key in keys if key[0] in PROOFS}
        self._delivered_at = now + DELIVERED
        names = ", ".join(name_of(key) for key in sorted(missing) if key[0] in PROOFS)
        self._never = f"the target waits for the state of {names}" if names else ""

    def message_received(self, key: ChannelKey, message: Message) -> None:
        """A message has come on a channel."""
        if key in self._unproven and isinstance(message, PROOFS[key[0]]):
            self._unproven.discard(key)
