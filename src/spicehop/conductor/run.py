"""Carries out what the conducting machine says, with two QMP monitors: `migrate(options)`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from spicehop.conductor.direct_link import AUTO, LinkSetup, link_address
from spicehop.conductor.qmp import QmpAddress, QmpPeer, QmpRefusal
from spicehop.errors import ConnectionLost, MigrationError, OperationError, SpicehopError, UsageError
from spicehop.migration.conducting import Conducting
from spicehop.migration.conducting_events import (
    Begun,
    CancelRequested,
    Command,
    Event,
    EventReceived,
    Execute,
    FindingReported,
    Finished,
    Peer,
    PeerLost,
    Plan,
    PortProbed,
    ProbePort,
    ProgressReported,
    RefusalReceived,
    ReplyReceived,
    SpiceAddress,
    StepReported,
)
from spicehop.migration.conducting_result import ClientStatement, Outcome, Result, decided
from spicehop.migration.preflight import Finding, Severity
from spicehop.trace import Trace, read
from spicehop.wire.constants import channel_name

MAX_TICKET = 60
"""Longest ticket in bytes (dossier A)."""
PROBE_LIMIT = 5.0
TRACE_WAIT = 2.0
"""Seconds for our own client to write down how its migration ended."""

Report = StepReported | ProgressReported | FindingReported
"""What `progress` is called with."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `spicehop migrate` was asked for. Texts are as on the command line and are checked by `plan`."""

    source: str
    """QMP address: HOST:PORT or the path of a socket."""
    target: str
    spice: str = ""
    """HOST[:PORT[:TLSPORT]], where clients are sent."""
    uri: str = ""
    """Where the machine's state is sent, as for QEMU's `migrate`."""
    ticket: str | None = field(default=None, repr=False)
    ticket_file: Path | None = None
    ticket_is_set: bool = False
    cert_subject: str = ""
    seamless: bool | None = None
    keep_source: bool = False
    require_links: bool = False
    probe: bool = True
    max_bandwidth: int | None = None
    """Bytes a second."""
    downtime_limit: int | None = None
    """Milliseconds."""
    time_limit: float = 600.0
    """Seconds."""
    direct_link: str = AUTO
    """Where two spicehop servers connect for the sessions' state: `unix:PATH`, `tcp:HOST[:PORT]`, `auto` or `off`."""
    client_trace: Path | None = None
    """Our own client's trace file, which tells the scheme."""

    def plan(self) -> Plan:
        """The plan, without what only the connected monitors tell. Raises UsageError for what cannot be used."""
        if self.time_limit <= 0:
            raise UsageError("--timeout must be more than 0 seconds")
        if self.max_bandwidth is not None and self.max_bandwidth <= 0:
            raise UsageError("--max-bandwidth must be more than 0 bytes a second")
        if self.downtime_limit is not None and self.downtime_limit < 0:
            raise UsageError("--downtime-limit must not be negative")
        if self.uri and not self.uri.startswith(("tcp:", "unix:", "vsock:", "fd:")):
            # The return path, without which a failed load looks like a success, needs a socket.
            raise UsageError(f"--uri {self.uri!r} is no socket; give tcp:HOST:PORT or unix:PATH")
        link_address(self.direct_link)
        return Plan(
            spice=spice_address(self.spice) if self.spice else None,
            cert_subject=self.cert_subject,
            migration_uri=self.uri,
            ticket=self._ticket(),
            ticket_is_set=self.ticket_is_set,
            seamless=self.seamless,
            keep_source=self.keep_source,
            require_links=self.require_links,
            probe=self.probe,
            max_bandwidth=self.max_bandwidth,
            downtime_limit=self.downtime_limit,
            time_limit=self.time_limit,
        )

    def _ticket(self) -> str | None:
        if self.ticket_file is None:
            ticket = self.ticket
        else:
            try:
                with self.ticket_file.open(encoding="utf-8") as file:
                    ticket = file.readline().rstrip("\r\n")
            except OSError as error:
                raise OperationError(f"the ticket file {self.ticket_file} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise UsageError(f"the ticket file {self.ticket_file} is not text") from None
        if ticket is not None and not 0 < len(ticket.encode()) <= MAX_TICKET:
            raise UsageError(f"a ticket has 1 to {MAX_TICKET} bytes")
        return ticket


def spice_address(text: str) -> SpiceAddress:
    """Read `HOST[:PORT[:TLSPORT]]`; an IPv6 host stands in brackets, an absent port is 0 or empty."""
    wrong = UsageError(f"--spice {text!r} is not of the form HOST[:PORT[:TLSPORT]]")
    host, bracket, rest = text.partition("]")
    if bracket:
        host = host.removeprefix("[")
    else:
        host, colon, rest = text.partition(":")
        rest = colon + rest
    parts = rest.split(":")
    if not host or parts[0] or len(parts) > 3 or "/" in host:
        raise wrong
    ports: list[int | None] = []
    for part in parts[1:]:
        if part and not (part.isascii() and part.isdigit() and int(part) < 65536):
            raise wrong
        ports.append(int(part or 0) or None)
    ports += [None] * (2 - len(ports))
    return SpiceAddress(host, *ports)


async def migrate(
    options: Options,
    *,
    progress: Callable[[Report], None] | None = None,
    trace: Trace | None = None,
) -> Result:
    """Move a machine and its sessions as `options` say; what became of them is in the result, failures too.

    Cancelling the task that runs this undoes the migration first, then lets the cancellation through; to undo it and
    get the result use `Conductor`. Raises UsageError for options that cannot be used and ConnectError when a monitor
    does not answer, both before anything is changed.
    """
    return await Conductor(options, progress=progress, trace=trace).run()


class Conductor:
    """One migration. `cancel` undoes it, from a signal handler for example; `run` then returns the result."""

    def __init__(
        self, options: Options, *, progress: Callable[[Report], None] | None = None, trace: Trace | None = None
    ) -> None:
        self._options = options
        self._plan = options.plan()
        self._progress = progress
        self._trace = trace or Trace("conductor", time.monotonic)
        self._peer_trace = {peer: self._trace.for_party(peer.value) for peer in Peer}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._work: asyncio.Future[Result] | None = None
        self._abandoned = False
        self._peers = {
            Peer.SOURCE: QmpPeer("source", QmpAddress.parse(options.source)),
            Peer.TARGET: QmpPeer("target", QmpAddress.parse(options.target)),
        }
        controls = tuple(QmpAddress.parse(one).path for one in (options.source, options.target))
        self._link = LinkSetup(
            self._peers[Peer.SOURCE],
            self._peers[Peer.TARGET],
            link_address(options.direct_link, controls),
            asked_for=options.direct_link != AUTO,
        )

    def cancel(self) -> None:
        """Undo the migration; when the machine has moved already, it is finished instead."""
        self._events.put_nowait(CancelRequested())

    def abandon(self) -> None:
        """Stop at once and undo nothing; `run` then raises MigrationError."""
        self._abandoned = True
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> Result:
        """Run the migration to its end. Raises ConnectError when a monitor does not answer."""
        work = self._work = asyncio.ensure_future(self._run())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if self._abandoned:
                raise MigrationError(
                    "Left in the middle: the machine may be at the source, at the target or under way; "
                    "ask both with query-status and query-migrate."
                ) from None
            self.cancel()
            await asyncio.wait((work,))
            raise

    async def _run(self) -> Result:
        try:
            for peer in self._peers.values():
                await peer.connect()
            for name in Peer:
                self._start(self._listen(name))
            await self._link_servers()
            result = await self._conduct()
        finally:
            if not self._abandoned:
                await self._link.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.gather(*(peer.close() for peer in self._peers.values()))
        return await self._decided(result)

    async def _link_servers(self) -> None:
        failure = await self._link.open()
        if self._link.place:
            place = self._link.place
            self._carry_out(StepReported("direct-link", f"The servers have a direct link, at {place}."))
        elif failure:
            sentence = f"There is no direct link between the servers: {failure}. The clients carry their state."
            self._carry_out(FindingReported(Finding(Severity.WARNING, "no-direct-link", sentence)))

    async def _conduct(self) -> Result:
        facts = {name: peer.facts for name, peer in self._peers.items()}
        machine = Conducting(replace(self._plan, source=facts[Peer.SOURCE], target=facts[Peer.TARGET]))
        commands = machine.feed(Begun(), time.monotonic())
        while True:
            for command in commands:
                if isinstance(command, Finished):
                    return command.result
                self._carry_out(command)
            deadline = machine.next_deadline()
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                async with asyncio.timeout(wait):
                    event = await self._events.get()
            except TimeoutError:
                commands = machine.handle_timer(time.monotonic())
            else:
                commands = machine.feed(event, time.monotonic())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Execute():
                self._start(self._execute(command))
            case ProbePort(host, port):
                self._start(self._probe(host, port))
            case StepReported(step, sentence):
                self._trace.record(f"conductor.{step}", sentence=sentence)
                self._tell(command)
            case FindingReported(finding):
                self._trace.record(
                    "conductor.finding", severity=finding.severity.value, code=finding.code, sentence=finding.sentence
                )
                self._tell(command)
            case ProgressReported(status, transferred, remaining, total):
                self._trace.record(
                    "conductor.progress", status=status, transferred=transferred, remaining=remaining, total=total
                )
                self._tell(command)
            case Finished():
                pass
            case _:
                assert_never(command)

    def _tell(self, report: Report) -> None:
        if self._progress is not None:
            self._progress(report)

    async def _execute(self, command: Execute) -> None:
        if not command.command.startswith("query-"):
            self._peer_trace[command.peer].record(f"qmp.{command.command}")  # without arguments: one is the ticket
        try:
            value = await self._peers[command.peer].execute(command.command, command.arguments)
        except QmpRefusal as refusal:
            self._events.put_nowait(RefusalReceived(command.request, str(refusal)))
        except ConnectionLost as lost:
            # The listener says the same when it has handed out the last events; this is for commands sent too late.
            await asyncio.sleep(0.1)
            self._events.put_nowait(PeerLost(command.peer, str(lost)))
        else:
            self._events.put_nowait(ReplyReceived(command.request, value))

    async def _listen(self, name: Peer) -> None:
        async for event, data in self._peers[name].events():
            self._record(name, event, data)
            self._events.put_nowait(EventReceived(name, event, data))
        self._peer_trace[name].record("qmp.disconnected")
        self._events.put_nowait(PeerLost(name))

    def _record(self, name: Peer, event: str, data: object) -> None:
        trace = self._peer_trace[name]
        detail = data if isinstance(data, dict) else {}
        client = detail.get("client")
        if isinstance(client, dict) and isinstance(client.get("connection-id"), int):
            key = channel_name(int(client.get("channel-type", 0)), int(client.get("channel-id", 0)))
            trace.record(f"qmp.{event}", session=client["connection-id"] & 0xFFFFFFFF, channel=key)
        elif event == "MIGRATION":
            trace.record("qmp.MIGRATION", status=str(detail.get("status")))
        elif event == "MIGRATION_PASS":
            trace.record("qmp.MIGRATION_PASS", **{"pass": detail.get("pass")})  # type: ignore[arg-type]
        else:
            trace.record(f"qmp.{event}")

    async def _probe(self, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(PROBE_LIMIT):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            failure = f"no answer in {PROBE_LIMIT:g} s"
        except OSError as error:
            failure = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        else:
            failure = ""
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._events.put_nowait(PortProbed(failure))

    async def _decided(self, result: Result) -> Result:
        path = self._options.client_trace
        if path is None or result.outcome not in (Outcome.MOVED, Outcome.MOVED_WITH_LOSS):
            return result
        deadline = time.monotonic() + TRACE_WAIT
        while True:
            try:
                records = [record for record in read(path) if record.time >= result.timing.began]
            except SpicehopError as error:
                unread = Finding(Severity.WARNING, "client-trace", f"The client's trace tells nothing: {error}.")
                return replace(result, findings=(*result.findings, unread))
            if any(record.event == "migration.done" for record in records) or time.monotonic() > deadline:
                statements = (
                    ClientStatement(record.event, record.session, record.channel, record.detail) for record in records
                )
                return decided(result, statements)
            await asyncio.sleep(0.1)
