"""The demo guest goes from server to server, each a process of its own, and its clients go after it.

    async with MovingServers(directory, carrier="direct") as servers:
        ...                            # clients connect to servers.here.port
        move = await servers.move()    # they are at another process now; the old one has ended
        log = read_serial(servers.logs)

As with QEMU a server that the guest has left is not used again: each move starts a process. The two share nothing but
sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spicehop.conductor.qmp import QmpAddress, QmpPeer
from spicehop.demo.server_process import ANYBODY, ServerProcess
from spicehop.errors import OperationError

HOST = "127.0.0.1"
EVENT_SECONDS = 30.0
CARRIERS = ("client", "direct")
Door = Callable[[int, str], AbstractAsyncContextManager[int]]
"""What clients go through to a port, such as a relay: the port behind it and a name, to the port in front of it."""


@contextlib.asynccontextmanager
async def open_door(port: int, name: str) -> AsyncIterator[int]:
    """No door."""
    yield port


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a server; the time is CLOCK_MONOTONIC when it was heard."""

    name: str
    data: Mapping[str, Any]
    at: float


class Monitor:
    """A server's control socket; keeps every event."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.events: list[Happened] = []
        self._peer = QmpPeer(name, QmpAddress(path=path))
        self._listening: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._peer.connect()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._peer.close()

    async def _listen(self) -> None:
        async for name, data in self._peer.events():
            self.events.append(Happened(name, data, time.monotonic()))
            self._heard.set()
        self.events.append(Happened("the socket was closed", {}, time.monotonic()))
        self._heard.set()

    async def ask(self, command: str, **arguments: object) -> Any:
        """The answer to a command; underscores in names of arguments stand for hyphens."""
        return await self._peer.execute(command, {name.replace("_", "-"): one for name, one in arguments.items()})

    async def event(self, name: str, *, timeout: float = EVENT_SECONDS, **data: object) -> Happened:
        """The first event of this name and with this data, waiting until there is one."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for one in self.events:
                        if one.name == name and data.items() <= one.data.items():
                            return one
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            heard = ", ".join(f"{one.name} {one.data.get('status', '')}".strip() for one in self.events[-12:])
            raise OperationError(
                f"{self.name} did not tell {name} {data or ''} in {timeout:g} s; it told {heard}"
            ) from None


@dataclass(slots=True)
class Place:
    """A server that the guest has been at."""

    number: int
    server: ServerProcess
    monitor: Monitor
    port: int | None
    """Where clients come in, in front of the door."""
    tls_port: int | None
    stack: AsyncExitStack
    uri: str = ""
    """Where it waits for the guest."""

    def steps(self) -> dict[int, str]:
        """How far each session is on its way from here, by its number, as the server's trace has it."""
        found: dict[int, str] = {}
        for line in self.server.trace.read_text().splitlines():
            if '"server.client-leaving"' in line:
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    found[record["session"]] = record["step"]
        return found


@dataclass(slots=True)
class Move:
    """One move, with the times of what the servers told, CLOCK_MONOTONIC; 0 for what has not been."""

    number: int
    asked_at: float = 0.0
    """`migrate`."""
    stopped_at: float = 0.0
    completed_at: float = 0.0
    resumed_at: float = 0.0
    handed_over_at: float = 0.0
    """SPICE_MIGRATE_COMPLETED."""
    clients: list[dict[str, Any]] = field(default_factory=list)
    """What that event says of each client."""
    source_returncode: int | None = None
    """How the source has ended."""

    @property
    def stood_still(self) -> float:
        """Seconds from STOP to RESUME."""
        return self.resumed_at - self.stopped_at

    @property
    def outcomes(self) -> list[tuple[str, str, str]]:
        """Scheme, carrier and outcome of each client."""
        return [(one["scheme"], one["carrier"], one["outcome"]) for one in self.clients]


