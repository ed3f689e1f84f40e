"""What the control socket asks of a server, and how it is told what happens there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from spicehop.guests.interface import Pixels
from spicehop.server.control_direct_link import DirectLinkControl
from spicehop.server.control_migration import MigrationControl


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a connection, in QMP's words."""

    host: str
    port: str
    family: str
    """`ipv4`, `ipv6` or `unix`."""

    @classmethod
    def of(cls, address: object) -> Endpoint:
        """The end that a socket's own address names. A Unix socket's is `localhost` and its path, as QEMU says it."""
        if isinstance(address, tuple) and len(address) >= 2:
            return cls(str(address[0]), str(address[1]), "ipv6" if len(address) > 2 else "ipv4")
        return cls("localhost", address if isinstance(address, str) else "", "unix")

    def as_json(self) -> dict[str, object]:
        """In QMP's form."""
        return {"host": self.host, "port": self.port, "family": self.family}


@dataclass(frozen=True, slots=True)
class LinkedChannel:
    """One channel that a client has."""

    client: Endpoint
    server: Endpoint
    connection_id: int
    """Unsigned, as the protocol has it."""
    kind: int
    number: int
    secure: bool

    def as_json(self) -> dict[str, object]:
        """As query-spice lists it; QMP shows the connection id as a signed number."""
        signed = self.connection_id - (1 << 32) if self.connection_id >= 1 << 31 else self.connection_id
        return {
            **self.client.as_json(),
            "connection-id": signed,
            "channel-type": self.kind,
            "channel-id": self.number,
            "tls": self.secure,
        }


@dataclass(frozen=True, slots=True)
class SpiceFacts:
    """What query-spice answers."""

    host: str
    """For a Unix socket its path."""
    port: int | None
    tls_port: int | None
    auth: str
    """`none`, `spice` for tickets or `sasl`."""
    mouse_mode: str
    """`client` or `server`."""
    channels: tuple[LinkedChannel, ...] = ()
    migrated: bool = False
    version: str = ""

    def as_json(self) -> dict[str, object]:
        """In QMP's form; a port that there is not is left out."""
        ports = {"port": self.port, "tls-port": self.tls_port}
        return {
            "enabled": True,
            "migrated": self.migrated,
            "host": self.host,
            **{name: port for name, port in ports.items() if port is not None},
            "auth": self.auth,
            "compiled-version": self.version,
            "mouse-mode": self.mouse_mode,
            "channels": [channel.as_json() for channel in self.channels],
        }


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """Something that control clients are told, under QEMU's name for it."""

    name: str
    data: Mapping[str, object] | None = None

    @classmethod
    def connected(cls, server: Endpoint, client: Endpoint) -> ControlEvent:
        """A connection was accepted; nothing has come on it yet."""
        return cls("SPICE_CONNECTED", {"server": server.as_json(), "client": client.as_json()})

    @classmethod
    def initialized(cls, channel: LinkedChannel, auth: str) -> ControlEvent:
        """A channel is linked."""
        server = {**channel.server.as_json(), "auth": auth}
        return cls("SPICE_INITIALIZED", {"server": server, "client": channel.as_json()})

    @classmethod
    def disconnected(cls, server: Endpoint, client: Endpoint) -> ControlEvent:
        """A connection ended, linked or not."""
        return cls("SPICE_DISCONNECTED", {"server": server.as_json(), "client": client.as_json()})

    @classmethod
    def shutdown(cls, reason: str) -> ControlEvent:
        """The server ends, `host-qmp-quit` or `host-signal`."""
        return cls("SHUTDOWN", {"guest": False, "reason": reason})


ControlListener = Callable[[ControlEvent], None]


class ControlTarget(Protocol):
    """What commands act on. `OperationError` and `UsageError` become QMP errors of the class GenericError."""

    @property
    def name(self) -> str:
        """The guest's."""

    @property
    def status(self) -> str:
        """QMP's run state."""

    @property
    def migration(self) -> MigrationControl:
        """How the guest moves to another server."""

    @property
    def direct_link(self) -> DirectLinkControl:
        """The link to the server from or to which sessions go."""

    def spice(self) -> SpiceFacts:
        """As of now."""

    def change_password(self, password: str) -> None:
        """Another ticket from now on; until when it is good stays as it was. `OperationError` without ticketing."""

    def expire_password(self, when: float | None) -> None:
        """Until when tickets are good, in seconds since 1970; None for always. `OperationError` without ticketing."""

    def disconnect_clients(self, reason: str) -> None:
        """End all sessions."""

    def resume(self) -> None:
        """Let the guest run; tells RESUME when it stood still."""

    def stop(self) -> None:
        """Let the guest stand still; tells STOP when it ran."""

    def quit(self, reason: str) -> None:
        """End the server soon; tells SHUTDOWN."""

    def key(self, scancodes: bytes) -> None:
        """AT set 1 bytes of one key for the guest."""

    @property
    def displays(self) -> int:
        """How many there are."""

    def picture(self, display: int) -> Pixels:
        """A copy of what a display shows."""

    def listen(self, listener: ControlListener) -> Callable[[], None]:
        """Tell it every event from now on; call what is returned to end that."""
