"""A server that the control socket can act on, for tests: it remembers what it was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spicehop.errors import OperationError
from spicehop.guests.interface import Pixels
from spicehop.migration.guest_moves import MoveSettings
from spicehop.server.control_direct_link import DirectLinkControl
from spicehop.server.control_migration import ClientTarget, MigrationControl
from spicehop.server.control_target import ControlEvent, ControlListener, Endpoint, LinkedChannel, SpiceFacts

SERVER = Endpoint("127.0.0.1", "5900", "ipv4")
CHANNEL = LinkedChannel(Endpoint("192.0.2.7", "40000", "ipv4"), SERVER, 0xFFFFFFFB, 1, 0, False)


class FakeMigration:
    """Implements `MigrationControl`; `done` holds what it was told."""

    def __init__(self) -> None:
        self.capabilities = {"events": False, "pause-before-switchover": False, "return-path": False}
        self.settings = MoveSettings()
        self.answer: dict[str, object] = {}
        self.done: list[tuple[str, object]] = []

    def change_capabilities(self, wanted: Mapping[str, bool]) -> None:
        self.capabilities.update(wanted)

    def change_settings(self, settings: MoveSettings) -> None:
        self.settings = settings

    def describe(self) -> Mapping[str, object]:
        return self.answer

    def migrate(self, uri: str) -> None:
        self.done.append(("migrate", uri))

    async def await_guest(self, uri: str) -> None:
        self.done.append(("await", uri))

    def cancel(self) -> None:
        self.done.append(("cancel", None))

    def go_on(self, status: str) -> None:
        self.done.append(("continue", status))

    def announce_clients(self, connection_ids: Sequence[int]) -> None:
        self.done.append(("announce-clients", list(connection_ids)))

    def name_client_target(self, target: ClientTarget) -> None:
        self.done.append(("clients", target))


class FakeDirectLink:
    """Implements `DirectLinkControl`; `done` holds what it was told."""

    def __init__(self) -> None:
        self.certificate = "PEM"
        self.done: list[tuple[object, ...]] = []

    async def listen(self, address: str, certificate: str | None) -> str:
        self.done.append(("listen", address, certificate))
        return address + "1"

    async def connect(self, address: str, certificate: str | None) -> None:
        self.done.append(("connect", address, certificate))
        if address == "unix:absent":
            raise OperationError("there is no direct link to unix:absent")

    async def hang_up(self) -> None:
        self.done.append(("close",))

    def describe(self) -> Mapping[str, object]:
        return {"role": "none"}


class FakeTarget:
    """Implements `ControlTarget`."""

    def __init__(self) -> None:
        self.name = "fake"
        self.running = True
        self.auth = "spice"
        self.channels: tuple[LinkedChannel, ...] = ()
        self.screens: list[Pixels] = [np.arange(4 * 6 * 4, dtype=np.uint8).reshape(4, 6, 4)]
        self.passwords: list[str] = []
        self.expiries: list[float | None] = []
        self.disconnected: list[str] = []
        self.ended: list[str] = []
        self.keys: list[bytes] = []
        self.broken = False
        """Questions about SPICE then fail as only a fault in the server can make them fail."""
        self.listeners: list[ControlListener] = []
        self.moves = FakeMigration()
        self.link = FakeDirectLink()

    @property
    def migration(self) -> MigrationControl:
        return self.moves

    @property
    def direct_link(self) -> DirectLinkControl:
        return self.link

    @property
    def status(self) -> str:
        return "running" if self.running else "paused"

    def spice(self) -> SpiceFacts:
        if self.broken:
            raise ZeroDivisionError
        return SpiceFacts("127.0.0.1", 5900, None, self.auth, "server", self.channels, version="1")

    def change_password(self, password: str) -> None:
        if self.auth != "spice":
            raise OperationError("Could not set password")
        self.passwords.append(password)

    def expire_password(self, when: float | None) -> None:
        self.expiries.append(when)

    def disconnect_clients(self, reason: str) -> None:
        self.disconnected.append(reason)

    def resume(self) -> None:
        self.running = True
        self.tell(ControlEvent("RESUME"))

    def stop(self) -> None:
        self.running = False
        self.tell(ControlEvent("STOP"))

    def quit(self, reason: str) -> None:
        self.ended.append(reason)
        self.tell(ControlEvent.shutdown(reason))

    def key(self, scancodes: bytes) -> None:
        self.keys.append(scancodes)

    @property
    def displays(self) -> int:
        return len(self.screens)

    def picture(self, display: int) -> Pixels:
        return self.screens[display].copy()

    def listen(self, listener: ControlListener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, event: ControlEvent) -> None:
        for listener in tuple(self.listeners):
            listener(event)
