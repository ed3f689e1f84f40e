"""Two servers in one process, between which a demo guest and its clients move, by either carrier."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from waiting import until

import spicehop
from spicehop.demo.serial import parse_serial
from spicehop.guests.demo import DemoGuest
from spicehop.migration.leaving import ClientTarget
from spicehop.server import ServerOptions, SpiceServer
from spicehop.server.client_handover import ClientHandover
from spicehop.server.control_bridge import ServerControl
from spicehop.server.control_target import ControlEvent


@dataclass
class Side:
    """One server, what its guest has said, and what its control socket would tell."""

    server: SpiceServer
    control: ServerControl
    guest: DemoGuest
    lines: list[str]
    events: list[ControlEvent] = field(default_factory=list)

    @property
    def handover(self) -> ClientHandover:
        return self.control.migration.handover

    def completed(self) -> list[Mapping[str, object]]:
        """The data of each SPICE_MIGRATE_COMPLETED."""
        return [event.data for event in self.events if event.name == "SPICE_MIGRATE_COMPLETED"]


@dataclass
class MovingPair:
    """The guest is at `source`, and `move` sends it to `target`."""

    source: Side
    target: Side
    path: Path
    subject: str = ""
    """Of the target's certificate, as clients are told."""

    @property
    def target_address(self) -> ClientTarget:
        """Where clients are sent."""
        server = self.target.server
        return ClientTarget("127.0.0.1", server.port, server.tls_port, self.subject)

    async def link(self) -> None:
        """Have them linked directly."""
        address = f"unix:{self.path / 'link'}"
        await self.target.control.direct_link.listen(address, None)
        await self.source.control.direct_link.connect(address, None)

    async def name_target(self, sessions: int = 1) -> None:
        """Have the clients link the target, and wait until they have."""
        self.source.control.migration.name_client_target(self.target_address)
        leaving = self.source.handover._leaving
        await until(
            lambda: len(leaving) == sessions and all(one.state.value.startswith("Linked") for one in leaving.values()),
            "the clients have linked the target",
        )

    def move(self) -> None:
        """Send the guest."""
        self.source.control.migration.migrate(f"unix:{self.path / 'move'}")


@asynccontextmanager
async def moving_pair(
    path: Path,
    *,
    direct: bool,
    seamless: bool = True,
    size: tuple[int, int] = (320, 240),
    compression: str = "lz",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[MovingPair]:
    """Both servers, the target waiting for the guest; with `tls` they have nothing but TLS ports."""
    sides = []
    for incoming in (False, True):
        lines: list[str] = []
        guest = DemoGuest(*size, log=lines.append)
        options = ServerOptions(
            port=0 if tls is None else None,
            tls_port=None if tls is None else 0,
            tls=tls,
            run_guest=not incoming, seamless_migration=seamless, accept_unannounced=True, compression=compression
        )
        server = SpiceServer(guest, options)
        side = Side(server, ServerControl(server, incoming=incoming), guest, lines)
        side.control.listen(side.events.append)
        sides.append(side)
    source, target = sides
    pair = MovingPair(source, target, path)
    async with source.server, target.server:
        await target.control.migration.await_guest(f"unix:{path / 'move'}")
        if direct:
            await pair.link()
        try:
            yield pair
        finally:
            for side in sides:
                await side.control.migration.close()
                await side.control.direct_link.close()


def pressed(*sides: Side) -> list[int]:
    """The keys that the guest has seen pressed, at all its places."""
    log = parse_serial("\n".join(line for side in sides for line in side.lines))
    assert log.faults == ()
    return [key.code for key in log.keys if key.value == 1]


async def type_on(client: spicehop.client.Session, codes: list[int]) -> None:
    for code in codes:
        client.keyboard.down(code)
        client.keyboard.up(code)
        await asyncio.sleep(0.002)


async def write_slowly(port: spicehop.client.Port, data: bytes) -> None:
    for start in range(0, len(data), 2_000):
        port.write(data[start : start + 2_000])
        await asyncio.sleep(0.004)
