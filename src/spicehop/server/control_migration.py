"""The commands of the control socket that move the guest, in QEMU 7.2's words, as measured.

Only what a guest here can do is offered: three capabilities and two parameters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from spicehop.migration.guest_moves import MoveSettings
from spicehop.migration.leaving import ClientTarget
from spicehop.server.control import CommandError
from spicehop.server.control_arguments import Argument, Arguments, check_arguments

CAPABILITIES = ("events", "pause-before-switchover", "return-path")
"""The way back is always used; the capability is there for those who want it on."""
STATUSES = (
    *("none", "setup", "cancelling", "cancelled", "active", "postcopy-active", "postcopy-paused", "postcopy-recover"),
    *("completed", "failed", "colo", "pre-switchover", "device", "wait-unplug"),
)
MAX_BANDWIDTH = 2**63 - 1
MOST_ANNOUNCED = 1024
MAX_CONNECTION_ID = 2**32 - 1
MAX_DOWNTIME = 2_000_000


class MigrationControl(Protocol):
    """What these commands act on. `OperationError` becomes a QMP error."""

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """By name, all there are."""

    def change_capabilities(self, wanted: Mapping[str, bool]) -> None:
        """Switch these; not while a guest moves."""

    @property
    def settings(self) -> MoveSettings:
        """The parameters."""

    def change_settings(self, settings: MoveSettings) -> None:
        """Take them from now on."""

    def describe(self) -> Mapping[str, object]:
        """What query-migrate answers."""

    def migrate(self, uri: str) -> None:
        """Begin to send the guest there."""

    async def await_guest(self, uri: str) -> None:
        """Wait for a guest there."""

    def cancel(self) -> None:
        """Keep the guest, if it has not gone."""

    def go_on(self, status: str) -> None:
        """Go on from the status `pre-switchover`."""

    def name_client_target(self, target: ClientTarget) -> None:
        """Where clients are sent when the guest has moved."""

    def announce_clients(self, connection_ids: Sequence[int]) -> None:
        """Which clients will come from another server; takes the place of what was announced before."""


async def _describe(migration: MigrationControl, arguments: Arguments) -> object:
    return migration.describe()


async def _migrate(migration: MigrationControl, arguments: Arguments) -> object:
    for name in ("blk", "inc"):
        if arguments.get(name):
            raise CommandError("Command 'migrate' cannot move block devices, for there are none")
    migration.migrate(str(arguments["uri"]))
    return {}


async def _await_guest(migration: MigrationControl, arguments: Arguments) -> object:
    await migration.await_guest(str(arguments["uri"]))
    return {}


async def _cancel(migration: MigrationControl, arguments: Arguments) -> object:
    migration.cancel()
    return {}


async def _go_on(migration: MigrationControl, arguments: Arguments) -> object:
    migration.go_on(str(arguments["state"]))
    return {}


async def _capabilities(migration: MigrationControl, arguments: Arguments) -> object:
    return [{"state": state, "capability": name} for name, state in migration.capabilities.items()]


_CAPABILITY = (Argument("capability"), Argument("state", "boolean"))


async def _change_capabilities(migration: MigrationControl, arguments: Arguments) -> object:
    listed = arguments["capabilities"]
    assert isinstance(listed, list)
    wanted: dict[str, bool] = {}
    for place, one in enumerate(listed):
        if not isinstance(one, dict):
            raise CommandError(f"Invalid parameter type for 'capabilities[{place}]', expected: object")
        check_arguments(_CAPABILITY, one, f"capabilities[{place}].")
        if one["capability"] not in CAPABILITIES:
            raise CommandError(f"Parameter 'capability' does not accept value '{one['capability'][:100]}'")
        wanted[one["capability"]] = one["state"]
    migration.change_capabilities(wanted)
    return {}


async def _parameters(migration: MigrationControl, arguments: Arguments) -> object:
    settings = migration.settings
    return {"max-bandwidth": settings.max_bandwidth, "downtime-limit": settings.downtime_limit}


async def _change_parameters(migration: MigrationControl, arguments: Arguments) -> object:
    settings = migration.settings
    bandwidth = arguments.get("max-bandwidth", settings.max_bandwidth)
    downtime = arguments.get("downtime-limit", settings.downtime_limit)
    assert isinstance(bandwidth, int)
    assert isinstance(downtime, int)
    if not 0 <= bandwidth <= MAX_BANDWIDTH:
        reach = f"an integer in the range of 0 to {MAX_BANDWIDTH} bytes/second"
        raise CommandError(f"Parameter 'max_bandwidth' expects {reach}")
    if not 0 <= downtime <= MAX_DOWNTIME:
        raise CommandError("Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms")
    migration.change_settings(replace(settings, max_bandwidth=bandwidth, downtime_limit=downtime))
    return {}


async def _client_target(migration: MigrationControl, arguments: Arguments) -> object:
    if arguments["protocol"] != "spice":
        raise CommandError("Parameter 'protocol' expects 'spice'")
    ports = [arguments.get(name) for name in ("port", "tls-port")]
    if ports == [None, None]:
        raise CommandError("Parameter 'port/tls-port' is missing")
    # 65535 is what QEMU makes of a port that is not given (dossier C7); it is no port here either.
    port, tls_port = (one if isinstance(one, int) and 0 < one < 65535 else 0 for one in ports)
    migration.name_client_target(
        ClientTarget(str(arguments["hostname"]), port, tls_port, str(arguments.get("cert-subject", "")))
    )
    return {}


async def _announce_clients(migration: MigrationControl, arguments: Arguments) -> object:
    listed = arguments["connection-ids"]
    assert isinstance(listed, list)
    if len(listed) > MOST_ANNOUNCED:
        raise CommandError(f"Parameter 'connection-ids' has more than {MOST_ANNOUNCED} elements")
    for place, one in enumerate(listed):
        if not isinstance(one, int) or isinstance(one, bool):
            raise CommandError(f"Invalid parameter type for 'connection-ids[{place}]', expected: integer")
        if not 0 < one <= MAX_CONNECTION_ID:
            raise CommandError(f"Parameter 'connection-ids[{place}]' expects a number from 1 to {MAX_CONNECTION_ID}")
    migration.announce_clients(listed)
    return {}


Function = Callable[[MigrationControl, Arguments], Awaitable[object]]
MIGRATION_COMMANDS: dict[str, tuple[Function, tuple[Argument, ...]]] = {
    "query-migrate": (_describe, ()),
    "migrate": (
        _migrate,
        (
            Argument("uri"),
            Argument("blk", "boolean", optional=True),
            Argument("inc", "boolean", optional=True),
            Argument("detach", "boolean", optional=True),
            Argument("resume", "boolean", optional=True),
        ),
    ),
    "migrate-incoming": (_await_guest, (Argument("uri"),)),
    "migrate_cancel": (_cancel, ()),
    "migrate-continue": (_go_on, (Argument("state", choices=STATUSES),)),
    "query-migrate-capabilities": (_capabilities, ()),
    "migrate-set-capabilities": (_change_capabilities, (Argument("capabilities", "array"),)),
    "query-migrate-parameters": (_parameters, ()),
    "migrate-set-parameters": (
        _change_parameters,
        (Argument("max-bandwidth", "integer", optional=True), Argument("downtime-limit", "integer", optional=True)),
    ),
    "client_migrate_info": (
        _client_target,
        (
            Argument("protocol"),
            Argument("hostname"),
            Argument("port", "integer", optional=True),
            Argument("tls-port", "integer", optional=True),
            Argument("cert-subject", optional=True),
        ),
    ),
    "announce-clients": (_announce_clients, (Argument("connection-ids", "array"),)),
}
"""Name to function and arguments."""
