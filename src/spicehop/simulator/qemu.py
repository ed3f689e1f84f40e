"""A model of one QEMU: QMP, the machine's run state and its migration, around a model SPICE server (dossier C7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from spicehop.simulator.clock import Appointment, VirtualClock
from spicehop.simulator.guest import ModelGuest
from spicehop.simulator.network import Network
from spicehop.simulator.spice import ModelSpice, SpiceConfig


class ModelRefusal(Exception):
    """A QMP command was answered by an error."""


@dataclass(frozen=True, slots=True)
class MachineTimes:
    """How long the parts of a machine's migration take, in seconds."""

    copy: float = 0.8
    before_stop: float = 0.01
    """From the run state's change to the STOP event: keys are dropped already (measured results, B4)."""
    last_copy: float = 0.007
    load: float = 0.015
    """At the target, from the source's completion to RESUME."""


class ModelQemu:
    """One QEMU process. `machines` is who can be reached at which migration address."""

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        network: Network,
        random: Random,
        guest: ModelGuest,
        config: SpiceConfig,
        times: MachineTimes,
        machines: dict[str, ModelQemu],
        *,
        incoming: bool,
    ) -> None:
        self.name = name
        self.address = address
        self.alive = True
        self.death = ""
        self.has_guest = not incoming
        self.status = "inmigrate" if incoming else "running"
        self.listeners: list[Callable[[str, Mapping[str, object]], None]] = []
        """Called with each QMP event."""
        self.on_death: list[Callable[[str], None]] = []
        self.machine_type = "pc-i440fx-7.2-machine"
        self.stays_paused = False
        """After a migration that came to nothing the machine does not run on by itself."""
        self.cancels_slowly = 0.0
        """Seconds from migrate_cancel to its end, while the machine stands still."""
        self._guest = guest
        self._network = network
        self._clock: VirtualClock = network.clock
        self._times = times
        self._machines = machines
        self._migration = ""
        self._failure = ""
        self._job: Appointment | None = None
        self._destination: ModelQemu | None = None
        self._origin: ModelQemu | None = None
        self._uri = f"tcp:{address[0]}:{address[1] + 1000}" if incoming else ""
        if incoming:
            machines[self._uri] = self
        self.spice = ModelSpice(self._clock, random, config, guest, lambda: self.has_guest, self._emit, self.die)
        network.listen(address, name, self.spice.accept)

    @property
    def runs(self) -> bool:
        """Whether the machine runs here."""
        return self.alive and self.has_guest and self._guest.running

    # -- QMP ----------------------------------------------------------------------------------------------------

    def execute(self, command: str, arguments: Mapping[str, object]) -> object:
        """Run a QMP command. Raises ModelRefusal."""
        match command:
            case "query-version":
                return {"qemu": {"major": 7, "minor": 2, "micro": 22}}
            case "query-status":
                return {"status": self.status, "running": self.runs}
            case "query-spice":
                return {
                    "enabled": True,
                    "host": self.address[0],
                    "port": self.address[1],
                    "auth": "spice" if self.spice.config.password else "none",
                    "channels": self.spice.channel_entries(),
                }
            case "query-migrate":
                return self._query_migrate()
            case "query-commands":
                return [{"name": "client_migrate_info"}, {"name": "migrate"}]
            case "qom-get":
                return self.machine_type
            case "client_migrate_info":
                port = arguments["port"]
                assert isinstance(port, int)
                self.spice.migrate_connect(str(arguments["hostname"]), port)
            case "migrate":
                self._migrate(str(arguments["uri"]))
            case "migrate_cancel":
                self._cancel()
            case "cont":
                self._continue()
            case "quit":
                self._emit("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
                self._clock.after(0.001, lambda: self.die("quit"))
            case "migrate-set-capabilities" | "migrate-set-parameters" | "set_password" | "migrate-incoming":
                pass
            case _:
                raise ModelRefusal(f"The command {command} has not been found")
        return {}

    def _query_migrate(self) -> dict[str, object]:
        answer: dict[str, object] = {"status": self._migration} if self._migration else {}
        if self._failure:
            answer["error-desc"] = self._failure
        if self._uri and self.status == "inmigrate":
            host, port = self._uri.split(":")[1:]
            answer["socket-address"] = [{"type": "inet", "host": host, "port": port}]
        return answer

    def _emit(self, event: str, data: Mapping[str, object]) -> None:
        for listener in tuple(self.listeners):
            listener(event, data)

    # -- the machine's migration --------------------------------------------------------------------------------

    def _set(self, status: str) -> None:
        self._migration = status
        self._emit("MIGRATION", {"status": status})

    def _migrate(self, uri: str) -> None:
        if self._job is not None:
            raise ModelRefusal("There's a migration process in progress")
        if not self.has_guest or self.status not in ("running", "paused"):
            raise ModelRefusal(f"Guest is in state '{self.status}'")
        self._failure = ""
        self._destination = self._machines.get(uri)
        self._set("setup")
        self._job = self._clock.after(0.004, self._connect)

    def _connect(self) -> None:
        there = self._destination
        if there is None or not there.alive or there.status != "inmigrate":
            self._fail("Failed to connect to the destination")
            return
        there._origin = self
        self._set("active")
        there._set("active")
        self._job = self._clock.after(self._times.copy, self._stop)

    def _stop(self) -> None:
        self._guest.running = False
        self.status = "finish-migrate"
        self._job = self._clock.after(self._times.before_stop, self._stopped)

    def _stopped(self) -> None:
        self._emit("STOP", {})
        self.spice.vm_stop()
        self._job = self._clock.after(self._times.last_copy, self._complete)

    def _complete(self) -> None:
        self._job = None
        there = self._destination
        if there is None or not there.alive:
            self._fail("Unable to write to socket: Connection reset by peer")
            return
        self.has_guest = False
        self.status = "postmigrate"
        there.load()
        self._set("completed")
        self._clock.after(0.0005, lambda: self.spice.migrate_end(completed=True) if self.alive else None)

    def load(self) -> None:
        """The machine's state is here."""
        self._origin = None
        self.has_guest = True
        self._clock.after(self._times.load, self._run)

    def _run(self) -> None:
        if not self.alive:
            return
        self._guest.running = True
        self.status = "running"
        self._emit("RESUME", {})
        self.spice.vm_start()
        self._set("completed")

    def _fail(self, why: str) -> None:
        self._end_job()
        self._failure = why
        self._resume_here()
        self._set("failed")
        self.spice.migrate_end(completed=False)

    def move_at_once(self, there: ModelQemu) -> None:
        """Somebody else has migrated the machine, in no time."""
        self._end_job()
        self._guest.running = False
        self.status = "finish-migrate"
        self._emit("STOP", {})
        self.spice.vm_stop()
        self._destination = there
        self._complete()

    def _cancel(self) -> None:
        if self._job is None or self._migration == "cancelling":
            return
        there = self._destination
        self._job.cancel()
        self._set("cancelling")
        if self.cancels_slowly:
            self._job = self._clock.after(self.cancels_slowly, lambda: self._cancelled(there))
        else:
            self._cancelled(there)

    def _cancelled(self, there: ModelQemu | None) -> None:
        self._end_job()
        self._resume_here()
        self._set("cancelled")
        self.spice.migrate_end(completed=False)
        if there is not None and there.alive and there.status == "inmigrate" and there._origin is self:
            there.die("its incoming migration ended")

    def _end_job(self) -> None:
        if self._job is not None:
            self._job.cancel()
        self._job = None
        self._destination = None

    def _resume_here(self) -> None:
        if self.stays_paused:
            self._guest.running = False
            self.status = "paused"
        elif self.status == "finish-migrate":
            self._guest.running = True
            self.status = "running"
            self.spice.vm_start()
            self._emit("RESUME", {})

    def _continue(self) -> None:
        if self.status == "postmigrate":
            self.has_guest = True
        if not self.has_guest:
            raise ModelRefusal("Guest is waiting for an incoming migration")
        self._guest.running = True
        self.status = "running"
        self._emit("RESUME", {})
        self.spice.vm_start()

    # -- the end ------------------------------------------------------------------------------------------------

    def die(self, why: str) -> None:
        """The process ends: every connection of it is reset."""
        if not self.alive:
            return
        self.alive = False
        self.death = why
        there = self._destination
        self._end_job()
        self._network.stop_listening(self.address)
        for connection in self._network.connections:
            if connection.far.name == self.name and not connection.gone:
                connection.reset(f"{self.name} is gone")
        if there is not None and there.alive and there.status == "inmigrate":
            there.die("its incoming migration ended")
        for listener in self.on_death:
            listener(why)