class MovingServers:
    """See the module. `here` is where the guest is, `places` are all that it has been at, in order.

    The source offers seamless migration when `seamless`; host to host with the `carrier` "direct". With `announce` the
    target is told whom to expect where the state goes through the client, else it lets in whoever comes. `access` is as
    in `ServerProcess`, and `subject` of its certificate; `door` is what clients go through.
    """

    def __init__(
        self,
        directory: Path,
        *,
        carrier: str = "client",
        seamless: bool = True,
        announce: bool = False,
        access: tuple[str, ...] = ANYBODY,
        subject: str = "",
        arguments: tuple[str, ...] = (),
        program: tuple[str, ...] = ("-m", "spicehop"),
        door: Door = open_door,
    ) -> None:
        self.places: list[Place] = []
        self.moves: list[Move] = []
        self._directory = directory
        self._carrier = carrier
        self._seamless = seamless
        self._announce = announce
        self._access = access
        self._subject = subject
        self._arguments = arguments
        self._program = program
        self._door = door
        self._next: Place | None = None
        self._started = 0

    async def __aenter__(self) -> Self:
        self.places.append(await self._start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in (*self.places, *([self._next] if self._next is not None else [])):
            await place.stack.aclose()

    @property
    def here(self) -> Place:
        """Where the guest is."""
        return self.places[-1]

    @property
    def next(self) -> Place:
        """Where it will be, once that is prepared."""
        assert self._next is not None
        return self._next

    @property
    def logs(self) -> list[Path]:
        """The guest's log, in pieces."""
        return [place.server.guest_log for place in self.places]

    # -- one step after the other -----------------------------------------------------------------------------------

    async def prepare(self) -> Place:
        """Start the server that the guest will go to, and link both where the state goes host to host."""
        assert self._next is None
        target = self._next = await self._start(incoming=True)
        if self._carrier == "direct":
            address = f"unix:{Path(target.server.control).with_name('link')}"
            await self.here.monitor.ask("direct-link-close")  # where the guest came from
            await target.monitor.ask("direct-link-listen", address=address)
            await self.here.monitor.ask("direct-link-connect", address=address)
        return target

    async def invite(self, *, sessions: int = 1, timeout: float = 20.0) -> None:
        """Tell the clients of the target, and wait until `sessions` of them have linked it."""
        source, target = self.here, self.next
        if self._announce:
            known = await source.monitor.ask("query-spice")  # which says ids signed, as QEMU does
            ids = sorted({one["connection-id"] & 0xFFFF_FFFF for one in known["channels"]})
            await target.monitor.ask("announce-clients", connection_ids=ids)
        ports = {"port": target.port, "tls_port": target.tls_port, "cert_subject": self._subject or None}
        given = {name: value for name, value in ports.items() if value is not None}
        await source.monitor.ask("client_migrate_info", protocol="spice", hostname=HOST, **given)
        deadline = time.monotonic() + timeout
        while sum(step.startswith("Linked") for step in source.steps().values()) < sessions:
            if time.monotonic() > deadline:
                raise OperationError(f"the clients have not linked the target: {source.steps()}")
            await asyncio.sleep(0.01)

    async def go(self, *, hold: float | None = None, while_still: Callable[[], Awaitable[None]] | None = None) -> Move:
        """Move the guest and wait for its clients to be there; the source's process has ended then.

        With `hold` the guest stands still for that many seconds before it goes; `while_still` is done meanwhile.
        """
        source, target = self.here, self.next
        move = Move(len(self.moves))
        self.moves.append(move)
        pause = {"capability": "pause-before-switchover", "state": hold is not None}
        wanted = [{"capability": "events", "state": True}, pause]
        await source.monitor.ask("migrate-set-capabilities", capabilities=wanted)
        move.asked_at = time.monotonic()
        await source.monitor.ask("migrate", uri=target.uri)
        if hold is not None:
            await source.monitor.event("MIGRATION", status="pre-switchover")
            over = time.monotonic() + hold
            if while_still is not None:
                await while_still()
            await asyncio.sleep(max(0.0, over - time.monotonic()))
            await source.monitor.ask("migrate-continue", state="pre-switchover")
        move.completed_at = (await source.monitor.event("MIGRATION", status="completed")).at
        move.stopped_at = (await source.monitor.event("STOP")).at
        move.resumed_at = (await target.monitor.event("RESUME")).at
        self.places.append(target)
        self._next = None
        handed = await source.monitor.event("SPICE_MIGRATE_COMPLETED")
        move.handed_over_at, move.clients = handed.at, list(handed.data.get("clients", ()))
        await source.stack.aclose()
        move.source_returncode = source.server.returncode
        return move

    async def give_up(self) -> None:
        """End the server that the guest was to go to; another one can be prepared."""
        target, self._next = self.next, None
        await target.stack.aclose()

    async def move(self, *, sessions: int = 1, hold: float | None = None) -> Move:
        """All of it."""
        await self.prepare()
        await self.invite(sessions=sessions)
        return await self.go(hold=hold)

    # -- inner things -----------------------------------------------------------------------------------------------

    async def _start(self, *, incoming: bool = False) -> Place:
        number, self._started = self._started, self._started + 1
        folder = self._directory / f"server-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        arguments = (*self._arguments, "--seamless-migration", "on" if self._seamless else "off")
        if incoming:
            arguments += ("--incoming", "defer")
            if not self._announce and self._carrier != "direct":
                arguments += ("--accept-unannounced-migration",)
        server = ServerProcess(folder, arguments=arguments, access=self._access, program=self._program)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(server)
            monitor = await stack.enter_async_context(Monitor(f"server {number}", server.control))
            ports = []
            for name, port in (("plain", server.port), ("tls", server.tls_port)):
                door = None if port is None else self._door(port, f"{number}-{name}")
                ports.append(None if door is None else await stack.enter_async_context(door))
            place = Place(number, server, monitor, ports[0], ports[1], stack.pop_all())
        if incoming:
            place.uri = f"unix:{Path(server.control).with_name('move')}"
            await monitor.ask("migrate-incoming", uri=place.uri)
        return place
